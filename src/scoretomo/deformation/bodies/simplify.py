"""Fewer modes: one motion for two that turn about the same axis.

A smooth deformation model may hand a part on from one body to another: its inner layer moves up to some angle, its
outer layer from there on. Then two modes share an axis, and one body that goes as far as both explains the images as
well.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .derivatives import residuals_of
from .model import RigidBodies, joined
from .views import Band
from .weights import band_residual_fractions


@dataclass(frozen=True)
class SimplifySettings:
    """When two modes are tried as one; from simulated images of a box with two lids (88 pixels).

    Attributes:
        alike: cosine of the angle between twists of two modes, from which they are tried as one: 25°.
        farther: times the range of the mode that goes, by which the range of the other grows on both sides.
        trials: values of the coordinate that are tried in each image.
        quantile: the range of a coordinate leaves out so many of the images at each end.
        worse: times the residual with both modes, up to which one is enough.
        some: images by which it is found which mode can go.
        pairs: that are tried each time, the most alike ones.
    """

    alike: float = 0.906
    farther: float = 1.2
    trials: int = 28
    quantile: float = 0.02
    worse: float = 1.1
    some: int = 40
    pairs: int = 12


def coaxial_modes(model: RigidBodies, settings: SimplifySettings = SimplifySettings()) -> list[tuple[int, int]]:
    """Pairs of modes by which bodies move in nearly the same way, as (which may go, which stays), the most alike first.

    A symmetric molecule has none: its first body stands once, so that no copies can rest in it.
    """
    if model.copies is not None:
        return []
    main, units = main_modes(model), normalize(model.twists, dim=2)
    modes = range(model.latent.shape[1])
    alike = {}
    for gone in modes:
        for kept in modes:
            first, second = units[1:][main == gone, gone], units[1:][main == kept, kept]
            if gone != kept and len(first) and len(second):
                alike[gone, kept] = float((first @ second.mT).abs().max())
    pairs = sorted((pair for pair in alike if alike[pair] > settings.alike), key=lambda pair: -alike[pair])
    return pairs[: settings.pairs]


def main_modes(model: RigidBodies) -> Tensor:
    """The mode by which each body but the first moves most, shape (k − 1,)."""
    sizes = model.twists[1:].norm(dim=2) * model.latent.square().mean(0).sqrt()
    return sizes.argmax(1) if sizes.shape[1] else sizes.new_zeros(len(sizes), dtype=torch.long)


def without_mode(
    model: RigidBodies,
    band: Band,
    weight: Tensor,
    gone: int,
    kept: int,
    settings: SimplifySettings = SimplifySettings(),
) -> RigidBodies:
    """The model with the bodies of one mode at rest in the first body, and another mode that goes as far as both.

    Its coordinate is searched again in every image.

    Args:
        model: the model.
        band: the images.
        weight: of the points, shape (p,).
        gone: the mode that goes.
        kept: the mode that stays.
        settings: how far the search goes.
    """
    main = torch.cat([torch.full((1,), -1, device=model.of.device), main_modes(model)])
    resting, moving = (main == gone) | (main < 0), (main != gone) & (main >= 0)
    ways = [mode for mode in range(model.latent.shape[1]) if mode != gone]
    fewer = replace(
        model,
        densities=torch.cat([joined(model.densities[resting], model.saturation)[None], model.densities[moving]]),
        masks=torch.cat([model.masks[resting].amax(0, keepdim=True), model.masks[moving]]),
        twists=torch.cat([model.twists[:1], model.twists[moving]])[:, ways],
        latent=model.latent[:, ways],
    )
    values = _values(model, gone, kept, settings)
    return replace(fewer, latent=_searched(fewer, band, weight, ways.index(kept), values))


def _values(model: RigidBodies, gone: int, kept: int, settings: SimplifySettings) -> Tensor:
    """Values of the coordinate that stays, over the ranges of both."""
    ends = torch.tensor([settings.quantile, 1 - settings.quantile]).to(model.latent)
    low, high = model.latent.quantile(ends, dim=0)
    sizes = model.twists.norm(dim=2).amax(0)
    farther = settings.farther * (high - low)[gone] * sizes[gone] / sizes[kept]
    return torch.linspace(float(low[kept] - farther), float(high[kept] + farther), settings.trials).to(model.latent)


def _searched(model: RigidBodies, band: Band, weight: Tensor, mode: int, values: Tensor) -> Tensor:
    """Latent coordinates with that of one mode at the value that leaves least of each image, shape (n, j)."""
    latent = model.latent.clone()
    best = band_residual_fractions(residuals_of(model, band), band, weight)
    for value in values:
        trial = model.latent.clone()
        trial[:, mode] = value
        left = band_residual_fractions(residuals_of(replace(model, latent=trial), band), band, weight)
        latent[left < best, mode] = value
        best = torch.minimum(best, left)
    return latent
