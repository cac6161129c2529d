"""What was finished stays, whole, until what takes its place is there: whatever goes wrong, and wherever."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from scoretomo import files
from scoretomo.graphics import figures, movies
from scoretomo.pipeline import report
from scoretomo.rundir.directory import RunDirectory

Command = Callable[..., tuple[int, str]]

FAULTS: list[Callable[[], BaseException]] = [
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    KeyboardInterrupt,
]


class Fault:
    """Lets the n-th call of a function fail."""

    def __init__(self, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self._number, self._real = 0, number, getattr(os, name)
        monkeypatch.setattr(os, name, self)

    def __call__(self, *given: object) -> object:
        self.calls += 1
        if self.calls == self._number:
            raise FAULTS[self._number % 2]()
        return self._real(*given)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without what a later evaluation goes on from."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if ".evaluation.begun" not in path.parts}


# A folder -----------------------------------------------------------------------------------------------------------

NAMES = ("maps", "table.csv", "page.html")
OLD = {
    "maps/0.mrc": b"old",
    "maps/1.mrc": b"old",
    "table.csv": b"old",
    "page.html": b"old",
    "kind.txt": b"old",
    "mine.txt": b"mine",
}
NEW = {"maps/0.mrc": b"new", "table.csv": b"new", "more/a.txt": b"new", "kind.txt": b"new", "mine.txt": b"mine"}


def fill(folder: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def visible(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if not name.startswith(".")}


def replace_all(folder: Path) -> None:
    with files.replaced_together(folder, "results", NAMES) as new:
        fill(new, {name: data for name, data in NEW.items() if data == b"new"})


def test_what_belongs_together_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, OLD)
    replace_all(tmp_path)
    assert tree(tmp_path) == NEW


def test_a_fault_at_any_rename_leaves_all_as_it_was(tmp_path: Path) -> None:
    number = 1
    while True:
        folder = tmp_path / str(number)
        fill(folder, OLD)
        with pytest.MonkeyPatch.context() as patch:
            fault = Fault("rename", number, patch)
            with suppress(KeyboardInterrupt, files.InputError):
                replace_all(folder)
        if fault.calls < number:
            break
        assert visible(folder) in (OLD, NEW)
        files.recover(folder)
        assert tree(folder) in (OLD, NEW)
        number += 1
    assert number > 8
    assert tree(folder) == NEW


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_replacing import OLD, fill, replace_all
real, number = os.rename, 0
while True:
    number += 1
    folder = Path(sys.argv[1]) / f"{number:02d}"
    fill(folder, OLD)
    child = os.fork()
    if child == 0:
        calls = 0
        def rename(*given):
            global calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*given)
        os.rename = rename
        replace_all(folder)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.slow
def test_killed_at_any_rename_nothing_lies_there_that_does_not_belong_together(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)], check=True)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) > 8
    for folder in folders:
        seen = visible(folder)
        assert seen.items() <= OLD.items() or seen.items() <= NEW.items()
        files.recover(folder)
        assert visible(folder) in (OLD, NEW)
        replace_all(folder)
        assert tree(folder) == NEW


def test_a_folder_that_was_not_there_is_gone_again_when_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Fault("fsync", 1, patch)
        with suppress(KeyboardInterrupt, files.InputError):
            replace_all(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_folder_of_the_user_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    fill(tmp_path, {"kind.txt/mine.txt": b"mine", "table.csv": b"old"})
    with pytest.raises(files.InputError, match=r"kind\.txt"):
        replace_all(tmp_path)
    assert tree(tmp_path) == {"kind.txt/mine.txt": b"mine", "table.csv": b"old"}


# A finished run -----------------------------------------------------------------------------------------------------

STAGES = {
    "landscape": ("landscape", "{run}"),
    "report": ("report", "{run}"),
    "relion": ("export", "{run}", "--to", "relion"),
    "eman2": ("export", "{run}", "--to", "eman2", "--output", "{run}/own"),
    "evaluate": ("evaluate", "{run}", "--truth", "{truth}/000.mrc", "--workers", "1"),
    "figures": ("figures", "{run}"),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick pages, movies and figures."""
    picture, charts = np.zeros((16, 16, 3), np.uint8), figures.draw_charts
    monkeypatch.setattr(report, "render_report", lambda *_: "page")
    monkeypatch.setattr(movies, "turntable", lambda *_: [picture, picture])
    monkeypatch.setattr(figures, "three_views", lambda *_: [picture] * 3)
    monkeypatch.setattr(figures, "draw_charts", lambda run: {"scree": charts(run)["scree"]})


