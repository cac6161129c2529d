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
from scoretomo.errors import WorkerError
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


def die(number: int) -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield number


def test_streams_differ_by_seed_and_name():
    draws = {
        float(torch.rand(1, generator=random_stream(*key)))
        for key in [(0, "noise", 1), (0, "noise", 2), (1, "noise", 1), (0, "views"), (0, "views", 1)]
    }
    assert len(draws) == 5
    assert torch.equal(torch.rand(3, generator=random_stream(7, "a", 1)), torch.rand(3, generator=random_stream(7, "a", 1)))


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
    written = (("job/step", "memory.max", "max"), ("job", "memory.max", 3000), ("memory/old", "memory.limit_in_bytes", 2000))
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


def test_workers_do_not_hear_interrupts():
    assert [message for _, message in run_tasks(hears_interrupts, [0, 1], 2)] == [False, False]
    assert list(hears_interrupts(0)) == [True]


@pytest.mark.parametrize("workers", [1, 2])
def test_messages_of_a_task_come_in_order_and_with_one_thread(workers):
    found: dict[int, list] = {}
    for number, message in run_tasks(count_to, [4, 2, 0, 3], workers):
        found.setdefault(number, []).append(message)
    assert found == {0: [(i, 1) for i in range(4)], 1: [(i, 1) for i in range(2)], 3: [(i, 1) for i in range(3)]}


@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_a_task_is_raised(workers):
    with pytest.raises(ValueError, match="three"):
        list(run_tasks(fail_at_three, [1, 2, 3, 4], workers))


def test_dead_worker_is_noticed():
    with pytest.raises(WorkerError, match="run the same command again"):
        list(run_tasks(die, [1, 2], 2))


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
    deadline = time.monotonic() + 60
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
