"""Where work runs: device, threads, private random streams, local processes.

Results must not depend on the number of workers. So every worker computes with one thread (the order of sums is then
fixed), a batch is always made of the same images on a device, and every image draws from a random stream of its own.
"""

import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, TypeVar, cast

import torch

from .errors import InputError, WorkerError
from .memory import available_cores, usable_memory

Task = TypeVar("Task")
Message = TypeVar("Message")

_ON_A_CORE, _ON_A_GPU = 4, 64  # volumes in a batch
_BYTES_OF_A_VOXEL = 1000  # that a descent takes on a GPU, its views and their score included
_OF_MEMORY = 0.75  # share of the memory that processes may take together


def random_stream(seed: int, *names: str | int) -> torch.Generator:
    """A random stream that belongs to a seed and a name, such as ``random_stream(0, "noise", 17)``, and to nothing
    else.
    """
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def best_device() -> torch.device:
    """The CUDA device if there is one and cufinufft (the ``cuda`` extra) is installed, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and find_spec("cufinufft") else "cpu")


def processes_for(workers: int | None, each: float = 0.0) -> int:
    """Processes that share work on the best device: one on a GPU (four were slower), else as many as `workers`.

    Args:
        workers: as many as that; if not given, one for each core, as far as memory reaches.
        each: bytes that a process takes.
    """
    if best_device().type == "cuda":
        return 1
    if workers or not each:
        return workers or available_cores()
    return max(1, min(available_cores(), int(_OF_MEMORY * usable_memory() / each)))


def volumes_together(size: int) -> int:
    """How many volumes of a side descend in one batch: few on a core; on a GPU, which few leave idle, what its memory
    holds.
    """
    if best_device().type == "cpu":
        return _ON_A_CORE
    memory = _OF_MEMORY * torch.cuda.get_device_properties(0).total_memory
    return max(1, min(_ON_A_GPU, int(memory / (_BYTES_OF_A_VOXEL * size**3))))


class Group(NamedTuple):
    """The processes that share one computation, as torchrun starts them; one alone if it did not."""

    rank: int
    processes: int
    device: torch.device

    def add_up(self, tensor: torch.Tensor) -> None:
        """Put the sum over all processes into the tensor of each."""
        if self.processes > 1:
            torch.distributed.all_reduce(tensor)

    def wait_for_first(self) -> None:
        """Wait until every process is here, the first one with its preparations done."""
        if self.processes > 1:
            torch.distributed.barrier()


@contextmanager
def joined_group() -> Iterator[Group]:
    """Join the processes that torchrun has started, each with its own GPU where there are enough for all."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    here, beside = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    device = torch.device("cuda", here) if beside <= torch.cuda.device_count() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if processes > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(rank, processes, device)
    finally:
        if processes > 1:
            torch.distributed.destroy_process_group()