@pytest.fixture
def finished(six_volumes: Path, tmp_path: Path) -> Path:
    """A run with results of every stage, all of them another time's; and files of the user."""
    run = shutil.copytree(six_volumes, tmp_path / "run")
    fill(
        run / "evaluation",
        {"progress.jsonl": b"{}\n", "fsc.csv": b"image\n", "aligned/000.mrc": b"old", "mine.txt": b"mine"},
    )
    fill(
        run / "export" / "relion",
        {"particles.star": b"old", "state-7.mrc": b"old", "mask.mrc": b"old", "mine.txt": b"mine"},
    )
    fill(run / "own", {"particles.hdf": b"old", "state-7.hdf": b"old", "mine.txt": b"mine"})
    fill(run, {"figures/mode-3.mp4": b"old", "figures/scree.pdf": b"old", "report.html": b"old"})
    fill(run, {"landscape/mode-9/00.mrc": b"old", "reliability.csv": b"old"})
    return run


def without_log(run: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(run).items() if name != "log.jsonl"}


@pytest.mark.parametrize("name", STAGES)
def test_a_fault_at_any_write_leaves_the_finished_run_as_it_was(
    name: str, finished: Path, box: Path, small: None, tmp_path: Path, command: Command
) -> None:
    if name == "figures":
        pytest.importorskip("av")
        pytest.importorskip("matplotlib")
        (finished / "reliability.csv").unlink()  # which is read
    if name == "evaluate":
        for number in (4, 6, 8, 10):
            (finished / "volumes" / f"{number:03d}.mrc").unlink()
    words = [word.format(run=finished, truth=box.parent / "truth") for word in STAGES[name]]
    before, copy = tree(finished), shutil.copytree(finished, tmp_path / "copy")
    assert command(*words)[0] == 0
    undisturbed = without_log(finished)
    assert undisturbed != {name: data for name, data in before.items() if name != "log.jsonl"}
    shutil.rmtree(finished)
    shutil.copytree(copy, finished)
    number = 0
    while True:
        number += 1
        with pytest.MonkeyPatch.context() as patch:
            fault = Fault("fsync", number, patch)
            code, said = command(*words)
        if fault.calls < number:
            break
        assert code in (2, 130), said
        assert "Traceback" not in said
        assert (
            tree(finished) == before or without_log(finished) == undisturbed
        )  # all is there but the last word of the log
    assert code == 0, said
    assert number > 1
    assert without_log(finished) == undisturbed
    assert [data for path, data in undisturbed.items() if path.endswith("mine.txt")] == [b"mine"] * 3


CUT = """
import os, signal, sys
calls, real = 0, os.rename
def rename(*given):
    global calls
    calls += 1
    if calls == 6:  # after what goes is set aside, before all is there that comes
        os.kill(os.getpid(), signal.SIGKILL)
    real(*given)
os.rename = rename
from scoretomo.cli import main
sys.argv = ["scoretomo", "landscape", sys.argv[1]]
main()
"""


def test_a_landscape_that_was_killed_in_between_is_completed_by_the_next_command(
    finished: Path, command: Command
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CUT, str(finished)], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL
    assert not (finished / "report.html").exists()  # so nobody takes it for finished
    assert command("export", finished, "--to", "chimerax")[0] == 0
    assert not list(finished.glob(".*"))
    assert not (finished / "landscape" / "mode-9").exists()
    run = RunDirectory(finished)
    assert [row.image for row in run.reliability.read()] == [row.image for row in run.landscape.rows.read()] != []
    assert "landscape" in run.report.read_text().lower()
