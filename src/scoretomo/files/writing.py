"""Atomic writes: a file, or several that belong together, are there complete, or not at all.

Several files are written to a folder beside their places, and put in place only when all are complete:
`replaced_together`. A rename of that folder, which holds a list of what goes where, is the point from which on they
count. Then all that is to go is set aside, and what is new takes its place, in a few renames. Killed in between,
nothing lies there that does not belong together: some of the old files, or some of the new ones; `recover` puts the
others in place.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
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

_NEW, _OLD = "new", "old"  # what comes, and what goes
_LIST = "moves.json"


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
    """The error of the disk behind one of a library's own class, raised before it."""
    before: BaseException | None = error
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
    """Write a text file (UTF-8); bytes of a file's name that are not UTF-8 are written as ``\\udce9``, which JSON reads
    as them.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def replaced_together(folder: Path, label: str, names: Sequence[str] = ()) -> Iterator[Path]:
    """Give a folder to write to; when all went well, what is in it takes its places in ``folder``, all of it together.

    Whatever goes wrong, ``folder`` stays as it was, and is removed if it was not there before.

    Args:
        folder: where the files belong; made if it is not there.
        label: of what is written, the same each time.
        names: of files and folders that belong together, as in `put_in_place`.

    Raises:
        InputError: the disk is full, or something can't be replaced.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    recover(folder)
    work = folder / f".{label}.{os.getpid()}.part"
    for left in folder.glob(f".{escape(label)}.*.part"):
        if left == work or _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    try:
        make_folder(work / _NEW)
        yield work / _NEW
        put_in_place(work, names)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def put_in_place(work: Path, names: Sequence[str]) -> None:
    """Let what is in ``work/new`` take its places in the folder that ``work`` lies in; ``work`` is removed.

    Args:
        work: a hidden folder.
        names: of files and folders that belong together, those last that say that all is there. They are replaced as a
            whole, and removed if there is no new one. Other new files replace those of the same name, and leave all
            others alone.

    Raises:
        InputError: something can't be replaced; then all is as it was before.
    """
    place = work.parent
    ready = place / f"{work.name.removesuffix('.part')}.ready"
    try:
        recover(place)
        moves = _moves(work / _NEW, names)
        for name in (name for name, comes in moves if comes):
            _check_kind(work / _NEW / name, place / name)
        write_text(work / _LIST, json.dumps(moves))
        with _held(work):
            os.rename(work, ready)
            try:
                _swap(ready)
            except BaseException:
                _undo(ready)
                os.rename(ready, work)
                raise
            with suppress(OSError):  # else what is set aside goes the next time
                _discard(ready)
    except OSError as error:
        raise cannot_write(place, error) from None


def recover(folder: Path) -> None:
    """Put in place what a process that was killed had completed, and begun to put in place in this folder."""
    for ready in sorted(folder.glob(".*.ready")):
        try:
            with _held(ready):
                if (ready / _LIST).exists():
                    _swap(ready)
                    _discard(ready)
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise cannot_write(folder, error) from None


def _moves(new: Path, names: Sequence[str]) -> list[tuple[str, bool]]:
    """What goes or comes, by its name in the folder, and whether there is a new one; in the order in which it comes."""
    files = (path.relative_to(new) for path in sorted(new.rglob("*")) if not path.is_dir())
    others = [file for file in files if not any(file.is_relative_to(name) for name in names)]
    return [*((str(file), True) for file in others), *((name, os.path.lexists(new / name)) for name in names)]


def _check_kind(new: Path, path: Path) -> None:
    """Refuse to replace a folder by a file, or a file by a folder."""
    if not new.is_dir():
        _check_target(path)
    elif path.exists() and not path.is_dir():
        raise InputError(f"cannot write {path}: a file has this name; give another name")


def _read_moves(ready: Path) -> list[tuple[str, bool]]:
    return [(name, comes) for name, comes in json.loads((ready / _LIST).read_text(encoding="utf-8"))]


def _swap(ready: Path) -> None:
    """Set aside what goes, those first that say that all is there, then put in place what comes; also from where it was
    cut.
    """
    place, moves = ready.parent, _read_moves(ready)
    for name, comes in reversed(moves):
        if os.path.lexists(place / name) and (not comes or os.path.lexists(ready / _NEW / name)):
            _move(place / name, ready / _OLD / name)
    for name, comes in moves:
        if comes and os.path.lexists(ready / _NEW / name):
            _move(ready / _NEW / name, place / name)


def _undo(ready: Path) -> None:
    """Put all back to where it was."""
    place, moves = ready.parent, _read_moves(ready)
    for name, comes in reversed(moves):
        if comes and not os.path.lexists(ready / _NEW / name):
            _move(place / name, ready / _NEW / name)
    for name, _ in moves:
        if os.path.lexists(ready / _OLD / name):
            _move(ready / _OLD / name, place / name)


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, to)


def _discard(ready: Path) -> None:
    """Remove what has done its work: first its name, so that nobody puts in place what is half removed."""
    rest = ready.with_name(f"{ready.name.removesuffix('.ready')}.{os.getpid()}.part")
    os.rename(ready, rest)
    shutil.rmtree(rest, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Work on a folder when no other process does; where a file system has no locks, at once."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files and folders of processes that were killed while they wrote to a folder, or below it."""
    for temporary in list(folder.rglob(".*.part")):
        if _is_left(temporary):
            with suppress(OSError):
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def _is_left(temporary: Path) -> bool:
    """Whether the process whose number a temporary file has is gone."""
    writer = temporary.suffixes[-2][1:] if len(temporary.suffixes) > 1 else ""
    return writer.isdecimal() and not is_alive(int(writer))


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