def require_one_process() -> None:
    """Refuse to work in several processes of torchrun, where they would write the same files.

    Raises:
        InputError: torchrun has started more than one.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise InputError(
            "only scoretomo train shares its work among torchrun's processes: start this one without torchrun"
        )


def run_tasks(
    function: Callable[[Task], Iterator[Message]], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[int, Message]]:
    """Run a generator function on every task and pass on what it yields, as (number of the task, message).

    Every task runs with one thread, in this process for one worker, else in processes of their own; the messages of one
    task come in order. Workers end with this process, however it ends.

    Args:
        function: importable by name; takes a task and yields messages that can be pickled.
        tasks: what to do, in the order to begin with.
        workers: number of processes.

    Raises:
        WorkerError: a worker process died.
        Exception: whatever a task raised; a RuntimeError with its text if it cannot be sent from process to process.
    """
    if min(workers, len(tasks)) <= 1:
        with one_thread():
            for number, task in enumerate(tasks):
                for message in function(task):
                    yield number, message
    else:
        yield from _run_in_processes(function, tasks, min(workers, len(tasks)))


_THREADS: ContextVar[int] = ContextVar("threads", default=1)


@contextmanager
def shared_by(threads: int) -> Iterator[None]:
    """Within it, `each_at_once` works with so many threads."""
    before = _THREADS.set(threads)
    try:
        yield
    finally:
        _THREADS.reset(before)


def each_at_once(function: Callable[[Task], Message], items: Sequence[Task]) -> list[Message]:
    """The results of a function that computes with one thread, in the order of the items, several at the same time."""
    threads = min(_THREADS.get(), len(items))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, and then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_in_processes(
    function: Callable[[Task], Iterator[Message]], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[int, Message]]:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(workers)]
    processes = [context.Process(target=_work, args=(function, end), daemon=True) for _, end in pipes]
    try:
        with _interrupts_blocked():
            for process in processes:
                process.start()
        for _, end in pipes:
            end.close()  # so that a pipe ends when its worker does
        yield from _hand_out(tasks, {own: process for (own, _), process in zip(pipes, processes, strict=True)})
    finally:
        begun = [process for process in processes if process.pid is not None]
        for process in begun:
            process.terminate()
        for process in begun:
            process.join()
        for own, _ in pipes:
            own.close()


def _hand_out(tasks: Sequence[Any], workers: "Mapping[Connection, SpawnProcess]") -> Iterator[tuple[int, Any]]:
    """Give each worker a task, and the next one when it has finished; pass on what they send.

    All is pickled where it is sent, so that what cannot be is an error there; a queue would lose it in a thread of its
    own.
    """
    waiting = iter(enumerate(tasks))
    for connection, process in workers.items():
        _give(next(waiting), connection, process)
    unfinished = len(tasks)
    while unfinished:
        for connection in cast("list[Connection]", wait(list(workers))):
            with _worker_lost(workers[connection]):
                received = connection.recv_bytes()
            number, kind, content = pickle.loads(received)
            if kind == "failed":
                raise content
            if kind == "message":
                yield number, content
                continue
            unfinished -= 1
            if (item := next(waiting, None)) is not None:
                _give(item, connection, workers[connection])


def _give(item: tuple[int, Any], connection: Connection, process: SpawnProcess) -> None:
    pickled = ForkingPickler.dumps(item)
    with _worker_lost(process):
        connection.send_bytes(pickled)


@contextmanager
def _worker_lost(process: SpawnProcess) -> Iterator[None]:
    """Raise WorkerError if a worker process has ended."""
    try:
        yield
    except (EOFError, OSError):
        process.join()
        raise WorkerError(
            f"a worker process died with exit code {process.exitcode}, perhaps for want of memory: "
            "run the same command again with fewer --workers to continue"
        ) from None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that are started meanwhile never see Ctrl-C, not even before they have begun."""
    resource_tracker.ensure_running()  # the first process would start it, which lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(function: Callable[[Any], Iterator[Any]], connection: Connection) -> None:
    """Body of a worker process: do one task after another until the parent ends it. Ctrl-C is for the parent alone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            received = connection.recv_bytes()
            try:
                number, task = pickle.loads(received)
                for message in function(task):
                    connection.send_bytes(pickle.dumps((number, "message", message)))
                answer = pickle.dumps((number, "finished", None))
            except Exception as error:
                answer = pickle.dumps((None, "failed", _that_can_be_sent(error)))
            connection.send_bytes(answer)


def _that_can_be_sent(error: Exception) -> Exception:
    """An exception with the traceback as a note; its text as a RuntimeError if it does not come out of a pickle as it
    went in.
    """
    where = "".join(traceback.format_exception(error))
    try:
        sent = pickle.loads(pickle.dumps(error))
    except Exception:
        sent = None
    if type(sent) is not type(error):
        error = RuntimeError("".join(traceback.format_exception_only(error)).strip())
    error.add_note(f"in a worker process:\n{where}")
    return error


def _end_with_parent() -> None:
    """Leave at once when the parent process is gone, even killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
