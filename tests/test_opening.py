"""A run as arrays: `scoretomo.open_run`, and one begun from Python."""

import shutil

import numpy as np
import pytest
import torch

import scoretomo
from scoretomo import files
from scoretomo.errors import InputError
from scoretomo.images import correlation, disc, shift
from scoretomo.projection import project


def test_views_of_volumes_in_their_poses_are_the_images(six_volumes):
    run = scoretomo.open_run(six_volumes)
    assert run.images.shape == (20, 16, 16)
    assert list(run.volumes) == [0, 2, 4, 6, 8, 10]
    places = [list(run.poses.numbers).index(number) for number in run.volumes]
    volumes = torch.from_numpy(np.stack(list(run.volumes.values())))
    for volume, place in zip(volumes, places, strict=True):
        view = project(volume, torch.from_numpy(run.poses.rotations[place]).float()[None])
        moved = shift(view, torch.from_numpy(run.poses.shifts[place]).float()[None])
        assert float(correlation(moved, torch.from_numpy(run.images[place])[None], disc(16))) > 0.97


def test_the_landscape_is_that_of_the_table(six_volumes):
    run = scoretomo.open_run(str(six_volumes))
    rows = files.read_table(six_volumes / "landscape.csv")
    assert run.landscape.numbers.tolist() == [0, 2, 4, 6, 8, 10]
    assert run.landscape.components[3, 0] == float(rows[3]["component_1"])
    assert run.landscape.states.tolist() == [int(row["state"]) for row in rows]
    assert run.landscape.motions.shape[0] == 6
    assert run.consensus.shape == (16, 16, 16)


def test_reliability_is_that_of_the_table(six_volumes):
    found = scoretomo.open_run(six_volumes).reliability
    assert found.numbers.tolist() == [0, 2, 4, 6, 8, 10]
    assert set(found.words) == {"with care"}
    assert np.isnan(found.expected).all()  # too few images to tell
    assert found.intervals.shape == (6, 2)
    assert len(found.reasons) == len(found.seen) == 6


def test_what_is_not_there_yet_is_none(box, tmp_path, command):
    assert command("import", box, "--output", tmp_path / "images.mrcs")[0] == 0
    run = scoretomo.open_run(tmp_path)
    assert run.poses is None
    assert run.landscape is None
    assert run.reliability is None
    assert run.consensus is None
    assert len(run.volumes) == 0
    assert run.numbers.tolist() == list(range(20))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a run directory"):
        scoretomo.open_run(tmp_path)


def test_a_run_from_python_is_that_of_the_command(box, tmp_path, command):
    options = {"method": "annealed", "steps": 2, "images": "0,1"}
    run = scoretomo.run(box, tmp_path / "run", workers=1, **options)
    assert list(run.volumes) == [0, 1]
    said = command("run", box, "--output", tmp_path / "run", *(word for name in options for word in (f"--{name}", options[name])))
    assert said[0] == 0
    assert "is finished" in said[1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"symetry": "C2"}, "no setting symetry: .*symmetry"),
        ({"method": "best"}, "method is 'best': give .*'paper'"),
        ({"images": 3}, "images is 3: give str or None"),
        ({"size": "64"}, "size is '64': give int or None"),
        ({"steps": 0}, "steps is 0: Must be >= 1"),
    ],
)
def test_a_setting_that_the_command_would_not_take_is_refused(box, tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        scoretomo.run(box, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_series_and_motion_map_are_those_of_the_landscape(six_volumes, tmp_path):
    assert scoretomo.open_run(six_volumes).series == {}  # nobody knows whether it moves
    shutil.copytree(six_volumes, tmp_path / "run")
    folder = tmp_path / "run" / "landscape"
    summary = files.read_json(folder / "summary.json") | {"ways": [{"name": "motion-1", "distance": 2.0, "replaced": 0.1}]}
    files.write_json(folder / "summary.json", summary)
    (folder / "motion-1").mkdir()
    shutil.copy(six_volumes / "consensus.mrc", folder / "motion-1" / "00.mrc")
    run = scoretomo.open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.series["motion-1"][0], run.consensus)
    assert run.motion_map.shape == (16, 16, 16)
