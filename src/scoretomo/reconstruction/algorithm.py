"""Algorithm 1: a volume from an image, by score distillation over random views.

The gradient of the mean Kullback–Leibler divergence between the smoothed views of a volume and the smoothed images (Eq.
4) is

    E over R, ε of  fᵀ( f(V, R) − D(f(V, R) + tε, t) )                                                            (Eq.
    5)

A descent step draws views, denoises each, and backprojects the differences. The first view has
the pose of the image, R = I, and is compared with the image itself: the anchor.

Everything here is in normalised units: images as the denoiser takes them, (x − μ)/s, volumes in units of s, and empty
space is ``background`` = −μ/s, so that the views of an empty volume are empty images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..compute import one_thread
from ..fourier import inscribed
from ..projection import backproject, project
from ..rotations import random_rotations

Denoiser = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class DivergenceCriteria:
    """When a descent has diverged; source: chosen without a benchmark.

    Attributes:
        exploded: anchor residual, ‖view − image‖ / ‖image‖, from which it has.
    """

    exploded: float = 30.0


DIVERGENCE = DivergenceCriteria()


@dataclass(frozen=True)
class Descent:
    """How Algorithm 1 descends; a pair is (first, last) over the run.

    Attributes:
        steps: number of descent steps S.
        t: noise level, in standard deviations of the images' pixels; geometric from first to last.
        views: views M of a step, the anchor among them; linear from first to last.
        anchor: weight of the anchor, as many views.
        rate: step length in units of 1 / ‖fᵀf‖; from 2 on it is unstable.
    """

    steps: int
    t: tuple[float, float]
    views: tuple[int, int]
    anchor: float = 1.0
    rate: float = 1.0

    def at(self, step: int) -> tuple[float, int]:
        """Noise level t and number of views M of a step, 0 ≤ step < steps."""
        done = step / max(1, self.steps - 1)
        t = self.t[0] * (self.t[1] / self.t[0]) ** done
        return t, round(self.views[0] + (self.views[1] - self.views[0]) * done)


class Step(NamedTuple):
    """The state after one descent step of b volumes."""

    number: int  # from 1
    t: float
    views: int
    volumes: Tensor  # (b, d, d, d)
    anchor_residual: Tensor  # (b,): ‖f(V, I) − image‖ / ‖image‖, before the step
    view_residual: Tensor  # (b,): root mean square of f(V, R) − D inside the disc, before the step
    diverged: Tensor  # (b,), bool: exploded, and held at 0 since


class Direction(NamedTuple):
    """A descent direction and what it came from."""

    volumes: Tensor  # ΔV, (b, d, d, d)
    anchor_residuals: Tensor  # (b, d, d)
    view_residuals: Tensor  # (b, m − 1, d, d)


def descent_direction(
    volumes: Tensor,
    images: Tensor,
    denoise: Denoiser,
    rotations: Tensor,
    t: float,
    noise: Tensor,
    *,
    background: float,
    anchor: float = 1.0,
    groups: Tensor | None = None,
) -> Direction:
    """The step of Algorithm 1: residuals of the views, back-projected. View 0 has the pose of the image.

    Args:
        volumes: shape (b, d, d, d).
        images: base images x_data, shape (b, d, d).
        denoise: D(y, t) for views of shape (v, d, d).
        rotations: shape (m, 3, 3), shared by the volumes; the first is I.
        t: noise level.
        noise: ε of the views after the first, shape (b, m − 1, d, d).
        background: value of empty space in the images.
        anchor: weight of view 0, as many views.
        groups: rotations under which each volume stays the same, shape (b, g, 3, 3); none has a symmetry if not given.
    """
    views = project(volumes, rotations) + background  # x_m = f(V, R_m)
    noisy = (views[:, 1:] + t * noise).flatten(0, 1)
    view_residuals = views[:, 1:] - denoise(noisy, t).reshape(noise.shape)
    anchor_residuals = views[:, 0] - images  # R_1 = I
    residuals = torch.cat([anchor * anchor_residuals[:, None], view_residuals], 1)
    volumes = backproject(residuals, rotations) if groups is None else _symmetric(residuals, rotations, groups)
    return Direction(volumes, anchor_residuals, view_residuals)


def _symmetric(residuals: Tensor, rotations: Tensor, groups: Tensor) -> Tensor:
    """Back-project each residual in all poses in which it is the same view, and take the mean."""
    count = groups.shape[1]
    volumes = [
        backproject(views.repeat_interleave(count, 0), (rotations[:, None] @ group).flatten(0, 1)) / count
        for views, group in zip(residuals, groups, strict=True)
    ]
    return torch.stack(volumes)


def reconstruct(
    images: Tensor,
    denoise: Denoiser,
    descent: Descent,
    *,
    background: float,
    views: torch.Generator,
    noise: Sequence[torch.Generator],
    volumes: Tensor | None = None,
    groups: Tensor | None = None,
    criteria: DivergenceCriteria = DIVERGENCE,
) -> Iterator[Step]:
    """Run Algorithm 1 on several images at once, one step for each `next`.

    Args:
        images: base images, shape (b, d, d).
        denoise: D(y, t).
        descent: schedule.
        background: value of empty space in the images.
        views: random stream of the view directions, shared by all volumes.
        noise: one random stream for each image.
        volumes: where to start, shape (b, d, d, d); empty if not given, as in the paper.
        groups: rotations under which each volume stays the same, shape (b, g, 3, 3), its start included.
        criteria: when a volume has diverged.
    """
    size = images.shape[-1]
    ball = inscribed(size, 3, dtype=images.dtype, device=images.device)
    pixels = float(inscribed(size, 2).sum())
    start = images.new_zeros(len(images), size, size, size) if volumes is None else volumes
    scale = (images - background).flatten(1).norm(dim=1)
    norm = operator_norm(size)
    diverged = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    current = start
    for step in range(descent.steps):
        t, count = descent.at(step)
        rotations = random_rotations(count, views, dtype=images.dtype, device=images.device)
        rotations[0] = torch.eye(3, dtype=images.dtype)
        epsilon = torch.stack([torch.randn(count - 1, size, size, generator=stream) for stream in noise]).to(images)
        direction = descent_direction(
            current, images, denoise, rotations, t, epsilon, background=background, anchor=descent.anchor, groups=groups
        )
        rate = descent.rate / (norm * (descent.anchor + count - 1))
        current = (current - rate * direction.volumes) * ball
        anchor_residual = direction.anchor_residuals.flatten(1).norm(dim=1) / scale
        diverged = diverged | ~(anchor_residual < criteria.exploded)
        current[diverged] = 0
        view_residual = (direction.view_residuals.square().sum((1, 2, 3)) / (pixels * max(1, count - 1))).sqrt()
        yield Step(step + 1, t, count, current, anchor_residual, view_residual, diverged)


@lru_cache
def operator_norm(size: int, *, iterations: int = 12) -> float:
    """Largest eigenvalue ‖fᵀf‖ of one view on volumes inside the ball, by power iteration; just below d.

    It is cached, so it is computed in one thread: its last digit must not depend on the first caller.
    """
    ball = inscribed(size, 3)
    one = torch.eye(3)[None]
    volume = ball / ball.norm()
    with one_thread():
        for _ in range(iterations):
            image = backproject(project(volume, one), one) * ball
            value = image.norm()
            volume = image / value
    return float(value)
