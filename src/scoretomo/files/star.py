"""RELION tables (.star, 3.0 and 3.1)."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from .reading import PIXEL_SIZES, FoundStack, sensible_pixel_size
from .references import Reference, agreed_pixel_size, find_named
from .star_tables import StarFile, Table, read_star_file
from .writing import write_text

_IMAGE_COLUMNS = ("rlnImageName", "rlnReferenceImage")
_PARTICLE_COUNTS = ("rlnClassDistribution", "rlnParticleNr")  # of a class, as a share or as a number
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def find_star(path: Path) -> FoundStack:
    """Images named in a RELION table.

    Takes particles or selected class averages (rlnImageName), and the classes of a model file (rlnReferenceImage).
    """
    file = read_star_file(path)
    table, column = _image_table(path, file)
    general = (file.tables.get("model_general") or [{}])[0]
    _check_dimensions(path, file.tables, general, column)
    named = find_named([_reference(row[column], path) for row in table], path)
    optics, notes = _optics(path, file.tables.get("optics", []), table)
    stated = _pixel_sizes(path, table, optics, general)
    sides = {_whole(group.get("rlnImageSize")) for groups in optics for group in groups}
    sides.add(_whole(general.get("rlnOriginalImageSize")))
    pixel_size, disagreements = agreed_pixel_size(stated, named, path, sides=[side for side in sides if side])
    notes = named.notes + notes + disagreements
    if "rlnDefocusU" in table[0]:
        notes.append(f"{path.name} gives a defocus for each image: these look like particles, not class averages")
    if file.stray is not None:
        where = f"from line {file.stray} on"
        notes.append(f"{path.name} has lines that are in no table, {where}: skipped, an empty line ends a table")
    return FoundStack(named.shape, pixel_size, named.sources, notes, named.files, named.read, _unused(table))


def _image_table(path: Path, file: StarFile) -> tuple[Table, str]:
    """The table that names images, and the column with their names."""
    for column in _IMAGE_COLUMNS:
        for rows in file.tables.values():
            if rows and column in rows[0]:
                return rows, column
    for name, labels in file.labels.items():
        named = [each for each in _IMAGE_COLUMNS if each in labels]
        if named:
            raise InputError(
                f"{path} has no rows in its table data_{name} (column {named[0]}): give a table of class averages"
            )
    raise InputError(
        f"{path} has no images in it (no column {' or '.join(_IMAGE_COLUMNS)}): give a table of class averages"
    )


def _check_dimensions(path: Path, tables: Mapping[str, Table], general: Mapping[str, str], column: str) -> None:
    """Refuse references and particles that are maps."""
    if column == "rlnReferenceImage" and _whole(general.get("rlnReferenceDimensionality")) == 3:
        raise InputError(
            f"{path} is the model of a 3D classification or refinement (rlnReferenceDimensionality 3), "
            "its references are maps, expected class averages: give the model of a 2D classification"
        )
    dimensions = {_whole(group.get("rlnImageDimensionality")) for group in tables.get("optics", [])}
    if column == "rlnImageName" and 3 in dimensions:
        raise InputError(
            f"{path} names subtomograms, each a map (rlnImageDimensionality 3), expected class averages: give a "
            "table of these"
        )


def _reference(name: str, path: Path) -> Reference:
    """Split RELION's ``000003@stack.mrcs``; a name without number is a file of one image."""
    number, at, stack = name.partition("@")
    if not at and name:
        return Reference(None, name)
    if not number.isascii() or not number.isdigit() or not stack:
        raise InputError(f"{path} names the image {name!r}, expected something like 000001@stack.mrcs: check the table")
    return Reference(int(number), stack)


def _unused(table: Table) -> dict[int, str]:
    """Places of images of classes without particles, and why; a column of nothing but 0 was never filled in."""
    unused: dict[int, str] = {}
    for column in _PARTICLE_COUNTS:
        empty = [place for place, row in enumerate(table) if _number(row.get(column)) == 0]
        if len(empty) < len(table):
            unused |= {place: f"no particle is in this class ({column} 0)" for place in empty if place not in unused}
    return unused


