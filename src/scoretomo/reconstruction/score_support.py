"""What a score should know besides the images, and what it can teach: left-out images tell both.

Few images leave gaps between their directions, and a score that knows only them pulls every view in a gap to a neighbour that it is
not: volumes drift away from what all images agree on. Views of the consensus fill the gaps. Where images are many and the molecule
moves far they do harm instead, for the moving parts are smeared out in the consensus. Which is the case the images tell: some are
left out, and denoised by what the others know, with and without views of the others' consensus.

The score is not perfect: it changes even an image, if it does not know it, by what it has not learned and by the image's own noise.
Where it changes views of the model of the motion hardly more than left-out images, it has nothing to teach them, and many steps of
refinement would make them worse.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..matching import directions
from ..projection import project
from .algorithm import Denoiser
from .least_squares import posed_map

_LEVELS = (0.3, 0.5, 1.0)  # noise levels at which it is asked what the score should know
_LOW_LEVELS = (0.1, 0.2)  # and what it can teach
_ROUNDS, _SHARE = 3, 0.1  # how often images are left out, and how many of them at a time
_FEWEST = 4  # images that can be asked
_CLEARLY = 0.97  # views are taken where they leave less than this share of the error
_ALIKE = 2.0  # views look like images where they are changed by no more than this times as much


class Verdict(NamedTuple):
    """How denoising changes what a score does not know, root mean square over pixels and noise levels."""

    images: float  # left-out images; the score knows the other images
    with_views: float  # and views of their consensus
    at_low_noise: float  # left-out images, at noise levels where a refinement ends
    modelled: float  # at these, views of the model of the motion if there is one; the score knows most images

    @property
    def asked(self) -> bool:
        """Whether there were images enough to ask."""
        return math.isfinite(self.images)

    @property
    def takes_views(self) -> bool:
        """Whether views of the consensus help."""
        return self.with_views < _CLEARLY * self.images

    @property
    def look_alike(self) -> bool:
        """Whether views of the model look like images."""
        return self.modelled < _ALIKE * self.at_low_noise


def consensus_views(volume: Tensor, background: float, mask: Tensor) -> Tensor:
    """Views of a consensus from directions spread evenly, six for each pixel of the side.

    Args:
        volume: normalised, empty space 0, shape (d, d, d).
        background: normalised value of empty space.
        mask: circular mask, shape (d, d).

    Returns:
        Normalised views, shape (6 d, d, d).
    """
    return project(volume, directions(6 * volume.shape[-1]).to(volume)) * mask + background


def ask_left_out_images(
    images: Tensor,
    rotations: Tensor,
    score: Callable[[Tensor], Denoiser],
    background: float,
    mask: Tensor,
    generator: torch.Generator,
    *,
    group: Tensor | None = None,
    modelled: Tensor | None = None,
) -> Verdict:
    """Denoise images that a score does not know, with and without views of the consensus, and views of a model.

    Fewer than four images have gaps between them for certain: they are not asked.

    Args:
        images: normalised, centred, shape (n, d, d).
        rotations: poses of the images, shape (n, 3, 3).
        score: makes a denoiser that knows images.
        background: normalised value of empty space.
        mask: circular mask, shape (d, d).
        generator: random stream.
        group: symmetry of the consensus, shape (g, 3, 3).
        modelled: normalised views of the model of the motion from directions that no image has, shape (m, d, d).
    """
    count, squares = len(images), torch.zeros(4, dtype=torch.float64)
    if count < _FEWEST:
        return Verdict(math.inf, 0.0, math.inf, math.inf)

    def changed(views: Tensor, noise: Tensor, denoise: Denoiser, levels: tuple[float, ...] = _LEVELS) -> float:
        """Mean square over pixels and noise levels, of all views."""
        changes = [((denoise(views + t * noise, t) - views) * mask).square().sum() for t in levels]
        return float(torch.stack(changes).mean()) / (len(views) * float(mask.sum()))

    order = torch.randperm(count, generator=generator).to(images.device)
    size = max(1, round(_SHARE * count))
    for number in range(min(_ROUNDS, count // size)):
        held, kept = order[number * size : (number + 1) * size], torch.cat([order[: number * size], order[(number + 1) * size :]])
        views = consensus_views(posed_map(images[kept] - background, rotations[kept], group=group), background, mask)
        noise = torch.randn(images[held].shape, generator=generator).to(images) * mask
        denoise = score(images[kept])
        squares[0] += changed(images[held], noise, denoise)
        squares[2] += changed(images[held], noise, denoise, _LOW_LEVELS)
        if modelled is not None:
            other_noise = torch.randn(modelled.shape, generator=generator).to(modelled) * mask
            squares[3] += changed(modelled, other_noise, denoise, _LOW_LEVELS)
        del denoise  # a score may be large: never two at a time
        squares[1] += changed(images[held], noise, score(torch.cat([images[kept], views])))
    if modelled is None:
        squares[3] = math.inf
    return Verdict(*(squares / min(_ROUNDS, count // size)).sqrt().tolist())
