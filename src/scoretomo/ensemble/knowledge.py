"""What a score should know besides the images: views of the consensus, where that helps.

Few images leave gaps between their directions, and a score that knows only them pulls every view in a gap to a neighbour that it is
not: volumes drift away from what all images agree on. Views of the consensus fill the gaps. Where images are many and the molecule
moves far they do harm instead, for the moving parts are smeared out in the consensus. Which is the case the images tell: some are
left out, and denoised by what the others know, with and without views of the others' consensus.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..matching import directions
from ..projection import project
from ..reconstruction import Denoiser
from .consensus import posed_map

_LEVELS = (0.3, 0.5, 1.0)  # noise levels at which volumes are refined
_ROUNDS, _SHARE = 3, 0.1  # how often images are left out, and how many of them at a time
_FEWEST = 4  # images that can be asked
_CLEARLY = 0.97  # views are taken where they leave less than this share of the error


class Verdict(NamedTuple):
    """Error of denoised images that were left out, root mean square over pixels and noise levels."""

    images: float  # the score knows the other images
    with_views: float  # and views of their consensus

    @property
    def takes_views(self) -> bool:
        """Whether views of the consensus help."""
        return self.with_views < _CLEARLY * self.images


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
) -> Verdict:
    """Denoise images that a score does not know, with and without views of the consensus.

    Fewer than four images have gaps between them for certain: they are not asked.

    Args:
        images: normalised, centred, shape (n, d, d).
        rotations: poses of the images, shape (n, 3, 3).
        score: makes a denoiser that knows images.
        background: normalised value of empty space.
        mask: circular mask, shape (d, d).
        generator: random stream.
        group: symmetry of the consensus, shape (g, 3, 3).
    """
    count, squares = len(images), torch.zeros(2, dtype=torch.float64)
    if count < _FEWEST:
        return Verdict(math.inf, 0.0)
    order = torch.randperm(count, generator=generator).to(images.device)
    size = max(1, round(_SHARE * count))
    for number in range(min(_ROUNDS, count // size)):
        held, kept = order[number * size : (number + 1) * size], torch.cat([order[: number * size], order[(number + 1) * size :]])
        views = consensus_views(posed_map(images[kept] - background, rotations[kept], group=group), background, mask)
        noise = torch.randn(images[held].shape, generator=generator).to(images)
        for place, known in enumerate((images[kept], torch.cat([images[kept], views]))):
            denoise = score(known)
            for t in _LEVELS:
                squares[place] += float(((denoise(images[held] + t * noise * mask, t) - images[held]) * mask).square().sum())
    total = min(_ROUNDS, count // size) * len(_LEVELS) * size * float(mask.sum())
    return Verdict(*(squares / total).sqrt().tolist())
