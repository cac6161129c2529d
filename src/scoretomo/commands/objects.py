"""A name or a file → a moving object."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import roma
import torch
from torch import Tensor

from .. import files
from ..config import ObjectSettings
from ..evaluation import regrid
from ..fourier import centred_fft, centred_ifft, radius, resample
from ..phantoms import (
    Atoms,
    FormFactors,
    Motion,
    MovingAtoms,
    MovingBox,
    MovingCapsid,
    large_subunit,
    motion_of,
    ribosome,
)
from ..rotations import point_group
from ..simulation import MovingMap, Phantom, Specimen, isolated, voxel_places
from .object_kinds import map_pixel_size, object_kind, read_motion, require_mask

SHAPES: dict[str, Callable[[], Phantom]] = {"box": MovingBox, "capsid": MovingCapsid}
STRANDS = {"large-subunit": large_subunit, "ribosome": ribosome}
_FILLED = 0.85  # of the side, by an object of unknown pixel size
_ROOM = 0.95  # of the side: the largest object


class Scene(NamedTuple):
    """An object, and the pixel size at which it is seen."""

    movable: Phantom | Specimen
    pixel_size: float | None  # Å
    notes: tuple[str, ...] = ()  # on the file it comes from


@lru_cache(maxsize=1)
def open_object(name: str, size: int, pixel_size: float | None, settings: ObjectSettings) -> Scene:
    """The object of this name, or in this file, for images of a size.

    Raises:
        InputError: there is no such object, or the settings do not fit it.
    """
    kind, path = object_kind(name, settings), Path(name)
    if kind == "shape":
        return Scene(SHAPES[name](), pixel_size)
    if kind == "strands":
        return _fitted(STRANDS[name](1.0, 1.0), name, size, pixel_size, settings)
    if kind == "model":
        return _fitted(_moving_model(path, settings), name, size, pixel_size, settings)
    return _moving_map(path, size, pixel_size, settings)


def files_of(name: str, settings: ObjectSettings) -> list[Path]:
    """Files that an object is read from: a model or a map, and its trajectory or masks."""
    kind = object_kind(name, settings)
    if kind in ("shape", "strands"):
        return []
    masks = [Path(read_motion(text)[0]) for text in settings.move] if kind == "map" else []
    return [Path(name), *([settings.trajectory] if settings.trajectory else []), *masks]


def _fitted(atoms: MovingAtoms, name: str, size: int, pixel_size: float | None, settings: ObjectSettings) -> Scene:
    """Atoms in images with pixels that show all of them."""
    across = 2 * atoms.reach()
    pixel_size = pixel_size or max(across, 1.0) / (_FILLED * size)
    if across > _ROOM * size * pixel_size:
        raise files.InputError(
            f"{name} is {across:.0f} Å across, {size} pixels of {pixel_size:g} Å show {size * pixel_size:.0f} Å: "
            f"give a larger --size or a --pixel-size of {across / (_FILLED * size):.2f}"
        )
    return Scene(replace(atoms, pixel_size=pixel_size, resolution=settings.resolution or 2 * pixel_size), pixel_size)


def _moving_model(path: Path, settings: ObjectSettings) -> MovingAtoms:
    model = files.read_model(path, settings.trajectory)
    kinds = sorted(model.a)
    forms = FormFactors(
        *(torch.tensor([table[kind] for kind in kinds], dtype=torch.float64) for table in (model.a, model.b))
    )
    kind = torch.from_numpy(np.searchsorted(kinds, model.elements))
    frames = torch.from_numpy(model.frames)
    if settings.trajectory is not None:
        frames = _superposed(frames)
    atoms = Atoms(frames, kind, torch.from_numpy(model.occupancy), forms)

    def part(selection: str) -> Tensor:
        return torch.from_numpy(files.select_atoms(model, selection))

    motions = _motions(settings.move, part, frames[0])
    moving = MovingAtoms(atoms, 1.0, 1.0, motions)
    if settings.symmetry == "assembly":
        assembly = files.read_assembly(model, path)
        return replace(moving, copies=torch.from_numpy(assembly.copies), which=torch.from_numpy(assembly.members))
    if settings.symmetry is not None:
        turns = point_group(settings.symmetry)
        return replace(moving, copies=torch.cat([turns, torch.zeros(len(turns), 3, 1, dtype=turns.dtype)], 2))
    return moving


def _superposed(frames: Tensor) -> Tensor:
    """Frames turned and shifted onto the first: what is left is what moves."""
    turn, offset = roma.rigid_points_registration(frames, frames[:1].expand_as(frames))
    return frames @ turn.mT + offset[:, None]


def _moving_map(path: Path, size: int, pixel_size: float | None, settings: ObjectSettings) -> Scene:
    """A map in images of another size, or of a larger pixel size."""
    read = files.read_map(path)
    input_size = map_pixel_size(path, read.pixel_size, pixel_size)
    density = isolated(torch.from_numpy(read.density))
    voxel = pixel_size or len(density) * input_size / size

    def on_grid(volume: Tensor) -> Tensor:
        return resample(volume, size, 3) if pixel_size is None else regrid(volume, size, pixel_size / input_size)

    places, bright = voxel_places(density, input_size)
    masks: list[Tensor] = []

    def bright_part(file: str) -> Tensor:
        mask = torch.from_numpy(files.read_map(Path(file)).density)
        require_mask(Path(file), len(mask), path, len(density))
        masks.append(mask.clamp(0, 1))
        return masks[-1][bright] > 0.5

    motions = _motions(settings.move, bright_part, places)
    ends = [motion.move(places, amount) for motion in motions for amount in (motion.low, motion.high)]
    across = 2 * max(float(end.norm(dim=1).max()) for end in (places, *ends))
    if across > size * voxel:
        raise files.InputError(
            f"{path} is {across:.0f} Å across as it moves, {size} pixels of {voxel:.3g} Å show {size * voxel:.0f} Å: "
            "give a larger --size or --pixel-size"
        )
    if settings.resolution is not None:
        blur = torch.exp(-(radius(len(density), 3) / (len(density) * input_size) * settings.resolution).square())
        density = centred_ifft(centred_fft(density, 3) * blur, 3).real
    rest = density * (1 - sum(masks, torch.zeros_like(density))).clamp(min=0)
    parts = torch.stack([on_grid(part) for part in (rest, *(density * mask for mask in masks))])
    return Scene(MovingMap(parts, voxel, motions), voxel, tuple(read.notes))


def _motions(texts: tuple[str, ...], part: Callable[[str], Tensor], positions: Tensor) -> tuple[Motion, ...]:
    """Read "PART hinge|shift LOW HIGH [axis X,Y,Z] [through X,Y,Z]"."""
    motions = []
    for number, text in enumerate(texts, start=1):
        selection, kind, low, high, direction, point = read_motion(text)
        chosen = part(selection)
        if not chosen.any() or chosen.all():
            amount = "all of it" if chosen.any() else "nothing"
            raise files.InputError(
                f"--move {text!r}: {selection} is {amount}, expected a part of the object: correct it"
            )
        axis, through = (None if row is None else torch.tensor(row, dtype=torch.float64) for row in (direction, point))
        name = f"{kind}_{number}"
        motions.append(motion_of(name, kind, chosen, positions, low, high, direction=axis, point=through))  # type: ignore[arg-type]
    return tuple(motions)
