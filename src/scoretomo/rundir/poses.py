"""Poses in rows of a table."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..rotations import rotations_from_euler


def posed_rotations(rows: Sequence[Mapping[str, str]]) -> Tensor:
    """The poses in rows of poses.csv, (n, 3, 3), float64."""
    angles = [[float(row[name]) for name in ("rot", "tilt", "psi")] for row in rows]
    return rotations_from_euler(torch.tensor(angles, dtype=torch.float64))
