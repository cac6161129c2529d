"""Images and maps as arrays: NumPy (.npy), cryoSPARC (.cs) and EMAN or other HDF5 (.hdf, .h5)."""

from pathlib import Path

import h5py
import numpy as np

from ..errors import InputError
from .reading import check_memory, file_size, opened
from .references import Fetched, Reference, fetch, settle_pixel_size


def read_npy(path: Path) -> np.ndarray:
    """An array of real numbers from a .npy file, as float32; objects (pickles) are never loaded."""
    array = _load(path)
    if array.dtype.kind not in "biuf":
        kind = "a table" if array.dtype.names else f"values of type {array.dtype}"
        raise InputError(f"{path} holds {kind}, expected real numbers: save the images themselves")
    check_memory(path, array.size)
    with opened(path):
        return np.array(array, dtype=np.float32)  # a copy: the file is open for reading only


def _load(path: Path) -> np.ndarray:
    file_size(path)
    with opened(path), open(path, "rb") as file:
        magic = file.read(6)
    if magic != b"\x93NUMPY":
        raise InputError(f"{path} is not a NumPy file: check that it is the file you meant")
    try:
        with opened(path):
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, SyntaxError, OverflowError, EOFError, TypeError) as error:
        what = "it holds Python objects" if "object" in str(error).lower() else "it is cut short or damaged"
        raise InputError(f"{path} cannot be read as numbers ({what}): save the images as a plain array") from None


def read_cs(path: Path) -> tuple[Fetched, float | None, list[str]]:
    """Images named in a cryoSPARC table, their pixel size in Å (None if nobody says), and notes."""
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
    fetched = fetch(references, path)
    stated = [float(size) for size in table["blob/psize_A"]] if "blob/psize_A" in table.dtype.names else []
    if stated and not (np.isfinite(stated).all() and min(stated) > 0):
        stated = []
    sides = {int(max(shape)) for shape in table["blob/shape"]} if "blob/shape" in table.dtype.names else set()
    pixel_size, notes = settle_pixel_size(stated, fetched, path, sides=sides)
    return fetched, pixel_size, notes


def _as_text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def read_hdf(path: Path) -> tuple[np.ndarray, float | None]:
    """An array from an HDF5 file as float32, and its pixel size in Å.

    EMAN's images (/MDF/images/<number>/image) are stacked in the order of their numbers; another file must hold one array.
    """
    file_size(path)
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an HDF5 file: check that it is the file you meant")
    try:
        with h5py.File(path, "r") as file:
            group = file.get("MDF/images")
            return _eman(path, group) if isinstance(group, h5py.Group) else _only_array(path, file)
    except (OSError, RuntimeError, KeyError) as error:
        what = " ".join(str(error).strip("'\"").split())
        raise InputError(f"{path} cannot be read ({what}): copy or make it again") from None


def shapes_of_eman(path: Path) -> list[tuple[int, ...]]:
    """Shapes of the images in a file of EMAN2, where a map is an image of three axes; none of another HDF5 file."""
    if not h5py.is_hdf5(path):
        return []
    with opened(path), h5py.File(path, "r") as file:
        group = file.get("MDF/images")
        return [group[name]["image"].shape for name in _numbered(group)] if isinstance(group, h5py.Group) else []


def _numbered(group: h5py.Group) -> list[str]:
    """Names of EMAN's images, in the order of their numbers."""
    return sorted((name for name in group if name.isdigit() and "image" in group[name]), key=int)


def _eman(path: Path, group: h5py.Group) -> tuple[np.ndarray, float | None]:
    numbers = _numbered(group)
    if not numbers:
        raise InputError(f"{path} holds no images: make it again")
    datasets = [group[name]["image"] for name in numbers]
    shapes = {dataset.shape for dataset in datasets}
    if len(shapes) > 1:
        raise InputError(f"{path} holds images of different sizes ({_list(shapes)}): give images of one size")
    check_memory(path, len(datasets) * int(np.prod(datasets[0].shape, dtype=object)))
    images = np.stack([_unpacked(_real(path, group[name]["image"]), group[name]) for name in numbers])
    size = _number(group[numbers[0]], "apix_x")
    return images[0] if len(images) == 1 else images, size if 0 < size < float("inf") else None


def _unpacked(image: np.ndarray, header: h5py.Group) -> np.ndarray:
    """The values of an image that EMAN2 has stored in few bits."""
    bits = int(_number(header, "stored_renderbits"))
    if bits <= 0:
        return image
    lowest, highest = _number(header, "stored_rendermin"), _number(header, "stored_rendermax")
    return (image / np.float32(2**bits - 1) * (highest - lowest) + lowest).astype(np.float32)


def _number(header: h5py.Group, name: str) -> float:
    """A number of EMAN's header, which it writes as an array of one; 0 if it is missing."""
    return float(np.ravel(header.attrs.get(f"EMAN.{name}", 0.0))[0])


def _only_array(path: Path, file: h5py.File) -> tuple[np.ndarray, float | None]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) and item.ndim in (2, 3) else None)
    if len(found) != 1:
        raise InputError(
            f"{path} is neither an EMAN file nor a file with one array: it holds {len(found)} arrays of 2 or 3 axes: "
            "save the images as .mrcs"
        )
    return _real(path, found[0]), None


def _real(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    if dataset.dtype.kind not in "biuf":
        raise InputError(f"{path} holds values of type {dataset.dtype}, expected real numbers: save real images")
    if dataset.size and not dataset.id.get_storage_size():
        raise InputError(f"{path} has room for images but none were written to it: make it again")
    check_memory(path, dataset.size)
    return np.asarray(dataset[()], dtype=np.float32)


def _list(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) for shape in sorted(shapes))
