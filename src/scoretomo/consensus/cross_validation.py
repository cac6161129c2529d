"""How consensus volumes of other images explain each image, and what that decides.

A symmetry that the molecule has makes the volume better, one that it has not makes it worse. The best pose of a noisy
image is one that suits its noise, too, and a volume fitted to images in such poses has their noise: soft assignment
weighs all poses and has less of it, but blurs what images without noise show. In both cases held-out images decide.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..fourier import fourier_shell_correlation, inscribed
from ..images import correlation, shift
from ..matching import Poses
from ..projection import project
from ..reconstruction.least_squares import posed_map
from .outliers import find_outliers

_TINY = 1e-12


@dataclass(frozen=True)
class AssignmentCriteria:
    """When the images of a rigid molecule are assigned softly; source: docs/dev/decisions/soft-or-hard.md.

    Attributes:
        folds: one image of so many is held out.
        ratio: of 1 − correlation by soft assignment to that by hard assignment, at most,
        standard_errors: and the difference is more than so many standard errors.
    """

    folds: int = 5
    ratio: float = 0.98
    standard_errors: float = 4.0


ASSIGNMENT = AssignmentCriteria()


class CrossValidation(NamedTuple):
    """How volumes of other images explain each image, by their views in its pose."""

    residual: float  # mean of 1 − correlation
    rings: Tensor  # mean Fourier ring correlation, shape (d // 2 + 1,)


def cross_validate(images: Tensor, poses: Poses, *, group: Tensor | None = None) -> CrossValidation:
    """Compare each image with the volume of the images of the other folds.

    Args:
        images: empty space 0, shape (n, d, d).
        poses: of the images; outliers do not count.
        group: symmetry of the volume, shape (g, 3, 3).
    """
    size = images.shape[-1]
    good = ~find_outliers(poses)
    mask = inscribed(size, 2, dtype=images.dtype, device=images.device)
    centred = shift(images[good], -poses.shifts[good]) * mask
    rotations = poses.rotations[good]
    residual = 0.0
    rings = []
    folds = min(ASSIGNMENT.folds, len(centred))
    for fold in range(folds):
        held_out = torch.arange(len(centred), device=images.device) % folds == fold
        volume = posed_map(centred[~held_out], rotations[~held_out], group=group)
        views = project(volume, rotations[held_out])
        residual += float((1 - correlation(views, centred[held_out], mask)).sum())
        rings.append(fourier_shell_correlation(views * mask, centred[held_out], dims=2))
    return CrossValidation(residual / len(centred), torch.cat(rings).mean(0))


class AssignmentComparison(NamedTuple):
    """Hard and soft assignment on the same held-out images."""

    hard_residual: float  # mean of 1 − correlation
    soft_residual: float
    standard_errors: float  # of the mean difference
    soft: bool  # soft assignment is clearly better


def compare_assignments(
    hard: np.ndarray, soft: np.ndarray, criteria: AssignmentCriteria = ASSIGNMENT
) -> AssignmentComparison:
    """Decide by the residuals of held-out images, shape (n,) each, whether soft assignment is clearly better."""
    better = hard - soft
    errors = float(better.mean() / (better.std(ddof=1) / math.sqrt(len(better)) + _TINY))
    clearly = bool(soft.mean() < criteria.ratio * hard.mean()) and errors > criteria.standard_errors
    return AssignmentComparison(float(hard.mean()), float(soft.mean()), errors, clearly)
