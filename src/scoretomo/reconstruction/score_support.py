"""Support of the score: which images and views it is made of, and how long a refinement helps. Held-out images decide
both.

Few images leave gaps between their directions. A score of the images alone pulls every view in a gap towards a
neighbour that it is not: volumes drift away from what all images agree on. Views of the consensus fill the gaps. Where
images are many and the molecule moves far they do harm instead, for the moving parts are smeared out in the consensus.
So some images are held out, and denoised by the score of the others, with and without views of the others' consensus.

The score is not perfect: it changes even a held-out image, by its own errors and by the noise of the image. Where it
changes views of the deformation model hardly more than held-out images, many steps of refinement would only make them
worse.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..matching import directions
from ..projection import project
from .algorithm import Denoiser
from .least_squares import posed_map


@dataclass(frozen=True)
class SupportCriteria:
    """How the support of the score is decided; source: docs/dev/decisions/score-support.md.

    Attributes:
        levels: noise levels t at which it is decided whether the score includes views of the consensus.
        low_levels: noise levels where a refinement ends, at which views of the model are compared with images.
        rounds: how often images are held out.
        held_out: share of the images in each round.
        fewest: images that are needed; fewer have gaps between them for certain.
        ratio: views are included if they leave less than this share of the denoising error.
        near: views of the model are near images if denoising changes them by less than so many times as much.
    """

    levels: tuple[float, ...] = (0.3, 0.5, 1.0)
    low_levels: tuple[float, ...] = (0.1, 0.2)
    rounds: int = 3
    held_out: float = 0.1
    fewest: int = 4
    ratio: float = 0.97
    near: float = 2.0


SUPPORT = SupportCriteria()


class ScoreSupport(NamedTuple):
    """How denoising changes held-out images and views, root mean square over pixels and noise levels; inf where not
    measured.
    """

    held_out_error: float  # of held-out images, by the score of the other images
    held_out_error_with_views: float  # by the score that also includes views of their consensus
    low_noise_error: float  # of held-out images, at low noise
    model_error: float  # of views of the deformation model, at low noise, by the score of most images
    criteria: SupportCriteria = SUPPORT

    @property
    def tested(self) -> bool:
        """Whether there were images enough."""
        return math.isfinite(self.held_out_error)

    @property
    def includes_views(self) -> bool:
        """Whether the score should include views of the consensus."""
        return self.held_out_error_with_views < self.criteria.ratio * self.held_out_error

    @property
    def model_is_near(self) -> bool:
        """Whether denoising changes views of the model hardly more than images."""
        return self.model_error < self.criteria.near * self.low_noise_error


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


def score_support(
    images: Tensor,
    rotations: Tensor,
    score: Callable[[Tensor], Denoiser],
    background: float,
    mask: Tensor,
    generator: torch.Generator,
    *,
    group: Tensor | None = None,
    model_views: Tensor | None = None,
    criteria: SupportCriteria = SUPPORT,
) -> ScoreSupport:
    """Denoise held-out images, by scores with and without views of the consensus, and views of a model.

    Args:
        images: normalised, centred, shape (n, d, d).
        rotations: poses of the images, shape (n, 3, 3).
        score: makes the denoiser of some images.
        background: normalised value of empty space.
        mask: circular mask, shape (d, d).
        generator: random stream.
        group: symmetry of the consensus, shape (g, 3, 3).
        model_views: normalised views of the deformation model from directions that no image has, shape (m, d, d).
        criteria: how it is decided.
    """
    count, squares = len(images), torch.zeros(4, dtype=torch.float64)
    if count < criteria.fewest:
        return ScoreSupport(math.inf, 0.0, math.inf, math.inf, criteria)

    order = torch.randperm(count, generator=generator).to(images.device)
    size = max(1, round(criteria.held_out * count))
    rounds = min(criteria.rounds, count // size)
    for number in range(rounds):
        held_out = order[number * size : (number + 1) * size]
        others = torch.cat([order[: number * size], order[(number + 1) * size :]])
        views = consensus_views(
            posed_map(images[others] - background, rotations[others], group=group), background, mask
        )
        noise = torch.randn(images[held_out].shape, generator=generator).to(images) * mask
        denoise = score(images[others])
        squares[0] += _change(images[held_out], noise, denoise, criteria.levels, mask)
        squares[2] += _change(images[held_out], noise, denoise, criteria.low_levels, mask)
        if model_views is not None:
            other_noise = torch.randn(model_views.shape, generator=generator).to(model_views) * mask
            squares[3] += _change(model_views, other_noise, denoise, criteria.low_levels, mask)
        del denoise  # a score may be large: never two at a time
        squares[1] += _change(images[held_out], noise, score(torch.cat([images[others], views])), criteria.levels, mask)
    if model_views is None:
        squares[3] = math.inf
    held_out_error, with_views, low_noise, model = (squares / rounds).sqrt().tolist()
    return ScoreSupport(held_out_error, with_views, low_noise, model, criteria)


def _change(views: Tensor, noise: Tensor, denoise: Denoiser, levels: tuple[float, ...], mask: Tensor) -> float:
    """Mean square change by denoising, over pixels and noise levels, of all views."""
    changes = [((denoise(views + t * noise, t) - views) * mask).square().sum() for t in levels]
    return float(torch.stack(changes).mean()) / (len(views) * float(mask.sum()))
