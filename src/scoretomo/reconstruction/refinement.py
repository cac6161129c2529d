"""Refinement: each image's own volume from a posed start, by replicates of Algorithm 1 and their mean.

Where the start is good, from a deformation model or from the consensus volume of a molecule that is rigid or whose
symmetry closes the gaps between few images, the volume is mostly the start, with a share of what the descents made of
it: all images determine the start, the descents add what this image shows, with its noise.

Replicates differ in their random views and noise only. Their differences are noise of the descent, of which their mean
has less: it is a better start for a last descent than any of them, and their agreement measures how well the images
determine the volume.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from ..fourier import fourier_shell_correlation
from .algorithm import Denoiser, Descent, Step, reconstruct

_SIDE = 32  # pixels, up to which a refinement has the number of steps of its schedule


@dataclass(frozen=True)
class Refinement:
    """How a volume is refined from a posed start.

    Attributes:
        replicates: how many descents, at least two.
        each: schedule of a replicate.
        last: schedule of the descent from their mean; the mean itself is the volume if there is none.
        start_weight: share of the start in the volume.

    Raises:
        ValueError: the start has a weight, but a last descent would go on from it.
    """

    replicates: int
    each: Descent
    last: Descent | None
    start_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.start_weight and self.last:
            raise ValueError("a start can have a weight only where no last descent follows")

    @property
    def steps(self) -> int:
        """Of all descents together."""
        return self.replicates * self.each.steps + (self.last.steps if self.last else 0)

    def at_side(self, size: int) -> "Refinement":
        """The same for images of a side: the farther out a shell, the fewer of its points the views of one
        step reach.
        """
        return self.in_steps(round(self.steps * max(1.0, size / _SIDE)))

    def in_steps(self, steps: int) -> "Refinement":
        """The same in about as many steps."""

        def shortened(part: Descent) -> Descent:
            return replace(part, steps=max(1, round(part.steps * steps / self.steps)))

        return replace(self, each=shortened(self.each), last=self.last and shortened(self.last))


class Streams(NamedTuple):
    """Random streams of one descent."""

    views: torch.Generator
    noise: Sequence[torch.Generator]  # one for each image


class Refined(NamedTuple):
    """Volumes after all descents of a refinement."""

    volumes: Tensor  # (b, d, d, d)
    diverged: Tensor  # (b,), bool
    anchor_residual: Tensor  # (b,): mean over the replicates, or of the last descent
    view_residual: Tensor  # (b,): of the last descent
    replicate_curves: Tensor | None  # (b, d // 2 + 1): mean FSC of pairs of replicates
    difference: Tensor | None  # (b, d, d, d): half of what the first two differ by, as much of it as is in the volume


def refine_volumes(
    images: Tensor,
    denoise: Denoiser,
    refinement: Refinement,
    starts: Tensor,
    *,
    background: float,
    streams: Callable[[int], Streams],
    groups: Tensor | None = None,
) -> Iterator[Step | Refined]:
    """Refine volumes from posed starts: one step for each `next`, at the end the refined volumes.

    Args:
        images: normalised, centred, shape (b, d, d).
        denoise: D(y, t).
        refinement: schedule.
        starts: of the volumes, in the poses of their images, shape (b, d, d, d).
        background: value of empty space in the images.
        streams: random streams of descent 0, 1, …
        groups: symmetry of each volume, shape (b, g, 3, 3).
    """

    def descend(schedule: Descent, number: int, volumes: Tensor) -> Iterator[Step]:
        views, noise = streams(number)
        return reconstruct(
            images, denoise, schedule, background=background, views=views, noise=noise, volumes=volumes, groups=groups
        )

    ends, done = [], 0
    for replicate in range(refinement.replicates):
        for step in descend(refinement.each, replicate, starts):
            yield step._replace(number=done + step.number)
        done += step.number
        ends.append(step)
    replicates = _combined(ends)
    if refinement.last is None:
        volumes = torch.lerp(replicates.volumes, starts, refinement.start_weight)
        difference = (ends[0].volumes - ends[1].volumes) / 2 * (1 - refinement.start_weight)
        yield replicates._replace(volumes=volumes, difference=difference)
        return
    for step in descend(refinement.last, refinement.replicates, replicates.volumes):
        step = step._replace(number=done + step.number, diverged=replicates.diverged | step.diverged)
        yield step
    yield replicates._replace(
        volumes=step.volumes,
        diverged=step.diverged,
        anchor_residual=step.anchor_residual,
        view_residual=step.view_residual,
    )


def _combined(ends: Sequence[Step]) -> Refined:
    """The mean of replicates, and how far they agree, from the last step of each."""
    curves = [fourier_shell_correlation(first.volumes, second.volumes) for first, second in combinations(ends, 2)]
    return Refined(
        volumes=torch.stack([end.volumes for end in ends]).mean(0),
        diverged=torch.stack([end.diverged for end in ends]).any(0),
        anchor_residual=torch.stack([end.anchor_residual for end in ends]).mean(0),
        view_residual=ends[-1].view_residual,
        replicate_curves=torch.stack(curves).mean(0),
        difference=(ends[0].volumes - ends[1].volumes) / 2,
    )
