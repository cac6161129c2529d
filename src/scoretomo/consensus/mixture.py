"""Mixtures: two consensus volumes, and which images show the second.

The images that the consensus explains least get a consensus of their own. They show a second molecule if it explains
held-out images among them clearly better than the first does.
"""

from dataclasses import dataclass

from torch import Tensor

from . import Consensus, Iteration
from .hard_assignment import assign_hard, best_poses
from .soft_assignment import leave_gaps


@dataclass(frozen=True)
class MixtureCriteria:
    """When images show a second molecule; source: docs/dev/decisions/mixture.md.

    Attributes:
        suspect: times the median of 1 − correlation, from which an image may show it.
        fewest: images that may show it, and that do.
        held_out_ratio: of 1 − correlation of held-out images with their own consensus to that with the first, at most.
        ratio: of 1 − correlation with the second to that with the first, at most, where an image shows the second.
        rounds: how often the images are assigned to the two.
    """

    suspect: float = 2.5
    fewest: int = 12
    held_out_ratio: float = 0.6
    ratio: float = 0.8
    rounds: int = 3


MIXTURE = MixtureCriteria()


def suspects(correlations: Tensor, criteria: MixtureCriteria = MIXTURE) -> Tensor:
    """The images that may show a second molecule.

    Args:
        correlations: of all images with the consensus, shape (n,).
        criteria: of a mixture.

    Returns:
        Their places, shape (k,); none if they are few.
    """
    residuals = 1 - correlations
    places = (residuals > criteria.suspect * residuals.median()).nonzero()[:, 0]
    return places if len(places) >= criteria.fewest else places[:0]


def shows_second_molecule(residual: float, before: float, explained: int, criteria: MixtureCriteria = MIXTURE) -> bool:
    """Whether a consensus of suspect images is a second molecule.

    Args:
        residual: mean 1 − correlation of held-out images with the consensus of the others of them.
        before: the same by the first consensus.
        explained: how many of them their own consensus explains.
        criteria: of a mixture.
    """
    return residual < criteria.held_out_ratio * before and explained >= criteria.fewest


def separate_classes(
    images: Tensor,
    first: Consensus,
    second: Consensus,
    *,
    group: Tensor | None = None,
    criteria: MixtureCriteria = MIXTURE,
) -> tuple[Consensus, Consensus, Tensor]:
    """Two consensus volumes of a mixture, each made again from the images that it explains better.

    The first was made of all images, so it explains those of the second too well at the beginning.

    Args:
        images: empty space 0, shape (n, d, d).
        first: of most images, with the poses of all.
        second: of some of the others, with the poses of all.
        group: symmetry of the first, shape (g, 3, 3).
        criteria: of a mixture.

    Returns:
        Both with the poses of all images, and which images show the second, shape (n,), bool.
    """
    in_second = _explains_better(second, first, criteria.ratio)
    for _ in range(criteria.rounds):
        first = _consensus_of(images, first, ~in_second, group)
        second = _consensus_of(images, second, in_second, None)
        in_second = _explains_better(second, first, criteria.ratio)
    return first, second, in_second


def _explains_better(one: Consensus, other: Consensus, ratio: float) -> Tensor:
    """Which images one consensus explains better than another, (n,), bool."""
    return 1 - one.poses.correlations < ratio * (1 - other.poses.correlations)


def _consensus_of(images: Tensor, consensus: Consensus, some: Tensor, group: Tensor | None) -> Consensus:
    """A consensus made again from some of the images, unless they are few, with the poses of all in it."""
    volume, shifts = consensus.volume, consensus.poses.shifts
    if not leave_gaps(int(some.sum()), group):
        volume = assign_hard(images[some], Iteration(volume, -shifts[some]), keep_near=False, group=group).volume
    return Consensus(volume, best_poses(volume, images, shifts))
