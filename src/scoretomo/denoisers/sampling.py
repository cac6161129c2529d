"""New images from noise: the probability-flow ODE of Karras et al. (2022), dx/dt = (x − D(x, t)) / t, solved by Heun's
method.

A reconstruction does not need such images. They show which images are likely by the score.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

T_MIN, T_MAX = 0.002, 80.0  # noise levels, in units where the images' pixels have variance 1


class Sample(NamedTuple):
    """Images on their way from noise."""

    step: int  # from 1
    t: float  # noise that is left
    images: Tensor  # (b, d, d)


def noise_levels(count: int, *, first: float = T_MAX, last: float = T_MIN, rho: float = 7.0) -> list[float]:
    """Karras' noise levels, falling from first to last (Eq. 5 there): the larger ρ, the more of them are small."""
    ramp = torch.linspace(first ** (1 / rho), last ** (1 / rho), count, dtype=torch.float64)
    return (ramp**rho).tolist()


def sample(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, levels: list[float]) -> Iterator[Sample]:
    """Follow the ODE from noise to images through all levels, one step for each `next`; the last image is denoised.

    Args:
        denoise: D(x, t).
        noise: ε ~ N(0, I), shape (b, d, d).
        levels: noise levels, falling.
    """
    x = noise * levels[0]
    for step, (t, after) in enumerate(pairwise(levels), start=1):
        slope = (x - denoise(x, t)) / t
        euler = x + (after - t) * slope
        x = x + (after - t) * (slope + (euler - denoise(euler, after)) / after) / 2
        yield Sample(step, after, x)
    yield Sample(len(levels), 0.0, denoise(x, levels[-1]))
