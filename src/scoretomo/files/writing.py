"""Atomic writes: a file is there complete, or not at all."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

_WHAT_TO_DO = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or write to another disk",
    errno.EACCES: "write to a folder that is yours",
    errno.EPERM: "write to a folder that is yours",
    errno.EROFS: "write to a folder that is yours",
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.ENAMETOOLONG: "give a shorter name",
}
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def cannot_write(path: Path, error: OSError) -> InputError:
    """The sentence for a failed write."""
    what = (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()
    return InputError(f"cannot write {path} ({what}): {_WHAT_TO_DO.get(error.errno or 0, 'check the disk')}")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; it takes the place of ``path`` when all went well.

    Whatever goes wrong, the temporary file is removed and what was at ``path`` before stays as it was.

    Raises:
        InputError: the disk is full, the folder is missing or read-only, or ``path`` is not an ordinary file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _check_target(path)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    except InputError:
        raise
    except Exception as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        raise cannot_write(path, cause) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _disk_error(error: BaseException) -> OSError | None:
    """The error of the disk behind one of a library's own class: raised before it, or numbered in its text as by Rust."""
    named = re.search(r"\(os error (\d+)\)", str(error))
    before: BaseException | None = OSError(int(named[1]), "") if named else error
    while before is not None and not isinstance(before, OSError):
        before = before.__cause__ or before.__context__
    return before if before is not None and before.errno in _OF_THE_DISK else None


def _check_target(path: Path) -> None:
    """Refuse to replace a folder or a device."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"cannot write {path}: a folder has this name; give another name")
    if not stat.S_ISREG(mode):
        raise InputError(f"cannot write {path}: it is not an ordinary file; give another name")


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote to a folder, or below it."""
    for temporary in folder.rglob(".*.part"):
        writer = temporary.suffixes[-2][1:] if len(temporary.suffixes) > 1 else ""
        if writer.isdecimal() and not is_alive(int(writer)):
            with suppress(OSError):
                temporary.unlink()


def is_alive(process: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
