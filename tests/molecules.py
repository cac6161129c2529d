"""Small molecules of Gaussian blobs, 16 voxels a side, and how alike two volumes are."""

import torch
from torch import Tensor

from scoretomo.fourier import coordinates, fourier_shell_correlation, radius
from scoretomo.matching import Poses
from scoretomo.rotations import point_group

SIZE = 16
MASK = (radius(SIZE, 2) < SIZE / 2).float()


def stream(seed: int = 0) -> torch.Generator:
    """A random stream."""
    return torch.Generator().manual_seed(seed)


def blobs(group: str = "C1", *, frame: Tensor | None = None, centre: tuple[float, float, float] = (0, 0, 0)) -> Tensor:
    """Gaussian blobs with the symmetry of a group, its axes turned and moved, shape (16, 16, 16)."""
    places = (torch.rand(5, 3, generator=stream(3)) - 0.5) * 0.55 * SIZE
    turns = point_group(group).float()
    copies = torch.einsum("gij,nj->gni", turns, places).flatten(0, 1)
    copies = copies @ (torch.eye(3) if frame is None else frame).T + torch.tensor(centre)
    points = coordinates(SIZE, 3).permute(1, 2, 3, 0)
    return torch.exp(-(points[..., None, :] - copies).square().sum(-1) / (2 * 1.3**2)).sum(-1)


def gaussians(*centres: tuple[float, float, float], width: float = 1.2) -> Tensor:
    """Gaussians at (x, y, z), shape (16, 16, 16)."""
    points = coordinates(SIZE, 3).movedim(0, -1)
    squares = (points - torch.tensor(centres, dtype=torch.float32)[:, None, None, None]).square().sum(-1)
    return torch.exp(-squares / (2 * width**2)).sum(0)


def poses_at(rotations: Tensor, correlations: Tensor | None = None) -> Poses:
    """Poses without shifts."""
    count = len(rotations)
    return Poses(rotations, torch.zeros(count, 2), torch.ones(count) if correlations is None else correlations)


def likeness(first: Tensor, second: Tensor) -> float:
    """Mean FSC of the shells in which the blobs have power."""
    return float(fourier_shell_correlation(first, second)[1:6].mean())
