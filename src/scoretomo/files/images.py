"""Any file that holds images or a map → an array."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from . import mrc
from .arrays import read_cs, read_hdf, read_npy, shapes_of_eman
from .reading import file_size
from .star import read_star

_MRC = (".mrcs", ".mrc", ".map", ".st", ".ccp4", ".rec")
_STACKS = (".mrcs", ".st")  # of these, what is a stack whatever its flag says
_HDF = (".hdf", ".h5", ".hdf5")
_PACKED = (".gz", ".bz2", ".xz", ".zip", ".tar")


class ImageStack(NamedTuple):
    """Images as they are in the user's file."""

    images: np.ndarray  # (n, y, x) float32
    pixel_size: float | None  # Å
    sources: list[str]  # 000003@/path/classes.mrcs, counted from 1 as RELION does
    notes: list[str]  # what the user should know about the file, a sentence each
    unused: dict[int, str] = {}  # noqa: RUF012 (never changed); place of an image that stands for nothing → why


class Map(NamedTuple):
    """A density map as it is in the user's file."""

    density: np.ndarray  # (z, y, x) float32
    pixel_size: float | None  # Å
    notes: list[str]


def require_stack(path: Path) -> str:
    """The ending of a file that may hold class averages, which is not opened yet.

    Raises:
        InputError: it isn't there, is empty or a folder, or its name ends in something else.
    """
    suffix = _suffix(path, (*_MRC, *_HDF, ".star", ".cs", ".npy"))
    file_size(path)
    return suffix


def read_images(path: Path) -> ImageStack:
    """Read class averages: .mrcs, .mrc, .map, RELION .star, cryoSPARC .cs, EMAN .hdf or .npy.

    Raises:
        InputError: the file cannot be read as images; what to do is said.
    """
    suffix = require_stack(path)
    if suffix in (".star", ".cs"):
        fetched, pixel_size, notes = (read_star if suffix == ".star" else read_cs)(path)
        return ImageStack(fetched.images, pixel_size, fetched.sources, _once(fetched.notes + notes), fetched.unused)
    array, pixel_size, notes = _read_array(path, suffix)
    flagged = _flagged_as_map(path, suffix)
    if flagged:
        rename = ", or rename it to .mrcs if it is a stack that is wrongly flagged as a map" if suffix in _MRC else ""
        raise InputError(f"{path} is a map ({_times(array.shape)}), expected a stack of class averages: give that{rename}")
    if flagged is None and _is_cube(array.shape):
        notes.append(f"{path.name} looks like a map, not a stack ({_times(array.shape)}): its slices are read as images")
    images = array[None] if array.ndim == 2 else array
    if images.ndim != 3 or 0 in images.shape:
        raise InputError(f"{path} has the shape {_times(array.shape)}, expected images × rows × columns: save it so")
    sources = [f"{number:06d}@{path}" for number in range(1, len(images) + 1)]
    return ImageStack(images, pixel_size, sources, _once(notes))


def read_map(path: Path) -> Map:
    """Read a cubic density map: .mrc, .map, EMAN .hdf or .npy.

    Raises:
        InputError: the file cannot be read as a map, or the map is not cubic, constant or not finite.
    """
    array, pixel_size, notes = _read_array(path, _suffix(path, (*_MRC, *_HDF, ".npy")), as_map=True)
    if array.ndim != 3 or len(set(array.shape)) != 1:
        raise InputError(f"maps must be cubic, got {_times(array.shape)} in {path}: crop or pad it first, if it is a map")
    if not np.isfinite(array).all():
        raise InputError(f"{path} has {np.count_nonzero(~np.isfinite(array))} voxels that are not numbers: make it again")
    if array.min() == array.max():
        raise InputError(f"{path} is constant ({array.flat[0]:.4g} everywhere): give a map with something in it")
    return Map(np.ascontiguousarray(array), pixel_size, _once(notes))


def is_map(path: Path) -> bool:
    """Whether a file is a cubic map rather than a stack of images: by its flag, or, where there are no flags, by its shape.

    Raises:
        InputError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    flagged = _flagged_as_map(path, suffix)
    if flagged is None:
        return suffix in (*_HDF, ".npy") and _is_cube(_read_array(path, suffix)[0].shape)
    return flagged


def _flagged_as_map(path: Path, suffix: str) -> bool | None:
    """Whether a file says that it is a cubic map; None where such files can't say so."""
    if suffix in _MRC:
        header = mrc.read_header(path)
        return suffix not in _STACKS and header.is_volume and _is_cube(header.shape)
    if suffix in _HDF and (shapes := shapes_of_eman(path)):
        return len(shapes) == 1 and _is_cube(shapes[0])
    return None


def _suffix(path: Path, known: tuple[str, ...]) -> str:
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        raise InputError(f"{path} is packed: unpack it first")
    if suffix not in known and path.is_dir():
        raise InputError(f"{path} is a folder, expected a file that ends in one of {', '.join(known)}: give the file itself")
    if suffix not in known:
        raise InputError(f"{path} ends in {suffix or '(nothing)'}, expected one of {', '.join(known)}: give such a file")
    return suffix


def _read_array(path: Path, suffix: str, *, as_map: bool = False) -> tuple[np.ndarray, float | None, list[str]]:
    """The array in a file, its pixel size in Å, and notes."""
    if suffix == ".npy":
        return read_npy(path), None, []
    if suffix in _HDF:
        return *read_hdf(path), []
    header = mrc.read_header(path)
    array, notes = mrc.read_all(header), list(header.notes)
    if as_map:
        array = _in_order(array, header.axes, notes)
    elif header.is_volume and header.shape[0] > 1:
        notes.append(f"{path.name} is flagged as a volume: read as a stack")
    return array, header.pixel_size, notes


def _in_order(array: np.ndarray, axes: tuple[int, int, int], notes: list[str]) -> np.ndarray:
    """Turn a map whose columns, rows and sections run along other axes than x, y, z into (z, y, x)."""
    if sorted(axes) != [1, 2, 3] or axes == (1, 2, 3):
        return array
    notes.append(f"columns, rows and sections run along {''.join('xyz'[axis - 1] for axis in axes)}: turned to xyz")
    stored = axes[::-1]  # what the array's own axes run along
    return array.transpose([stored.index(axis) for axis in (3, 2, 1)])


def _is_cube(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] > 1 and len(set(shape)) == 1


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "no axes"


def _once(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))
