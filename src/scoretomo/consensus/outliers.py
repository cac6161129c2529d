"""Images that no view of the consensus explains."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..matching import Poses


@dataclass(frozen=True)
class OutlierCriteria:
    """When an image is an outlier; source: chosen without a benchmark; docs/dev/decisions/mixture.md has their misses.

    Attributes:
        deviations: robust standard deviations of Fisher's z below its median, at least.
        explained: correlation from which an image is explained, however well the others are.
    """

    deviations: float = 4.5
    explained: float = 0.95


OUTLIERS = OutlierCriteria()


def find_outliers(poses: Poses, criteria: OutlierCriteria = OUTLIERS) -> Tensor:
    """Images that no view explains nearly as well as views explain the others, by Fisher's z of the correlations; (n,),
    bool.
    """
    z = torch.atanh(poses.correlations.double().clamp(-1 + 1e-9, 1 - 1e-9))
    spread = 1.4826 * (z - z.median()).abs().median()
    return (z < z.median() - criteria.deviations * spread) & (poses.correlations < criteria.explained)
