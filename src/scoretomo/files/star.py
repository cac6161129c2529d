"""RELION tables (.star, 3.0 and 3.1)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import gemmi

from ..errors import InputError
from .reading import file_size
from .records import read_text
from .references import Fetched, Reference, fetch, settle_pixel_size
from .writing import write_text

Table = list[dict[str, str]]

_IMAGE_COLUMNS = ("rlnImageName", "rlnReferenceImage")


def read_star(path: Path) -> tuple[Fetched, float | None, list[str]]:
    """Images named in a RELION table, their pixel size in Å (None if nobody says), and notes.

    Takes particles or selected class averages (rlnImageName), and the classes of a model file (rlnReferenceImage).
    """
    tables = _tables(path)
    table, column = _image_table(path, tables)
    fetched = fetch([_reference(row[column], path) for row in table], path)
    stated = _pixel_sizes(path, tables, table)
    pixel_size, notes = settle_pixel_size(stated, fetched, path)
    if "rlnDefocusU" in table[0]:
        notes.append(f"{path.name} gives a defocus for each image: these look like particles, not class averages")
    return fetched, pixel_size, notes


def _tables(path: Path) -> dict[str, Table]:
    """All blocks of a STAR file, each as rows; a block of single values is one row."""
    file_size(path)
    text = read_text(path)
    if "\0" in text:
        raise InputError(f"{path} is not a text file, expected a RELION table: give the .star file")
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        where = re.sub(r"^string:(\d+):\S*:", r"line \1:", " ".join(str(error).split()))
        raise InputError(f"{path} is not a RELION table ({where}): check the file") from None
    return {block.name.strip(): _rows(block) for block in document}


def _rows(block: gemmi.cif.Block) -> Table:
    rows: Table = []
    single: dict[str, str] = {}
    for item in block:
        if item.loop is not None:
            tags = [tag.removeprefix("_") for tag in item.loop.tags]
            values = [gemmi.cif.as_string(value) for value in item.loop.values]
            rows += [dict(zip(tags, values[first : first + len(tags)], strict=True)) for first in range(0, len(values), len(tags))]
        elif item.pair is not None:
            tag, value = item.pair
            single[tag.removeprefix("_")] = gemmi.cif.as_string(value)
    return rows or ([single] if single else [])


def _image_table(path: Path, tables: Mapping[str, Table]) -> tuple[Table, str]:
    for column in _IMAGE_COLUMNS:
        for rows in tables.values():
            if rows and column in rows[0]:
                return rows, column
    raise InputError(f"{path} has no images in it (no column {' or '.join(_IMAGE_COLUMNS)}): give a table of class averages")


def _reference(name: str, path: Path) -> Reference:
    """Split RELION's ``000003@stack.mrcs``; a name without number is a file of one image."""
    number, at, stack = name.partition("@")
    if not at:
        return Reference(1, name)
    if not number.isascii() or not number.isdigit() or not stack:
        raise InputError(f"{path} names the image {name!r}, expected something like 000001@stack.mrcs: check the table")
    return Reference(int(number), stack)


def _pixel_sizes(path: Path, tables: Mapping[str, Table], table: Table) -> list[float]:
    """Pixel sizes in Å that the table states: by optics group (3.1), per image, for the model, or by magnification (3.0)."""
    optics = {row["rlnOpticsGroup"]: row for row in tables.get("optics", []) if "rlnOpticsGroup" in row}
    sizes: list[float] = []
    for row in table:
        group = optics.get(row.get("rlnOpticsGroup", ""), {})
        size = group.get("rlnImagePixelSize") or row.get("rlnImagePixelSize") or row.get("rlnPixelSize")
        if size is not None:
            sizes.append(_positive(path, size))
        elif "rlnDetectorPixelSize" in row and "rlnMagnification" in row:
            detector, magnification = (_positive(path, row[key]) for key in ("rlnDetectorPixelSize", "rlnMagnification"))
            sizes.append(1e4 * detector / magnification)  # detector pixels are in µm
    general = tables.get("model_general", [])
    if not sizes and general and "rlnPixelSize" in general[0]:
        sizes.append(_positive(path, general[0]["rlnPixelSize"]))
    return sizes


def _positive(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(f"{path} has the pixel size {text!r}, expected a positive number: correct the table")
    return value


def write_pose_star(path: Path, rows: Sequence[Mapping[str, object]], *, pixel_size: float | None, size: int) -> None:
    """Write images and poses as a RELION 3.1 table: f(V, R(rot, tilt, psi)) is the image shifted by the origin.

    A volume stands under rlnReferenceImage, RELION's label for a reference that images are compared with.

    Args:
        path: the .star file.
        rows: one per image, with ``image`` (000001@images.mrcs), ``rot``, ``tilt``, ``psi`` in degrees, ``shift_x``, ``shift_y``
            in pixels, by which the image lies beside the view; all or none with ``volume`` (its file) and ``class`` (from 1).
        pixel_size: Å; RELION must have one, so unknown is written as 1.
        size: side of the images in pixels.
    """
    # RELION reads no optics without voltage, aberration and contrast; class averages have no CTF that they could describe
    optics = (1, "opticsGroup1", f"{pixel_size or 1.0:.6f}", size, 2, 300, 2.7, 0.1)
    named = {name: label for name, label in _NAMED.items() if rows and name in rows[0]}
    particles = [
        (
            *(row[name] for name in named),
            *(f"{row[angle]:.6f}" for angle in ("rot", "tilt", "psi")),
            *(f"{-float(str(row[shift])) * (pixel_size or 1.0):.6f}" for shift in ("shift_x", "shift_y")),
            1,
        )
        for row in rows
    ]
    write_text(path, _loop("optics", _OPTICS, [optics]) + _loop("particles", (*named.values(), *_PARTICLES), particles))


_OPTICS = (
    "rlnOpticsGroup", "rlnOpticsGroupName", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality",
    "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
)  # fmt: skip
_NAMED = {"image": "rlnImageName", "volume": "rlnReferenceImage", "class": "rlnClassNumber"}
_PARTICLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnOpticsGroup")


def write_reference_star(path: Path, maps: Sequence[Path]) -> None:
    """Write maps as the references of a 3D classification, one for each class."""
    write_text(path, _loop("", ("rlnReferenceImage",), [(each,) for each in maps]))


def _loop(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["", "# version 30001", "", f"data_{name}", "", "loop_"]
    lines += [f"_{column} #{number}" for number, column in enumerate(columns, start=1)]
    lines += [" ".join(str(value) for value in row) for row in rows]
    return "\n".join([*lines, "", ""])
