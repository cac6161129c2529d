"""How views change as bodies move, and how bodies move with poses, latent coordinates and twists.

In the frame of an image, a body that moves by a small twist (ω, t) moves its matter at y by ω × y + t. With F(k) the
coefficients of its view and M(k) = Σ v y exp(−i k·y) those of its first moments,

    ∂F/∂ω = −i M × k    and    ∂F/∂t = −i k F,

of which t along z changes nothing. In these five numbers a body's place C = P g exp(X), X = Σ_j a_j ξ_j, has the
derivatives Ad(P g) J(X) ξ_j by a_j and a_j Ad(P g) J(X) by ξ_j, where J is the left Jacobian of the exponential map.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...compute import each_at_once
from ...fourier import coordinates
from .model import RigidBodies
from .motions import adjoint, left_jacobian
from .overlap import overlap
from .views import Band, Bodies, body_slices, turns_and_shifts, views
from .weights import band_residual_fractions

PER_BODY = 5  # ωx, ωy, ωz, tx, ty
_VALUES = 30_000_000  # derivatives that are held at a time


class Linearised(NamedTuple):
    """What a model leaves of images, and the normal equations of the bodies' motions in the frames of the images."""

    grams: Tensor  # (n, 5c, 5c), float64
    slopes: Tensor  # (n, 5c), float64: minus half the gradient of the squared residual
    residuals: Tensor  # (n, p) complex: image and overlap less the sum of views
    fractions: Tensor  # (n,): residual fractions, weighed


def residuals_of(model: RigidBodies, band: Band) -> Tensor:
    """What the model leaves of the images, complex, shape (n, p)."""
    return band.data + overlap(model, band) - views(model.bodies(), band.points)


def linearise(model: RigidBodies, band: Band, weight: Tensor) -> Linearised:
    """Residuals of the images, and their normal equations.

    Args:
        model: the model.
        band: the images.
        weight: of the points, shape (p,).
    """
    bodies, targets = model.bodies(), band.data + overlap(model, band)
    tile = max(1, _VALUES // (2 * PER_BODY * len(bodies.of) * len(weight)))
    twice = weight.repeat_interleave(2)[:, None]
    grams, slopes, residuals = [], [], []
    for some in torch.arange(len(targets), device=targets.device).split(tile):
        seen, columns = view_derivatives(bodies._replace(placements=bodies.placements[:, some]), band.points)
        rest = targets[some] - seen
        jacobian = torch.view_as_real(columns.mT).transpose(2, 3).flatten(1, 2)  # (n, 2p, 5c)
        weighed = twice * jacobian
        grams.append((jacobian.mT @ weighed).double())
        slopes.append((weighed.mT @ torch.view_as_real(rest).flatten(1)[..., None])[..., 0].double())
        residuals.append(rest)
    left = torch.cat(residuals)
    return Linearised(torch.cat(grams), torch.cat(slopes), left, band_residual_fractions(left, band, weight))


def view_derivatives(bodies: Bodies, points: Tensor) -> tuple[Tensor, Tensor]:
    """Views (n, p), and their derivatives by the motion of each copy in the image's frame.

    Args:
        bodies: densities and places.
        points: (kx, ky, 0) in radians per pixel, shape (p, 3).

    Returns:
        Complex: views, shape (n, p), and derivatives by ω (radians) and t (half sides), shape (n, 5c, p).
    """
    size, (kx, ky, _) = bodies.densities.shape[-1], points.mT
    x = coordinates(size, 3, dtype=points.dtype, device=points.device)

    def of_copy(copy: int) -> tuple[Tensor, Tensor]:
        density, place = bodies.densities[bodies.of[copy]], bodies.placements[copy]
        view, *moments = body_slices(torch.cat([density[None], x * density]), place, points)
        turn, move = turns_and_shifts(place, size, points)
        mx, my, mz = torch.einsum("nab,bnp->anp", turn.to(view), torch.stack(moments)) + move.mT[..., None] * view
        half = size / 2
        return view, torch.stack([-mz * ky, mz * kx, mx * ky - my * kx, view * kx * half, view * ky * half], 1)

    seen, columns = zip(*each_at_once(of_copy, range(len(bodies.of))), strict=True)
    return torch.as_tensor(sum(seen)), -1j * torch.cat(columns, 1)


def by_image(model: RigidBodies) -> Tensor:
    """How copies move in the frames of images with a turn and a shift of the pose and with latent coordinates.

    Returns:
        Shape (n, 5c, 5 + j).
    """
    velocities = _velocities(model)
    by_latent = torch.einsum("cnax,cjx->ncaj", velocities, model.twists[model.of])
    with_pose = torch.eye(PER_BODY).to(by_latent).expand(*by_latent.shape[:2], PER_BODY, PER_BODY)
    return torch.cat([with_pose, by_latent], 3).flatten(1, 2)


def by_twists(model: RigidBodies) -> Tensor:
    """How copies move in the frames of images with the twists of all bodies but the first; (n, 5c, 6 j (k − 1))."""
    member = torch.nn.functional.one_hot(model.of, len(model.twists))[:, 1:].to(model.latent)
    every = torch.einsum("cnax,nj,ck->ncakjx", _velocities(model), model.latent, member)
    return every.flatten(3, 5).flatten(1, 2)


def _velocities(model: RigidBodies) -> Tensor:
    """Twists of copies in the frames of images, by a change of Σ_j a_j ξ_j; without z, (c, n, 5, 6)."""
    return (adjoint(model.frames()) @ left_jacobian(model.body_twists())[model.of])[..., :PER_BODY, :]
