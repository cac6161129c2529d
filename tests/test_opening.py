"""A run as arrays: `scoretomo.open_run`, and one begun from Python."""

import shutil

import numpy as np
import pytest
import torch

import scoretomo
from scoretomo.errors import InputError
from scoretomo.images import correlation, disc, shift
from scoretomo.projection import project
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.rows import Trajectory


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
    rows = RunDirectory(six_volumes).landscape.rows.read()
    assert run.landscape.numbers.tolist() == [0, 2, 4, 6, 8, 10]
    assert run.landscape.components.tolist() == [list(row.component) for row in rows]
    assert run.landscape.states.tolist() == [row.state for row in rows]
    assert run.landscape.modes.shape == (6, 0)  # too few images to count modes
    assert run.consensus.shape == (16, 16, 16)


def test_reliability_is_that_of_the_table(six_volumes):
    reliability = scoretomo.open_run(six_volumes).reliability
    assert reliability.numbers.tolist() == [0, 2, 4, 6, 8, 10]
    assert set(reliability.labels) == {"caution"}
    assert np.isnan(reliability.expected_fsc).all()  # too few images for an expectation
    assert np.isnan(reliability.intervals).tolist() == [[True, True]] * 6
    assert len(reliability.reasons) == len(reliability.observability) == 6


def test_reliability_has_numbers_where_the_table_has(six_volumes, tmp_path):
    run = RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))
    row = run.reliability.read()[0]._replace(expected_fsc=0.9, low=0.8, high=0.95, label="reliable")
    run.reliability.write([row._replace(observability=(0.5, 1.0)), row._replace(image=2, observability=(None, 0.25))])
    reliability = scoretomo.open_run(run.path).reliability
    assert reliability.expected_fsc.tolist() == [0.9, 0.9]
    assert reliability.intervals.tolist() == [[0.8, 0.95]] * 2
    assert reliability.labels == ["reliable", "reliable"]
    np.testing.assert_array_equal(reliability.observability, [[0.5, 1.0], [np.nan, 0.25]])


def test_images_of_class_2_and_outliers_are_those_of_the_table(six_volumes, tmp_path):
    run = RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))
    first, second, *rest = run.poses.read()
    run.poses.write([first._replace(outlier=True), second._replace(class_number=2), *rest])
    poses = scoretomo.open_run(run.path).poses
    assert poses.outliers.tolist() == [True] + [False] * 19
    assert poses.class_numbers.tolist() == [1, 2] + [1] * 18


def test_what_is_not_there_yet_is_none(box, tmp_path, command):
    assert command("import", box, "--output", tmp_path / "images.mrcs")[0] == 0
    run = scoretomo.open_run(tmp_path)
    assert run.poses is None
    assert run.landscape is None
    assert run.reliability is None
    assert run.consensus is None
    assert len(run.volumes) == 0
    assert run.numbers.tolist() == list(range(20))


def test_a_folder_that_is_no_run_is_refused(tmp_path, wording):
    with pytest.raises(InputError) as raised:
        scoretomo.open_run(tmp_path)
    wording(raised.value)


def test_a_run_from_python_is_that_of_the_command(box, tmp_path, command):
    options = {"method": "annealed", "steps": 2, "images": "0,1"}
    run = scoretomo.run(box, tmp_path / "run", workers=1, **options)
    assert list(run.volumes) == [0, 1]
    code, said = command(
        "run", box, "--output", tmp_path / "run", *(word for name in options for word in (f"--{name}", options[name]))
    )
    assert code == 0
    assert "is finished" in said


@pytest.mark.parametrize(
    "settings",
    [{"symetry": "C2"}, {"method": "best"}, {"images": 3}, {"size": "64"}, {"steps": 0}, {"examples": 0}],
    ids=lambda settings: "".join(settings),
)
def test_a_setting_that_the_command_would_not_take_is_refused(box, tmp_path, settings, wording):
    with pytest.raises(InputError) as raised:
        scoretomo.run(box, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
    wording(raised.value)


def test_trajectories_and_variability_are_those_of_the_landscape(six_volumes, tmp_path):
    assert scoretomo.open_run(six_volumes).trajectories == {}  # the flexibility of the molecule is undetermined
    run = RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))
    folder = run.landscape
    folder.summary.write(folder.summary.read()._replace(trajectories=(Trajectory("mode-1", 2.0, 0.1),)))
    folder.frame("mode-1", 0).parent.mkdir()
    shutil.copy(run.assigned.volume, folder.frame("mode-1", 0))
    opened = scoretomo.open_run(run.path)
    np.testing.assert_array_equal(opened.trajectories["mode-1"][0], opened.consensus)
    assert opened.variability.shape == (16, 16, 16)
