"""Pose rescue: a global pose search for poorly explained images, among the conformations of all others.

In the consensus the parts that move are smeared out. An image whose conformation is far from the mean may resemble the
consensus more in a wrong pose than in the right one, and the deformation model then bends until it explains the image
there. It does so less well than it explains the others. Once these have determined how the molecule moves, one of their
conformations, in some pose, explains the image better.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..matching import Matcher, Poses, choose, directions, refine
from .fit import residual_fractions, targets_at
from .model import DeformationModel
from .schedule import DeformationSettings
from .splatting import density


@dataclass(frozen=True)
class RescueCriteria:
    """When an image is moved to another pose; source: docs/dev/decisions/pose-rescue.md.

    Attributes:
        at: shares of the epochs after which poses are rescued.
        suspect: times the median residual fraction, from which an image may be in a wrong pose.
        conformations: of other images, as different as possible, among which the pose is searched.
        directions: from which each of them is seen.
        ratio: an image is moved if at most this share of its residual is left.
    """

    at: tuple[float, ...] = (0.25, 0.5, 0.75)
    suspect: float = 2.5
    conformations: int = 16
    directions: int = 1000
    ratio: float = 0.8


RESCUE = RescueCriteria()


class Matched(NamedTuple):
    """The best view of each image among conformations."""

    poses: Poses
    conformations: Tensor  # (n,): which one


@torch.no_grad()
def rescue_poses(
    model: DeformationModel,
    images: Tensor,
    fitting: DeformationSettings,
    done: float,
    *,
    some: Tensor,
    criteria: RescueCriteria = RESCUE,
) -> Tensor:
    """Move poorly explained images to a pose and a conformation of others that explain them better; the model is
    changed.

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of its epochs that are over.
        some: images that show this molecule, shape (n,), bool.
        criteria: when an image is moved.

    Returns:
        Which images were moved, shape (n,), bool.
    """
    residuals = residual_fractions(model, images, fitting, done)
    suspect = some & (residuals > criteria.suspect * residuals[some].median())
    moved = torch.zeros_like(some)
    others = (some & ~suspect).nonzero()[:, 0]
    if not suspect.any() or not len(others):
        return moved
    suspects = suspect.nonzero()[:, 0]
    targets, width = targets_at(images[suspects], fitting, done, model.voxel)
    side = targets.shape[-1]
    sources = others[spread(model.latent[others], criteria.conformations)]
    matched = match_conformations(targets, _volumes(model, sources, side, width), criteria.directions)
    before = [values[suspects] for values in _own(model)]
    _place(model, suspects, matched, sources, side)
    better = residual_fractions(model, images, fitting, done)[suspects] < criteria.ratio * residuals[suspects]
    for values, earlier in zip(_own(model), before, strict=True):
        values[suspects[~better]] = earlier[~better]
    moved[suspects[better]] = True
    return moved


def spread(places: Tensor, count: int) -> Tensor:
    """Numbers of places (n, k) that are far from each other, the one nearest to the middle first."""
    chosen = [int((places - places.mean(0)).norm(dim=1).argmin())]
    apart = (places - places[chosen[0]]).norm(dim=1)
    while len(chosen) < min(count, len(places)):
        chosen.append(int(apart.argmax()))
        apart = torch.minimum(apart, (places - places[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen, device=places.device)


def _volumes(model: DeformationModel, which: Tensor, side: int, width: float) -> Tensor:
    """The conformations of some images in the common frame, (k, d, d, d)."""
    places, masses = model.conformations(which)
    return torch.stack(
        [density(points * (side / 2), mass, side, width) for points, mass in zip(places, masses, strict=True)]
    )


def match_conformations(images: Tensor, volumes: Tensor, count: int) -> Matched:
    """Match images with every volume from a number of directions, and refine the best pose of each.

    Args:
        images: centred, empty space 0, shape (n, d, d).
        volumes: conformations in one frame, shape (k, d, d, d).
        count: directions.
    """
    matcher, grid = Matcher(images), directions(count).to(images)
    poses, which = matcher.match(volumes[0], grid), torch.zeros(len(images), dtype=torch.long, device=images.device)
    for number, volume in enumerate(volumes[1:], start=1):
        match = matcher.match(volume, grid)
        which = torch.where(match.correlations > poses.correlations, number, which)
        poses = choose(match.correlations > poses.correlations, match, poses)
    for number in which.unique().tolist():
        members = which == number
        refined = refine(volumes[number], images[members], poses.of(members))
        for values, better in zip(poses, refined, strict=True):
            values[members] = better
    return Matched(poses, which)


def _own(model: DeformationModel) -> tuple[Tensor, ...]:
    """What the model has of each image: pose, its corrections, latent coordinates."""
    return model.rotations, model.turns, model.shifts, model.latent


def _place(model: DeformationModel, some: Tensor, matched: Matched, sources: Tensor, side: int) -> None:
    """Move some images to the poses and conformations that match them."""
    model.rotations[some] = matched.poses.rotations
    model.turns[some] = 0.0
    model.shifts[some] = matched.poses.shifts / (side / 2)
    model.latent[some] = model.latent[sources[matched.conformations]]
