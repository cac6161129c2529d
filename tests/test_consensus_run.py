"""The ensemble method as a user runs it: one frame, poses, the same volumes with any number of workers."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scoretomo import files
from scoretomo.consensus import Consensus
from scoretomo.consensus.cross_validation import cross_validate
from scoretomo.consensus.hard_assignment import best_poses
from scoretomo.consensus.mixture import MIXTURE
from scoretomo.consensus.starts import STARTS
from scoretomo.fourier import fourier_shell_correlation, mean_fsc
from scoretomo.images import correlation, disc, shift
from scoretomo.pipeline import consensus
from scoretomo.pipeline.consensus import assign_classes, in_other_hand
from scoretomo.pipeline.images import read_prepared
from scoretomo.pipeline.posed import Assigned, read_consensus, write_consensus
from scoretomo.presets import REFINEMENTS
from scoretomo.projection import mirror, project, rotate
from scoretomo.reconstruction.least_squares import posed_map
from scoretomo.rotations import point_group
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.poses import rotations_of
from scoretomo.rundir.rows import PoseRow

pytestmark = pytest.mark.slow
NUMBERS = (0, 2, 4, 6, 8, 10)
OPTIONS = ("--images", ",".join(map(str, NUMBERS)), "--steps", 5)


def volumes(run: Path) -> list[bytes]:
    return [path.read_bytes()[1024:] for path in sorted((run / "volumes").glob("*.mrc"))]


def density(path: Path) -> torch.Tensor:
    return torch.from_numpy(files.read_map(path).density)


def view_in(pose: PoseRow, volume: torch.Tensor) -> torch.Tensor:
    """What the image of a pose should show."""
    moved = torch.tensor([[pose.shift_x, pose.shift_y]])
    return shift(project(volume, rotations_of([pose]).float()), moved)[0]


@pytest.fixture(scope="module")
def finished(six_volumes) -> Path:
    return six_volumes


def test_every_image_is_a_view_of_its_volume_in_its_pose(finished):
    run = RunDirectory(finished)
    prepared = torch.from_numpy(files.read_images(run.images).images)
    poses = run.poses.read()
    assert [pose.image for pose in poses] == list(range(20))
    for number in NUMBERS:
        view = view_in(poses[number], density(run.volume(number)))
        assert float(correlation(view, prepared[number], disc(16))) > 0.98


def test_consensus_explains_the_images_and_its_starts_are_compared(finished):
    run = RunDirectory(finished)
    assert sum(pose.correlation for pose in run.poses.read()) / 20 > 0.97
    starts = run.starts.read()
    assert [start.start for start in starts] == [0, 1, 2, 3]
    assert max(start.fsc for start in starts) == 1.0
    assert run.assigned.volume.exists()


def test_molecule_without_a_deformation_model_gets_the_mean_of_its_volumes(finished):
    run = RunDirectory(finished)
    own, mean = [density(run.volume(number)) for number in NUMBERS], density(run.mean)
    torch.testing.assert_close(mean, torch.stack(own).mean(0), rtol=1e-5, atol=1e-5 * float(mean.abs().max()))
    assert "mean.mrc" in run.report.read_text()


def test_star_file_has_the_final_poses(finished):
    run = RunDirectory(finished)
    pose = run.poses.read()[2]
    line = next(line for line in run.volumes_star.read_text().splitlines() if line.startswith("000003@"))
    expected = [pose.rot, pose.tilt, pose.psi, -pose.shift_x, -pose.shift_y]
    assert [float(value) for value in line.split()[2:7]] == pytest.approx(expected, abs=1e-4)


def test_replicate_fsc_of_each_volume_is_written(finished):
    for row in RunDirectory(finished).volume_rows.read():
        assert row.start_weight == 0  # twenty images of a molecule without symmetry
        assert 0.3 < row.replicate_fsc <= 1


def test_other_hand_is_the_mirror_image(finished, rerun, tmp_path):
    poses = str(RunDirectory(finished).first.poses.path.relative_to(finished))
    options = {"hand": "flip", "images": "0", "steps": 5}
    flipped = RunDirectory(rerun(finished, tmp_path / "run", "flexibility", without=[poses], **options))
    before, after = density(RunDirectory(finished).assigned.volume), density(flipped.assigned.volume)
    torch.testing.assert_close(after, mirror(before), rtol=0, atol=1e-5 * float(before.abs().max()))
    first, second = density(RunDirectory(finished).volume(0)), density(flipped.volume(0))
    mirrored, same = (float(mean_fsc(fourier_shell_correlation(second, other))) for other in (mirror(first), first))
    assert mirrored > same


@pytest.fixture
def one_start(monkeypatch) -> None:
    """One random start is enough where none is compared with another."""
    monkeypatch.setattr(consensus, "STARTS", replace(STARTS, count=1))


@pytest.mark.usefixtures("one_start")
def test_symmetry_holds_for_every_volume(box, tmp_path, run_with):
    run = RunDirectory(run_with(box, tmp_path / "run", workers=1, symmetry="c2", images="0", steps=20))
    for path in (run.assigned.volume, run.volume(0)):
        volume = density(path)
        turned = rotate(volume, point_group("C2")[1].float())
        assert float(fourier_shell_correlation(turned, volume)[1:6].mean()) > 0.97
    (row,) = run.volume_rows.read()  # twenty images of forty slices
    assert row.start_weight == REFINEMENTS["symmetric"].start_weight


@pytest.mark.usefixtures("one_start")
def test_two_images_are_enough(box, tmp_path, command):
    options = ("--select", "3,8", "--steps", 5, "--workers", 1)
    code, said = command("run", box, "--output", tmp_path / "run", *options)
    assert code == 0, said
    assert len(volumes(tmp_path / "run")) == 2


def test_run_killed_during_the_consensus_continues_to_the_same_volumes_with_one_worker(
    finished, box, tmp_path, command
):
    """Then a volume that is deleted is made again, and nothing before it."""
    run = RunDirectory(tmp_path / "run")
    again = ("run", box, "--output", run.path, *OPTIONS, "--workers", 1)
    process = subprocess.Popen([sys.executable, "-m", "scoretomo.cli", *map(str, again)], stdout=subprocess.DEVNULL)
    while not list(run.path.glob("consensus/start-*.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not run.first.poses.exists()
    assert command(*again)[0] == 0
    assert volumes(run.path) == volumes(finished)
    poses = run.poses.path.stat().st_mtime_ns
    run.volume(2).unlink()
    assert command(*again)[0] == 0
    assert volumes(run.path) == volumes(finished)
    assert run.poses.path.stat().st_mtime_ns == poses


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_of_a_mixture_has_a_pose_in_the_consensus_that_explains_it(finished, tmp_path, flip):
    """A second consensus of some images of one molecule stands for that of another one."""
    count, device = 6, torch.device("cpu")
    run = RunDirectory(shutil.copytree(finished, tmp_path / "run"))
    prepared = read_prepared(run.images)
    images = prepared.images / prepared.s
    posed = read_consensus(run.first, prepared, prepared.numbers, device)
    validation = cross_validate(images, posed.poses)
    alone = Assigned(Consensus(posed.volumes[0], posed.poses), None, posed.outliers, posed.in_class_2, validation)
    centred = shift(images, -posed.poses.shifts)[:count]
    volume = posed_map(centred, posed.poses.rotations[:count])
    second = Consensus(volume, best_poses(volume, images, posed.poses.shifts))
    assert assign_classes(images, alone, second, criteria=replace(MIXTURE, fewest=21)) is None
    assigned = assign_classes(images, alone, second, criteria=replace(MIXTURE, fewest=1))
    write_consensus(run.first, prepared, in_other_hand(assigned) if flip else assigned, symmetry="C1")
    consensus_volumes = {1: density(run.first.volume), 2: density(run.first.class_2)}
    poses = run.first.poses.read()
    in_class_2 = [pose.class_number == 2 for pose in poses]
    assert sum(in_class_2[:count]) > sum(in_class_2[count:])
    assert not all(in_class_2)
    for pose, image in zip(poses, prepared.images, strict=True):
        view = view_in(pose, consensus_volumes[pose.class_number])
        assert float(correlation(view, image, disc(16))) == pytest.approx(pose.correlation, abs=0.01)
