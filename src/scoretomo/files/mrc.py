"""MRC stacks and maps (MRC2014, CCP4, and what older programs wrote).

The header is read and checked here, before any memory is asked for, because many files in use break the format in harmless ways
(no machine stamp, no voxel size) and some in harmful ones (promised data that is not there).
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from ..errors import InputError
from .reading import check_memory, file_size, opened, recognise
from .writing import atomic

_HEADER = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_OTHER_MODES = {3: "complex integers", 4: "complex numbers, a Fourier transform", 101: "4-bit integers"}


class Header(NamedTuple):
    """What an MRC header says, once it is known to be true of the file."""

    path: Path
    shape: tuple[int, int, int]  # sections, rows, columns
    dtype: np.dtype
    offset: int  # of the first value, in bytes
    pixel_size: float | None  # Å
    axes: tuple[int, int, int]  # which of x, y, z (1, 2, 3) columns, rows and sections run along
    is_volume: bool  # flagged as one volume (space group 1), not as a stack
    notes: list[str]


def read_header(path: Path) -> Header:
    """Read an MRC header and check it against the file.

    Raises:
        InputError: not an MRC file, of a kind that holds no real images, or shorter than its header promises.
    """
    size = file_size(path)
    with opened(path), open(path, "rb") as file:
        raw = file.read(_HEADER)
    kind = recognise(raw)
    if kind is not None:
        raise InputError(f"{path} is {kind}, expected an MRC file: give the file itself")
    if len(raw) < _HEADER:
        raise InputError(f"{path} ends inside its header ({len(raw)} of {_HEADER} bytes): copy or make it again")
    order, notes = _byte_order(raw)
    columns, rows, sections, mode = struct.unpack_from(f"{order}4i", raw, 0)
    (extension,) = struct.unpack_from(f"{order}i", raw, 92)
    _check_numbers(path, (columns, rows, sections), mode, extension)
    dtype = np.dtype(order + _MODES[mode])
    promised = columns * rows * sections * dtype.itemsize
    present = size - _HEADER - extension
    if present < promised:
        raise InputError(
            f"{path} is cut short: its header promises {sections} × {rows}×{columns} values ({promised} bytes), "
            f"the file holds {max(present, 0)} bytes of them: copy or make it again"
        )
    if present > promised:
        notes.append(f"{path.name} has {present - promised} bytes after its last image: ignored")
    (group,) = struct.unpack_from(f"{order}i", raw, 88)
    axes = struct.unpack_from(f"{order}3i", raw, 64)
    pixel_size = _pixel_size(path, raw, order, notes)
    shape = (sections, rows, columns)
    return Header(path, shape, dtype, _HEADER + extension, pixel_size, axes, group == 1, notes)


def _byte_order(raw: bytes) -> tuple[str, list[str]]:
    """Byte order by the machine stamp if it gives sensible numbers, else by which order does."""
    stamped = {0x44: "<", 0x11: ">"}.get(raw[212])
    for order in (stamped, "<", ">"):
        if order is not None and _sensible(raw, order):
            return order, [] if order == stamped else [f"no machine stamp in the header: read as {_ORDER_NAMES[order]}"]
    return stamped or "<", []


_ORDER_NAMES = {"<": "little-endian", ">": "big-endian"}


def _sensible(raw: bytes, order: str) -> bool:
    columns, rows, sections, mode = struct.unpack_from(f"{order}4i", raw, 0)
    return 0 <= mode < 256 and all(0 < length < 2**20 for length in (columns, rows)) and 0 <= sections < 2**24


def _check_numbers(path: Path, lengths: tuple[int, int, int], mode: int, extension: int) -> None:
    columns, rows, sections = lengths
    if mode in _OTHER_MODES:
        raise InputError(f"{path} holds {_OTHER_MODES[mode]} (mode {mode}), expected real images: give these")
    if mode not in _MODES or min(lengths) < 0 or extension < 0:
        raise InputError(
            f"{path} is not an MRC file, or its header is damaged (size {columns}×{rows}×{sections}, mode {mode}, "
            f"extended header {extension} bytes; modes read are 0, 1, 2, 6, 12): check the file"
        )
    if min(lengths) == 0:
        raise InputError(f"{path} holds no images (size {columns}×{rows}×{sections}): make it again")


def _pixel_size(path: Path, raw: bytes, order: str, notes: list[str]) -> float | None:
    """Å per pixel along x and y, or None where the header has none worth the name."""
    samples = struct.unpack_from(f"{order}2i", raw, 28)
    cell = struct.unpack_from(f"{order}2f", raw, 40)
    if min(samples) <= 0 or not np.isfinite(cell).all() or min(cell) <= 0:
        return None
    x, y = (length / count for length, count in zip(cell, samples, strict=True))
    if abs(x - y) > 0.01 * x:
        notes.append(f"{path.name} has pixels of {x:.4g} × {y:.4g} Å in its header: ignored, pixels must be square")
        return None
    if x == 1.0:
        notes.append(f"{path.name} has a pixel size of 1 Å in its header, which often means unknown: check it")
    return round(float(x), 6)


def read_sections(header: Header, numbers: np.ndarray) -> np.ndarray:
    """Sections of an MRC file by their 0-based numbers; (n, rows, columns) float32."""
    with opened(header.path):
        data = np.memmap(header.path, header.dtype, "r", header.offset, header.shape)
        return np.asarray(data[numbers], dtype=np.float32)


def read_all(header: Header) -> np.ndarray:
    """All sections; (sections, rows, columns) float32."""
    check_memory(header.path, int(np.prod(header.shape, dtype=object)))
    return read_sections(header, np.arange(header.shape[0]))


def write_images(path: Path, images: np.ndarray, pixel_size: float | None) -> None:
    """Write a stack of images (n, y, x) as MRC mode 2; an unknown pixel size is 0 in the header."""
    _write(path, images, pixel_size, is_volume=False)


def write_map(path: Path, density: np.ndarray, pixel_size: float | None) -> None:
    """Write a map (z, y, x) as MRC mode 2 with its origin at 0; an unknown pixel size is 0 in the header."""
    _write(path, density, pixel_size, is_volume=True)


def _write(path: Path, values: np.ndarray, pixel_size: float | None, *, is_volume: bool) -> None:
    if values.ndim != 3:
        raise ValueError(f"expected three axes, got shape {values.shape}")
    values = np.ascontiguousarray(values, dtype="<f4")
    header = _header_of(values, pixel_size, is_volume=is_volume)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(header.tobytes())
        file.write(values.data)


def _header_of(values: np.ndarray, pixel_size: float | None, *, is_volume: bool) -> np.ndarray:
    """The 1024 bytes before the values. No date is in it, so that equal runs write equal files."""
    sections, rows, columns = values.shape
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nx"], header["ny"], header["nz"], header["mode"] = columns, rows, sections, 2
    header["mx"], header["my"], header["mz"] = columns, rows, sections if is_volume else 1
    for axis, length in zip("xyz", (columns, rows, sections if is_volume else 1), strict=True):
        header["cella"][axis] = length * (pixel_size or 0.0)
    header["cellb"]["alpha"] = header["cellb"]["beta"] = header["cellb"]["gamma"] = 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["ispg"] = int(is_volume)
    header["dmin"], header["dmax"], header["dmean"] = values.min(), values.max(), values.mean(dtype=np.float64)
    header["rms"] = values.std(dtype=np.float64)
    header["exttyp"], header["nversion"] = b"MRCO", 20141
    header["map"], header["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
    header["nlabl"], header["label"][0] = 1, b"scoretomo"
    return header