def _optics(path: Path, groups: Table, table: Table) -> tuple[list[Table], list[str]]:
    """For each image its optics group, or all of them where the table names none or one that isn't there; and notes."""
    numbered = {_whole(group["rlnOpticsGroup"]): [group] for group in groups if "rlnOpticsGroup" in group}
    numbers = [_whole(row.get("rlnOpticsGroup")) for row in table]
    missing = sorted({number for number in numbers if number is not None and number not in numbered}) if groups else []
    notes = []
    if missing:
        where = f"{path.name} names the optics group {missing[0]}, which its optics table does not have"
        if len({group.get("rlnImagePixelSize") for group in groups}) > 1:
            raise InputError(f"{where}, and its groups differ in pixel size: correct {path}")
        notes.append(f"{where}: the pixel size of that table is taken")
    return [numbered.get(number, groups) for number in numbers], notes


def _pixel_sizes(path: Path, table: Table, optics: Sequence[Table], general: Mapping[str, str]) -> list[float]:
    """Pixel sizes in Å that the table states: by optics group (3.1), per image, by magnification (3.0), or for the
    model.
    """
    sizes: list[float] = []
    for row, groups in zip(table, optics, strict=True):
        of_groups = [group["rlnImagePixelSize"] for group in groups if "rlnImagePixelSize" in group]
        own = row.get("rlnImagePixelSize", row.get("rlnPixelSize"))
        if of_groups:
            sizes += [_sensible(path, _positive(path, size)) for size in of_groups]
        elif own is not None:
            sizes.append(_sensible(path, _positive(path, own)))
        elif "rlnDetectorPixelSize" in row and "rlnMagnification" in row:
            detector = _positive(path, row["rlnDetectorPixelSize"])
            magnification = _positive(path, row["rlnMagnification"])
            sizes.append(_sensible(path, 1e4 * detector / magnification))  # detector pixels are in µm
    if not sizes and "rlnPixelSize" in general:
        sizes.append(_sensible(path, _positive(path, general["rlnPixelSize"])))
    return sizes


def _sensible(path: Path, value: float) -> float:
    """A pixel size in Å that images of molecules can have."""
    size = sensible_pixel_size(value)
    if size is None:
        raise InputError(f"{path} gives a pixel size of {value:.4g} Å, expected {PIXEL_SIZES}: correct the table")
    return size


def _positive(path: Path, text: str) -> float:
    value = _number(text)
    if value is None or not 0 < value < math.inf:
        raise InputError(f"{path} has the pixel size {text!r}, expected a positive number: correct the table")
    return value


def _number(text: str | None) -> float | None:
    """A number; None where there is none, where RELION would read 0 or, in ``1,5``, the digits before the comma."""
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def _whole(text: str | None) -> int | None:
    """A whole number as RELION reads it, by its first digits: 1.000000 is 1."""
    match = re.match(r"[+-]?[0-9]+", text or "")
    return int(match[0]) if match else None


def write_pose_star(path: Path, rows: Sequence[Mapping[str, object]], *, pixel_size: float | None, size: int) -> None:
    """Write images and poses as a RELION 3.1 table: f(V, R(rot, tilt, psi)) is the image shifted by the origin.

    A volume stands under rlnReferenceImage, RELION's label for a reference that images are compared with.

    Args:
        path: the .star file.
        rows: one per image, with ``image`` (000001@images.mrcs), ``rot``, ``tilt``, ``psi`` in degrees, ``shift_x``,
            ``shift_y`` in pixels, by which the image lies beside the view; all or none with ``volume`` (its file) and
            ``class`` (from 1).
        pixel_size: Å; RELION must have one, so unknown is written as 1.
        size: side of the images in pixels.
    """
    # RELION reads no optics without voltage, aberration and contrast; class averages have no CTF that they could
    # describe
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
