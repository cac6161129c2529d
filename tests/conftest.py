"""Fixtures: how many threads a test has, whole runs, the command line, the wording of messages, and real images."""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import messages
import pytest
import torch

from scoretomo.cli import main

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


THREADS = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a whole run are slow; files of whole runs come first, so that no process ends with a long one."""
    for item in items:
        if {"six_volumes", "run_with"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: "_run" not in item.path.stem)


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    """Files of tests need not outlive a power cut; waiting until each is on the disk takes as long as the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test, and the fixtures made for it, begin with one thread, or as many as OMP_NUM_THREADS says."""
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def run_with() -> Callable[..., Path]:
    """Do a whole run from a stack with some settings of the reconstruction, on two workers unless given; the run
    directory.
    """

    def call(stack: Path, run: Path, *, workers: int = 2, **settings: object) -> Path:
        from scoretomo.config import ImportRequest, ReconstructSettings, RunRequest
        from scoretomo.pipeline.runner import run_all

        request = RunRequest(ImportRequest(stack), run, ReconstructSettings(**settings))
        run_all(request, workers=workers, force=False)
        return run

    return call


@pytest.fixture(scope="session")
def rerun() -> Callable[..., Path]:
    """Run the stages of a finished run again from one of them on, in a copy; the run directory.

    Other settings, and other files to delete, may be given.
    """

    def call(
        finished: Path, copy: Path, stage: str, *, without: Sequence[str] = (), workers: int = 1, **settings: object
    ) -> Path:
        from scoretomo.config import ReconstructSettings, TrainSettings
        from scoretomo.monitor.time_estimate import TimeEstimate
        from scoretomo.pipeline import STAGES
        from scoretomo.pipeline.job import Job
        from scoretomo.pipeline.runner import run_stages
        from scoretomo.rundir.directory import RunDirectory

        shutil.copytree(finished, copy)
        first = [each.name for each in STAGES].index(stage)
        for name in [*without, *(name for each in STAGES[first:] for name in each.writes)]:
            if (copy / name).is_dir():
                shutil.rmtree(copy / name)
            else:
                (copy / name).unlink(missing_ok=True)
        job = Job(None, ReconstructSettings(**settings), TrainSettings(), {}, workers, TimeEstimate({}))
        run_stages(RunDirectory(copy), job, STAGES)
        return copy

    return call


def made_once(factory: pytest.TempPathFactory, worker_id: str, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all processes of the tests share, and one of them fills."""
    base = factory.getbasetemp() if worker_id == "master" else factory.getbasetemp().parent
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = base / name
        if not folder.exists():
            make(base / f"{name}.unfinished")
            (base / f"{name}.unfinished").rename(folder)
    return folder


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Twenty images of a moving box, 16 pixels."""
    from scoretomo.commands.simulate import Plan, simulate_object
    from scoretomo.config import ObjectSettings, RealismSettings, SimulateSettings

    plan = Plan("box", SimulateSettings(images=20, size=16), ObjectSettings(), RealismSettings())

    def simulate(folder: Path) -> None:
        simulate_object(plan, folder, workers=1, force=False)

    return made_once(tmp_path_factory, worker_id, "box", simulate) / "images.mrcs"


@pytest.fixture(scope="session")
def six_volumes(
    box: Path, run_with: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Path:
    """A finished run of these boxes with the volumes of images 0, 2, … 10."""

    def reconstruct(run: Path) -> None:
        run_with(box, run, images="0,2,4,6,8,10", steps=5)

    return made_once(tmp_path_factory, worker_id, "six-volumes", reconstruct)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a real data file, or skip, saying which is missing and where it was looked for."""

    def path(name: str) -> Path:
        found = DATA / name
        if not found.exists():
            pytest.skip(f"{name} is not in {DATA}")
        return found

    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command line program in this process: exit code and what it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["scoretomo", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


@pytest.fixture
def wording(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[object], None]:
    """Compare each message of a test with that of the snapshot, or write it there."""
    test = request.node.nodeid.removeprefix("tests/")
    base = tmp_path_factory.getbasetemp()
    found: list[str] = []

    def compare(message: object) -> None:
        found.append(messages.plain(message, tmp_path, base))
        if os.environ.get("SNAPSHOT") == "renew":
            messages.renew(test, found)
        assert messages.known().get(test, [])[: len(found)] == found, "if it should change: SNAPSHOT=renew pytest …"

    return compare
