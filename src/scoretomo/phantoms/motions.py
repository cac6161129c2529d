"""How a part of an object moves: a hinge or a shift, and which one suggests itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..rotations import rotation_from_vector

_CONTACT = 8.0  # Å; atoms of two parts that are closer touch


@dataclass(frozen=True)
class Motion:
    """A part that turns about an axis, or is shifted along it."""

    name: str  # of the parameter
    kind: Literal["hinge", "shift"]
    part: Tensor  # which atoms move, (n,) bool
    direction: Tensor  # unit vector, (3,)
    point: Tensor  # on the axis of a hinge, Å, (3,)
    low: float  # degrees, or Å
    high: float

    def rigid(self, amount: float) -> tuple[Tensor, Tensor]:
        """Rotation T and offset o (Å) of a motion by so many degrees or Å: p goes to T p + o."""
        if self.kind == "shift":
            return torch.eye(3, dtype=self.direction.dtype), amount * self.direction
        turn = rotation_from_vector(self.direction * math.radians(amount))
        return turn, self.point - turn @ self.point

    def move(self, positions: Tensor, amount: float) -> Tensor:
        """Positions (n, 3) with the part moved."""
        turn, offset = self.rigid(amount)
        return torch.where(self.part[:, None], positions @ turn.T + offset, positions)


def draw_between(ranges: Sequence[tuple[float, float]], count: int, generator: torch.Generator) -> Tensor:
    """Draw numbers uniformly, each between the ends of its range; (count, len(ranges)), float64."""
    numbers = torch.rand(count, len(ranges), generator=generator, dtype=torch.float64)
    low, high = torch.tensor(ranges, dtype=torch.float64).reshape(-1, 2).T
    return low + numbers * (high - low)


def motion_of(
    name: str,
    kind: Literal["hinge", "shift"],
    part: Tensor,
    positions: Tensor,
    low: float,
    high: float,
    *,
    direction: Tensor | None = None,
    point: Tensor | None = None,
) -> Motion:
    """A motion with the axis that its part suggests, where none is given.

    A hinge goes through the middle of the atoms of the part that touch the rest (nearer than 8 Å; the nearest ones if
    none is), at right angles to the directions from there to the middles of part and rest: it opens and closes. A shift
    leads away from there.

    Args:
        name: of its parameter.
        kind: hinge, in degrees, or shift, in Å.
        part: which atoms move, (n,) bool; some, not all.
        positions: of all atoms, (n, 3).
        low, high: range of the parameter.
        direction: of the axis, any length.
        point: on the axis.
    """
    inside, outside = positions[part], positions[~part]
    away = inside.mean(0) - outside.mean(0)
    point = _contact(inside, outside) if point is None else point
    if direction is None:
        direction = away if kind == "shift" else _opening_axis(inside.mean(0) - point, outside.mean(0) - point, inside)
    return Motion(name, kind, part, normalize(direction, dim=0), point, low, high)


def _contact(inside: Tensor, outside: Tensor) -> Tensor:
    """Middle of the atoms of a part that touch the rest."""
    nearest = torch.cat([torch.cdist(some, outside).amin(1) for some in inside.split(max(1, 2**24 // len(outside)))])
    return inside[nearest <= max(_CONTACT, float(nearest.min()))].mean(0)


def _opening_axis(to_part: Tensor, to_rest: Tensor, inside: Tensor) -> Tensor:
    """At right angles to both arms; if they lie on one line, along the part's thinnest direction across it."""
    axis = torch.linalg.cross(to_part, to_rest)
    if axis.norm() > 0.1 * to_part.norm() * to_rest.norm():
        return axis
    arm = normalize(to_part - to_rest, dim=0)
    offset = inside - inside.mean(0)
    across = offset - (offset @ arm)[:, None] * arm
    _, directions = torch.linalg.eigh(across.T @ across + across.square().sum() * torch.outer(arm, arm))
    return directions[:, 0]
