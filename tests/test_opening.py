"""A run as arrays: `scoretomo.open`."""

import numpy as np
import pytest
import torch

import scoretomo
from scoretomo import files
from scoretomo.errors import InputError
from scoretomo.images import correlation, disc, shift
from scoretomo.projection import project


def test_views_of_volumes_in_their_poses_are_the_images(six_volumes):
    run = scoretomo.open(six_volumes)
    assert run.images.shape == (20, 16, 16)
    assert list(run.volumes) == [0, 2, 4, 6, 8, 10]
    places = [list(run.poses.numbers).index(number) for number in run.volumes]
    volumes = torch.from_numpy(np.stack(list(run.volumes.values())))
    for volume, place in zip(volumes, places, strict=True):
        view = project(volume, torch.from_numpy(run.poses.rotations[place]).float()[None])
        moved = shift(view, torch.from_numpy(run.poses.shifts[place]).float()[None])
        assert float(correlation(moved, torch.from_numpy(run.images[place])[None], disc(16))) > 0.97


def test_the_landscape_is_that_of_the_table(six_volumes):
    run = scoretomo.open(str(six_volumes))
    rows = files.read_table(six_volumes / "landscape.csv")
    assert run.landscape.numbers.tolist() == [0, 2, 4, 6, 8, 10]
    assert run.landscape.components[3, 0] == float(rows[3]["component_1"])
    assert run.landscape.states.tolist() == [int(row["state"]) for row in rows]
    assert run.landscape.motions.shape[0] == 6
    assert run.consensus.shape == (16, 16, 16)


def test_reliability_is_that_of_the_table(six_volumes):
    found = scoretomo.open(six_volumes).reliability
    assert found.numbers.tolist() == [0, 2, 4, 6, 8, 10]
    assert set(found.words) == {"with care"}
    assert np.isnan(found.expected).all()  # too few images to tell
    assert found.intervals.shape == (6, 2)
    assert len(found.reasons) == len(found.seen) == 6


def test_what_is_not_there_yet_is_none(box, tmp_path, command):
    assert command("import", box, "--output", tmp_path / "images.mrcs")[0] == 0
    run = scoretomo.open(tmp_path)
    assert run.poses is None
    assert run.landscape is None
    assert run.reliability is None
    assert run.consensus is None
    assert len(run.volumes) == 0
    assert run.numbers.tolist() == list(range(20))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a run directory"):
        scoretomo.open(tmp_path)
