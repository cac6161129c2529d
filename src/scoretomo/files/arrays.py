"""Images and maps as arrays: NumPy (.npy), cryoSPARC (.cs) and EMAN or other HDF5 (.hdf, .h5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .reading import (
    FoundStack,
    StoredArray,
    check_memory,
    doubts,
    file_size,
    opened,
    pixel_size_in_header,
    sensible_pixel_size,
)
from .references import Reference, agreed_pixel_size, find_named

if TYPE_CHECKING:
    import h5py  # else only where an HDF5 file is read: it takes a while

_LONGEST_HEADER = 2**20  # bytes of a NumPy file: room for a table of 15,000 columns


def find_npy(path: Path) -> StoredArray:
    """An array of real numbers in a .npy file; objects (pickles) are never loaded."""
    array = _load(path)
    if array.dtype.kind not in "biuf":
        kind = "a table" if array.dtype.names else f"values of type {array.dtype}"
        raise InputError(f"{path} holds {kind}, expected real numbers: save the images themselves")
    check_memory(path, array.size)

    def read() -> np.ndarray:
        with opened(path):
            return np.array(array, dtype=np.float32)  # a copy: the file is open for reading only

    return StoredArray(array.shape, None, None, [], read)


def _load(path: Path) -> np.ndarray:
    file_size(path)
    with opened(path), open(path, "rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise InputError(f"{path} is not a NumPy file: check that it is the file you meant")
    try:
        with opened(path):
            return np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=_LONGEST_HEADER)
    except (ValueError, SyntaxError, OverflowError, EOFError, TypeError) as error:
        what = "it holds Python objects" if "object" in str(error).lower() else "it is cut short or damaged"
        raise InputError(f"{path} cannot be read as numbers ({what}): save the images as a plain array") from None


def find_cs(path: Path) -> FoundStack:
    """Images named in a cryoSPARC table."""
    table = _load(path)
    if not table.dtype.names:
        raise InputError(f"{path} is an array, not a cryoSPARC table: name it .npy if it holds images")
    if not {"blob/path", "blob/idx"} <= set(table.dtype.names):
        raise InputError(
            f"{path} names no images (it has no blob/path and blob/idx): give the .cs file of the class averages, "
            "not its passthrough file"
        )
    references = [
        Reference(int(number) + 1, _as_text(stack).lstrip(">"))
        for stack, number in zip(table["blob/path"], table["blob/idx"], strict=True)
    ]
    named = find_named(references, path)
    sizes = (
        [sensible_pixel_size(float(size)) for size in table["blob/psize_A"]]
        if "blob/psize_A" in table.dtype.names
        else []
    )
    stated = [size for size in sizes if size is not None]
    sides = {int(max(shape)) for shape in table["blob/shape"]} if "blob/shape" in table.dtype.names else set()
    pixel_size, notes = agreed_pixel_size(stated if len(stated) == len(sizes) else [], named, path, sides=sides)
    return FoundStack(named.shape, pixel_size, named.sources, named.notes + notes, named.files, named.read)


def _as_text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def find_hdf(path: Path) -> StoredArray:
    """An array in an HDF5 file.

    EMAN's images (/MDF/images/<number>/image) are stacked in the order of their numbers, and an image of three axes is
    a map; another file must hold one array.
    """
    import h5py

    with _opened_hdf(path) as file:
        group = file.get("MDF/images")
        return _find_eman(path, group) if isinstance(group, h5py.Group) else _find_only_array(path, file)


@contextmanager
def _opened_hdf(path: Path) -> "Iterator[h5py.File]":
    """An HDF5 file open for reading; it is not locked, which some network file systems can't do."""
    import h5py

    file_size(path)
    with opened(path), open(path, "rb"):
        pass  # h5py takes a file that it may not read for one of another kind
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an HDF5 file: check that it is the file you meant")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        what = " ".join(str(error).strip("'\"").split())
        raise InputError(f"{path} cannot be read ({what}): copy or make it again") from None


def _find_eman(path: Path, group: "h5py.Group") -> StoredArray:
    names = sorted((name for name in group if name.isdigit() and "image" in group[name]), key=int)
    if not names:
        raise InputError(f"{path} holds no images: make it again")
    datasets = [group[name]["image"] for name in names]
    for dataset in datasets:
        _require_real(path, dataset)
    shapes = {dataset.shape for dataset in datasets}
    if len(shapes) > 1:
        raise InputError(f"{path} holds images of different sizes ({_list(shapes)}): give images of one size")
    shape = shapes.pop()
    check_memory(path, len(names) * int(np.prod(shape, dtype=object)))
    pixel_size, notes = pixel_size_in_header(path, _number(group[names[0]], "apix_x"))
    notes += doubts(path, pixel_size)

    def read() -> np.ndarray:
        with _opened_hdf(path) as file:
            groups = [file["MDF/images"][name] for name in names]
            images = np.stack([_unpacked(np.asarray(group["image"][()], dtype=np.float32), group) for group in groups])
        return images[0] if len(images) == 1 else images

    return StoredArray(shape if len(names) == 1 else (len(names), *shape), pixel_size, len(shape) == 3, notes, read)


def _unpacked(image: np.ndarray, header: "h5py.Group") -> np.ndarray:
    """The values of an image that EMAN2 has stored in few bits."""
    bits = int(_number(header, "stored_renderbits"))
    if bits <= 0:
        return image
    lowest, highest = _number(header, "stored_rendermin"), _number(header, "stored_rendermax")
    return (image / np.float32(2**bits - 1) * (highest - lowest) + lowest).astype(np.float32)


def _number(header: "h5py.Group", name: str) -> float:
    """A number of EMAN's header, which it writes as an array of one; 0 if it is missing."""
    return float(np.ravel(header.attrs.get(f"EMAN.{name}", 0.0))[0])


def _find_only_array(path: Path, file: "h5py.File") -> StoredArray:
    import h5py

    datasets: list[h5py.Dataset] = []
    file.visititems(
        lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) and item.ndim in (2, 3) else None
    )
    if len(datasets) != 1:
        raise InputError(
            f"{path} is neither an EMAN file nor a file with one array: it holds {len(datasets)} arrays of 2 or 3 "
            "axes: save the images as .mrcs"
        )
    name = datasets[0].name
    _require_real(path, datasets[0])
    check_memory(path, datasets[0].size)

    def read() -> np.ndarray:
        with _opened_hdf(path) as file:
            return np.asarray(file[name][()], dtype=np.float32)

    return StoredArray(datasets[0].shape, None, None, [], read)


def _require_real(path: Path, dataset: "h5py.Dataset") -> None:
    if dataset.dtype.kind not in "biuf":
        raise InputError(f"{path} holds values of type {dataset.dtype}, expected real numbers: save real images")
    if dataset.size and not dataset.id.get_storage_size():
        raise InputError(f"{path} has room for images but none were written to it: make it again")


def _list(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in sorted(shapes))
