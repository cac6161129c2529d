"""Random streams and worker processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scoretomo import compute
from scoretomo.compute import processes_for, random_stream, run_tasks
from scoretomo.errors import InputError, WorkerError
from scoretomo.memory import usable_memory


def count_to(number: int) -> Iterator[tuple[int, int]]:
    for step in range(number):
        yield step, torch.get_num_threads()


def fail_at_three(number: int) -> Iterator[int]:
    if number == 3:
        raise ValueError("three")
    yield number


def hears_interrupts(_: int) -> Iterator[bool]:
    yield signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


class Unsendable(Exception):
    """Holds what cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.held = lambda: text


class TwoWords(Exception):
    """Goes into a pickle, but does not come out of it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class Unreceivable:
    """Goes into a pickle, but does not come out of it."""

    def __reduce__(self) -> tuple:
        return int, ("three",)


def fail_unsendably(_: int) -> Iterator[int]:
    yield 0
    raise Unsendable("held fast")


def fail_with_two_words(_: int) -> Iterator[int]:
    yield 0
    raise TwoWords("held", "fast")


def say_what_cannot_be_sent(_: int) -> Iterator[object]:
    yield lambda: 0


def say_what_cannot_be_received(_: int) -> Iterator[object]:
    yield Unreceivable()


def refuse(name: str) -> Iterator[int]:
    yield 0
    raise InputError(f"{name} is not there: give another")


def leave(number: int) -> Iterator[int]:
    yield number
    sys.exit(0)


def die(number: int) -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield number


def test_streams_differ_by_seed_and_name():
    draws = {
        float(torch.rand(1, generator=random_stream(*key)))
        for key in [(0, "noise", 1), (0, "noise", 2), (1, "noise", 1), (0, "views"), (0, "views", 1)]
    }
    assert len(draws) == 5
    assert torch.equal(
        torch.rand(3, generator=random_stream(7, "a", 1)), torch.rand(3, generator=random_stream(7, "a", 1))
    )


def test_a_process_for_each_core_as_far_as_memory_reaches(monkeypatch):
    monkeypatch.setattr(compute, "available_cores", lambda: 8)
    monkeypatch.setattr(compute, "best_device", lambda: torch.device("cpu"))
    there = 8 * 2**30
    monkeypatch.setattr(compute, "usable_memory", lambda: there)
    assert processes_for(None) == 8
    assert processes_for(None, there / 100) == 8
    assert processes_for(None, there / 4) == 3
    assert processes_for(None, 2 * there) == 1
    assert processes_for(2, 2 * there) == 2  # who asks for them gets them
    monkeypatch.setattr(compute, "best_device", lambda: torch.device("cuda"))
    assert processes_for(5) == 1


def test_a_container_or_a_job_of_a_cluster_has_less_memory_than_the_machine(tmp_path):
    groups, limits = tmp_path / "cgroup", tmp_path / "limits"
    physical = usable_memory(groups, limits)  # no groups
    written = (
        ("job/step", "memory.max", "max"),
        ("job", "memory.max", 3000),
        ("memory/old", "memory.limit_in_bytes", 2000),
    )
    for folder, name, limit in written:
        (limits / folder).mkdir(parents=True, exist_ok=True)
        (limits / folder / name).write_text(f"{limit}\n")
    for said, expected in (
        ("0::/job/step\n", 3000),
        ("4:hugetlb,memory:/old\n3:cpuset:/job\n", 2000),
        ("3:cpuset:/job\n", physical),
        ("0::/elsewhere\udcff\n", physical),
    ):
        groups.write_text(said, errors="surrogateescape")
        assert usable_memory(groups, limits) == expected


@pytest.mark.slow
def test_workers_ignore_interrupts():
    assert [message for _, message in run_tasks(hears_interrupts, [0, 1], 2)] == [False, False]
    assert list(hears_interrupts(0)) == [True]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_messages_of_a_task_come_in_order_and_with_one_thread(workers):
    found: dict[int, list] = {}
    for number, message in run_tasks(count_to, [4, 2, 0, 3], workers):
        found.setdefault(number, []).append(message)
    assert found == {0: [(i, 1) for i in range(4)], 1: [(i, 1) for i in range(2)], 3: [(i, 1) for i in range(3)]}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_a_task_is_raised(workers):
    with pytest.raises(ValueError, match="three"):
        list(run_tasks(fail_at_three, [1, 2, 3, 4], workers))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (fail_unsendably, RuntimeError, "Unsendable: held fast"),
        (fail_with_two_words, RuntimeError, "TwoWords: held fast"),
        (say_what_cannot_be_sent, Exception, "lambda"),
        (say_what_cannot_be_received, ValueError, "invalid literal"),
    ],
)
def test_function_that_cannot_be_sent_between_processes_is_an_error(function, kind, text):
    with pytest.raises(kind, match=text):
        list(run_tasks(function, [1, 2, 3, 4], 2))


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [[lambda: 0, 1], [Unreceivable(), Unreceivable()]])
def test_a_task_that_cannot_be_sent_is_an_error(tasks):
    with pytest.raises(Exception, match=r"lambda|invalid literal"):
        list(run_tasks(count_to, tasks, 2))


@pytest.mark.slow
def test_an_error_of_a_worker_comes_as_itself_with_its_place():
    with pytest.raises(InputError) as caught:
        list(run_tasks(refuse, ["a.mrc", "a.mrc"], 2))
    assert str(caught.value) == "a.mrc is not there: give another"
    assert "in refuse" in "".join(caught.value.__notes__)


@pytest.mark.slow
def test_a_failed_task_among_many_does_not_keep_the_process_from_ending(tmp_path: Path):
    script = tmp_path / "many.py"
    script.write_text(
        textwrap.dedent(
            """
            from scoretomo.compute import run_tasks

            def fail(task):
                yield 0
                raise ValueError("one of many")

            if __name__ == "__main__":
                list(run_tasks(fail, ["x" * 10_000] * 100, 2))  # more than a pipe holds
            """
        )
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600)
    assert ended.returncode == 1
    assert "ValueError: one of many" in ended.stderr


@pytest.mark.slow
def test_as_many_threads_as_before_are_there_after_the_tasks():
    torch.set_num_threads(3)
    list(run_tasks(count_to, [1, 1], 1))
    assert torch.get_num_threads() == 3


@pytest.mark.slow
@pytest.mark.parametrize("function", [die, leave])
def test_dead_worker_is_noticed(function, wording):
    with pytest.raises(WorkerError) as raised:
        list(run_tasks(function, [1, 2], 2))
    wording(raised.value)


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, time
            from scoretomo.compute import run_tasks

            def forever(folder):
                open(f"{folder}/{os.getpid()}", "w").close()
                while True:
                    time.sleep(0.1)
                    yield 0

            if __name__ == "__main__":
                import sys
                list(run_tasks(forever, [sys.argv[1]] * 2, 2))
            """
        )
    )
    workers = tmp_path / "workers"
    workers.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(workers)])
    deadline = time.monotonic() + 600
    while len(list(workers.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    pids = [int(path.name) for path in workers.iterdir()]
    while any(_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
