"""Pictures inside the page: projections, slices, surfaces, and their common scales."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..files import read_map
from ..graphics import densities, surfaces
from ..images import otsu_level, shift
from ..projection import project
from ..rundir.results import Pose, Volume

THUMBNAIL = 96  # pixels
_REACH_FROM = 12  # volumes, at most
_LOSSY = 82  # WebP quality


class Picture(NamedTuple):
    """A picture inside the page."""

    uri: str
    axis: str = ""  # along which it is projected or cut: z, y or x


class Fit(NamedTuple):
    """An image beside the view of its volume, on one grey scale, and their difference."""

    image: str
    view: str
    difference: str


def reach_of(done: Sequence[Volume]) -> float:
    """Half the width of every view of a surface, in box sides: one for the run, so that sizes compare."""
    extents = []
    for place in densities.spread_order(len(done), [])[:_REACH_FROM]:
        path = done[place].path
        if path:
            values = densities.quantise(read_map(path).density, surfaces.SMALL_DENSITY_SIDE).values
            extents.append(surfaces.extent(values, otsu_level(values)))
    return 1.12 * min(max([*extents, 0.2]), 0.5) if extents else 0.5


def grey_uri(array: np.ndarray, scale: surfaces.Scale, side: int, *, lossy: bool = False) -> str:
    """A grey picture, at most so many pixels wide."""
    small = surfaces.at_most(array, side)
    return surfaces.data_uri(surfaces.grey(small, scale), quality=_LOSSY if lossy else None)


def fit_of(image: np.ndarray, density: np.ndarray, pose: Pose | None, side: int, *, lossy: bool) -> Fit | None:
    """An image and the view of its volume in its pose; None where they have different sizes."""
    pose = pose or Pose(torch.eye(3), torch.zeros(2))
    projected = project(torch.from_numpy(np.ascontiguousarray(density)), pose.rotation[None])
    view = shift(projected, pose.shift[None])[0].numpy()
    if image.shape != view.shape:
        return None
    scale = surfaces.common_scale(image, view)
    limit = 0.5 * (scale.high - scale.low)
    difference = surfaces.diverging(surfaces.at_most(image - view, side), limit)
    return Fit(
        image=grey_uri(image, scale, side, lossy=lossy),
        view=grey_uri(view, scale, side, lossy=lossy),
        difference=surfaces.data_uri(difference, quality=_LOSSY if lossy else None),
    )


def projections(density: np.ndarray, side: int, *, lossy: bool = False) -> list[Picture]:
    """Along z, y and x, on one grey scale."""
    return _triple([density.sum(axis) for axis in range(3)], side, lossy=lossy)


def central_slices(density: np.ndarray, side: int, *, lossy: bool = False) -> list[Picture]:
    """Across z, y and x, on one grey scale."""
    return _triple([density.take(len(density) // 2, axis) for axis in range(3)], side, lossy=lossy)


def _triple(arrays: Sequence[np.ndarray], side: int, *, lossy: bool) -> list[Picture]:
    scale = surfaces.common_scale(*arrays)
    return [Picture(grey_uri(array, scale, side, lossy=lossy), axis) for axis, array in zip("zyx", arrays, strict=True)]
