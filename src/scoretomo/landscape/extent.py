"""Extent of a mode: displacement of the surfaces of its maps, followed from one end of the trajectory to the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..fourier import resample
from ..images import otsu_level

_SIDE = 48  # longest side, in voxels, at which surfaces are followed
_TURN = 2.0  # voxels that opposite sides of a part are farther apart, halved: the two faces of a thin plate stay apart
_FARTHEST = 0.98  # of the surface goes less far


class Extent(NamedTuple):
    """What changes from one end of a trajectory to the other."""

    displacement: float  # of the parts of the surface that move farthest, at least, in voxels of the maps
    moved_fraction: float  # share of the volume inside the surface at either end that is not inside it at the other


def motion_extent(maps: np.ndarray) -> Extent:
    """Measure the displacement of surfaces along a trajectory.

    Each point of the surface at one end goes to the nearest point in the next map that faces the same way, and so on. A
    surface that slides along itself does not seem to move, so the displacement is a lower bound: the lids of the moving
    box move by 11 pixels at their tips, and 6 are measured in its true volumes.

    Args:
        maps: volumes along the trajectory, two or more, shape (f, d, d, d).
    """
    size = maps.shape[-1]
    side = min(size, _SIDE)
    small = [resample(torch.from_numpy(each), side, 3).clamp_min(0).numpy() for each in maps]
    level = float(np.median([otsu_level(density) for density in small]))
    first, last = small[0] > level, small[-1] > level
    lost = [(one & ~other).sum() / max(one.sum(), 1) for one, other in ((first, last), (last, first))]
    surfaces = [_surface(density, level) for density in small]
    farthest = max(_farthest(surfaces), _farthest(surfaces[::-1]))
    return Extent(farthest * size / side, float(np.mean(lost)))


def _surface(density: np.ndarray, level: float) -> np.ndarray:
    """Points where edges of the grid cross a level, with the direction out, times `_TURN`; shape (n, 6), in voxels."""
    slopes = np.stack(np.gradient(density))
    extents = []
    for axis in range(3):
        low, high = density.take(range(len(density) - 1), axis), density.take(range(1, len(density)), axis)
        crossed = (low > level) != (high > level)
        part = (level - low[crossed]) / (high[crossed] - low[crossed])
        points = np.argwhere(crossed).astype(float)
        slope = slopes[:, *points.astype(int).T].T
        points[:, axis] += part
        extents.append(
            np.hstack([points, -_TURN * slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)])
        )
    return np.concatenate(extents)


def _farthest(surfaces: Sequence[np.ndarray]) -> float:
    """How far, in voxels, the points of the first surface go that go farthest."""
    if not all(len(points) for points in surfaces):
        return 0.0
    points = surfaces[0]
    for following in surfaces[1:]:
        points = following[cKDTree(following).query(points)[1]]
    return float(np.quantile(np.linalg.norm((points - surfaces[0])[:, :3], axis=1), _FARTHEST))
