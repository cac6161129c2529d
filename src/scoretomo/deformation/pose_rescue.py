"""Images in a wrong pose, sought again among the conformations of all others.

In the consensus the parts that move are smeared out. An image whose conformation is far from the middle may look more like it in a
wrong pose than in the right one, and the model of the motion then bends until it explains the image there. It does so less well
than it explains the others; and once these have taught it how the molecule moves, one of their conformations, in some pose,
explains the image better.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..matching import Matcher, Poses, choose, directions, refine
from .model import Cloud, aims_at, unexplained
from .schedule import Fitting
from .splatting import density

LOOKS = (0.25, 0.5, 0.75)  # shares of the epochs after which images are sought again
_SUSPECT = 2.5  # times the median of what is unexplained, from which an image may be in a wrong pose
_CONFORMATIONS = 16  # of the others, as different as can be, among which an image is sought
_DIRECTIONS = 1000  # from which each is seen
_CLEARLY = 0.8  # an image is moved where this share of what is unexplained of it is left, or less


class _Found(NamedTuple):
    """The best view of each image among conformations."""

    poses: Poses
    conformations: Tensor  # (n,): which one


@torch.no_grad()
def look_again(cloud: Cloud, images: Tensor, fitting: Fitting, done: float, *, asked: Tensor) -> Tensor:
    """Move images that are explained least to a pose and a conformation of others that explain them better; the cloud is changed.

    Args:
        cloud: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of its epochs that are over.
        asked: images that show this molecule, shape (n,), bool.

    Returns:
        Which images were moved, shape (n,), bool.
    """
    left = unexplained(cloud, images, fitting, done)
    suspect = asked & (left > _SUSPECT * left[asked].median())
    moved = torch.zeros_like(asked)
    others = (asked & ~suspect).nonzero()[:, 0]
    if not suspect.any() or not len(others):
        return moved
    some = suspect.nonzero()[:, 0]
    aims, width = aims_at(images[some], fitting, done, cloud.voxel)
    known = others[_spread(cloud.coordinates[others])]
    found = _seek(aims, _volumes(cloud, known, aims.shape[-1], width))
    before = [values[some] for values in _own(cloud)]
    _place(cloud, some, found, known, aims.shape[-1])
    better = unexplained(cloud, images, fitting, done)[some] < _CLEARLY * left[some]
    for values, earlier in zip(_own(cloud), before, strict=True):
        values[some[~better]] = earlier[~better]
    moved[some[better]] = True
    return moved


def _spread(places: Tensor) -> Tensor:
    """Numbers of places (n, k) that are far from each other, the one nearest to the middle first."""
    chosen = [int((places - places.mean(0)).norm(dim=1).argmin())]
    apart = (places - places[chosen[0]]).norm(dim=1)
    while len(chosen) < min(_CONFORMATIONS, len(places)):
        chosen.append(int(apart.argmax()))
        apart = torch.minimum(apart, (places - places[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen, device=places.device)


def _volumes(cloud: Cloud, which: Tensor, side: int, width: float) -> Tensor:
    """The conformations of some images in the common frame, (k, d, d, d)."""
    places, masses = cloud.conformations(which)
    return torch.stack([density(points * (side / 2), mass, side, width) for points, mass in zip(places, masses, strict=True)])


def _seek(images: Tensor, volumes: Tensor) -> _Found:
    """Match images with every volume, and refine the best pose of each."""
    matcher, grid = Matcher(images), directions(_DIRECTIONS).to(images)
    poses, which = matcher.match(volumes[0], grid), torch.zeros(len(images), dtype=torch.long, device=images.device)
    for number, volume in enumerate(volumes[1:], start=1):
        match = matcher.match(volume, grid)
        which = torch.where(match.correlations > poses.correlations, number, which)
        poses = choose(match.correlations > poses.correlations, match, poses)
    for number in which.unique().tolist():
        theirs = which == number
        refined = refine(volumes[number], images[theirs], poses.of(theirs))
        for values, better in zip(poses, refined, strict=True):
            values[theirs] = better
    return _Found(poses, which)


def _own(cloud: Cloud) -> tuple[Tensor, ...]:
    """What the model knows of each image: pose, its corrections, conformation."""
    return cloud.rotations, cloud.turns, cloud.shifts, cloud.coordinates


def _place(cloud: Cloud, some: Tensor, found: _Found, known: Tensor, side: int) -> None:
    """Move some images to what was found for them among the conformations of known ones."""
    cloud.rotations[some] = found.poses.rotations
    cloud.turns[some] = 0.0
    cloud.shifts[some] = found.poses.shifts / (side / 2)
    cloud.coordinates[some] = cloud.coordinates[known[found.conformations]]
