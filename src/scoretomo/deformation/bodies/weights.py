"""How much each ring and each image counts in a fit: by how little the model leaves of it.

A ring counts by the inverse of its residual power, as in the noise spectra of RELION (Scheres, 2012). A small share of
the signal added to it keeps rings that fit well from counting without limit. An image that the model leaves more of
than of others counts less.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .views import Band


@dataclass(frozen=True)
class WeightLimits:
    """What keeps weights within bounds; all values were set on simulated images of a box with two lids (88 pixels).

    Attributes:
        signal: share of a ring's signal that is added to its residual power.
        faint: share of the strongest ring's signal that is added, too.
        least: weight of an image, at least.
        most: weight of an image, at most; 1 is that of the median.
    """

    signal: float = 1e-3
    faint: float = 1e-6
    least: float = 0.2
    most: float = 1.4


class Weights(NamedTuple):
    """Of squared residuals."""

    rings: Tensor  # (r,): mean 1 over the points
    images: Tensor  # (n,)

    def of_points(self, band: Band) -> Tensor:
        """Weights of the points of a band with the rings' in them, shape (p,)."""
        return band.weight * self.rings[band.ring]


def equal_weights(band: Band) -> Weights:
    """All rings and all images count alike."""
    return Weights(torch.ones_like(band.weight[: band.rings]), band.weight.new_ones(len(band.data)))


def band_residual_fractions(residuals: Tensor, band: Band, weight: Tensor) -> Tensor:
    """What is left of each image: Σ w |residual|² / Σ w |image|²; residuals (n, p), weight (p,), returns (n,)."""
    signal = (weight * band.data.abs().square()).sum(1)
    return (weight * residuals.abs().square()).sum(1) / signal.clamp_min(torch.finfo(weight.dtype).tiny)


def view_residual_fractions(seen: Tensor, band: Band) -> Tensor:
    """What views (n, p), each with the brightness that fits its image best, leave of images, all rings alike; (n,)."""
    power = (band.weight * seen.abs().square()).sum(1).clamp_min(torch.finfo(band.weight.dtype).tiny)
    brightness = (band.weight * (band.data * seen.conj()).real).sum(1) / power
    return band_residual_fractions(band.data - brightness[:, None] * seen, band, band.weight)


def weights_from_residuals(
    residuals: Tensor, band: Band, fractions: Tensor, limits: WeightLimits = WeightLimits()
) -> Weights:
    """Weights by what a model leaves.

    Args:
        residuals: complex, shape (n, p).
        band: the images.
        fractions: residual fractions of the images as weighed so far, shape (n,).
        limits: what keeps weights within bounds.
    """
    left = band.ring_means(residuals.abs().square()).median(0).values
    signal = band.ring_means(band.data.abs().square()).mean(0)
    power = left + limits.signal * signal + limits.faint * signal.max()
    gains = 1 / power.clamp_min(torch.finfo(power.dtype).tiny)
    images = (fractions.median() / fractions.clamp_min(1e-12)).sqrt().clamp(limits.least, limits.most)
    return Weights(gains / gains[band.ring].mean(), images.to(band.weight))
