"""Rigid bodies in pictures: one volume of all, which body each place belongs to, and an arrow along each axis."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from ..deformation.bodies.model import joined
from ..fourier import coordinates, resample
from ..images import otsu_level
from ..projection import rotate
from ..rundir.bodies import BodyDensities
from ..rundir.rows import BodyRow

_AROUND = 3  # voxels, over which a density is averaged: a surface lies where it begins
_BEYOND = 1.25  # an arrow is so many times as long as its body


class Whole(NamedTuple):
    """Rigid bodies in the common frame, with all copies."""

    density: Tensor  # (d, d, d), their union
    bodies: Tensor  # (d, d, d) uint8: the body with most density there, from 0


class Arrow(NamedTuple):
    """An arrow along an axis, in box sides about index d // 2."""

    tail: Tensor  # (x, y, z)
    tip: Tensor


def whole_of(model: BodyDensities, side: int) -> Whole:
    """All rigid bodies in one volume, at most so many voxels wide."""
    densities = resample(model.densities, min(side, model.densities.shape[-1]), 3)
    of = list(range(len(densities)))
    if model.copies is not None:
        of = model.copies.of.tolist()
        half = densities.shape[-1] / 2
        places = zip(of, model.copies.places.float(), strict=True)
        densities = torch.stack([rotate(densities[k], at[:3, :3], at[:3, 3] * half) for k, at in places])
    around = avg_pool3d(densities.clamp(min=0)[None], _AROUND, 1, _AROUND // 2)[0]
    return Whole(joined(densities, model.saturation), torch.tensor(of, dtype=torch.uint8)[around.argmax(0)])


def arrow_of(row: BodyRow, density: Tensor, box: float) -> Arrow | None:
    """The arrow along the axis of a body, as long as the body is there; None for the one that rests.

    Args:
        row: its motion.
        density: of the body, (d, d, d).
        box: its side, in the unit of the pivot.
    """
    if row.mode is None:
        return None
    size = len(density)
    axis, pivot = (torch.tensor([getattr(row, f"{name}_{at}") for at in "xyz"]) for name in ("axis", "pivot"))
    pivot = pivot / box
    inside = coordinates(size, 3)[:, density > otsu_level(density.numpy())].T / size
    along = (inside - pivot) @ axis
    middle = pivot + along.mean() * axis
    half = _BEYOND * (along - along.mean()).abs().quantile(0.98) * axis
    return Arrow(middle - half, middle + half)
