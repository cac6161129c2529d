"""Standard errors of poses and latent coordinates, from the curvature of each image's likelihood.

With noise of power σ² in the coefficients of a ring, an image has −ln p = Σ |residual|² / σ² over pairs of conjugate
coefficients, whose curvature in Gauss–Newton's approximation is the Fisher information. Densities and twists are taken
as known: they are shared by all images.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .derivatives import PER_BODY, by_image, linearise, residuals_of
from .model import RigidBodies
from .views import Band

_FLAT = 1e-9  # of each curvature, is added to it: what an image does not show has a large error


class StandardErrors(NamedTuple):
    """Of what each image has of its own."""

    turns: Tensor  # (n, 3): about x, y, z of the image, radians
    shifts: Tensor  # (n, 2): x, y in half sides
    latent: Tensor  # (n, j)


def noise_power(residuals: Tensor, band: Band) -> Tensor:
    """σ² of rings 0, 1, … of each image, (n, rings): that of the stack, as strong as the image's residual."""
    stack = band.ring_means(residuals.abs().square()).mean(0)
    stack = stack.clamp_min(1e-12 * float(stack.max()) + torch.finfo(stack.dtype).tiny)
    strength = (residuals.abs().square() / stack[band.ring]).mean(1)
    return strength[:, None] * stack


def standard_errors(model: RigidBodies, band: Band) -> StandardErrors:
    """Standard errors of turns, shifts and latent coordinates of all images.

    Args:
        model: fitted to the images.
        band: the images.
    """
    power = noise_power(residuals_of(model, band), band)
    stack = power.mean(0)
    strength = power[:, 1] / stack[1]  # the same in all rings
    grams = linearise(model, band, band.weight * band.size**2 / stack[band.ring]).grams
    own = by_image(model)
    information = own.mT @ (grams / strength.double()[:, None, None]) @ own
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(own.dtype).tiny).rsqrt()
    unit = scale[:, :, None] * information * scale[:, None]
    curved = unit + _FLAT * torch.eye(own.shape[2]).to(unit)
    variances = torch.linalg.inv(curved).diagonal(dim1=1, dim2=2) * scale.square()
    turns, shifts, latent = variances.sqrt().split([3, 2, own.shape[2] - PER_BODY], 1)
    return StandardErrors(turns, shifts, latent)
