"""Movies of surfaces: a morph along a trajectory, and a turn of the consensus volume, frame by frame."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..fourier import resample
from ..images import otsu_level
from ..projection import project
from ..rotations import rotation_about_z, rotation_from_vector, rotation_grid
from . import surfaces

FRAMES = 60  # of a movie
_FINEST, _COARSEST = 96, 64  # voxels along the side of what is drawn
_SEARCHED = 32  # voxels along the side of what the view is chosen by
_DIRECTIONS = 500  # views that are compared
_MARGIN = 1.15  # around a surface
_ABOVE = math.radians(15)  # from which an upright molecule is seen


class Scene(NamedTuple):
    """What pictures that are compared with each other have in common."""

    level: float  # density of the surface
    reach: float  # half the width of the view, in box sides
    view: Tensor  # (3, 3)
    paint: np.ndarray | None  # how much of each voxel is orange, below 0 none, above 1 all


def scene_of(trajectory: Tensor, view: Tensor, variability: np.ndarray | None) -> Scene:
    """Level, size and colours for volumes that are shown one after the other.

    Args:
        trajectory: volumes from one end to the other, or one volume, (n, d, d, d); the middle one sets the level.
        view: from `best_view`.
        variability: standard deviation of each voxel, (e, e, e) over the same box; nothing is coloured if None.
    """
    middle = trajectory[len(trajectory) // 2]
    shown = trajectory[:: max(1, len(trajectory) // 2)]
    level = otsu_level(resample(middle, min(len(middle), _COARSEST), 3).numpy())
    return Scene(
        level=level,
        reach=min(_MARGIN * max(_extent(volume, level, view) for volume in shown), 0.5),
        view=view,
        paint=None if variability is None else surfaces.tint(variability),
    )


def _extent(volume: Tensor, level: float, view: Tensor) -> float:
    """Half the width of a picture that holds 99.5 % of the voxels above a level however it turns, in box sides."""
    places = ((volume > level).nonzero().flip(1) - len(volume) // 2) / len(volume)
    x, y, z = view @ places.T
    across = torch.hypot(x, z)
    up = y.abs() * math.cos(_ABOVE) + across * math.sin(_ABOVE)
    return float(torch.maximum(across, up).quantile(0.995)) if len(places) else 0.5


def fine(density: np.ndarray) -> Tensor:
    """A volume (d, d, d) on the grid it is drawn from, (e, e, e): smooth between its voxels, and not too large."""
    volume = torch.from_numpy(np.ascontiguousarray(density, np.float32))
    return resample(volume, min(max(len(volume), _COARSEST), _FINEST), 3)


def best_view(trajectory: Tensor) -> Tensor:
    """The view that shows a motion best, the molecule upright.

    Its direction is that along which projections of the volumes differ most from their mean, or, of a single volume,
    that from which it is broadest: its projection is flattest; of the two ends that with moving parts in front. In the
    picture the molecule is turned until its profile is sharpest, so that long parts are upright, moving parts above.

    Args:
        trajectory: volumes, (n, d, d, d).

    Returns:
        The rotation, (3, 3).
    """
    small = torch.stack([resample(volume, min(len(volume), _SEARCHED), 3) for volume in trajectory])
    body = small.mean(0)
    grid = rotation_grid(_DIRECTIONS).float()
    changes = small - body if len(trajectory) > 1 else small
    contrast = torch.stack([project(change, grid).var((1, 2)) for change in changes]).sum(0)
    view = grid[int(contrast.argmax() if len(trajectory) > 1 else contrast.argmin())]
    turns = rotation_about_z(torch.arange(0, 180, 3) * (math.pi / 180)) @ view
    view = turns[int(project(body, turns).sum(1).square().sum(1).argmax())]
    _, y, z = (view @ (_centre(changes.square().sum(0)) - _centre(body.clamp(min=0)))).tolist()
    if z > 0:
        view = torch.diag(torch.tensor([-1.0, 1.0, -1.0])) @ view
    return torch.diag(torch.tensor([-1.0, -1.0, 1.0])) @ view if y > 0 else view


def _centre(density: Tensor) -> Tensor:
    """Centre of mass (x, y, z) in box sides about index d // 2."""
    size = len(density)
    axis = (torch.arange(size) - size // 2) / size
    total = density.sum().clamp(min=1e-30)
    return torch.stack([(density.sum(others) * axis).sum() / total for others in ((0, 1), (0, 2), (1, 2))])


def turned(view: Tensor, degrees: float) -> Tensor:
    """A view (3, 3) after the molecule has turned about its upright axis, seen from slightly above."""
    spin = rotation_from_vector(torch.tensor([0.0, math.radians(degrees), 0.0]))
    nod = rotation_from_vector(torch.tensor([_ABOVE, 0.0, 0.0]))
    return nod @ spin @ view


def picture(scene: Scene, density: Tensor, view: Tensor, side: int) -> np.ndarray:
    """A surface on white, (side, side, 3) uint8; `density` from `fine`."""
    drawn = surfaces.surface(density.numpy(), scene.level, scene.reach, side, view=view, paint=scene.paint).astype(
        np.float32
    )
    opacity = drawn[..., 3:] / 255
    return (drawn[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)


def morph(scene: Scene, trajectory: Tensor, side: int) -> Iterator[np.ndarray]:
    """Frames from one end of a trajectory to the other, half of a loop: slow at the ends, linear between volumes.

    Args:
        scene: from `scene_of`.
        trajectory: volumes from `fine`, (n, d, d, d).
        side: of each of the two pictures of a frame: the best view, and from its right.

    Yields:
        FRAMES / 2 + 1 frames, (side, 2 side, 3) uint8.
    """
    for k in range(FRAMES // 2 + 1):
        place = (1 - math.cos(2 * math.pi * k / FRAMES)) / 2 * (len(trajectory) - 1)
        before = min(int(place), len(trajectory) - 2)
        density = torch.lerp(trajectory[before], trajectory[before + 1], place - before)
        yield np.concatenate([picture(scene, density, turned(scene.view, angle), side) for angle in (0, 90)], axis=1)


def there_and_back(half: list[np.ndarray]) -> list[np.ndarray]:
    """A loop of FRAMES frames from those of `morph`: after the last comes the first."""
    return [*half, *half[-2:0:-1]]


def turntable(scene: Scene, density: Tensor, side: int) -> Iterator[np.ndarray]:
    """A full turn about the upright axis: FRAMES frames, (side, side, 3) uint8; after the last comes the first."""
    for k in range(FRAMES):
        yield picture(scene, density, turned(scene.view, 360 * k / FRAMES), side)
