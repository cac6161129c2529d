"""A flexible molecule, and a mixture, as a user runs them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.consensus.starts import STARTS
from scoretomo.deformation.bodies.fit import BodySettings, Level
from scoretomo.deformation.flexibility import FLEXIBILITY
from scoretomo.deformation.pose_rescue import RESCUE
from scoretomo.deformation.schedule import DeformationSettings
from scoretomo.fourier import coordinates
from scoretomo.images import correlation, disc, shift
from scoretomo.pipeline import bodies, consensus, deformation, motion, reliability, schedules
from scoretomo.pipeline.runner import run_landscape
from scoretomo.presets import DEFORMATION
from scoretomo.projection import project
from scoretomo.rotations import random_rotations
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.poses import rotations_of

pytestmark = pytest.mark.slow
COUNT = 36
PICKED = range(0, COUNT, 3)
NUMBERS = ",".join(map(str, PICKED))
QUICK = replace(DEFORMATION, epochs=24, trial=0.5, blur=1.0)
QUICK_BODIES = BodySettings(coarse=(Level(32, 13, rounds=1), Level(32, 16, rounds=2)))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One random start finds these shapes, and few epochs and rounds these motions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consensus, "STARTS", replace(STARTS, count=1))
        patch.setattr(schedules, "DEFORMATION", QUICK)
        patch.setattr(deformation, "RESCUE", replace(RESCUE, at=(0.5,)))
        patch.setattr(DeformationSettings, "share", lambda settings, share: settings)
        patch.setattr(bodies, "BODY_FIT", QUICK_BODIES)
        patch.setattr(motion, "BODY_FIT", QUICK_BODIES)
        yield


def blobs(*centres: tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blobs, shape (16, 16, 16)."""
    points = coordinates(16, 3).movedim(0, -1)
    return torch.stack([torch.exp(-(points - torch.tensor(centre)).square().sum(-1) / 3) for centre in centres]).sum(0)


@pytest.fixture(scope="module")
def tripod(tmp_path_factory) -> Path:
    """Images of a tripod, one foot of which moves."""
    rotations = random_rotations(COUNT, random_stream(1, "poses"))
    amounts = torch.linspace(-2.5, 2.5, COUNT).tolist()
    volumes = [blobs((3.5, -3, 0), (0, 0, 3), (-1.5 + amount, 4, 0)) for amount in amounts]
    path = tmp_path_factory.mktemp("tripod") / "images.mrcs"
    images = [project(volume, turn[None])[0] for volume, turn in zip(volumes, rotations, strict=True)]
    files.write_images(path, torch.stack(images).numpy(), None)
    return path


@pytest.fixture(scope="module")
def finished(tripod, run_with, tmp_path_factory) -> Path:
    return run_with(tripod, tmp_path_factory.mktemp("run") / "run", workers=1, images=NUMBERS, steps=8)


def fit_of(run: RunDirectory, number: int) -> float:
    """Correlation of an image with the view of its volume in its final pose."""
    image = torch.from_numpy(files.read_images(run.images).images[number])
    (pose,) = [pose for pose in run.poses.read() if pose.image == number]
    volume = torch.from_numpy(files.read_map(run.volume(number)).density)
    view = shift(project(volume, rotations_of([pose]).float()), torch.tensor([[pose.shift_x, pose.shift_y]]))[0]
    return float(correlation(view, image, disc(16)))


def test_flexible_molecule_gets_a_deformation_model(finished):
    run = RunDirectory(finished)
    test = run.flexibility.read()
    assert test.verdict == "flexible"
    assert test.flexible_residual < test.rigid_residual
    assert test.statistic > FLEXIBILITY.threshold
    assert 0.05 < test.displacement < 2.5 / 3**0.5  # the foot, a third of the mass, goes 2.5 pixels at most
    assert [row.image for row in run.latent.read()] == list(range(COUNT))
    assert run.model.exists()
    assert not run.mean.exists()
    assert run.assigned.volume.read_bytes() == run.first.volume.read_bytes()


