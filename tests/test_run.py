"""Whole runs as a user makes them: simulate, run, evaluate, report; stopped, continued, refused."""

import errno
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from test_bad_input import CASES

from scoretomo import files
from scoretomo.commands.simulate import Plan, simulate_object
from scoretomo.config import ObjectSettings, RealismSettings, SimulateSettings
from scoretomo.deformation.flexibility import FLEXIBILITY
from scoretomo.images import correlation, disc
from scoretomo.pipeline import volumes as stage
from scoretomo.presets import PRESETS
from scoretomo.projection import project
from scoretomo.rotations import rotations_from_euler
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.heartbeat import Activity
from scoretomo.rundir.rows import VolumeRow

SIZE = 16
STEPS = ("--method", "annealed", "--steps", "40")  # a rough result is enough here


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated stack with its truths."""
    folder = tmp_path_factory.mktemp("data") / "box"
    settings = SimulateSettings(images=9, size=SIZE)
    simulate_object(Plan("box", settings, ObjectSettings(), RealismSettings()), folder, workers=1, force=False)
    return folder


@pytest.fixture(scope="module")
def finished(box: Path, run_with, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of five of the images, with two workers."""
    run = tmp_path_factory.mktemp("runs") / "run"
    return run_with(box / "images.mrcs", run, images="0-4", method="annealed", steps=40)


def volumes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "volumes").iterdir())}


