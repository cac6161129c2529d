"""Heterogeneity as a user gets it: tables, maps, reliability, the landscape command."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.pipeline.runner import run_landscape
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.rows import FlexibilityTest

pytestmark = pytest.mark.slow
NUMBERS = [0, 2, 4, 6, 8, 10]
RIGID = FlexibilityTest(0.05, 0.04, 0.1, 0.01, 0.05, "rigid")


@pytest.fixture
def copied(six_volumes: Path, tmp_path: Path) -> RunDirectory:
    """A copy of the run with six volumes."""
    return RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))


def test_every_volume_has_its_place(six_volumes):
    run = RunDirectory(six_volumes)
    rows = run.landscape.rows.read()
    assert [row.image for row in rows] == NUMBERS
    assert {len(row.component) for row in rows} == {3}
    assert sum(state.volumes for state in run.landscape.states.read()) == len(NUMBERS)


def test_components_are_those_of_the_volumes(six_volumes):
    run = RunDirectory(six_volumes)
    coordinates = np.array([row.component[0] for row in run.landscape.rows.read()])
    scree = run.landscape.scree.read()
    assert coordinates.var(ddof=1) == pytest.approx(scree[0].variance, rel=1e-3)
    assert sum(row.share for row in scree) == pytest.approx(1, abs=1e-3)


def test_replicates_lie_on_either_side_of_their_volume(six_volumes):
    run = RunDirectory(six_volumes)
    assert sorted((six_volumes / "differences").iterdir()) == [run.difference(number) for number in NUMBERS]
    volume, half = (torch.from_numpy(files.read_map(path).density) for path in (run.volume(0), run.difference(0)))
    assert 0 < float(half.norm()) < float(volume.norm())


def test_modes_are_not_counted_where_images_are_too_few_for_a_flexibility_test(six_volumes):
    summary = RunDirectory(six_volumes).landscape.summary.read()
    assert summary.verdict == "undetermined"  # twenty images
    assert summary.modes is None
    assert summary.trajectories == ()


def test_reliability_is_not_predicted_where_images_are_too_few_for_a_flexibility_test(six_volumes):
    rows = RunDirectory(six_volumes).reliability.read()
    assert [row.image for row in rows] == NUMBERS
    assert {row.expected_fsc for row in rows} == {None}
    assert {row.label for row in rows} <= {"caution", "unreliable"}


def test_volumes_of_a_rigid_molecule_are_judged_by_the_consensus(copied):
    copied.flexibility.write(RIGID)
    run_landscape(copied.path, umap=False)
    rows = [row for row in copied.reliability.read() if row.expected_fsc is not None]
    assert len({(row.expected_fsc, row.low, row.high, row.label, row.reason) for row in rows}) == 1
    assert rows[0].low < rows[0].expected_fsc < rows[0].high
    assert {row.isolation for row in rows} == {None}
    assert all(0 < row.replicate_fsc <= 1 for row in rows)
    poses = copied.assigned.poses
    poses.write([pose._replace(psi=pose.psi + 90) for pose in poses.read()])
    run_landscape(copied.path, umap=False)
    worse = [row for row in copied.reliability.read() if row.expected_fsc is not None]
    assert worse[0].expected_fsc < rows[0].expected_fsc


def test_landscape_command_gives_the_same_again(six_volumes, copied, command):
    stale = copied.landscape.path / "mode-7"
    stale.mkdir()
    torch.set_num_threads(2)  # as of a user's process: it must not show in the result
    assert command("landscape", copied.path)[0] == 0
    assert copied.landscape.rows.path.read_bytes() == RunDirectory(six_volumes).landscape.rows.path.read_bytes()
    assert not stale.exists()


def test_consensus_has_a_held_out_resolution(six_volumes):
    summary = RunDirectory(six_volumes).assigned.summary.read()
    assert 2 <= summary.held_out_resolution <= 16  # pixels, where their size is unknown
