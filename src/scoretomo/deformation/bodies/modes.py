"""Shared latent coordinates of bodies, and one constant twist for each body and mode, from how the bodies move.

The first body carries the pose. Seen from it, another body moves by D_i = exp(Σ_j a_ij ξ_j) in image i. What is large
is judged by displacement: the root mean square over the body's mass of how far it goes, which a turn and a slide have
in common. Displacements are lengths in half sides of the box.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .grouping import fit_rigid
from .motions import inverse, skew, twist_from_motion


@dataclass(frozen=True)
class ModeThresholds:
    """When a body moves, and when two bodies move together.

    Attributes:
        moving: displacement from which a body moves, in half sides: one voxel of 64. Not tuned yet; on a made-up
            ribosome, whose parts move less, 0.01 was needed.
        alike: correlation from which two coordinates are one.
        second: a body has another coordinate if its displacement is at least this share of the first one's.
        per_body: coordinates of a body, at most.
    """

    moving: float = 0.03
    alike: float = 0.9
    second: float = 0.5
    per_body: int = 1


class Modes(NamedTuple):
    """Bodies and their motion; the first body takes in all that hardly move."""

    memberships: Tensor  # (k, p)
    poses: Tensor  # (n, 4, 4): of the first body
    latent: Tensor  # (n, j): root mean square 1
    twists: Tensor  # (k, j, 6): 0 of the first body
    displacements: Tensor  # of the bodies before any joined the first, root mean square over images


class _Coordinate(NamedTuple):
    """One coordinate of one body."""

    body: int
    values: Tensor  # (n,)


def body_motions(paths: Tensor, masses: Tensor, memberships: Tensor, poses: Tensor, reference: int) -> Tensor:
    """Where each body stands in each image, from its shape in the reference image: shape (k, n, 4, 4).

    Args:
        paths: places of all points in all images, in the common frame, shape (n, p, 3).
        masses: shape (p,).
        memberships: shape (k, p).
        poses: from the common frame to each image, shape (n, 4, 4).
        reference: the image.
    """
    motions = fit_rigid(paths, memberships * masses, reference=reference).motions
    return poses @ motions @ inverse(motions[:, reference])[:, None]


def displacement_metrics(points: Tensor, weights: Tensor) -> Tensor:
    """Matrices Q of the squared displacement ξᵀ Q ξ of the mass of bodies by small twists; (k, 6, 6).

    Args:
        points: places in the reference image, shape (p, 3).
        weights: mass of each point in each body, shape (k, p).
    """
    ones = torch.eye(3).to(points).expand(len(points), 3, 3)
    fields = torch.cat([-skew(points), ones], 2)  # the displacement of a point is ω × x + v
    share = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)  # a body may have no mass
    return torch.einsum("kp,pia,pib->kab", share, fields, fields)


def find_modes(
    motions: Tensor, points: Tensor, masses: Tensor, memberships: Tensor, thresholds: ModeThresholds = ModeThresholds()
) -> Modes:
    """Find the latent coordinates by which bodies move, and their twists.

    A body's own coordinate is that along the twist by which its mass goes farthest. Bodies whose coordinates agree
    share one, and bodies that hardly move join the first.

    Args:
        motions: of bodies, from the reference image, as by `body_motions`, shape (k, n, 4, 4).
        points: places in the reference image, in half sides, shape (p, 3).
        masses: shape (p,).
        memberships: shape (k, p).
        thresholds: when a body moves.
    """
    twists = twist_from_motion(inverse(motions[0]) @ motions)
    metrics = displacement_metrics(points, memberships * masses)
    spread, along = _principal(twists, metrics)
    moving = [body for body in range(1, len(motions)) if spread[body, 0] > thresholds.moving]
    still = [body for body in range(len(motions)) if body not in moving]
    coordinates = [each for body in moving for each in _own(body, spread[body], along[body], thresholds)]
    groups = _alike(coordinates, thresholds.alike)
    latent = _shared(groups, twists[0, :, 0])
    constant = twists.new_zeros(1 + len(moving), len(groups), 6)
    for row, body in enumerate(moving, start=1):
        own = [number for number, group in enumerate(groups) if body in {each.body for each in group}]
        constant[row, own] = torch.linalg.lstsq(latent[:, own], twists[body]).solution
    joined = torch.cat([memberships[still].sum(0, keepdim=True), memberships[moving]])
    return Modes(joined, motions[0], latent, constant, spread[:, 0])


def _principal(twists: Tensor, metrics: Tensor) -> tuple[Tensor, Tensor]:
    """Displacement of each body along its principal directions, (k, 6), and coordinates of images there, (k, n, 6).

    They go through the reference image, where nothing is displaced, so no mean is taken off.
    """
    values, vectors = torch.linalg.eigh(metrics)
    roots = values.clamp_min(0).sqrt()
    left, sizes, _ = torch.linalg.svd((twists @ vectors) * roots[:, None], full_matrices=False)
    scale = twists.shape[1] ** 0.5
    return (left * sizes[:, None]).std(1), left * scale


def _own(body: int, spread: Tensor, along: Tensor, thresholds: ModeThresholds) -> list[_Coordinate]:
    """The coordinates of a body that moves."""
    enough = (spread > thresholds.moving) & (spread >= thresholds.second * spread[0])
    count = min(thresholds.per_body, int(enough.sum()))
    return [_Coordinate(body, along[:, number]) for number in range(count)]


def _alike(coordinates: list[_Coordinate], threshold: float) -> list[list[_Coordinate]]:
    """Coordinates in groups that agree with their first one, the sign of which they take."""
    groups: list[list[_Coordinate]] = []
    for each in coordinates:
        for group in groups:
            correlation = torch.corrcoef(torch.stack([each.values, group[0].values]))[0, 1]
            if correlation.abs() > threshold and each.body not in {other.body for other in group}:
                group.append(each._replace(values=each.values * correlation.sign()))
                break
        else:
            groups.append([each])
    return groups


def _shared(groups: list[list[_Coordinate]], like: Tensor) -> Tensor:
    """The mean coordinate of each group, root mean square 1, shape (n, j)."""
    if not groups:
        return like.new_zeros(len(like), 0)
    means = torch.stack([torch.stack([each.values for each in group]).mean(0) for group in groups], 1)
    return means / means.square().mean(0).sqrt()
