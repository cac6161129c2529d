"""The flexibility test: whether a deformation model explains held-out images better than a rigid one.

A model that moves leaves less of a rigid molecule's images, too: it bends a little to their noise, or to what each
class average has wrong. Where the molecule moves, the model explains more and moves farther, so the product of both is
the statistic.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class FlexibilityCriteria:
    """How the test is made.

    Attributes:
        fewest: images of one consensus from which it can be made.
        held_out: share of them that is held out.
        quantile: of the held-out images, at which the statistic is taken: one in five has more, so that neither a few
            bad images decide, nor many that all show one state of two.
        threshold: statistic above which the molecule is flexible, in pixels: molecules held still had up to 0.046, some
            that move 0.053 (benchmarks/molecules.py).
    """

    fewest: int = 24
    held_out: float = 0.2
    quantile: float = 0.8
    threshold: float = 0.05


FLEXIBILITY = FlexibilityCriteria()


class Flexibility(NamedTuple):
    """The result of the test."""

    rigid_residual: float  # mean residual fraction of held-out images, by the rigid model
    flexible_residual: float  # by the deformation model
    displacement: float  # of its mass, at the quantile, in pixels of the model's side
    statistic: float
    flexible: bool


def judge_flexibility(
    rigid: Sequence[float],
    flexible: Sequence[float],
    displacements: Sequence[float],
    criteria: FlexibilityCriteria = FLEXIBILITY,
) -> Flexibility:
    """The test on held-out images.

    Args:
        rigid: residual fraction of each, by the rigid model.
        flexible: the same, by the deformation model.
        displacements: how far that moves for each image, in pixels of the model's side.
        criteria: of the test.
    """
    statistic = flexibility_statistic(rigid, flexible, displacements, criteria.quantile)
    return Flexibility(
        statistics.fmean(rigid),
        statistics.fmean(flexible),
        float(np.quantile(displacements, criteria.quantile)),
        statistic,
        statistic > criteria.threshold,
    )


def flexibility_statistic(
    rigid: Sequence[float], flexible: Sequence[float], displacements: Sequence[float], quantile: float
) -> float:
    """Share of the rigid model's residual that motion explains, times the displacement, at a quantile of the held-out
    images.
    """
    shares = np.array(
        [(by_rigid - left) / max(by_rigid, 1e-12) for by_rigid, left in zip(rigid, flexible, strict=True)]
    )
    return float(np.quantile(shares.clip(0) * np.asarray(displacements), quantile))