def test_trajectory_of_each_mode_goes_from_one_end_to_the_other(finished):
    run = RunDirectory(finished)
    summary = run.landscape.summary.read()
    assert summary.modes >= 1
    assert [trajectory.name for trajectory in summary.trajectories] == [f"mode-{k + 1}" for k in range(summary.modes)]
    assert (
        0.5 < max(trajectory.displacement for trajectory in summary.trajectories) < 6
    )  # the foot: 5 pixels from end to end
    for trajectory in summary.trajectories:
        frames = [files.read_map(path).density for path in run.landscape.frames(trajectory.name)]
        assert len(frames) == 11
        apart = [float(np.linalg.norm(frame - frames[0])) for frame in frames]
        assert apart[-1] > 0.9 * max(apart) > 0


def test_every_volume_has_a_label_an_interval_and_the_observability_of_each_mode(finished):
    run = RunDirectory(finished)
    rows = run.reliability.read()
    assert [row.image for row in rows] == list(PICKED)
    for row in rows:
        if row.label != "unreliable" or row.expected_fsc is not None:
            assert 0 <= row.low < row.expected_fsc < row.high <= 1
        assert row.reason
        assert len(row.observability) == run.landscape.summary.read().modes
        assert all(0 <= share <= 1 for share in row.observability)


def test_larger_images_are_judged_by_their_coarse_shells(finished, tmp_path, monkeypatch):
    before = RunDirectory(finished).reliability.read()
    assert {row.resolution for row in before if row.expected_fsc is not None} == {2.0}  # 16 pixels: 8 shells
    monkeypatch.setattr(reliability, "SIDE", 8)
    run = RunDirectory(shutil.copytree(finished, tmp_path / "run"))
    run_landscape(run.path, umap=False)
    coarse = run.reliability.read()
    assert {row.resolution for row in coarse if row.expected_fsc is not None} == {4.0}
    assert any(row.expected_fsc is not None for row in coarse)
    assert [row.expected_fsc for row in coarse] != [row.expected_fsc for row in before]


def test_modes_of_few_volumes_are_not_counted(finished, rerun, tmp_path):
    run = RunDirectory(rerun(finished, tmp_path / "run", "volumes", images="0,3,6,9,12,15", steps=8))
    summary = run.landscape.summary.read()
    assert summary.verdict == "flexible"
    assert summary.modes is None
    names = [trajectory.name for trajectory in summary.trajectories]
    assert names == [f"component-{k + 1}" for k in range(len(names))]
    assert all(len(run.landscape.frames(name)) == 11 for name in names)
    assert {row.mode for row in run.landscape.rows.read()} == {()}
    assert {row.observability for row in run.reliability.read()} == {()}


@pytest.mark.parametrize("number", [0, COUNT - 3])
def test_volume_in_its_final_pose_fits_its_image(finished, number):
    assert fit_of(RunDirectory(finished), number) > 0.98


def test_two_workers_fit_the_same_model_and_make_the_same_volumes(finished, rerun, tmp_path):
    run = RunDirectory(rerun(finished, tmp_path / "run", "flexibility", workers=2, images=NUMBERS, steps=8))
    for name in ("flexibility/test.json", "latent.csv", "poses.csv", "landscape.csv"):
        assert (run.path / name).read_bytes() == (finished / name).read_bytes()
    for path in sorted((finished / "volumes").glob("*.mrc")):
        assert (run.path / "volumes" / path.name).read_bytes()[1024:] == path.read_bytes()[1024:]


def test_model_of_larger_images_is_fitted_level_by_level_and_continued_after_the_last_one_done(
    finished, rerun, tmp_path, monkeypatch
):
    monkeypatch.setattr(schedules, "DEFORMATION", replace(QUICK, side=8, epochs=12, finer_epochs=4))
    monkeypatch.setattr(bodies, "BODIES", replace(bodies.BODIES, threshold=0.0))
    options = {"images": "0", "steps": 8}
    run = RunDirectory(rerun(finished, tmp_path / "run", "deformation", **options))
    first, latent = run.coarse_model, run.latent.path.read_bytes()
    assert files.read_weights(first)[1]["fitting"]["side"] == 8
    assert files.read_weights(run.model)[1]["fitting"]["side"] == 16
    model, poses = (str(path.relative_to(run.path)) for path in (run.model, run.poses.path))
    again = RunDirectory(rerun(run.path, tmp_path / "again", "score support", without=[model, poses], **options))
    assert again.latent.path.read_bytes() == latent
    assert again.coarse_model.stat().st_mtime_ns == first.stat().st_mtime_ns


