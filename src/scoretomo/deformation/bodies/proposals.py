"""Rigid bodies among the points of a deformation model, for several tolerances.

No tolerance serves every molecule: a wide one swallows thin layers, a narrow one tears smooth bending to pieces. So
several are tried, and images that the bodies were not fitted to decide between what comes of them.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .grouping import BodyCriteria, group_points, local_misfit
from .model import Copies, RigidBodies, copies_of_group, masks_around_points
from .modes import Modes, ModeThresholds, body_motions, find_modes


@dataclass(frozen=True)
class ProposalSettings:
    """Which tolerances are tried.

    Attributes:
        factors: tolerances over the typical deviation of neighbours from a rigid motion.
        low: the least tolerance, in half sides.
        high: the largest.
        union: `BodyCriteria.unite` over the tolerance.
        moving: displacement from which a body moves, over the tolerance.
        reach: of masks beyond the points, in half sides.
        alike: share of the mass, up to which two proposals may differ and are one.
    """

    factors: tuple[float, ...] = (1.5, 3.0, 6.0)
    low: float = 0.005
    high: float = 0.06
    union: float = 1.2
    moving: float = 1.5
    reach: float = 0.1
    alike: float = 0.02


class Points(NamedTuple):
    """The points of a deformation model as they move."""

    paths: Tensor  # (n, p, 3), float64: places in the common frame, in half sides
    masses: Tensor  # (p,), float64, at least 0
    poses: Tensor  # (n, 4, 4), float64: from the common frame to each image
    group: Tensor | None = None  # (g, 3, 3): symmetry, of which the points are one asymmetric unit

    @property
    def reference(self) -> int:
        """The image whose conformation is nearest to the mean."""
        return int((self.paths - self.paths.mean(0)).square().sum((1, 2)).argmin())


class Proposal(NamedTuple):
    """Bodies that came of one tolerance."""

    tolerance: float
    model: RigidBodies  # without densities yet


def propose_bodies(
    points: Points, side: int, generator: torch.Generator, settings: ProposalSettings = ProposalSettings()
) -> list[Proposal]:
    """Bodies by several tolerances, each kind once; nothing where no part moves against the others.

    Args:
        points: as they move.
        side: of the grid of the masks, in voxels.
        generator: random stream.
        settings: which tolerances.
    """
    misfit = local_misfit(points.paths, points.masses, generator, BodyCriteria())
    tolerances = sorted({min(max(factor * misfit, settings.low), settings.high) for factor in settings.factors})
    proposals: list[Proposal] = []
    memberships: list[Tensor] = []
    for tolerance in tolerances:
        criteria = replace(BodyCriteria(), tolerance=tolerance, unite=settings.union * tolerance)
        *_, grouped = group_points(points.paths, points.masses, generator, criteria, reference=points.reference)
        modes = _modes(points, grouped.memberships, settings.moving * tolerance)
        if not modes.latent.shape[1] or any(_alike(modes, other, points, settings) for other in memberships):
            continue
        memberships.append(modes.memberships)
        proposals.append(Proposal(tolerance, _model(points, modes, side, settings.reach)))
    return proposals


def _modes(points: Points, memberships: Tensor, moving: float) -> Modes:
    """How bodies move. Of a symmetric molecule the first one is what rests in the common frame."""
    reference = points.reference
    world = body_motions(points.paths, points.masses, memberships, points.poses, reference)
    if points.group is not None:
        world = torch.cat([points.poses[None], world])
        memberships = torch.cat([torch.zeros_like(memberships[:1]), memberships])
    thresholds = replace(ModeThresholds(), moving=moving)
    return find_modes(world, points.paths[reference], points.masses, memberships, thresholds)


def _alike(modes: Modes, other: Tensor, points: Points, settings: ProposalSettings) -> bool:
    """Whether bodies are the same as others but for little mass."""
    if modes.memberships.shape != other.shape:
        return False
    share = points.masses / points.masses.sum()
    return float((modes.memberships - other).abs().sum(0) @ share) < settings.alike


def _model(points: Points, modes: Modes, side: int, reach: float) -> RigidBodies:
    """Bodies with masks and motions, on a grid."""
    shape = points.paths[points.reference]
    masks = masks_around_points(shape, modes.memberships, side, reach)
    copies: Copies | None = None
    if points.group is not None:
        copies = copies_of_group(points.group, len(masks))
        turned = (shape @ points.group.to(shape).mT).flatten(0, 1)
        first = modes.memberships[:1].repeat(1, len(points.group))
        masks = torch.cat([masks_around_points(turned, first, side, reach), masks[1:]])
    return RigidBodies(modes.poses, modes.latent, modes.twists, torch.zeros_like(masks), masks, copies=copies)
