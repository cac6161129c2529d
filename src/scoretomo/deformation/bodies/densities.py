"""The densities of bodies that explain images best where the bodies stand, in least squares by conjugate gradients.

    minimise over u   Σ_i e_i Σ_p w_p |views(m u)_ip − y_ip|² + λ Σ_k Σ_κ g(|κ|) |û_k(κ)|²

with densities v = m u inside their masks m. The penalty of each shell is in proportion to the gain g of its ring, so
that no shell falls below it where rings are weighed. A slice of n images passes a frequency of radius r in n d / (2 r)
of them, which makes the preconditioner.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ...fourier import centred_fft, centred_ifft, shell_index
from ...optimise import conjugate_gradients
from .model import RigidBodies
from .views import Band, adjoint_views, views
from .weights import Weights

_MASKED = 0.1  # where a mask is less, a density does not begin with more than it holds


@dataclass(frozen=True)
class DensitySettings:
    """How densities are found.

    Attributes:
        steps: of conjugate gradients in each round.
        first: steps where there was no density before.
        ridge: λ, relative to what the images give in the last ring. Weaker ones overfit it where poses are off, on
            simulated images of a box with two lids (88 pixels); this value is not tuned yet.
    """

    steps: int = 6
    first: int = 12
    ridge: float = 5e-4


class DensityFit(NamedTuple):
    """A model with new densities, and how the fit went."""

    model: RigidBodies
    residuals: list[
        float
    ]  # norm of the normal equations' residual before the first step and after each, over that of 0


def fit_densities(
    model: RigidBodies, band: Band, targets: Tensor, weights: Weights, *, steps: int, ridge: float
) -> DensityFit:
    """Find the densities, beginning with those of the model.

    Args:
        model: placements, masks and densities.
        band: which coefficients.
        targets: y, what the sum of the bodies' views should be, complex, shape (n, p).
        weights: of rings and images.
        steps: of conjugate gradients.
        ridge: λ.
    """
    bodies, masks = model.bodies(), model.masks
    weight = weights.of_points(band) * weights.images[:, None]
    gains = _shell_values(weights.rings, band.size) * weights.images.sum()
    radius = torch.arange(len(weights.rings)).to(weights.rings).clamp_min(0.5)
    slices = _shell_values(weights.rings * band.size / (2 * radius), band.size) * weights.images.sum()

    def normal(amounts: Tensor) -> Tensor:
        seen = views(bodies._replace(densities=masks * amounts), band.points)
        return masks * adjoint_views(weight * seen, bodies, band.points) + _filter(amounts, ridge * gains)

    def precondition(amounts: Tensor) -> Tensor:
        return _filter(amounts, 1 / (slices + ridge * gains))

    aim = masks * adjoint_views(weight * targets, bodies, band.points)
    start = model.densities / masks.clamp_min(_MASKED)
    amounts, norms = start, []
    for step in conjugate_gradients(normal, precondition, aim, start, steps):
        amounts = step.solution
        norms.append(step.residual.norm())
    whole = aim.norm().clamp_min(torch.finfo(aim.dtype).tiny)
    return DensityFit(replace(model, densities=masks * amounts), [float(norm / whole) for norm in norms])


def _shell_values(rings: Tensor, size: int) -> Tensor:
    """Values of rings 0, 1, … on the centred grid of frequencies, the last one beyond; (size, size, size)."""
    return rings[shell_index(size, 3, device=rings.device).clamp(max=len(rings) - 1)]


def _filter(volumes: Tensor, factors: Tensor) -> Tensor:
    """Volumes (k, d, d, d) whose frequencies are multiplied by factors (d, d, d)."""
    return centred_ifft(centred_fft(volumes, 3) * factors, 3).real
