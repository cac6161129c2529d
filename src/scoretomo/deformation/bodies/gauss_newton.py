"""Damped Gauss–Newton steps on poses, latent coordinates and twists, all images together.

Each image has its own pose and coordinates, and the twists are shared. With A the normal equations of an image's own
unknowns, C what they have in common with the twists and B those of the twists, the twists follow from the Schur
complement Σ (B − Cᵀ A⁻¹ C), and then each image's own. An image that a step made worse goes back and is damped more.
If most became worse, the twists go back, too.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .derivatives import Linearised, by_image, by_twists, linearise
from .model import RigidBodies
from .motions import motion_from_twist
from .views import Band
from .weights import Weights

_TILE = 100  # images at a time


@dataclass(frozen=True)
class StepSettings:
    """How far steps go, as set on simulated images of a box with two lids (88 pixels).

    Attributes:
        damping: of each image's own unknowns to begin with, relative to their curvatures.
        grow: what damping is multiplied by after a step that made an image worse.
        shrink: what it is divided by after one that made it better.
        low: least damping.
        high: most damping.
        floor: curvature that is added to all of an image's own unknowns, relative to their mean.
        shared: damping of the twists.
        shared_floor: curvature that is added to all of theirs, relative to the mean.
        turn: radians that a pose turns in a step, at most.
        latent: of the spread of a coordinate, what it changes in a step, at most.
    """

    damping: float = 0.03
    grow: float = 5.0
    shrink: float = 3.0
    low: float = 1e-3
    high: float = 1e3
    floor: float = 1e-6
    shared: float = 0.03
    shared_floor: float = 1e-3
    turn: float = 0.15
    latent: float = 0.25


class Damping(NamedTuple):
    """How much steps are damped."""

    images: Tensor  # (n,), float64
    shared: float


class MotionFit(NamedTuple):
    """A model after some steps."""

    model: RigidBodies
    damping: Damping  # for the next ones
    linearised: Linearised  # of this model


class _Reduced(NamedTuple):
    """The normal equations without each image's own unknowns."""

    factors: Tensor  # (n, 5 + j, 5 + j): Cholesky factors of A, damped
    slopes: Tensor  # (n, 5 + j, 1)
    cross: Tensor  # (n, 5 + j, t): C
    schur: Tensor  # (t, t)
    shared_slopes: Tensor  # (t, 1)


def first_damping(model: RigidBodies, settings: StepSettings = StepSettings()) -> Damping:
    """Before the first step."""
    return Damping(torch.full_like(model.poses[:, 0, 0], settings.damping), settings.shared)


def fit_motion(
    model: RigidBodies,
    band: Band,
    weights: Weights,
    damping: Damping,
    *,
    steps: int,
    settings: StepSettings = StepSettings(),
    own: bool = False,
) -> MotionFit:
    """Improve poses, latent coordinates and twists; densities stay.

    Args:
        model: the model.
        band: the images.
        weights: of rings and images.
        damping: as the last steps left it.
        steps: how many.
        settings: how far they go.
        own: whether the twists stay.
    """
    weight = weights.of_points(band)
    best = linearise(model, band, weight)
    for _ in range(steps):
        trial = gauss_newton_step(model, best, weights.images, damping, settings, own=own)
        fresh = linearise(trial, band, weight)
        worse = fresh.fractions > best.fractions
        most = bool(worse.double().mean() > 0.5)
        back = torch.ones_like(worse) if most else worse
        model = replace(
            trial,
            poses=_either(back, model.poses, trial.poses),
            latent=_either(back, model.latent, trial.latent),
            twists=model.twists if most else trial.twists,
        )
        best = Linearised(*(_either(back, old, new) for old, new in zip(best, fresh, strict=True)))
        damping = _damped(damping, back, most, settings)
    return MotionFit(model, damping, best)


def _either(which: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The first where ``which`` (n,) is true, else the second."""
    return torch.where(which.reshape(-1, *[1] * (first.dim() - 1)), first, second)


def _damped(damping: Damping, back: Tensor, most: bool, settings: StepSettings) -> Damping:
    """Damping of the next step; a step that went back as a whole is damped more as a whole."""
    images = torch.where(back, damping.images * settings.grow, damping.images / settings.shrink)
    shared = damping.shared * settings.grow if most else max(settings.shared, damping.shared / settings.shrink)
    return Damping(images.clamp(settings.low, settings.high), min(shared, settings.high))


def gauss_newton_step(
    model: RigidBodies,
    linearised: Linearised,
    importance: Tensor,
    damping: Damping,
    settings: StepSettings,
    *,
    own: bool = False,
) -> RigidBodies:
    """One damped step, as far as it may go.

    Args:
        model: the model.
        linearised: its normal equations.
        importance: how much each image counts for the twists, shape (n,).
        damping: of the step.
        settings: how far it may go.
        own: whether the twists stay.
    """
    reduced = _reduced(model, linearised, importance.to(model.latent), damping.images, settings)
    diagonal = reduced.schur.diagonal()
    ridge = damping.shared * diagonal + settings.shared_floor * diagonal.mean().nan_to_num()
    shared = torch.linalg.solve(reduced.schur + torch.diag(ridge), reduced.shared_slopes)
    shared = torch.zeros_like(shared) if own else shared
    change_of_each = torch.cholesky_solve(reduced.slopes - reduced.cross @ shared, reduced.factors)[..., 0]
    turn, shift, latent = change_of_each.split([3, 2, model.latent.shape[1]], 1)
    turn = turn * (settings.turn / turn.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
    reach = settings.latent * (model.latent - model.latent.mean(0)).square().mean(0).sqrt()
    pose = torch.nn.functional.pad(torch.cat([turn, shift], 1), (0, 1))
    change = shared.reshape(model.twists[1:].shape)
    return replace(
        model,
        poses=motion_from_twist(pose) @ model.poses,
        latent=model.latent + latent.clamp(-reach, reach),
        twists=torch.cat([model.twists[:1], model.twists[1:] + change]),
    )


def _reduced(
    model: RigidBodies, linearised: Linearised, importance: Tensor, damping: Tensor, settings: StepSettings
) -> _Reduced:
    """Normal equations of the twists, with each image's own unknowns eliminated."""
    factors, slopes, cross, schur, shared = [], [], [], [], []
    for some in torch.arange(len(damping), device=damping.device).split(_TILE):
        few = model.of_images(some)
        own, theirs, gram = by_image(few), by_twists(few), linearised.grams[some]
        slope = linearised.slopes[some, :, None]
        factor = torch.linalg.cholesky(_ridged(own.mT @ gram @ own, damping[some], settings.floor))
        common, mine = own.mT @ gram @ theirs, own.mT @ slope
        solved = torch.cholesky_solve(common, factor)
        counts = importance[some, None, None]
        schur.append((counts * (theirs.mT @ gram @ theirs - common.mT @ solved)).sum(0))
        shared.append((counts * (theirs.mT @ slope - solved.mT @ mine)).sum(0))
        factors.append(factor)
        slopes.append(mine)
        cross.append(common)
    return _Reduced(
        torch.cat(factors), torch.cat(slopes), torch.cat(cross), torch.stack(schur).sum(0), torch.stack(shared).sum(0)
    )


def _ridged(curvature: Tensor, damping: Tensor, floor: float) -> Tensor:
    """Curvatures (n, q, q) with a damped diagonal."""
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    smallest = torch.finfo(curvature.dtype).tiny
    ridge = damping[:, None] * diagonal + floor * diagonal.mean(1, keepdim=True) + smallest
    return curvature + torch.diag_embed(ridge)
