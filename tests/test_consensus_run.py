"""The ensemble method as a user runs it: one frame, poses, the same volumes with any number of workers."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from scoretomo import files
from scoretomo.consensus.hard_assignment import best_poses
from scoretomo.consensus import Consensus
from scoretomo.fourier import fourier_shell_correlation, mean_fsc
from scoretomo.images import correlation, disc, shift
from scoretomo.monitor.time_estimate import Outlook
from scoretomo.pipeline.consensus import find_consensus
from scoretomo.presets import REFINEMENTS
from scoretomo.projection import mirror, project, rotate
from scoretomo.reconstruction.least_squares import posed_map
from scoretomo.rotations import point_group, rotations_from_euler
from scoretomo.rundir.directory import RunDirectory

OPTIONS = ("--images", "0,3", "--steps", 5)
ANGLES, SHIFTS = ("rot", "tilt", "psi"), ("shift_x", "shift_y")


def volumes(run: Path) -> list[bytes]:
    return [path.read_bytes()[1024:] for path in sorted((run / "volumes").glob("*.mrc"))]


@pytest.fixture(scope="module")
def finished(box, run_with, tmp_path_factory) -> Path:
    torch.set_num_threads(2)  # as of a user's process: it must not show in the result
    return run_with(box, tmp_path_factory.mktemp("run") / "run", images="0,3", steps=5)


def test_every_image_is_a_view_of_its_volume_in_its_pose(finished):
    prepared = torch.from_numpy(files.read_images(finished / "images.mrcs").images)
    rows = {int(row["image"]): row for row in files.read_table(finished / "poses.csv")}
    assert sorted(rows) == list(range(20))
    for number in (0, 3):
        volume = torch.from_numpy(files.read_map(finished / "volumes" / f"{number:03d}.mrc").density)
        angles = torch.tensor([float(rows[number][name]) for name in ANGLES])
        moved = torch.tensor([[float(rows[number][name]) for name in SHIFTS]])
        view = shift(project(volume, rotations_from_euler(angles)[None]), moved)[0]
        assert float(correlation(view, prepared[number], disc(16))) > 0.98


def test_consensus_covers_the_images_and_says_how_its_starts_did(finished):
    correlations = [float(row["correlation"]) for row in files.read_table(finished / "poses.csv")]
    assert sum(correlations) / 20 > 0.97
    starts = files.read_table(finished / "consensus" / "starts.csv")
    assert [row["start"] for row in starts] == ["0", "1", "2", "3"]
    assert max(float(row["agreement"]) for row in starts) == 1.0
    assert (finished / "consensus.mrc").exists()


def test_a_molecule_that_does_not_move_gets_the_mean_of_its_volumes(finished):
    volumes = [torch.from_numpy(files.read_map(path).density) for path in sorted((finished / "volumes").glob("*.mrc"))]
    mean = torch.from_numpy(files.read_map(finished / "mean.mrc").density)
    assert len(volumes) == 2
    torch.testing.assert_close(mean, torch.stack(volumes).mean(0), rtol=1e-5, atol=1e-5 * float(mean.abs().max()))
    assert "mean.mrc" in (finished / "report.html").read_text()


def test_poses_are_in_the_star_file(finished):
    text = (finished / "volumes.star").read_text()
    row = next(row for row in files.read_table(finished / "poses.csv") if row["image"] == "3")
    line = next(line for line in text.splitlines() if line.startswith("000004@"))
    assert [float(value) for value in line.split()[2:7]] == pytest.approx(
        [float(row[name]) for name in ("rot", "tilt", "psi")] + [-float(row[name]) for name in ("shift_x", "shift_y")], abs=1e-4
    )


def test_what_is_there_is_not_found_again_and_one_worker_finds_the_same(finished, box, tmp_path, command):
    other = tmp_path / "run"
    assert command("run", box, "--output", other, *OPTIONS, "--workers", 1)[0] == 0
    assert volumes(other) == volumes(finished)
    poses = (other / "poses.csv").stat().st_mtime_ns
    before = volumes(other)
    (other / "volumes" / "003.mrc").unlink()
    assert command("run", box, "--output", other, *OPTIONS, "--workers", 1)[0] == 0
    assert volumes(other) == before
    assert (other / "poses.csv").stat().st_mtime_ns == poses


def test_report_shows_views_in_the_common_frame(finished):
    page = (finished / "report.html").read_text()
    assert "f(V, R)" in page
    assert "All volumes are in one frame" in page
    assert 'id="consensus"' in page
    assert "found from 4 random starts" in page
    assert "mean FSC of replicas" in page


def test_how_replicas_agree_is_written(finished):
    for row in files.read_table(finished / "volumes.csv"):
        assert float(row["kept"]) == 0  # twenty images of a molecule without symmetry
        assert 0.3 < float(row["replica_fsc"]) <= 1


def test_the_other_hand_is_the_mirror_image(finished, box, tmp_path, command):
    assert command("run", box, "--output", tmp_path / "run", "--hand", "flip", "--images", 0, "--steps", 5, "--workers", 1)[0] == 0
    found, flipped = (torch.from_numpy(files.read_map(run / "consensus.mrc").density) for run in (finished, tmp_path / "run"))
    torch.testing.assert_close(flipped, mirror(found), rtol=0, atol=1e-5 * float(found.abs().max()))
    first, second = (torch.from_numpy(files.read_map(run / "volumes" / "000.mrc").density) for run in (finished, tmp_path / "run"))
    curves = [fourier_shell_correlation(second, other) for other in (mirror(first), first)]
    assert float(mean_fsc(curves[0])) > float(mean_fsc(curves[1]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--symmetry", "D"), "is no point group"),
        (("--symmetry", "D2", "--method", "paper"), "leave them out"),
        (("--hand", "flip", "--method", "annealed"), "leave them out"),
    ],
)
def test_symmetries_and_hands_that_make_no_sense_are_refused(box, tmp_path, command, options, says):
    code, said = command("run", box, "--output", tmp_path / "run", *options)
    assert code == 2
    assert says in said
    assert not (tmp_path / "run").exists()


def test_a_symmetry_holds_for_every_volume(box, tmp_path, command):
    run = tmp_path / "run"
    assert command("run", box, "--output", run, "--symmetry", "c2", "--images", 0, "--steps", 20, "--workers", 2)[0] == 0
    for path in (run / "consensus.mrc", run / "volumes" / "000.mrc"):
        volume = torch.from_numpy(files.read_map(path).density)
        turned = rotate(volume, point_group("C2")[1].float())
        assert float(fourier_shell_correlation(turned, volume)[1:6].mean()) > 0.97
    (row,) = files.read_table(run / "volumes.csv")  # twenty images of forty slices
    assert float(row["kept"]) == REFINEMENTS["symmetric"].kept
    page = (run / "report.html").read_text()
    assert "with its symmetry they leave no gaps between their slices: 75 % of each volume" in page
    assert "Each volume kept 75 % of the consensus." in page


def test_two_images_are_enough(box, tmp_path, command):
    options = ("--select", "3,8", "--symmetry", "auto", "--steps", 5, "--workers", 1)
    code, said = command("run", box, "--output", tmp_path / "run", *options)
    assert code == 0, said
    assert len(volumes(tmp_path / "run")) == 2


def test_a_run_killed_during_the_consensus_continues_to_the_same_volumes(finished, box, tmp_path, command):
    run = tmp_path / "run"
    arguments = [
        sys.executable,
        "-m",
        "scoretomo.cli",
        "run",
        str(box),
        "--output",
        str(run),
        *map(str, OPTIONS),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    while not list(run.glob("consensus/start-*.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "poses.csv").exists()
    assert command("run", box, "--output", run, *OPTIONS, "--workers", 1)[0] == 0
    assert volumes(run) == volumes(finished)


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_of_a_mixture_stands_in_the_consensus_that_explains_it(finished, tmp_path, monkeypatch, flip):
    count = 6
    run = RunDirectory(shutil.copytree(finished, tmp_path / "run"))
    run.poses.unlink()
    run.consensus_poses.unlink()

    def of_some(_: RunDirectory, images: torch.Tensor, found: Consensus, *rest: object) -> Consensus:
        volume = posed_map(images[:count], found.poses.rotations[:count])
        return Consensus(volume, best_poses(volume, images, found.poses.shifts))

    monkeypatch.setattr("scoretomo.pipeline.consensus._second_consensus", of_some)
    monkeypatch.setattr("scoretomo.pipeline.consensus._FEWEST_SECOND", 1)
    find_consensus(run, 0, "C1", Outlook({}), flip=flip, workers=1)
    consensuses = [torch.from_numpy(files.read_map(path).density) for path in (run.consensus, run.second_consensus)]
    prepared = torch.from_numpy(files.read_images(run.images).images)
    rows = files.read_table(run.consensus_poses)
    shown = [row["second"] == "1" for row in rows]
    assert sum(shown[:count]) > sum(shown[count:])
    assert not all(shown)
    for row, image in zip(rows, prepared, strict=True):
        rotation, moved = (torch.tensor([float(row[name]) for name in names]) for names in (ANGLES, SHIFTS))
        view = shift(project(consensuses[int(row["second"])], rotations_from_euler(rotation)[None]), moved[None])[0]
        assert float(correlation(view, image, disc(16))) == pytest.approx(float(row["correlation"]), abs=0.01)
