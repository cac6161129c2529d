"""Any file that holds images or a map → an array."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from . import mrc
from .arrays import find_cs, find_hdf, find_npy
from .likeness import kind_of
from .reading import HDF_ENDINGS, MRC_ENDINGS, STACK_ENDINGS, FoundStack, StoredArray, file_size, legible
from .star import find_star

_PACKED = (".gz", ".bz2", ".xz", ".zip", ".tar")


class ImageStack(NamedTuple):
    """Images as they are in the user's file."""

    images: np.ndarray  # (n, y, x) float32
    pixel_size: float | None  # Å
    sources: list[str]  # 000003@/path/classes.mrcs, counted from 1 as RELION does
    notes: list[str]  # what the user should know about the file, a sentence each
    files: list[Path]  # that hold the images
    unused: dict[int, str] = {}  # noqa: RUF012 (never changed); place of an image that stands for nothing → why


class Map(NamedTuple):
    """A density map as it is in the user's file."""

    density: np.ndarray  # (z, y, x) float32
    pixel_size: float | None  # Å
    notes: list[str]


def find_images(path: Path) -> FoundStack:
    """Find class averages by headers and tables: .mrcs, .mrc, .map, RELION .star, cryoSPARC .cs, EMAN .hdf or .npy.

    Raises:
        InputError: the file cannot be read as images; what to do is said.
    """
    suffix = _suffix(path, (*MRC_ENDINGS, *HDF_ENDINGS, ".star", ".cs", ".npy"))
    file_size(path)
    stack = find_star(path) if suffix == ".star" else find_cs(path) if suffix == ".cs" else _find_stack(path, suffix)
    return stack._replace(notes=_once(stack.notes))


def _find_stack(path: Path, suffix: str) -> FoundStack:
    """A file that holds images itself."""
    array = _find_array(path, suffix)
    shape = (1, *array.shape) if len(array.shape) == 2 else array.shape
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"{path} has the shape {_times(array.shape)}, expected images × rows × columns: save it so")
    sources = [legible(f"{number:06d}@{path}") for number in range(1, shape[0] + 1)]
    notes = [*array.notes, *_kind_notes(path, suffix, array)]
    return FoundStack(shape, array.pixel_size, sources, notes, [path], lambda: array.read().reshape(shape))


def read_images(path: Path) -> ImageStack:
    """Read class averages from any file that `find_images` takes.

    Raises:
        InputError: the file cannot be read as images; what to do is said.
    """
    stack = find_images(path)
    return ImageStack(stack.read(), stack.pixel_size, stack.sources, stack.notes, stack.files, stack.unused)


def find_map(path: Path) -> StoredArray:
    """Find a cubic density map by the header of its file: .mrc, .map, EMAN .hdf or .npy.

    Raises:
        InputError: the file cannot be read as a map, or the map is not cubic.
    """
    array = _find_array(path, _suffix(path, (*MRC_ENDINGS, *HDF_ENDINGS, ".npy")), as_map=True)
    if len(array.shape) != 3 or len(set(array.shape)) != 1:
        raise InputError(
            f"maps must be cubic, got {_times(array.shape)} in {path}: crop or pad it first, if it is a map"
        )
    if kind_of(path.suffix.lower(), array) == "stack":
        note = f"{path.name} looks like a stack of images ({_times(array.shape)}): read as a map"
        array = array._replace(notes=[*array.notes, note])
    return array


def read_map(path: Path) -> Map:
    """Read a cubic density map from any file that `find_map` takes.

    Raises:
        InputError: the file cannot be read as a map, or the map is not cubic, constant or not finite.
    """
    stored = find_map(path)
    density = stored.read()
    if not np.isfinite(density).all():
        raise InputError(
            f"{path} has {np.count_nonzero(~np.isfinite(density))} voxels that are not numbers: make it again"
        )
    if density.min() == density.max():
        raise InputError(f"{path} is constant ({density.flat[0]:.4g} everywhere): give a map with something in it")
    return Map(np.ascontiguousarray(density), stored.pixel_size, _once(stored.notes))


def is_map(path: Path) -> bool:
    """Whether a file is a cubic map rather than a stack of images, by its name, its flags and, if need be, its values.

    Raises:
        InputError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    return suffix in (*MRC_ENDINGS, *HDF_ENDINGS, ".npy") and kind_of(suffix, _find_array(path, suffix)) == "map"


def _kind_notes(path: Path, suffix: str, array: StoredArray) -> list[str]:
    """What to know of a stack that is flagged as a map or may be one.

    Raises:
        InputError: it is a map.
    """
    kind, shape = kind_of(suffix, array), _times(array.shape)
    if kind == "map":
        how = "rename it to" if suffix in MRC_ENDINGS else "write it as"
        otherwise = f"{how} .mrcs if it is a stack all the same"
        raise InputError(f"{path} is a map ({shape}), expected a stack of class averages: give that, or {otherwise}")
    if kind == "perhaps a map":
        return [f"{path.name} looks like a map, not a stack ({shape}): its sections are read as images"]
    if suffix in MRC_ENDINGS and array.is_map and len(array.shape) == 3 and array.shape[0] > 1:
        return [f"{path.name} is flagged as a volume: read as a stack"]
    return []


def _suffix(path: Path, suffixes: tuple[str, ...]) -> str:
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        raise InputError(f"{path} is packed: unpack it first")
    if suffix not in suffixes and path.is_dir():
        raise InputError(
            f"{path} is a folder, expected a file that ends in one of {', '.join(suffixes)}: give the file itself"
        )
    if suffix not in suffixes:
        raise InputError(
            f"{path} ends in {suffix or '(nothing)'}, expected one of {', '.join(suffixes)}: give such a file"
        )
    return suffix


def _find_array(path: Path, suffix: str, *, as_map: bool = False) -> StoredArray:
    """The array in a file; a map's axes are put in order."""
    if suffix == ".npy":
        return find_npy(path)
    if suffix in HDF_ENDINGS:
        return find_hdf(path)
    header = mrc.read_header(path)
    if header.volumes and suffix not in STACK_ENDINGS and not as_map:
        raise InputError(
            f"{path} is flagged as a stack of volumes ({header.volumes}, in {_times(header.shape)}), expected "
            "class averages: "
            "give these, or rename it to .mrcs if it holds images all the same"
        )
    array = mrc.all_sections(header)
    if not as_map:
        return array
    side, height = header.pixel_size, header.spacing
    if side and height and abs(side - height) > 0.01 * side:
        sides = f"{side:.4g} × {side:.4g} × {height:.4g} Å"
        note = f"{path.name} has voxels of {sides} in its header: taken as cubes of {side:.4g} Å"
        array = array._replace(notes=[*array.notes, note])
    return _in_order(array, header.axes)


def _in_order(array: StoredArray, axes: tuple[int, int, int]) -> StoredArray:
    """Turn a map whose columns, rows and sections run along other axes than x, y, z into (z, y, x)."""
    if sorted(axes) != [1, 2, 3] or axes == (1, 2, 3):
        return array
    stored = axes[::-1]  # what the array's own axes run along
    turn = [stored.index(axis) for axis in (3, 2, 1)]
    note = f"columns, rows and sections run along {''.join('xyz'[axis - 1] for axis in axes)}: turned to xyz"
    shape = tuple(array.shape[axis] for axis in turn)
    return array._replace(shape=shape, notes=[*array.notes, note], read=lambda: array.read().transpose(turn))


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "no axes"


def _once(notes: list[str]) -> list[str]:
    return list(dict.fromkeys(notes))
