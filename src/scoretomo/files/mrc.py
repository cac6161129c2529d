"""MRC stacks and maps (MRC2014, CCP4, and what older programs wrote).

The header is read and checked here, before any memory is asked for, because many files in use break the format in
harmless ways (no machine stamp, no voxel size) and some in harmful ones (promised data that is not there).
"""

import struct
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..errors import InputError
from .reading import (
    StoredArray,
    check_memory,
    doubts,
    file_size,
    opened,
    pixel_size_in_header,
    recognise,
    sensible_pixel_size,
)
from .writing import atomic

_Order = Literal["<", ">"]
_HEADER = 1024  # bytes
_FIELDS = np.dtype(
    [
        ("nx", "i4"), ("ny", "i4"), ("nz", "i4"),  # columns, rows, sections
        ("mode", "i4"),  # type of the values
        ("nxstart", "i4"), ("nystart", "i4"), ("nzstart", "i4"),
        ("mx", "i4"), ("my", "i4"), ("mz", "i4"),  # samples of the cell along each axis
        ("cella", [("x", "f4"), ("y", "f4"), ("z", "f4")]),  # its lengths, Å
        ("cellb", [("alpha", "f4"), ("beta", "f4"), ("gamma", "f4")]),  # its angles, degrees
        ("mapc", "i4"), ("mapr", "i4"), ("maps", "i4"),  # axes of columns, rows and sections
        ("dmin", "f4"), ("dmax", "f4"), ("dmean", "f4"),
        ("ispg", "i4"),  # space group
        ("nsymbt", "i4"),  # bytes of the extended header
        ("extra1", "V8"), ("exttyp", "S4"), ("nversion", "i4"), ("extra2", "V84"),
        ("origin", [("x", "f4"), ("y", "f4"), ("z", "f4")]),
        ("map", "S4"), ("machst", "u1", 4),
        ("rms", "f4"),
        ("nlabl", "i4"), ("label", "S80", 10),
    ]
)  # fmt: skip
_IMAGES = 0  # space group of a stack of images
_ONE_VOLUME = 1  # of one volume
_VOLUMES = range(401, 631)  # of stacks of volumes
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_IMOD_STAMP = 1146047817  # at byte 152: the next four are IMOD's flags
_SIGNED, _HALVES = 1, 16  # of these flags: bytes are signed; a byte holds two values
_OTHER_MODES = {3: "complex integers", 4: "complex numbers, a Fourier transform", 101: "4-bit integers"}


class Header(NamedTuple):
    """What an MRC header says, once it is known to be true of the file."""

    path: Path
    shape: tuple[int, int, int]  # sections, rows, columns
    dtype: np.dtype
    offset: int  # of the first value, in bytes
    pixel_size: float | None  # Å
    spacing: float | None  # Å from section to section; None where the file is no map
    axes: tuple[int, int, int]  # which of x, y, z (1, 2, 3) columns, rows and sections run along
    is_volume: bool  # flagged as one volume (space group 1), not as a stack
    is_stack: bool  # flagged as a stack of images: space group 0 and a depth of one section, as MRC2014 has it
    volumes: int  # in a file that is flagged as a stack of volumes (space group 401 and above), else 0
    notes: list[str]


