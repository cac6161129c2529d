"""Which points of a molecule move as one rigid body, by their paths over all images.

Small bodies grow among points whose paths are alike, one after the other. Then those are united whose union costs
least: how much farther the points of the lighter one are from a rigid motion. Deviations are root mean square distances
over images, in half sides of the box.

Rigid motions of many sets of points are found together: with y the paths and R, t the motions,
Σ |y − R x − t|² needs no more than products of matrices, Σ_p w_p y_p x_pᵀ and Σ_n R_nᵀ y_np.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .motions import rigid


@dataclass(frozen=True)
class BodyCriteria:
    """When points are one rigid body, as set on simulated images of a box with two lids (88 pixels).

    Lengths are in half sides, masses are shares of all.

    Attributes:
        tolerance: deviation up to which a point belongs to a body.
        unite: bodies are united if the deviation of the lighter one's mass grows to at most this.
        smallest: mass from which a set of points is a body while bodies grow.
        least: mass from which a body is kept in the end.
        spare: mass that may be left over.
        bodies: that grow, at most.
        seeds: points from which each body is tried to grow.
        neighbours: points with the most similar paths, from which it begins.
        sweeps: how often its points are chosen anew.
        paths: images whose conformations are compared, at most.
    """

    tolerance: float = 0.03
    unite: float = 0.035
    smallest: float = 0.003
    least: float = 0.02
    spare: float = 0.02
    bodies: int = 24
    seeds: int = 30
    neighbours: int = 16
    sweeps: int = 3
    paths: int = 100


@dataclass(frozen=True)
class ToleranceRange:
    """How tolerances follow from the misfit of points.

    Attributes:
        factor: tolerance over the typical deviation of neighbours from a rigid motion; set on made-up paths with noise,
            not on learned ones yet.
        union: `BodyCriteria.unite` over the tolerance.
        low: the least tolerance in half sides, which served for a made-up ribosome.
        high: the largest, with which a box with two lids came apart; more than that swallows thin layers.
    """

    factor: float = 3.0
    union: float = 1.2
    low: float = 0.01
    high: float = 0.03


class RigidFit(NamedTuple):
    """The rigid motions that follow sets of points best."""

    motions: Tensor  # (b, n, 4, 4): from the mean shape of each set
    deviations: Tensor  # (b, p): of all points from moving so, root mean square over the images, in half sides


class Growth(NamedTuple):
    """A step of the search for bodies."""

    bodies: int  # so far
    grouped: float  # share of the mass that belongs to one
    memberships: Tensor  # (k, p): how much each point belongs to each body, the heaviest body first


def fit_rigid(paths: Tensor, weights: Tensor, *, reference: int = 0, iterations: int = 2) -> RigidFit:
    """Fit a rigid motion to each of several sets of points (Kabsch), and their shapes.

    Args:
        paths: places of all points in all images, in half sides, shape (n, p, 3).
        weights: how much each point counts in each set, shape (b, p).
        reference: image whose conformation is the shape to begin with; the frame of the motions.
        iterations: how often motions and shapes are found.
    """
    images, points, _ = paths.shape
    share = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)  # a set may have no mass
    across = paths.transpose(1, 2).reshape(3 * images, points)  # rows: coordinates of each image
    centres = (share @ across.T).unflatten(1, (images, 3))
    shapes = paths[reference].mT.expand(len(weights), 3, points)
    for _ in range(iterations):
        middle = (shapes * share[:, None]).sum(2)
        offsets = (shapes - middle[..., None]) * share[:, None]
        turns = _rotations((across @ offsets.flatten(0, 1).T).reshape(images, 3, -1, 3).permute(2, 0, 1, 3))
        translations = centres - (turns @ middle[:, None, :, None])[..., 0]
        back = turns.permute(0, 3, 1, 2).reshape(-1, 3 * images) @ across
        shapes = (back.unflatten(0, (-1, 3)) - (turns.mT @ translations[..., None])[..., 0].sum(1)[..., None]) / images
    moved = translations.flatten(1) @ across
    squares = across.square().sum(0) - 2 * moved + translations.square().sum((1, 2))[:, None]
    deviations = (squares / images - shapes.square().sum(1)).clamp_min(0).sqrt()
    return RigidFit(rigid(turns, translations), deviations)


def _rotations(covariances: Tensor) -> Tensor:
    """The rotations R that maximise tr(Rᵀ C), shape (…, 3, 3)."""
    left, _, right = torch.linalg.svd(covariances)
    signs = torch.ones_like(left[..., 0])
    signs[..., 2] = torch.linalg.det(left @ right)
    return (left * signs[..., None, :]) @ right


def local_misfit(paths: Tensor, masses: Tensor, generator: torch.Generator, criteria: BodyCriteria) -> float:
    """The typical deviation of points and their neighbours from one rigid motion, in half sides.

    Args:
        paths: shape (n, p, 3).
        masses: shape (p,).
        generator: random stream of the points that are looked at.
        criteria: how many neighbours and seeds.
    """
    seeds = _seeds((masses > 0).nonzero()[:, 0], 4 * criteria.seeds, generator)
    inside = _nearest(paths, seeds, torch.ones_like(masses, dtype=torch.bool), criteria.neighbours)
    weights = inside * masses
    squares = fit_rigid(paths, weights).deviations.square()
    return float(((squares * weights).sum(1) / weights.sum(1)).median().sqrt())


def criteria_for(
    paths: Tensor,
    masses: Tensor,
    generator: torch.Generator,
    criteria: BodyCriteria = BodyCriteria(),
    tolerances: ToleranceRange = ToleranceRange(),
) -> BodyCriteria:
    """Criteria whose tolerances follow from the misfit of the points themselves; arguments as of `local_misfit`."""
    wide = tolerances.factor * local_misfit(paths, masses, generator, criteria)
    tolerance = min(max(wide, tolerances.low), tolerances.high)
    return replace(criteria, tolerance=tolerance, unite=tolerances.union * tolerance)


def group_points(
    paths: Tensor,
    masses: Tensor,
    generator: torch.Generator,
    criteria: BodyCriteria = BodyCriteria(),
    *,
    reference: int = 0,
) -> Iterator[Growth]:
    """Find the rigid bodies among points; yields each step, the last one with the result.

    Args:
        paths: places of all points in all images, in half sides, shape (n, p, 3).
        masses: of the points, at least 0, shape (p,).
        generator: random stream.
        criteria: when points are one body.
        reference: image whose conformation is the shape to begin with.
    """
    share = masses / masses.sum()
    others = torch.randperm(len(paths), generator=generator)[: criteria.paths].to(masses.device)
    some = torch.cat([paths[reference][None], paths[others]])
    bodies: list[Tensor] = []
    for body in _grow(some, share, generator, criteria):
        bodies.append(body)
        yield _growth(torch.stack(bodies).to(share), share)
    if not bodies:  # no two neighbours move alike: the molecule is one body, as well as it can be
        bodies = [torch.ones_like(share, dtype=torch.bool)]
    members = torch.stack(bodies)
    for fewer in _united(some, share, members, criteria):
        members = fewer
        yield _growth(members.to(share), share)
    heavy = (members * share).sum(1) > criteria.least
    members = members[heavy] if heavy.any() else members[:1]
    yield _growth(_soft(paths, share, members.to(share), criteria, reference), share)


def _growth(memberships: Tensor, share: Tensor) -> Growth:
    """A step, the heaviest body first."""
    heaviest = (memberships @ share).argsort(descending=True, stable=True)
    return Growth(len(memberships), float((memberships.amax(0) * share).sum()), memberships[heaviest])


def _grow(paths: Tensor, share: Tensor, generator: torch.Generator, criteria: BodyCriteria) -> Iterator[Tensor]:
    """Bodies that grow one after the other among the points that are free, as (p,) bool."""
    free = torch.ones_like(share, dtype=torch.bool)
    for _ in range(criteria.bodies):
        left = free.nonzero()[:, 0]
        if len(left) < criteria.neighbours or share[free].sum() <= criteria.spare:
            return
        seeds = _seeds(left, criteria.seeds, generator)
        inside = _nearest(paths, seeds, free, criteria.neighbours)
        for _ in range(criteria.sweeps):
            inside = (fit_rigid(paths, inside * share).deviations < criteria.tolerance) & free
            inside = inside[inside.sum(1) >= criteria.neighbours // 2]
            if not len(inside):
                return
        heavy = inside.to(share) @ share
        best = int(heavy.argmax())
        if heavy[best] < criteria.smallest:
            return
        yield inside[best]
        free &= ~inside[best]


def _seeds(among: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Some of these numbers at random, each once."""
    return among[torch.randperm(len(among), generator=generator)[:count].to(among.device)]


