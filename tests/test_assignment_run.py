"""A molecule that does not move, as a user runs it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.consensus.hard_assignment import assign_hard
from scoretomo.consensus import Consensus
from scoretomo.consensus import Iteration
from scoretomo.evaluation import compare
from scoretomo.fourier import coordinates
from scoretomo.pipeline.assignment import Asked, ask
from scoretomo.pipeline.images import read_prepared
from scoretomo.presets import REFINEMENTS
from scoretomo.projection import project
from scoretomo.rotations import random_rotations
from scoretomo.rundir.directory import RunDirectory

NUMBERS = "0,9,18,27"
OPTIONS = ("--images", NUMBERS, "--steps", 8)


def blobs() -> torch.Tensor:
    """Small Gaussian blobs, shape (16, 16, 16)."""
    points = coordinates(16, 3).movedim(0, -1)
    centres = ((3.5, -3, 0), (0, 0, 3), (-1.5, 4, 0), (-4, -2, 1), (2, 3, -3), (-2, -1, -4), (4, 1, 2), (-3, 2, -2))
    return torch.stack([torch.exp(-(points - torch.tensor(centre)).square().sum(-1) / 1.5) for centre in centres]).sum(0)


def images_of(volume: torch.Tensor, path: Path, *, noise: float) -> Path:
    """Projections with white noise, in standard deviations of all pixels."""
    views = project(volume, random_rotations(60, random_stream(1, "poses")))
    views += noise * views.std() * torch.randn(views.shape, generator=random_stream(1, "noise"))
    files.write_images(path, views.numpy(), None)
    return path


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Path:
    return images_of(blobs(), tmp_path_factory.mktemp("noisy") / "images.mrcs", noise=0.6)


@pytest.fixture(scope="module")
def finished(noisy, run_with, tmp_path_factory) -> Path:
    return run_with(noisy, tmp_path_factory.mktemp("run") / "run", images=NUMBERS, steps=8)


def density(path: Path) -> torch.Tensor:
    return torch.from_numpy(files.read_map(path).density)


def without_volumes(run: Path) -> Path:
    """The same run before its volumes were made."""
    for name in ("volumes.csv", "volumes.star", "mean.mrc", "report.html"):
        (run / name).unlink()
    shutil.rmtree(run / "volumes")
    return run


def test_noisy_images_ask_for_soft_poses_and_these_make_a_better_consensus(finished):
    assert files.read_table(finished / "consensus" / "moves.csv")[0]["moves"] == "0"
    (row,) = files.read_table(finished / "consensus" / "softness.csv")
    assert row["softer"] == "1"
    assert float(row["soft"]) < 0.98 * float(row["single"])
    assert float(row["standard_errors"]) > 4
    (best,) = (finished / "consensus").glob("start-*-in-detail.safetensors")
    before = torch.from_numpy(files.read_weights(best)[0]["settled"])
    after = density(finished / "consensus.mrc")
    assert compare(after, blobs()).mean_fsc > compare(before, blobs()).mean_fsc


def test_images_without_noise_keep_their_single_poses(run_with, tmp_path):
    run = run_with(images_of(blobs(), tmp_path / "images.mrcs", noise=0.0), tmp_path / "run", images=NUMBERS, steps=8)
    assert files.read_table(run / "consensus" / "moves.csv")[0]["moves"] == "0"
    (row,) = files.read_table(run / "consensus" / "softness.csv")
    assert row["softer"] == "0"
    assert float(row["single"]) < float(row["soft"])
    assert not (run / "consensus" / "soft.safetensors").exists()
    assert compare(density(run / "consensus.mrc"), blobs()).mean_fsc > 0.98


def test_volumes_keep_most_of_the_consensus(finished, noisy, run_with, tmp_path, monkeypatch):
    kept, ends = REFINEMENTS["rigid"].kept, []
    for share in (0.0, 0.5):
        run = without_volumes(shutil.copytree(finished, tmp_path / f"run-{share}"))
        monkeypatch.setitem(REFINEMENTS, "rigid", replace(REFINEMENTS["rigid"], kept=share))
        ends.append(run_with(noisy, run, workers=1, images=NUMBERS, steps=8))
    assert {float(row["kept"]) for row in files.read_table(finished / "volumes.csv")} == {kept}
    for path in sorted((finished / "volumes").glob("*.mrc")):
        refined, half = (density(run / "volumes" / path.name) for run in ends)
        assert float((refined - half).norm()) > 0.05 * float(half.norm())
        torch.testing.assert_close(density(path), torch.lerp(refined, half, kept / 0.5), rtol=0, atol=1e-5 * float(half.max()))
    page = (finished / "report.html").read_text()
    assert "75 % of each is the consensus" in page
    assert "explained better by a consensus that weighs many poses" in page


@pytest.mark.parametrize("written", [True, False], ids=["after the soft consensus was written", "before all, and on one worker"])
def test_begun_again_it_comes_to_the_same(finished, noisy, tmp_path, command, written):
    run = without_volumes(shutil.copytree(finished, tmp_path / "run"))
    (run / "poses.csv").unlink()
    if not written:
        shutil.rmtree(run / "consensus")
        (run / "consensus.mrc").unlink()
    assert command("run", noisy, "--output", run, *OPTIONS, "--workers", 1)[0] == 0
    for name in ("consensus/softness.csv", "consensus/poses.csv", "poses.csv", "consensus/summary.csv"):
        assert (run / name).read_bytes() == (finished / name).read_bytes()
    np.testing.assert_array_equal(density(run / "consensus.mrc"), density(finished / "consensus.mrc"))


def test_images_that_are_asked_do_not_teach(finished, tmp_path):
    run = RunDirectory(shutil.copytree(finished, tmp_path / "run"))
    asked = [int(row["image"]) for row in files.read_table(run.asked_about("soft"))]
    teaching = torch.tensor([number for number in range(60) if number not in asked])
    assert len(asked) == 12
    seen: list[torch.Tensor] = []

    def remembered(images: torch.Tensor, last: Iteration, **more: object) -> Consensus:
        seen.append(images)
        return assign_hard(images, last, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scoretomo.pipeline.assignment.settle", remembered)
        assert sum(ask(Asked(run.path, 0, soft=True))) == 20
    prepared = read_prepared(run.images)
    torch.testing.assert_close(seen[0].sum(0), (prepared.images / prepared.s)[teaching].sum(0))
