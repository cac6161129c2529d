"""A rigid molecule as a user runs it: hard or soft assignment, volumes that are mostly the consensus."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.config import ImportRequest, ReconstructSettings, RunRequest
from scoretomo.consensus import Consensus, Iteration
from scoretomo.consensus.cross_validation import ASSIGNMENT, cross_validate
from scoretomo.consensus.hard_assignment import assign_hard
from scoretomo.deformation.flexibility import FLEXIBILITY
from scoretomo.evaluation import compare
from scoretomo.fourier import coordinates
from scoretomo.matching import Poses, refine
from scoretomo.monitor.time_estimate import TimeEstimate
from scoretomo.pipeline import STAGES, assignment, schedules
from scoretomo.pipeline.images import prepare_images, read_prepared
from scoretomo.pipeline.job import Job
from scoretomo.pipeline.posed import Assigned, write_consensus
from scoretomo.pipeline.runner import run_stages
from scoretomo.presets import DEFORMATION, REFINEMENTS
from scoretomo.projection import project
from scoretomo.rotations import random_rotations
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.requests import record_of_run
from scoretomo.rundir.rows import FlexibilityTest, StartRow

pytestmark = pytest.mark.slow
COUNT = 60
NUMBERS = "0,9,18,27"
TRUE_ROTATIONS = random_rotations(COUNT, random_stream(1, "poses"))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few epochs are enough where nothing moves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules, "DEFORMATION", replace(DEFORMATION, epochs=60))
        yield


def blobs() -> torch.Tensor:
    """Small Gaussian blobs, shape (16, 16, 16)."""
    points = coordinates(16, 3).movedim(0, -1)
    centres = ((3.5, -3, 0), (0, 0, 3), (-1.5, 4, 0), (-4, -2, 1), (2, 3, -3), (-2, -1, -4), (4, 1, 2), (-3, 2, -2))
    return torch.stack([torch.exp(-(points - torch.tensor(centre)).square().sum(-1) / 1.5) for centre in centres]).sum(
        0
    )


def images_of(volume: torch.Tensor, path: Path, *, noise: float) -> Path:
    """Projections with white noise, in standard deviations of all pixels."""
    views = project(volume, TRUE_ROTATIONS)
    views += noise * views.std() * torch.randn(views.shape, generator=random_stream(1, "noise"))
    files.write_images(path, views.numpy(), None)
    return path


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Path:
    return images_of(blobs(), tmp_path_factory.mktemp("noisy") / "images.mrcs", noise=0.6)


@pytest.fixture(scope="module")
def finished(noisy, run_with, tmp_path_factory) -> Path:
    return run_with(noisy, tmp_path_factory.mktemp("run") / "run", workers=1, images=NUMBERS, steps=8)


def density(path: Path) -> torch.Tensor:
    return torch.from_numpy(files.read_map(path).density)


def test_noisy_images_are_assigned_softly_and_the_consensus_is_better(finished):
    run = RunDirectory(finished)
    assert run.flexibility.read().verdict == "rigid"
    test = run.assignment.read()
    assert test.soft
    assert 1 - test.soft_correlation < ASSIGNMENT.ratio * (1 - test.hard_correlation)
    assert test.standard_errors > ASSIGNMENT.standard_errors
    before, after = density(run.first.volume), density(run.assigned.volume)
    assert compare(after, blobs()).mean_fsc > compare(before, blobs()).mean_fsc


def begun_with_the_truth(stack: Path, run: RunDirectory) -> Job:
    """Let a run begin, its consensus be the true volume, and its molecule be rigid; its job."""
    settings = ReconstructSettings(images=NUMBERS, steps=8)
    request = RunRequest(ImportRequest(stack), run.path, settings)
    job = Job(request.images, settings, request.training, record_of_run(request), 1, TimeEstimate({}))
    prepare_images(run, job)
    prepared = read_prepared(run.images)
    images = prepared.images / prepared.s
    volume = blobs() / prepared.s
    poses = refine(volume, images, Poses(TRUE_ROTATIONS, torch.zeros(COUNT, 2), torch.ones(COUNT)))
    none = torch.zeros(COUNT, dtype=torch.bool)
    truth = Assigned(Consensus(volume, poses), None, none, none, cross_validate(images, poses))
    write_consensus(run.first, prepared, truth, symmetry="C1")
    run.starts.write([StartRow(0, float(poses.correlations.mean()), 1.0, True)])
    run.flexibility.write(FlexibilityTest(0.01, 0.01, 0.0, 0.0, FLEXIBILITY.threshold, "rigid"))
    return job


def test_images_without_noise_are_assigned_hard_and_the_consensus_stays(tmp_path):
    run = RunDirectory(tmp_path / "run")
    job = begun_with_the_truth(images_of(blobs(), tmp_path / "images.mrcs", noise=0.0), run)
    run_stages(run, job, STAGES)
    test = run.assignment.read()
    assert not test.soft
    assert test.hard_correlation > test.soft_correlation
    assert not run.soft.exists()
    assert run.assigned.volume.read_bytes() == run.first.volume.read_bytes()
    assert run.assigned.poses.read() == run.first.poses.read() == run.poses.read()
    assert compare(density(run.assigned.volume), blobs()).mean_fsc > 0.98


def test_volumes_of_a_rigid_molecule_have_the_start_weight_of_the_consensus(finished, rerun, tmp_path, monkeypatch):
    weight, ends = REFINEMENTS["rigid"].start_weight, []
    for share in (0.0, 0.5):
        monkeypatch.setitem(REFINEMENTS, "rigid", replace(REFINEMENTS["rigid"], start_weight=share))
        ends.append(rerun(finished, tmp_path / f"run-{share}", "volumes", images=NUMBERS, steps=8))
    assert {row.start_weight for row in RunDirectory(finished).volume_rows.read()} == {weight}
    for path in sorted((finished / "volumes").glob("*.mrc")):
        refined, half = (density(run / "volumes" / path.name) for run in ends)
        assert float((refined - half).norm()) > 0.05 * float(half.norm())
        expected = torch.lerp(refined, half, weight / 0.5)
        torch.testing.assert_close(density(path), expected, rtol=0, atol=1e-5 * float(half.max()))


@pytest.mark.parametrize("stage", ["assignment", "deformation"])
def test_run_continued_comes_to_the_same_with_two_workers(finished, rerun, tmp_path, stage):
    run = RunDirectory(rerun(finished, tmp_path / "run", stage, workers=2, images=NUMBERS, steps=8))
    for name in ("assignment/test.json", "assignment/poses.csv", "poses.csv", "assignment/summary.json"):
        assert (run.path / name).read_bytes() == (finished / name).read_bytes()
    np.testing.assert_array_equal(density(run.assigned.volume), density(RunDirectory(finished).assigned.volume))


def test_held_out_images_have_no_part_in_the_consensus_that_they_are_compared_with(finished, tmp_path, monkeypatch):
    run = RunDirectory(shutil.copytree(finished, tmp_path / "run"))
    held_out = [row.image for row in run.soft_trial.read()]
    training = torch.tensor([number for number in range(COUNT) if number not in held_out])
    assert len(held_out) == COUNT // ASSIGNMENT.folds
    given: list[torch.Tensor] = []

    def remembered(images: torch.Tensor, last: Iteration, **more: object) -> Consensus:
        given.append(images)
        return assign_hard(images, last, **more)

    monkeypatch.setattr(assignment, "assign_hard", remembered)
    steps: Iterator[int] = assignment.try_assignment(assignment.Trial(run.path, 0, soft=True))
    assert sum(steps) == 20
    prepared = read_prepared(run.images)
    torch.testing.assert_close(given[0].sum(0), (prepared.images / prepared.s)[training].sum(0))
