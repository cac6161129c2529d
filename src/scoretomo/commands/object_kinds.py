"""The kinds of objects that can be simulated, by name or file, and the settings of each."""

import math
import shlex
from pathlib import Path
from typing import Literal

from .. import files
from ..config import ObjectSettings
from ..point_groups import point_group_name
from .pairing import MAP_ENDINGS

Kind = Literal["shape", "strands", "model", "map"]

_NAMED: dict[str, Kind] = {"box": "shape", "capsid": "shape", "large-subunit": "strands", "ribosome": "strands"}
_NOT_OF: dict[Kind, tuple[str, ...]] = {
    "shape": ("resolution", "symmetry", "trajectory", "move"),
    "strands": ("symmetry", "trajectory", "move"),
    "map": ("symmetry", "trajectory"),
    "model": (),
}


def is_name(name: str) -> bool:
    """Whether a name is that of an object that the program makes, not a file."""
    return name in _NAMED


def object_kind(name: str, settings: ObjectSettings) -> Kind:
    """What an object is, by its name.

    Raises:
        InputError: there is no such object, or the settings do not fit it.
    """
    kind: Kind | None = _NAMED.get(name)
    if kind is None and files.is_model(Path(name)):
        kind = "model"
    elif kind is None and Path(name).suffix.lower() in MAP_ENDINGS:
        kind = "map"
    if kind is None:
        names = ", ".join(_NAMED)
        raise files.InputError(
            f"{name} should be one of {names}, a map (.mrc) or an atomic model (.cif, .pdb): correct it"
        )
    for field in _NOT_OF[kind]:
        if getattr(settings, field):
            raise files.InputError(f"--{field} can't be used with {name}: remove it")
    if settings.symmetry not in (None, "assembly"):
        try:
            point_group_name(settings.symmetry)
        except ValueError as error:
            raise files.InputError(f"--symmetry: {error}, nor assembly: correct it") from None
    return kind


def map_pixel_size(path: Path, stated: float | None, requested: float | None) -> float:
    """The pixel size of a map that is to be an object, in Å.

    Args:
        path: the map.
        stated: what its header says.
        requested: that of the images, if given.

    Raises:
        InputError: the header has none, or images would be finer.
    """
    if stated is None:
        raise files.InputError(f"{path} has no pixel size in its header, which is needed here: set it there")
    if requested is not None and requested < stated:
        raise files.InputError(
            f"{path} has voxels of {stated:g} Å, --pixel-size {requested:g} is smaller: give a larger one"
        )
    return stated


def require_mask(mask: Path, side: int, path: Path, wanted: int) -> None:
    """Refuse a mask that is not on the grid of a map.

    Args:
        mask: its path.
        side: its side in voxels.
        path: the map's.
        wanted: the map's side.

    Raises:
        InputError: it has another side.
    """
    if side != wanted:
        raise files.InputError(f"{mask} should be a mask on the grid of {path} ({wanted}³), got {side}³: make it so")


def read_motion(text: str) -> tuple[str, str, float, float, list[float] | None, list[float] | None]:
    """Part, kind, bounds, axis and a point on it, from a text of --move: PART hinge LOW HIGH axis X,Y,Z through X,Y,Z.

    Raises:
        InputError: it reads otherwise.
    """
    try:
        selection, kind, low, high, *rest = shlex.split(text)
        more = dict(zip(rest[::2], (list(map(float, row.split(","))) for row in rest[1::2]), strict=True))
        bounds = float(low), float(high)
        numbers = [*bounds, *(number for row in more.values() for number in row)]
        valid = kind in ("hinge", "shift") and more.keys() <= {"axis", "through"}
        if not valid or {len(row) for row in more.values()} - {3} or not all(map(math.isfinite, numbers)):
            raise ValueError
        if not any(more.get("axis", [1.0])):
            raise ValueError
    except ValueError:
        raise files.InputError(
            f'--move should read like "B hinge -20 20" or "A/10-50 shift 0 8 axis 0,0,1", got {text!r}: correct it'
        ) from None
    return selection, kind, *bounds, more.get("axis"), more.get("through")
