"""Rotations of the rows of a table of poses."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from ..rotations import rotations_from_euler


class HasAngles(Protocol):
    """A row with Euler angles in degrees."""

    @property
    def rot(self) -> float: ...

    @property
    def tilt(self) -> float: ...

    @property
    def psi(self) -> float: ...


def rotations_of(rows: Iterable[HasAngles]) -> Tensor:
    """R(rot, tilt, psi) of each row, (n, 3, 3), float64."""
    angles = [[row.rot, row.tilt, row.psi] for row in rows]
    return rotations_from_euler(torch.tensor(angles, dtype=torch.float64))