@pytest.fixture(scope="module")
def mixture(tmp_path_factory) -> Path:
    """Forty images of one molecule and twenty of another."""
    main = blobs((2.5, -2, 0), (0, 0, 3), (-1.5, 3, 0), (-2, -1, -1), (1, 1, -2))
    other = blobs((4, 3, 0), (-4, 2, 2), (0, -4.5, 1), (1, 0, -4.5), (0, 2, 4.5), (-3, -3, -1))
    images = [
        project(volume, random_rotations(count, random_stream(0, count))) for volume, count in ((main, 40), (other, 20))
    ]
    path = tmp_path_factory.mktemp("mixture") / "images.mrcs"
    files.write_images(path, torch.cat(images).numpy(), None)
    return path


def test_images_of_a_second_molecule_get_a_consensus_of_their_own(mixture, run_with, tmp_path):
    run = RunDirectory(run_with(mixture, tmp_path / "run", images="0,50", steps=6, hand="flip", workers=1))
    assert run.first.class_2.exists()
    assert run.assigned.class_2.read_bytes() == run.first.class_2.read_bytes()
    in_class_2 = [pose.class_number == 2 for pose in run.poses.read()]
    assert sum(in_class_2[:40]) <= 1
    assert sum(in_class_2[40:]) >= 17
    assert fit_of(run, 50) > 0.98
    label = {row.image: row.label for row in run.reliability.read()}
    assert label[50] == "caution"


@pytest.fixture(scope="module")
def smooth(finished, rerun, tmp_path_factory) -> RunDirectory:
    """The same run, taken to deform smoothly however well rigid bodies explain the images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "BODIES", replace(bodies.BODIES, threshold=0.0))
        folder = tmp_path_factory.mktemp("smooth") / "run"
        return RunDirectory(rerun(finished, folder, "bodies", images=NUMBERS, steps=8))


def test_a_run_says_which_motion_it_has_and_by_which_residuals(finished, smooth):
    bodies, other = RunDirectory(finished).bodies_test.read(), smooth.bodies_test.read()
    assert (bodies.motion, other.motion) == ("bodies", "smooth")
    assert bodies.bodies_residual == other.bodies_residual < other.smooth_residual == bodies.smooth_residual
    assert min(row.residual_fraction for row in smooth.proposals.read()) > 0


def test_volumes_of_a_smooth_motion_are_refined(smooth):
    assert not smooth.body_rows.exists()
    for row in smooth.volume_rows.read():
        assert row.steps > 0
        assert row.view_residual > 0
    assert all(fit_of(smooth, number) > 0.98 for number in PICKED)


def test_volumes_of_bodies_are_those_of_the_model(finished):
    run = RunDirectory(finished)
    for row in run.volume_rows.read():
        assert (row.status, row.steps, row.start_weight, row.view_residual) == ("done", 0, 1.0, None)
        assert 0 < row.replicate_fsc < 1
        assert run.difference(row.image).exists()
        assert not run.convergence(row.image).path.exists()


def test_bodies_are_named_with_the_angle_of_every_image(finished):
    run = RunDirectory(finished)
    first, *others = run.body_rows.read()
    assert first.degrees is None
    assert sum(row.mass for row in (first, *others)) == pytest.approx(1.0, abs=1e-3)
    assert all(row.degrees > 0 or row.slide != 0 for row in others)
    rows = run.angles.read()
    assert [row.image for row in rows] == list(range(COUNT))
    assert all(len(row.angle) == len(row.standard_error) == len(others) for row in rows)
    assert np.mean([row.angle for row in rows], axis=0) == pytest.approx(np.zeros(len(others)), abs=1e-2)


def test_a_fit_of_bodies_that_was_stopped_continues_to_the_same_volumes(finished, rerun, tmp_path):
    run = RunDirectory(finished)
    assert run.finer_model(0).exists()
    without = [str(path.relative_to(run.path)) for path in (run.model, run.poses.path)]
    options = {"without": without, "images": NUMBERS, "steps": 8}
    again = rerun(run.path, tmp_path / "run", "score support", **options)
    for path in sorted((run.path / "volumes").glob("*.mrc")):
        assert (again / "volumes" / path.name).read_bytes()[1024:] == path.read_bytes()[1024:]
