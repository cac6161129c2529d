"""How far the molecule goes along a motion: the surfaces of its frames, followed from one end to the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from ..files import read_map
from . import densities, pictures

_TURN = 2.0  # voxels that opposite sides of a part are farther apart, halved: the two faces of a thin plate stay apart
_FARTHEST = 0.98  # of the surface goes less far


class Way(NamedTuple):
    """Volumes along a motion on one grey scale, and how far they go."""

    frames: list[np.ndarray]  # (d, d, d) uint8
    level: float  # of their surfaces, in the same units
    peak: float  # density shown as 255
    side: int  # of the box in pixels of the run
    replaced: float  # share of the volume inside the surface at either end that is not inside it at the other
    travel: float  # how far the parts of the surface that go farthest go at least, in pixels of the run


def follow(paths: Sequence[Path]) -> Way:
    """Read the volumes of a motion, two or more, and measure how far surfaces go.

    Each point of the surface at one end goes to the nearest point in the next frame that faces the same way, and so on. What
    slides along itself is not seen to move, so the way is a lower bound: the lids of the moving box go 11 pixels at their tips, and
    6 are measured in its true volumes.
    """
    read = [read_map(path).density for path in paths]
    peak = densities.quantise(np.maximum.reduce(read), pictures.SMALL_DENSITY_SIDE).peak
    frames = [densities.quantise(density, pictures.SMALL_DENSITY_SIDE, peak).values for density in read]
    level = float(np.median([pictures.otsu_level(values) for values in frames]))
    first, last = frames[0] > level, frames[-1] > level
    lost = [(one & ~other).sum() / max(one.sum(), 1) for one, other in ((first, last), (last, first))]
    surfaces = [_surface(values.astype(np.float32), level) for values in frames]
    farthest = max(_farthest(surfaces), _farthest(surfaces[::-1]))
    return Way(frames, level, peak, len(read[0]), float(np.mean(lost)), farthest * len(read[0]) / len(frames[0]))


def _surface(density: np.ndarray, level: float) -> np.ndarray:
    """Points where edges of the grid cross a level, with the direction out, times `_TURN`; shape (n, 6), in voxels."""
    slopes = np.stack(np.gradient(density))
    found = []
    for axis in range(3):
        low, high = density.take(range(len(density) - 1), axis), density.take(range(1, len(density)), axis)
        crossed = (low > level) != (high > level)
        part = (level - low[crossed]) / (high[crossed] - low[crossed])
        points = np.argwhere(crossed).astype(float)
        slope = slopes[:, *points.astype(int).T].T
        points[:, axis] += part
        found.append(np.hstack([points, -_TURN * slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)]))
    return np.concatenate(found)


def _farthest(surfaces: Sequence[np.ndarray]) -> float:
    """How far, in voxels, the points of the first surface go that go farthest."""
    if not all(len(points) for points in surfaces):
        return 0.0
    points = surfaces[0]
    for following in surfaces[1:]:
        points = following[cKDTree(following).query(points)[1]]
    return float(np.quantile(np.linalg.norm((points - surfaces[0])[:, :3], axis=1), _FARTHEST))