def _nearest(paths: Tensor, seeds: Tensor, free: Tensor, count: int) -> Tensor:
    """The free points whose paths are nearest to those of seeds, shape (seeds, p), bool."""
    flat = paths.transpose(0, 1).flatten(1)
    apart = torch.cdist(flat[seeds], flat).masked_fill(~free, torch.inf)
    nearest = apart.topk(min(count, len(flat)), largest=False).indices
    return torch.zeros_like(apart, dtype=torch.bool).scatter_(1, nearest, True) & free


def _united(paths: Tensor, share: Tensor, members: Tensor, criteria: BodyCriteria) -> Iterator[Tensor]:
    """Sets of points (k, p), bool, after each union of the two that cost least together."""

    def costs(sets: Tensor) -> Tensor:
        """Squared deviations of the mass of sets from a rigid motion."""
        weights = sets * share
        return (fit_rigid(paths, weights).deviations.square() * weights).sum(1)

    own = costs(members)
    first, second = torch.triu_indices(len(members), len(members), 1, device=members.device)
    together = torch.full((len(members), len(members)), torch.inf).to(own)
    if len(first):
        together[first, second] = costs(members[first] | members[second])
    while len(members) > 1:
        masses = members.to(share) @ share
        price = (together - own[:, None] - own) / torch.minimum(masses[:, None], masses)
        one, other = divmod(int(price.argmin()), len(members))
        if price[one, other] > criteria.unite**2:
            return
        kept = [number for number in range(len(members)) if number not in (one, other)]
        both = members[one] | members[other]
        members = torch.cat([members[kept], both[None]])
        own = torch.cat([own[kept], together[one, other][None]])
        last = costs(members[:-1] | both) if kept else own[:0]
        together = torch.nn.functional.pad(together[kept][:, kept], (0, 1, 0, 1), value=torch.inf)
        together[:-1, -1] = last
        yield members


def _soft(paths: Tensor, share: Tensor, members: Tensor, criteria: BodyCriteria, reference: int) -> Tensor:
    """Memberships of all points by their deviations from the bodies, (k, p); the sum is at most 1."""
    for _ in range(5):
        deviations = fit_rigid(paths, members * share, reference=reference).deviations
        nearer = torch.softmax(-0.5 * (deviations / (criteria.tolerance / 2)).square(), 0)
        soft = nearer * (deviations < 2 * criteria.tolerance)
        if not (soft @ share > 0).all():
            return members
        members = soft
    return members
