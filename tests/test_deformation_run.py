"""A moving molecule, and a mixture, as a user runs them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.fourier import coordinates
from scoretomo.images import correlation, disc, shift
from scoretomo.pipeline import reliability, volumes
from scoretomo.pipeline.landscape import landscape_only
from scoretomo.presets import MOTION
from scoretomo.projection import project
from scoretomo.rotations import random_rotations, rotations_from_euler

NUMBERS = ",".join(map(str, range(0, 48, 3)))
OPTIONS = ("--images", NUMBERS, "--steps", 8)
ANGLES, SHIFTS = ("rot", "tilt", "psi"), ("shift_x", "shift_y")


def blobs(*centres: tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blobs, shape (16, 16, 16)."""
    points = coordinates(16, 3).movedim(0, -1)
    return torch.stack([torch.exp(-(points - torch.tensor(centre)).square().sum(-1) / 3) for centre in centres]).sum(0)


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> Path:
    """Images of a tripod, one foot of which moves."""
    rotations = random_rotations(48, random_stream(1, "poses"))
    volumes = [blobs((3.5, -3, 0), (0, 0, 3), (-1.5 + float(amount), 4, 0)) for amount in torch.linspace(-2.5, 2.5, 48)]
    path = tmp_path_factory.mktemp("moving") / "images.mrcs"
    files.write_images(path, torch.stack([project(v, r[None])[0] for v, r in zip(volumes, rotations, strict=True)]).numpy(), None)
    return path


@pytest.fixture(scope="module")
def finished(moving, run_with, tmp_path_factory) -> Path:
    return run_with(moving, tmp_path_factory.mktemp("run") / "run", images=NUMBERS, steps=8)


def test_a_moving_molecule_is_found_to_move(finished):
    (verdict,) = files.read_table(finished / "consensus" / "moves.csv")
    assert verdict["moves"] == "1"
    assert float(verdict["moving"]) < float(verdict["still"])
    assert float(verdict["evidence"]) > 0.05
    assert 0.05 < float(verdict["displacement"]) < 2.5 / 3**0.5  # the foot, a third of the mass, goes 2.5 pixels at most
    coordinates = files.read_table(finished / "motion.csv")
    assert [row["image"] for row in coordinates] == [str(number) for number in range(48)]
    assert "the molecule moves" in (finished / "report.html").read_text()
    assert not (finished / "mean.mrc").exists()


def test_each_motion_is_shown_from_one_end_to_the_other(finished):
    summary = files.read_json(finished / "landscape" / "summary.json")
    assert summary["motions"] is not None
    assert summary["motions"] >= 1
    assert len(summary["ways"]) == summary["motions"]
    assert 0.5 < max(way["distance"] for way in summary["ways"]) < 6  # the foot goes 5 pixels from end to end
    for motion in range(1, summary["motions"] + 1):
        frames = [files.read_map(path).density for path in sorted((finished / "landscape" / f"motion-{motion}").glob("*.mrc"))]
        assert len(frames) == 11
        apart = [float(np.linalg.norm(frame - frames[0])) for frame in frames]
        assert apart[-1] > 0.9 * max(apart) > 0
    page = (finished / "report.html").read_text()
    assert "Motion 1, 1 of 6" in page
    assert "What moves, seen along z" in page


def test_every_volume_says_how_far_it_can_be_trusted_and_what_its_image_shows(finished):
    rows = files.read_table(finished / "reliability.csv")
    assert [row["image"] for row in rows] == NUMBERS.split(",")
    motions = files.read_json(finished / "landscape" / "summary.json")["motions"]
    for row in rows:
        if row["word"] != "do not" or row["expected_fsc"]:
            assert 0 <= float(row["low"]) < float(row["expected_fsc"]) < float(row["high"]) <= 1
        assert row["reason"]
        shares = [float(row[f"motion_{k + 1}_seen"]) for k in range(motions)]
        assert all(0 <= share <= 1 for share in shares)


def test_of_larger_images_the_coarse_shells_are_judged(finished, tmp_path, monkeypatch):
    before = files.read_table(finished / "reliability.csv")
    assert {float(row["down_to"]) for row in before if row["expected_fsc"]} == {2.0}  # 16 pixels: 8 shells
    monkeypatch.setattr(reliability, "SIDE", 8)
    shutil.copytree(finished, tmp_path / "run")
    landscape_only(tmp_path / "run", umap=False)
    coarse = files.read_table(tmp_path / "run" / "reliability.csv")
    assert {float(row["down_to"]) for row in coarse if row["expected_fsc"]} == {4.0}
    assert any(row["expected_fsc"] for row in coarse)
    assert [row["expected_fsc"] for row in coarse] != [row["expected_fsc"] for row in before]