def content_of(folder: Path) -> dict[Path, bytes]:
    """All files of a folder, but for the heartbeat of a run."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "progress.json")
    return {path: path.read_bytes() for path in paths}


@pytest.mark.slow
class TestFinishedRun:
    def test_has_a_volume_for_each_image(self, finished):
        assert list(volumes(finished)) == [f"{number:03d}.mrc" for number in range(5)]
        assert [row.status for row in RunDirectory(finished).volume_rows.read()] == ["done"] * 5

    def test_views_of_volumes_are_their_images(self, finished):
        images = torch.from_numpy(files.read_images(finished / "images.mrcs").images)
        for number in range(5):
            volume = torch.from_numpy(files.read_map(finished / "volumes" / f"{number:03d}.mrc").density)
            view = project(volume, torch.eye(3)[None])[0]
            assert correlation(view, images[number], disc(SIZE)) > 0.9

    def test_star_file_names_images_volumes_and_poses(self, finished):
        block = gemmi.cif.read(str(finished / "volumes.star")).find_block("particles")
        table = block.find("_rln", ["ImageName", "ReferenceImage", "AngleRot", "AngleTilt", "AnglePsi"])
        assert len(table) == 5
        for number, row in enumerate(table):
            place, stack = row[0].split("@")
            assert files.read_images(finished / stack).images[int(place) - 1].shape == (SIZE, SIZE)
            assert (finished / row[1]).exists()
            assert int(place) == number + 1
            angles = torch.tensor([float(value) for value in (row[2], row[3], row[4])])
            assert torch.allclose(rotations_from_euler(angles), torch.eye(3), atol=1e-6)

    def test_report_is_one_page(self, finished):
        assert (finished / "report.html").read_text(encoding="utf-8").count("<html") == 1

    def test_no_temporary_file_is_left(self, finished):
        assert not list(finished.rglob(".*"))

    def test_same_command_again_changes_nothing(self, finished, box, command, wording):
        before = content_of(finished)
        code, said = command("run", box / "images.mrcs", "--output", finished, "--images", "0-4", *STEPS)
        assert code == 0
        assert content_of(finished) == before
        wording(said)

    def test_other_settings_are_refused_with_the_difference(self, finished, box, command, wording):
        code, said = command("run", box / "images.mrcs", "--output", finished, "--images", "0-4", *STEPS, "--seed", 7)
        assert code == 2
        wording(said)

    def test_config_replays_the_run_with_one_worker(self, finished, tmp_path, command):
        code, _ = command("--config", finished / "config.toml", "run", "--output", tmp_path / "again", "--workers", 1)
        assert code == 0
        assert volumes(tmp_path / "again") == volumes(finished)
        replayed = tomllib.loads((tmp_path / "again" / "config.toml").read_text())
        assert replayed == tomllib.loads((finished / "config.toml").read_text())

    def test_evaluation_has_an_fsc_result_of_every_volume(self, finished, box, tmp_path, command):
        run = shutil.copytree(finished, tmp_path / "run")
        code, said = command("evaluate", run, "--truth", box / "truth", "--workers", 1)
        assert code == 0
        assert "conformation gain" in said
        evaluation = RunDirectory(run).evaluation
        summary, rows = evaluation.summary.read(), evaluation.rows.read()
        assert summary.n == len(rows) == 5
        assert summary.single_map_mean_fsc < summary.ceiling_mean_fsc <= 1
        assert len(list(evaluation.aligned_maps.iterdir())) == 5
        assert "conformation gain" in (run / "report.html").read_text(encoding="utf-8").lower()
        again, _ = command("evaluate", run, "--truth", box / "truth", "--workers", 1)
        assert again == 0
        assert evaluation.rows.read() == rows

    def test_force_starts_afresh(self, finished, box, tmp_path, command):
        run = shutil.copytree(finished, tmp_path / "run")
        (run / "notes.txt").write_text("of the user")
        options = ("--images", "0-1", "--seed", 3, *STEPS, "--workers", 1, "--force")
        code, _ = command("run", box / "images.mrcs", "--output", run, *options)
        assert code == 0
        assert list(volumes(run)) == ["000.mrc", "001.mrc"]
        assert volumes(run)["000.mrc"] != volumes(finished)["000.mrc"]
        assert (run / "notes.txt").read_text() == "of the user"

    def test_info_describes_it(self, finished, command):
        code, said = command("info", finished)
        assert code == 0
        assert "5 volumes done" in said

    def test_options_of_an_import_are_refused_of_it(self, finished, command, wording):
        code, said = command("info", finished, "--pixel-size", 4)
        assert code == 2
        wording(said)


def test_info_shows_what_an_import_would_make_of_a_stack(box, tmp_path, command):
    options = ("--pixel-size", 3, "--size", 12, "--select", "0,3,5-8")
    code, said = command("info", box / "images.mrcs", *options, "--montage", tmp_path / "montage.png")
    assert code == 0
    assert "6 of 9 images" in said
    assert "12×12 pixels, 4 Å/pixel" in said
    assert "6 pictures" in said
    assert command("import", box / "images.mrcs", "--output", tmp_path / "images.mrcs", *options)[0] == 0
    imported = files.read_images(tmp_path / "images.mrcs")
    assert (imported.images.shape, imported.pixel_size) == ((6, 12, 12), pytest.approx(4))


def test_info_names_a_crop_for_a_box_far_larger_than_its_particle(box, tmp_path, command):
    images = files.read_images(box / "images.mrcs").images
    files.write_images(tmp_path / "padded.mrcs", np.pad(images, ((0, 0), (16, 16), (16, 16))), None)
    advised = re.findall(r"--crop (\d+)", command("info", tmp_path / "padded.mrcs")[1])
    assert len(advised) == 1
    assert SIZE // 2 < int(advised[0]) < 2 * SIZE
    assert "--crop" not in command("info", tmp_path / "padded.mrcs", "--crop", advised[0])[1]
    (downsampled,) = re.findall(r"--crop (\d+)", command("info", tmp_path / "padded.mrcs", "--size", 24)[1])
    assert int(downsampled) == pytest.approx(int(advised[0]), abs=4)


def test_info_foresees_that_few_images_leave_the_verdict_undetermined(box, tmp_path, command):
    images = files.read_images(box / "images.mrcs").images
    files.write_images(tmp_path / "turned.mrcs", np.concatenate([np.rot90(images, k, (1, 2)) for k in range(4)]), None)
    few, enough = (
        command("info", tmp_path / "turned.mrcs", "--select", f"0-{FLEXIBILITY.fewest - 1 - less}")[1]
        for less in (1, 0)
    )
    assert "undetermined" in few
    assert "undetermined" not in enough


@pytest.mark.slow
def test_stages_by_themselves_give_the_same_volumes(finished, box, tmp_path, command):
    run = tmp_path / "run"
    assert command("import", box / "images.mrcs", "--output", run / "images.mrcs")[0] == 0
    assert command("reconstruct", run, "--images", "0-4", *STEPS, "--workers", 1)[0] == 0
    assert command("report", run)[0] == 0
    assert volumes(run) == volumes(finished)
    assert (run / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("recorded_volumes", [0, 1, 4])
def test_killed_run_continues_to_the_same_volumes(finished, box, tmp_path, command, recorded_volumes):
    """kill -9 before a volume is recorded, between two of a batch, or between batches; then the same command."""
    run = tmp_path / "run"
    arguments = [sys.executable, "-m", "scoretomo.cli", "run", str(box / "images.mrcs"), "--output", str(run)]
    arguments += ["--images", "0-4", *STEPS, "--workers", "1"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    log = run / "log.jsonl"
    while (
        not (log.exists() and log.read_text().count('"event": "volume"') >= recorded_volumes) and process.poll() is None
    ):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "report.html").exists()
    (run / f".000.mrc.{process.pid}.part").write_bytes(b"half")
    assert command(*arguments[3:])[0] == 0
    assert volumes(run) == volumes(finished)
    assert not list(run.rglob(".*"))
    recorded = [record["image"] for record in files.read_records(run / "log.jsonl") if record["event"] == "volume"]
    assert sorted(recorded) == list(range(5))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_run_ends_with_one_sentence_and_can_be_continued(box, tmp_path, command, number, wording):
    """As by a batch system, or by Ctrl-C, which workers receive, too: no traceback."""
    run = tmp_path / "run"
    arguments = [sys.executable, "-m", "scoretomo.cli", "run", str(box / "images.mrcs"), "--output", str(run)]
    arguments += ["--images", "0-7", *STEPS, "--workers", "2"]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a background job ignores it, and so would the run
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 600
    while not (run / "volumes").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    wording(process.communicate()[1])
    assert process.returncode == 128 + number
    assert not (run / "report.html").exists()
    assert command(*arguments[3:-1], 1)[0] == 0  # with one worker, which need not be started
    assert (run / "report.html").exists()


@pytest.mark.slow
def test_run_continues_without_the_stack_that_it_has_read(finished, box, tmp_path, command):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "report.html").unlink()
    stack = box / "images.mrcs"
    stack.rename(tmp_path / "elsewhere.mrcs")
    try:
        assert command("run", stack, "--output", run, "--images", "0-4", *STEPS)[0] == 0
    finally:
        (tmp_path / "elsewhere.mrcs").rename(stack)
    assert (run / "report.html").exists()


@pytest.mark.slow
def test_stack_that_was_replaced_since_it_was_read_is_refused(finished, box, tmp_path, command, wording):
    run, stack = shutil.copytree(finished, tmp_path / "run"), box / "images.mrcs"
    again = ("run", stack, "--output", run, "--images", "0-4", *STEPS)
    content, times = stack.read_bytes(), (stack.stat().st_atime_ns, stack.stat().st_mtime_ns)
    try:
        stack.write_bytes(content)  # written anew, and the same
        wording(command(*again)[1])
        stack.write_bytes(content[:-4] + b"abcd")
        before = content_of(run)
        code, said = command(*again)
        assert code == 2
        wording(said)
        code, said = command("reconstruct", run, "--images", "0-4", *STEPS)
        assert code == 2
        wording(said)
        assert content_of(run) == before
        stack.write_bytes(content + b"more")
        wording(command(*again)[1])
    finally:
        stack.write_bytes(content)
        os.utime(stack, ns=times)


@pytest.mark.slow
def test_run_is_not_continued_with_images_that_were_imported_later(finished, box, tmp_path, command, wording):
    run = shutil.copytree(finished, tmp_path / "run")
    assert command("import", box / "images.mrcs", "--output", run / "images.mrcs", "--invert", "--force")[0] == 0
    code, said = command("run", box / "images.mrcs", "--output", run, "--images", "0-4", *STEPS)
    assert code == 2
    wording(said)


@pytest.mark.slow
def test_old_results_stay_until_the_new_run_has_begun(finished, box, tmp_path, command, monkeypatch, wording):
    run = shutil.copytree(finished, tmp_path / "run")
    before = content_of(run)
    real = os.fsync

    def full(number):
        if os.readlink(f"/proc/self/fd/{number}").endswith(".part") and "config.toml" in os.readlink(
            f"/proc/self/fd/{number}"
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", full)
    code, said = command("run", box / "images.mrcs", "--output", run, "--images", "0-2", *STEPS, "--force")
    assert code == 2
    assert content_of(run) == before
    wording(said)


@pytest.mark.slow
def test_two_jobs_do_not_work_on_one_run(finished, box, tmp_path, command):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "volumes.star").unlink()  # unfinished
    before = content_of(run)
    arguments = ("run", box / "images.mrcs", "--output", run, "--images", "0-4", *STEPS)
    other = subprocess.Popen(["sleep", "600"])
    heartbeat = {"host": platform.node(), "process": other.pid, **Activity("reading images")._asdict()}
    now, long_ago = datetime.now(UTC), datetime.now(UTC) - timedelta(minutes=5)
    try:
        files.write_json(run / "progress.json", {"time": now.isoformat(), **heartbeat})
        code, said = command(*arguments)
        assert code == 2
        assert f"process {other.pid}" in said
        assert "at work" in command("info", run)[1]
        (run / "progress.json").unlink()
        assert content_of(run) == before
        files.write_json(
            run / "progress.json", {"time": long_ago.isoformat(), **heartbeat}
        )  # a number that another process has by now
        assert command(*arguments)[0] == 0
    finally:
        other.kill()
        other.wait()


def test_simulation_is_continued_to_the_same_images(box, tmp_path, command, wording):
    copy = shutil.copytree(box, tmp_path / "box")
    (copy / "images.mrcs").unlink()
    for number in (1, 5):
        (copy / "truth" / f"{number:03d}.mrc").unlink()
    options = ("--images", 9, "--size", SIZE, "--output", copy, "--workers", 1)
    assert command("simulate", "box", *options)[0] == 0
    for name in ("images.mrcs", "truth/001.mrc", "truth/005.mrc", "truth/truth.csv"):
        assert (copy / name).read_bytes() == (box / name).read_bytes()
    code, said = command("simulate", "box", *options, "--noise", 0.1)
    assert code == 2
    wording(said)


@pytest.mark.slow
def test_map_against_map(box, command):
    code, said = command("evaluate", box / "truth" / "000.mrc", "--truth", box / "truth" / "000.mrc")
    assert code == 0
    assert "0.9" in said or "1.000" in said


@pytest.mark.slow
def test_diverged_volume_is_reported_and_not_written(box, tmp_path, command, monkeypatch):
    from scoretomo import presets
    from scoretomo.reconstruction.algorithm import Descent

    monkeypatch.setitem(presets.PRESETS, "annealed", Descent(60, (1.0, 0.5), (2, 2), rate=8.0))
    options = ("--images", "0,1", "--method", "annealed", "--workers", 1)
    code, said = command("run", box / "images.mrcs", "--output", tmp_path / "run", *options)
    assert code == 1
    assert "images 0 and 1" in said
    again, said = command("run", box / "images.mrcs", "--output", tmp_path / "run", *options)
    assert again == 1
    assert "images 0 and 1" in said
    assert not list((tmp_path / "run").glob("volumes/*"))
    assert {row.status for row in RunDirectory(tmp_path / "run").volume_rows.read()} == {"diverged"}
    assert "diverged" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_no_file_of_the_user_is_changed(box, tmp_path, command, wording):
    before = content_of(box)
    assert command("info", box / "images.mrcs")[0] == 0
    assert command("import", box / "images.mrcs", "--output", tmp_path / "new.mrcs", "--size", 12)[0] == 0
    code, said = command("import", box / "images.mrcs", "--output", box / "images.mrcs", "--force")
    assert code == 2
    assert content_of(box) == before
    wording(said)


def test_input_inside_the_output_is_not_overwritten(box, tmp_path, command, wording):
    stack = shutil.copy(box / "images.mrcs", tmp_path / "images.mrcs")
    before = Path(stack).read_bytes()
    for force in ((), ("--force",)):
        code, said = command("run", stack, "--output", tmp_path, *STEPS, *force)
        assert code == 2
        wording(said)
    assert Path(stack).read_bytes() == before


@pytest.mark.slow
def test_report_of_an_unfinished_run_does_not_finish_it(finished, box, tmp_path, command):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "volumes" / "003.mrc").unlink()
    assert command("report", run)[0] == 0
    code, _ = command("run", box / "images.mrcs", "--output", run, "--images", "0-4", *STEPS, "--workers", 1)
    assert code == 0
    assert volumes(run) == volumes(finished)


@pytest.mark.slow
def test_evaluation_does_not_touch_other_folders(finished, box, tmp_path, command, wording):
    run = shutil.copytree(finished, tmp_path / "run")
    before = content_of(run)
    code, said = command("evaluate", run, "--truth", box / "truth", "--output", run)
    assert code == 2
    assert content_of(run) == before
    wording(said)


@pytest.mark.slow
def test_downsampled_run_is_evaluated_on_its_own_grid(box, tmp_path, command):
    options = ("--images", "0,1", "--size", 12, *STEPS, "--workers", 1)
    assert command("run", box / "images.mrcs", "--output", tmp_path / "run", *options)[0] == 0
    code, _ = command("evaluate", tmp_path / "run", "--truth", box / "truth", "--workers", 1)
    assert code == 0
    summary = RunDirectory(tmp_path / "run").evaluation.summary.read()
    assert summary.size == 12
    assert len(summary.mean_curve) == 7
    assert summary.single_map_mean_fsc < summary.ceiling_mean_fsc <= 1


@pytest.mark.slow
def test_one_map_is_compared_with_the_truth_of_its_number(box, command):
    code, said = command("evaluate", box / "truth" / "003.mrc", "--truth", box / "truth", "--workers", 1)
    assert code == 0
    row = next(line.split() for line in said.splitlines() if line.split()[:1] == ["3"])
    assert float(row[1]) > 0.98


def test_shifted_numbers_are_refused(box, tmp_path, command):
    for number in range(9):
        shutil.copy(box / "truth" / f"{number:03d}.mrc", tmp_path / f"map_{number + 1}.mrc")
    code, said = command("evaluate", tmp_path, "--truth", box / "truth")
    assert code == 2
    assert "got 1 … 9 and 0 … 8" in said


def test_brackets_in_file_names_are_shown_as_they_are(box, tmp_path, command):
    stack = shutil.copy(box / "images.mrcs", tmp_path / "q[bold]e[x.mrcs")
    code, said = command("info", stack)
    assert code == 0
    assert "q[bold]e[x.mrcs" in said


def test_unknown_sections_of_a_settings_file_are_refused(box, tmp_path, command):
    (tmp_path / "settings.toml").write_text("size = 12")
    code, said = command(
        "--config", tmp_path / "settings.toml", "run", box / "images.mrcs", "--output", tmp_path / "run"
    )
    assert code == 2
    assert "'size'" in said


def test_settings_file_may_have_a_section_for_every_command(box, tmp_path, command):
    settings = {
        "export": 'to = "relion"',
        "landscape": "umap = true",
        "figures": 'output = "talk"',
        "watch": "live = true",
    }
    offered = re.findall(r"^│ (\w+) ", command("--help")[1], re.MULTILINE)
    assert {"run", *settings} <= set(offered)
    settings = dict.fromkeys(offered, "") | settings
    (tmp_path / "settings.toml").write_text("\n".join(f"[{name}]\n{line}" for name, line in settings.items()))
    assert command("--config", tmp_path / "settings.toml", "info", box / "images.mrcs")[0] == 0
    code, said = command("--config", tmp_path / "settings.toml", "export", tmp_path)  # which expects --to
    assert code == 2
    assert str(tmp_path) in said


MISTAKES = {
    "no such stack": ("run", "nowhere.mrcs", "--output", "{tmp}/run"),
    "selection out of range": ("run", "{stack}", "--output", "{tmp}/run", "--images", "99"),
    "selection that is no number": ("run", "{stack}", "--output", "{tmp}/run", "--images", "a-b"),
    "one image only": ("run", "{stack}", "--output", "{tmp}/run", "--select", "3"),
    "size too large": ("run", "{stack}", "--output", "{tmp}/run", "--size", "900"),
    "size too small": ("run", "{stack}", "--output", "{tmp}/run", "--size", "2"),
    "negative pixel size": ("run", "{stack}", "--output", "{tmp}/run", "--pixel-size", "-1"),
    "size that is no number": ("run", "{stack}", "--output", "{tmp}/run", "--size", "big"),
    "unknown option": ("run", "{stack}", "--output", "{tmp}/run", "--sise", "32"),
    "unknown method": ("run", "{stack}", "--output", "{tmp}/run", "--method", "magic"),
    "no output": ("run", "{stack}"),
    "zero workers": ("run", "{stack}", "--output", "{tmp}/run", "--workers", "0"),
    "output below a file": ("run", "{stack}", "--output", "{stack}/run"),
    "output is a file": ("run", "{stack}", "--output", "{stack}"),
    "output holds other files": ("run", "{stack}", "--output", "{box}"),
    "import to another format": ("import", "{stack}", "--output", "{tmp}/new.star"),
    "import below a file": ("import", "{stack}", "--output", "{stack}/new.mrcs"),
    "reconstruct nothing": ("reconstruct", "{tmp}"),
    "report of nothing": ("report", "{tmp}"),
    "evaluate nothing": ("evaluate", "{tmp}", "--truth", "{box}/truth"),
    "truth is nowhere": ("evaluate", "{box}/truth/000.mrc", "--truth", "{tmp}/nowhere"),
    "truth of another size": ("evaluate", "{box}/truth/000.mrc", "--truth", "{tmp}/other.mrc"),
    "a stack as a map": ("evaluate", "{stack}", "--truth", "{box}/truth/000.mrc"),
    "no images to simulate": ("simulate", "box", "--images", "0", "--output", "{tmp}/sim"),
    "unknown object": ("simulate", "teapot", "--output", "{tmp}/sim"),
    "model is nowhere": ("simulate", "{tmp}/nowhere.cif", "--output", "{tmp}/sim"),
    "map without a pixel size": ("simulate", "{tmp}/other.mrc", "--output", "{tmp}/sim"),
    "realistic without a pixel size": ("simulate", "box", "--realistic", "--output", "{tmp}/sim"),
    "particles without --realistic": ("simulate", "ribosome", "--snr", "0.1", "0.2", "--output", "{tmp}/sim"),
    "no signal": ("simulate", "ribosome", "--realistic", "--snr", "0", "0.1", "--output", "{tmp}/sim"),
    "a range turned round": (
        "simulate",
        "ribosome",
        "--realistic",
        "--particles",
        "300",
        "50",
        "--output",
        "{tmp}/sim",
    ),
    "two kinds of noise": ("simulate", "ribosome", "--realistic", "--noise", "0.1", "--output", "{tmp}/sim"),
    "a box with chains": ("simulate", "box", "--move", "A hinge 0 10", "--output", "{tmp}/sim"),
    "config is nowhere": ("--config", "{tmp}/nowhere.toml", "run", "{stack}", "--output", "{tmp}/run"),
    "config is no TOML": ("--config", "{stack}", "run", "{stack}", "--output", "{tmp}/run"),
    "info of nothing": ("info", "{tmp}/nowhere"),
    "montage of no kind": ("info", "{stack}", "--montage", "{tmp}/montage.doc"),
    "no command": ("walk",),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_gives_a_sentence_and_code_2(name, box, tmp_path, command):
    files.write_map(tmp_path / "other.mrc", np.random.default_rng(0).random((12, 12, 12), np.float32), None)
    before = sorted(tmp_path.rglob("*"))
    arguments = [word.format(tmp=tmp_path, box=box, stack=box / "images.mrcs") for word in MISTAKES[name]]
    code, said = command(*arguments)
    assert code == 2, said
    assert "Traceback" not in said
    assert said.strip()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_bad_file_gives_a_sentence_and_code_2(make, tmp_path, command):
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, said = command("run", path, "--output", tmp_path / "run", "--workers", 1)
    assert code == 2, said
    assert len([line for line in said.splitlines() if line.startswith("scoretomo: ")]) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_descent_holds_no_more_than_the_volumes_it_works_on(
    box: Path, tmp_path: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    descend, alive, most = stage.reconstruct, list[weakref.ref](), 0

    def watched(*arguments, **options):
        nonlocal most
        for step in descend(*arguments, **options):
            alive.append(weakref.ref(step.volumes))
            most = max(most, sum(reference() is not None for reference in alive))
            yield step

    monkeypatch.setattr(stage, "reconstruct", watched)
    assert command("import", box / "images.mrcs", "--output", tmp_path / "images.mrcs")[0] == 0
    batch = stage.Batch(tmp_path, (0, 1), replace(PRESETS["paper"], steps=30), 0, "exact")
    rows = [message for message in stage.reconstruct_batch(batch) if isinstance(message, VolumeRow)]
    assert [row.status for row in rows] == ["done", "done"]
    assert len(alive) == 30
    assert most <= 3