def read_header(path: Path) -> Header:
    """Read an MRC header and check it against the file.

    Raises:
        InputError: not an MRC file, of a kind that holds no real images, or shorter than its header promises.
    """
    size = file_size(path)
    with opened(path), open(path, "rb") as file:
        raw = file.read(_HEADER)
    _require_header(path, raw)
    order, notes = _byte_order(raw)
    fields = np.frombuffer(raw, _FIELDS.newbyteorder(order))[0]
    columns, rows, sections, mode, extension = (int(fields[name]) for name in ("nx", "ny", "nz", "mode", "nsymbt"))
    stamp, flags = struct.unpack_from(f"{order}2i", raw, 152)
    imod = flags if stamp == _IMOD_STAMP else None
    _check_numbers(path, (columns, rows, sections), mode, extension, imod)
    dtype = np.dtype(order + _value_type(path, fields, imod, notes))
    shape = (sections, rows, columns)
    notes += _size_notes(path, shape, dtype, size - _HEADER - extension)
    group = int(fields["ispg"])
    depth = int(fields["mz"])
    return Header(
        path=path,
        shape=shape,
        dtype=dtype,
        offset=_HEADER + extension,
        pixel_size=_pixel_size(path, fields, notes),
        spacing=sensible_pixel_size(float(fields["cella"]["z"]) / depth) if depth == sections else None,
        axes=(int(fields["mapc"]), int(fields["mapr"]), int(fields["maps"])),
        is_volume=group == _ONE_VOLUME,
        is_stack=group == _IMAGES and depth == 1,
        volumes=max(1, sections // depth) if group in _VOLUMES and depth > 0 else 0,
        notes=notes,
    )


def _require_header(path: Path, raw: bytes) -> None:
    """Refuse a file that does not begin with a whole MRC header."""
    kind = recognise(raw)
    if kind is not None:
        raise InputError(f"{path} is {kind}, expected an MRC file: give the file itself")
    if len(raw) < _HEADER:
        raise InputError(f"{path} ends inside its header ({len(raw)} of {_HEADER} bytes): copy or make it again")


def _size_notes(path: Path, shape: tuple[int, int, int], dtype: np.dtype, present: int) -> list[str]:
    """Refuse a file of fewer bytes of values than its header promises; a note if it has more."""
    sections, rows, columns = shape
    promised = columns * rows * sections * dtype.itemsize
    if present < promised:
        raise InputError(
            f"{path} is cut short: its header promises {sections} × {rows}×{columns} values ({promised} bytes), "
            f"the file holds {max(present, 0)} bytes of them: copy or make it again"
        )
    return [f"{path.name} has {present - promised} bytes after its last image: ignored"] if present > promised else []


def _byte_order(raw: bytes) -> tuple[_Order, list[str]]:
    """Byte order by the machine stamp if it gives sensible numbers, else by which order does."""
    stamps: dict[int, _Order] = {0x44: "<", 0x11: ">"}
    stamped = stamps.get(raw[212])
    orders: tuple[_Order | None, ...] = (stamped, "<", ">")
    for order in orders:
        if order is not None and _sensible(raw, order):
            return order, [] if order == stamped else [f"no machine stamp in the header: read as {_ORDER_NAMES[order]}"]
    return stamped or "<", []


_ORDER_NAMES = {"<": "little-endian", ">": "big-endian"}


def _sensible(raw: bytes, order: str) -> bool:
    columns, rows, sections, mode = struct.unpack_from(f"{order}4i", raw, 0)
    return 0 <= mode < 256 and all(0 < length < 2**20 for length in (columns, rows)) and 0 <= sections < 2**24


def _check_numbers(path: Path, lengths: tuple[int, int, int], mode: int, extension: int, imod: int | None) -> None:
    columns, rows, sections = lengths
    if mode == 0 and imod is not None and imod & _HALVES:
        raise InputError(
            f"{path} holds 4-bit integers, two in a byte (a flag of IMOD), expected whole values: give these"
        )
    if mode in _OTHER_MODES:
        raise InputError(f"{path} holds {_OTHER_MODES[mode]} (mode {mode}), expected real images: give these")
    if mode not in _MODES or min(lengths) < 0 or extension < 0:
        raise InputError(
            f"{path} is not an MRC file, or its header is damaged (size {columns}×{rows}×{sections}, mode {mode}, "
            f"extended header {extension} bytes; modes read are 0, 1, 2, 6, 12): check the file"
        )
    if min(lengths) == 0:
        raise InputError(f"{path} holds no images (size {columns}×{rows}×{sections}): make it again")


def _value_type(path: Path, fields: np.void, imod: int | None, notes: list[str]) -> str:
    """NumPy's name of the values. Integers of modes 0 and 1 are signed by MRC2014, but not all programs write them so.

    IMOD flags which of both its bytes are; of others, a largest value that signed ones cannot have tells.
    """
    mode, lowest, highest = int(fields["mode"]), float(fields["dmin"]), float(fields["dmax"])
    signed = _MODES[mode]
    if mode not in (0, 1):
        return signed
    limit = np.iinfo(signed).max
    if mode == 0 and imod is not None:
        unsigned, why = not imod & _SIGNED, "IMOD's flag says so"
    else:
        unsigned, why = (
            lowest >= 0 and limit < highest <= 2 * limit + 1,
            f"its header has a largest value of {highest:g}",
        )
    if not unsigned:
        return signed
    notes.append(f"{path.name} is read as unsigned integers from 0 to {2 * limit + 1}: {why}")
    return signed.replace("i", "u")


def _pixel_size(path: Path, fields: np.void, notes: list[str]) -> float | None:
    """Å per pixel along x and y, or None where the header has none worth the name."""
    samples, cell = (int(fields["mx"]), int(fields["my"])), (float(fields["cella"]["x"]), float(fields["cella"]["y"]))
    if min(samples) <= 0 or not np.isfinite(cell).all() or min(cell) <= 0:
        return None
    x, y = (length / count for length, count in zip(cell, samples, strict=True))
    if abs(x - y) > 0.01 * x:
        notes.append(f"{path.name} has pixels of {x:.4g} × {y:.4g} Å in its header: ignored, pixels must be square")
        return None
    size, doubtful = pixel_size_in_header(path, x)
    notes += doubtful
    return size


def read_sections(header: Header, numbers: np.ndarray) -> np.ndarray:
    """Sections of an MRC file by their 0-based numbers; (n, rows, columns) float32."""
    with opened(header.path):
        data = np.memmap(header.path, header.dtype, "r", header.offset, header.shape)
        return np.asarray(data[numbers], dtype=np.float32)


def all_sections(header: Header) -> StoredArray:
    """All sections as one array, not read yet.

    Raises:
        InputError: they would fill this machine's memory.
    """
    check_memory(header.path, int(np.prod(header.shape, dtype=object)))
    is_map = True if header.is_volume or header.volumes else False if header.is_stack else None
    numbers = np.arange(header.shape[0])
    notes = header.notes + doubts(header.path, header.pixel_size)
    return StoredArray(header.shape, header.pixel_size, is_map, notes, lambda: read_sections(header, numbers))


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
    header = np.zeros((), _FIELDS.newbyteorder("<"))
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