def test_volumes_start_from_their_conformations_and_fit_their_images_in_the_final_poses(finished):
    prepared = torch.from_numpy(files.read_images(finished / "images.mrcs").images)
    rows = {int(row["image"]): row for row in files.read_table(finished / "poses.csv")}
    for number in (0, 33):
        volume = torch.from_numpy(files.read_map(finished / "volumes" / f"{number:03d}.mrc").density)
        angles, moved = (torch.tensor([float(rows[number][name]) for name in names]) for names in (ANGLES, SHIFTS))
        view = shift(project(volume, rotations_from_euler(angles)[None]), moved[None])[0]
        assert float(correlation(view, prepared[number], disc(16))) > 0.98


def test_one_worker_learns_the_same_motion(finished, moving, tmp_path, command):
    assert command("run", moving, "--output", tmp_path / "run", *OPTIONS, "--workers", 1)[0] == 0
    for name in ("motion.csv", "poses.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()
    for path in sorted((finished / "volumes").glob("*.mrc")):
        assert (tmp_path / "run" / "volumes" / path.name).read_bytes()[1024:] == path.read_bytes()[1024:]


def test_larger_images_teach_the_motion_level_by_level_and_it_goes_on_from_the_last_one_done(
    moving, run_with, tmp_path, monkeypatch
):
    monkeypatch.setattr(volumes, "MOTION", replace(MOTION, side=8, epochs=240, finer_epochs=20))
    run = run_with(moving, tmp_path / "run", images="0", steps=60, workers=1)
    first, learned = run / "consensus" / "motion-0.safetensors", (run / "motion.csv").read_bytes()
    assert files.read_weights(first)[1]["fitting"]["side"] == 8
    assert files.read_weights(run / "consensus" / "motion.safetensors")[1]["fitting"]["side"] == 16
    written = first.stat().st_mtime_ns
    for name in ("consensus/motion.safetensors", "poses.csv", "motion.csv", "volumes.star", "volumes/000.mrc"):
        (run / name).unlink()
    run_with(moving, run, images="0", steps=60, workers=1)
    assert (run / "motion.csv").read_bytes() == learned
    assert first.stat().st_mtime_ns == written


@pytest.fixture(scope="module")
def mixture(tmp_path_factory) -> Path:
    """Sixty images of one molecule and thirty of another."""
    main = blobs((2.5, -2, 0), (0, 0, 3), (-1.5, 3, 0), (-2, -1, -1), (1, 1, -2))
    other = blobs((4, 3, 0), (-4, 2, 2), (0, -4.5, 1), (1, 0, -4.5), (0, 2, 4.5), (-3, -3, -1))
    images = [project(volume, random_rotations(count, random_stream(0, count))) for volume, count in ((main, 60), (other, 30))]
    path = tmp_path_factory.mktemp("mixture") / "images.mrcs"
    files.write_images(path, torch.cat(images).numpy(), None)
    return path


def test_outliers_that_show_one_other_thing_get_a_consensus_of_their_own(mixture, tmp_path, command):
    run = tmp_path / "run"
    code, said = command("run", mixture, "--output", run, "--images", "0,70", "--steps", 6, "--hand", "flip", "--workers", 1)
    assert code == 0, said
    assert "show a second molecule" in said
    rows = files.read_table(run / "poses.csv")
    assert sum(row["second"] == "1" for row in rows[:60]) <= 1
    assert sum(row["second"] == "1" for row in rows[60:]) >= 26
    assert "Second consensus" in (run / "report.html").read_text()
    prepared = torch.from_numpy(files.read_images(run / "images.mrcs").images)
    volume = torch.from_numpy(files.read_map(run / "volumes" / "070.mrc").density)
    angles, moved = (torch.tensor([float(rows[70][name]) for name in names]) for names in (ANGLES, SHIFTS))
    view = shift(project(volume, rotations_from_euler(angles)[None]), moved[None])[0]
    assert float(correlation(view, prepared[70], disc(16))) > 0.98
