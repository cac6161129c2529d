"""What can be said about a file before its format is known."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..memory import usable_memory

_SIGNATURES = {
    b"\x1f\x8b": "a gzip archive (unpack it with gunzip)",
    b"BZh": "a bzip2 archive (unpack it with bunzip2)",
    b"PK\x03\x04": "a zip archive (unpack it)",
    b"\x89HDF": "an HDF5 file (name it .hdf)",
    b"\x93NUMPY": "a NumPy file (name it .npy or .cs)",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
}
MRC_ENDINGS = (".mrcs", ".mrc", ".map", ".st", ".ccp4", ".rec")
STACK_ENDINGS = (".mrcs", ".st")  # of these, what is a stack whatever its flag says
HDF_ENDINGS = (".hdf", ".h5", ".hdf5")
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}
_FINEST, _COARSEST = 0.01, 1000.0  # Å: pixel sizes that images of molecules can have
PIXEL_SIZES = f"{_FINEST:g} to {_COARSEST:g} Å"


class StoredArray(NamedTuple):
    """An array that a file holds, by its header alone."""

    shape: tuple[int, ...]
    pixel_size: float | None  # Å
    is_map: bool | None  # whether the file says that it is one map (True) or images (False); None where it says neither
    notes: list[str]
    read: Callable[[], np.ndarray]  # its values, float32


class FoundStack(NamedTuple):
    """Images that a file holds or names, which are not read yet."""

    shape: tuple[int, int, int]  # images, rows, columns
    pixel_size: float | None  # Å
    sources: list[str]  # 000003@/path/classes.mrcs, counted from 1 as RELION does
    notes: list[str]  # what the user should know about the file, a sentence each
    files: list[Path]  # that hold the images
    read: Callable[[], np.ndarray]  # the images, (n, y, x) float32
    unused: dict[int, str] = {}  # noqa: RUF012 (never changed); place of an image that stands for nothing → why


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """Turn a failure of the system while reading ``path`` into one sentence."""
    try:
        yield
    except OSError as error:
        what = (error.strerror or str(error) or type(error).__name__).lower().splitlines()[0]
        raise InputError(f"cannot read {path} ({what}): check the file and your rights to read it") from None


def file_size(path: Path) -> int:
    """Size of an ordinary file in bytes.

    Raises:
        InputError: there is no such file, or it is empty, a folder or a device.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no file {path}: check the path") from None
    except ValueError:
        raise InputError(f"{str(path)!r} is not a path: check it") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({(error.strerror or str(error)).lower()}): check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder, expected a file: give one of the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not an ordinary file: copy its content to one first")
    if status.st_size == 0:
        raise InputError(f"{path} is empty: copy or make it again")
    return status.st_size


def legible(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file's name that are not UTF-8 become ``\\xe9``."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def recognise(start: bytes) -> str | None:
    """What the first bytes of a file show it to be, if that is none of our formats without a signature."""
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return name
    return "a text file" if start and all(byte in _TEXT for byte in start) else None


def check_memory(path: Path, values: int) -> None:
    """Refuse what would fill this machine's memory, before a byte of it is asked for.

    Args:
        path: where the values would come from.
        values: how many numbers would be held, as float32.
    """
    have = usable_memory()
    if 4 * values > have // 2:
        raise InputError(
            f"{path} would take {4 * values / 2**30:.3g} GiB of memory, there is {have / 2**30:.3g} GiB: "
            "is its header right, and are these class averages, not particles?"
        )


def sensible_pixel_size(value: float) -> float | None:
    """A pixel size in Å to six digits, or None where no image of a molecule has such a one: 0.01 to 1000 Å are
    sensible.
    """
    return float(f"{value:.6g}") if _FINEST <= value <= _COARSEST else None


def pixel_size_in_header(path: Path, value: float) -> tuple[float | None, list[str]]:
    """The pixel size in Å that a header states, None where it means nothing, and a note where it is ignored.

    Args:
        path: the file.
        value: what its header states; 0, negative or not a number where it states nothing.
    """
    size = sensible_pixel_size(value)
    if size is None and 0 < value < float("inf"):
        return None, [f"{path.name} has a pixel size of {value:.4g} Å in its header, expected {PIXEL_SIZES}: ignored"]
    return size, []


def doubts(path: Path, pixel_size: float | None) -> list[str]:
    """A note on the pixel size of 1 Å that many programs write where they know none, if it is the only one that is
    known.
    """
    return (
        [f"{legible(path.name)} has a pixel size of 1 Å in its header, which often means unknown: check it"]
        if pixel_size == 1.0
        else []
    )
