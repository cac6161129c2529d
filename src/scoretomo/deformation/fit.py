"""Fit of the deformation model to all images at once, by gradient descent from blurred images to sharp ones.

The training images determine what is shared (basis, amplitudes, points, masses); of the others only pose and latent
coordinates are fitted. After the epochs of the flexibility test, each ring is weighed by how little the model leaves of
it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..fourier import centred_fft, centred_ifft, inscribed, radius, resample
from .model import GAUSSIAN_WIDTH, TILE, DeformationModel
from .ring_weights import filtered, ring_weights
from .schedule import DeformationSettings

_SHARDS = 2  # parts of a batch, each worked on by one thread; on a GPU a batch is one part
_OWN = 3  # kinds of parameters that belong to one image each: turn, shift, latent coordinates
_WEIGHED = 20  # epochs after which rings are weighed anew; sooner where there are few


class _Targets(NamedTuple):
    """What the views are compared with in an epoch."""

    images: Tensor  # (n, s, s), filtered by the gains
    width: float  # of a Gaussian, standard deviation in pixels of these images
    gains: Tensor | None  # of the rings


def fit(
    model: DeformationModel,
    images: Tensor,
    fitting: DeformationSettings,
    generator: torch.Generator,
    *,
    epochs: range,
    of: int,
    training: Tensor | None = None,
    threads: int = 1,
) -> Iterator[int]:
    """Fit the model to images; it is changed in place. Yields the number of each epoch, from 1.

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        generator: random stream of the order of the images.
        epochs: which of all epochs these are.
        of: how many epochs there are in all.
        training: images that determine what is shared, shape (n,), bool; all if not given.
        threads: that work at the same time, each computing with one; they do not change the result.
    """
    count = len(images)
    shards = 1 if images.is_cuda else _SHARDS
    shared = torch.ones(count, dtype=torch.bool, device=images.device) if training is None else training
    kinds = _parameters(model, fitting)
    weights = [weight for kind in kinds for weight in kind["params"]]
    optimiser = torch.optim.Adam(kinds)
    batch = max(_SHARDS, min(fitting.batch, count // 10))
    small = resample(images, min(images.shape[-1], fitting.side), 2)
    gains: Tensor | None = None
    with ThreadPoolExecutor(threads) as pool:
        for epoch in epochs:
            done = epoch / max(1, of - 1)
            if epoch >= round(fitting.trial * of) and (gains is None or epoch % min(_WEIGHED, max(1, of // 6)) == 0):
                some = (shared if shared.any() else ~shared).nonzero()[:, 0]
                gains = _ring_gains(model, small[some], some, fitting)
            targets = _targets(small, fitting, done, model.voxel, gains)
            gradient = partial(_gradient, model, weights, targets, shared, stiffness=fitting.stiffness, batch=batch)
            _set_rates(optimiser, done)
            for members in torch.randperm(count, generator=generator).to(images.device).split(batch):
                _step(optimiser, weights, pool.map(gradient, members.tensor_split(shards)))
            yield epoch + 1


def _step(optimiser: torch.optim.Optimizer, weights: Sequence[Tensor], parts: Iterable[list[Tensor]]) -> None:
    """A step of the optimiser by the gradients of the parts of a batch, added in their order."""
    for weight, slopes in zip(weights, zip(*parts, strict=True), strict=True):
        weight.grad = sum(slopes)
    optimiser.step()


def _targets(images: Tensor, fitting: DeformationSettings, done: float, voxel: float, gains: Tensor | None) -> _Targets:
    """What the views are compared with after a share of the epochs; images (n, s, s)."""
    blurred, width = targets_at(images, fitting, done, voxel)
    return _Targets(blurred if gains is None else filtered(blurred, gains), width, gains)


def _gradient(
    model: DeformationModel,
    weights: Sequence[Tensor],
    targets: _Targets,
    shared: Tensor,
    some: Tensor,
    *,
    stiffness: float,
    batch: int,
) -> list[Tensor]:
    """Gradient of every parameter, from some images of a batch; those that are not shared have only their own."""
    gradients = [torch.zeros_like(weight) for weight in weights]
    training = shared[some]
    for members, wanted in ((some[training], len(weights)), (some[~training], _OWN)):
        if len(members):
            residuals = _residuals(model, members, targets.images[members], targets.width, targets.gains)
            penalty = stiffness * model.latent[members].square().mean(1)
            slopes = torch.autograd.grad((residuals + penalty).sum() / batch, weights[:wanted], materialize_grads=True)
            for gradient, slope in zip(gradients, slopes, strict=False):
                gradient += slope
    return gradients


def _set_rates(optimiser: torch.optim.Optimizer, done: float) -> None:
    """Rates fall from their highest as half a cosine, to 2 % of it."""
    for kind in optimiser.param_groups:
        kind["lr"] = kind["top"] * (0.51 + 0.49 * math.cos(math.pi * done))


def _parameters(model: DeformationModel, fitting: DeformationSettings) -> list[dict[str, Any]]:
    """What is fitted, with its highest rates: first what each image has of its own."""
    voxel = 2 / fitting.side
    still = [([model.turns], 2e-3), ([model.shifts], 5e-3 * voxel)]
    shared = [([model.points], 5e-3 * voxel), ([model.masses], 1e-2)]
    networks = [
        *model.basis_network.parameters(),
        *model.linear_amplitudes.parameters(),
        *model.nonlinear_amplitudes.parameters(),
    ]
    coordinates = 2e-2 if model.flexible else 0.0  # which are 0 and stay there
    kinds = [*still, ([model.latent], coordinates), *shared, (networks, 2e-3 if model.flexible else 0.0)]
    return [{"params": weights, "top": fitting.rate * rate, "lr": fitting.rate * rate} for weights, rate in kinds]


def targets_at(images: Tensor, fitting: DeformationSettings, done: float, voxel: float) -> tuple[Tensor, float]:
    """Images as the model should show them after a share of the epochs, and the width of its Gaussians in their pixels.

    Args:
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of the epochs.
        voxel: of the model.

    Returns:
        Blurred images, no larger than they need be, shape (n, s, s), and the width.
    """
    blur = fitting.blur_at(done)
    width = math.hypot(voxel, blur)  # in pixels of the model's side
    side = min(images.shape[-1], fitting.side, 4 * math.ceil(fitting.side * GAUSSIAN_WIDTH / width / 4 + 1e-6) + 4)
    small, pixel = resample(images, side, 2), fitting.side / side
    k = radius(side, 2, dtype=images.dtype, device=images.device) * (2 * math.pi / side)
    blurred = centred_ifft(centred_fft(small, 2) * torch.exp(-0.5 * (k * blur / pixel).square()), 2).real
    return blurred * inscribed(side, 2, dtype=images.dtype, device=images.device), width / pixel


def _residuals(
    model: DeformationModel,
    some: Tensor,
    targets: Tensor,
    width: float,
    gains: Tensor | None = None,
    *,
    instead: Tensor | None = None,
) -> Tensor:
    """Residual fraction of some images, ‖view − image‖² / ‖image‖² at the best brightness, both filtered; (b,).

    The molecule may have moved by other amplitudes than each image's own instead, shape (b, j).
    """
    views = model.masked_views(some, targets.shape[-1], width, instead)
    if gains is not None:
        views = filtered(views, gains)
    across = (views * targets).sum((1, 2)).square() / views.square().sum((1, 2)).clamp_min(1e-12)
    return 1 - across / targets.square().sum((1, 2)).clamp_min(1e-12)


@torch.no_grad()
def _ring_gains(model: DeformationModel, images: Tensor, places: Tensor, fitting: DeformationSettings) -> Tensor:
    """Gains of the rings, by what sharp views leave of images, each of these as strong as the others.

    Args:
        model: the model.
        images: of the side that it sees, shape (b, s, s).
        places: theirs in the stack, shape (b,).
        fitting: schedule.
    """
    targets, width = targets_at(images, fitting, 1.0, model.voxel)
    residuals = []
    for image, some in zip(targets.split(TILE), places.split(TILE), strict=True):
        view = model.masked_views(some, image.shape[-1], width)
        bright = (view * image).sum((1, 2)) / view.square().sum((1, 2)).clamp_min(1e-12)
        strength = image.square().sum((1, 2)).sqrt().clamp_min(1e-6)
        residuals.append((image - bright[:, None, None] * view) / strength[:, None, None])
    return ring_weights(torch.cat(residuals))


@torch.no_grad()
def residual_fractions(
    model: DeformationModel,
    images: Tensor,
    fitting: DeformationSettings,
    done: float,
    *,
    some: Tensor | None = None,
    instead: Tensor | None = None,
) -> Tensor:
    """Residual fraction of some images, or of all, at the blur after a share of the epochs; (b,).

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of the epochs.
        some: places of those images, shape (b,); all if not given.
        instead: amplitudes by which the molecule has moved instead of each image's own, shape (n, j).
    """
    members = torch.arange(len(images), device=images.device) if some is None else some
    targets, width = targets_at(images[members], fitting, done, model.voxel)
    residuals = []
    for target, few in zip(targets.split(TILE), members.split(TILE), strict=True):
        residuals.append(_residuals(model, few, target, width, instead=None if instead is None else instead[few]))
    return torch.cat(residuals)
