"""What a running job says of itself to other processes: progress.json."""

import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from .. import files

_EVERY, _SOON = 2.0, 0.1  # seconds from word to word, and to the first
_SILENT = 30.0  # seconds without a word, after which something may be wrong


class Word(NamedTuple):
    """What the job is doing."""

    doing: str  # empty between two things
    share: float | None = None  # of it that is done; None where nobody knows
    seconds_left: float | None = None  # for the rest of it
    seconds_left_in_all: float | None = None  # for all stages that take long


class Pulse(NamedTuple):
    """The last word of a job, and how it is."""

    word: Word
    dead: bool  # its process is gone
    silent_since: datetime | None  # when it was heard last, if that is too long ago for a job that is well
    host: str
    process: int

    @property
    def at_work(self) -> bool:
        """Whether it was so a moment ago."""
        return not self.dead and self.silent_since is None


def tell(path: Path, word: Word) -> None:
    """Write what this process is doing; where that can't be written, it isn't."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(files.InputError):
        files.write_json(path, {"time": now, "host": platform.node(), "process": os.getpid(), **word._asdict()})


@contextmanager
def telling(path: Path | None, word: Callable[[], Word | None]) -> Iterator[None]:
    """Write it again and again, from a thread of its own, while the work in here goes on; only if this process has begun to.

    Args:
        path: progress.json; None if nobody is to be told.
        word: what is being done, now; None if that is not known yet.
    """
    if path is None or not _is_mine(path):
        yield
        return
    over = threading.Event()

    def tell_all_along() -> None:
        pause = _SOON
        while not over.wait(pause):
            if now := word():
                tell(path, now)
                pause = _EVERY

    thread = threading.Thread(target=tell_all_along, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if last := word():
        tell(path, Word("", seconds_left_in_all=last.seconds_left_in_all))


def _is_mine(path: Path) -> bool:
    """Whether this process wrote last: a report may be made while another one works on the run."""
    said = files.read_json(path) if path.exists() else {}
    return (said.get("host"), said.get("process")) == (platform.node(), os.getpid())


def require_alone(path: Path) -> None:
    """Refuse to work where another process is at work.

    Raises:
        InputError: it has said so a moment ago.
    """
    pulse = feel(path)
    if pulse and pulse.at_work and (pulse.host, pulse.process) != (platform.node(), os.getpid()):
        raise files.InputError(
            f"{path.parent} should have nobody at work, and process {pulse.process} on {pulse.host} is: wait until it is done, or "
            "stop it first"
        )


def feel(path: Path) -> Pulse | None:
    """The last word of the job that writes a file; None if there is no such file, as after its end."""
    if not path.exists():
        return None
    said = files.read_json(path)
    time = datetime.fromisoformat(said["time"])
    dead = said["host"] == platform.node() and not files.is_alive(said["process"])
    silent = (datetime.now(UTC) - time).total_seconds() > _SILENT
    word = Word(*(said[name] for name in Word._fields))
    return Pulse(word, dead, time if silent else None, said["host"], said["process"])
