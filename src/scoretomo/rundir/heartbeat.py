"""The heartbeat of a running job, progress.json, and the lock on its directory."""

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

INTERVAL = 2.0  # seconds between two heartbeats
FIRST = 0.1  # seconds to the first
_SILENT = 30.0  # seconds without a heartbeat, after which something may be wrong


class Activity(NamedTuple):
    """What a job is doing."""

    doing: str  # empty between two things
    share: float | None = None  # of it that is done; None where that is unknown
    seconds_left: float | None = None  # for the rest of it
    seconds_left_in_all: float | None = None  # for all stages that take long


class Heartbeat(NamedTuple):
    """The last heartbeat of a job."""

    activity: Activity
    dead: bool  # its process is gone
    silent_since: datetime | None  # time of the heartbeat, if it is too old for a job that is well
    host: str
    process: int

    @property
    def at_work(self) -> bool:
        """Whether the job was at work a moment ago."""
        return not self.dead and self.silent_since is None


def write_heartbeat(path: Path, activity: Activity) -> None:
    """Write what this process is doing; where that can't be written, nothing happens."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(files.InputError):
        files.write_json(path, {"time": now, "host": platform.node(), "process": os.getpid(), **activity._asdict()})


def read_heartbeat(path: Path) -> Heartbeat | None:
    """The last heartbeat in a file; None if there is no such file, as after the end of a job."""
    if not path.exists():
        return None
    content = files.read_json(path)
    time = datetime.fromisoformat(content["time"])
    dead = content["host"] == platform.node() and not files.is_alive(content["process"])
    silent = (datetime.now(UTC) - time).total_seconds() > _SILENT
    activity = Activity(*(content[name] for name in Activity._fields))
    return Heartbeat(activity, dead, time if silent else None, content["host"], content["process"])


@contextmanager
def beating(path: Path | None, activity: Callable[[], Activity | None]) -> Iterator[None]:
    """Write heartbeats from a thread of their own while the work in here goes on, if this process wrote the last one.

    Args:
        path: progress.json; None for no heartbeats.
        activity: what is being done now; None if that is unknown yet.
    """
    if path is None or not _is_mine(path):
        yield
        return
    over = threading.Event()

    def beat() -> None:
        pause = FIRST
        while not over.wait(pause):
            if now := activity():
                write_heartbeat(path, now)
                pause = INTERVAL

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if last := activity():
        write_heartbeat(path, Activity("", seconds_left_in_all=last.seconds_left_in_all))


def _is_mine(path: Path) -> bool:
    """Whether this process wrote the last heartbeat: a report may be made while another process works on the run."""
    content = files.read_json(path) if path.exists() else {}
    return (content.get("host"), content.get("process")) == (platform.node(), os.getpid())


def require_alone(path: Path) -> None:
    """Refuse to work where another process is at work, and lock the folder for this one until it unlocks it or ends.

    Args:
        path: progress.json in the folder.

    Raises:
        InputError: a process of this machine has locked it, or one of any machine wrote a heartbeat a moment ago.
    """
    last = read_heartbeat(path)
    other = last is not None and (last.host, last.process) != (platform.node(), os.getpid())
    if (last and other and last.at_work) or not _lock(path.parent):
        named = last and other and (last.at_work or (last.host == platform.node() and not last.dead))
        who = f"process {last.process} on {last.host}" if last and named else "another process"
        raise files.InputError(
            f"{path.parent} should have no process at work, but {who} is: "
            f"see how far it is with scoretomo watch {path.parent}, or stop it first"
        )


_locked: dict[Path, int] = {}  # open folders that this process has locked


def has_locked(folder: Path) -> bool:
    """Whether this process has locked a folder, and it is still the same one."""
    opened = _locked.get(folder.absolute())
    return opened is not None and folder.exists() and os.path.samestat(os.fstat(opened), folder.stat())


def _lock(folder: Path) -> bool:
    """Lock a folder for this process, whose end unlocks it in any case; False if another one has locked it."""
    if has_locked(folder) or not folder.exists():
        return True
    unlock(folder)
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(opened)
        return not isinstance(error, BlockingIOError)  # where a file system has no locks, the heartbeat has to do
    _locked[folder.absolute()] = opened
    return True


def unlock(folder: Path) -> None:
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
    unlock(folder)
    return not free
