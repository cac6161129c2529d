"""What a running job says of itself to other processes: progress.json."""

import fcntl
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
    """Refuse to work where another process is at work, and lock the folder for this one until it lets go or ends.

    Raises:
        InputError: a process of this machine has locked the folder, or one of any machine has said so a moment ago.
    """
    pulse = feel(path)
    other = pulse is not None and (pulse.host, pulse.process) != (platform.node(), os.getpid())
    if (pulse and other and pulse.at_work) or not _lock(path.parent):
        named = pulse and other and (pulse.at_work or (pulse.host == platform.node() and not pulse.dead))
        who = f"process {pulse.process} on {pulse.host}" if pulse and named else "another process"
        raise files.InputError(
            f"{path.parent} should have nobody at work, but {who} is: see how far it is with scoretomo watch {path.parent}, "
            "or stop it first"
        )


_locked: dict[Path, int] = {}  # open folders that this process has locked


def has_locked(folder: Path) -> bool:
    """Whether this process has locked a folder, and it is still the same one."""
    opened = _locked.get(folder.absolute())
    return opened is not None and folder.exists() and os.path.samestat(os.fstat(opened), folder.stat())


def _lock(folder: Path) -> bool:
    """Lock a folder for this process, whose end unlocks it, however it comes; False if another one has locked it."""
    if has_locked(folder) or not folder.exists():
        return True
    let_go(folder)
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(opened)
        return not isinstance(error, BlockingIOError)  # where a file system has no locks, the pulse has to do
    _locked[folder.absolute()] = opened
    return True


def let_go(folder: Path) -> None:
    """Unlock a folder, if this process has locked it."""
    opened = _locked.pop(folder.absolute(), None)
    if opened is not None:
        fcntl.flock(opened, fcntl.LOCK_UN)
        os.close(opened)


def is_locked(folder: Path) -> bool:
    """Whether a process has locked a folder."""
    if has_locked(folder):
        return True
    free = _lock(folder)
    let_go(folder)
    return not free


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
