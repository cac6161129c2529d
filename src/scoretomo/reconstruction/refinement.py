"""Each image's own volume from a posed start: replicas of Algorithm 1 and their mean, refined further where little is known.

Where the start is known well, from a model of the motion or from the consensus of a molecule that is rigid or whose symmetry closes
the gaps between few images, the volume is mostly that, with a share of what the descents made of it: the start has what all images
say, the descents what this one says, with its noise.

Replicas differ in their random views and noise only. What they do not share is noise of the descent, which their mean has less of:
it is a better place to go on from than any of them, and how far they agree says how well the images determine the volume.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from ..fourier import fourier_shell_correlation
from .algorithm import Denoiser, Descent, Step, reconstruct

_SIDE = 32  # pixels, up to which a refinement has the steps that it says


@dataclass(frozen=True)
class Refinement:
    """How a volume is refined from a posed start.

    Attributes:
        replicas: how many descents, at least two.
        each: schedule of a replica.
        last: schedule of the descent from their mean; the mean itself is the volume if there is none.
        kept: share of the volume that stays what the start was.

    Raises:
        ValueError: a start is to be kept, but a last descent would go on from it.
    """

    replicas: int
    each: Descent
    last: Descent | None
    kept: float = 0.0

    def __post_init__(self) -> None:
        if self.kept and self.last:
            raise ValueError("a share of the start can be kept only where no last descent follows")

    @property
    def steps(self) -> int:
        """Of all descents together."""
        return self.replicas * self.each.steps + (self.last.steps if self.last else 0)

    def at_side(self, size: int) -> "Refinement":
        """The same for images of a side: the farther out a shell, the fewer of its points the views of one step reach."""
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
    """The state after one step, of all the steps of a refinement."""

    step: Step
    agreement: Tensor | None  # (b, d // 2 + 1): mean FSC of pairs of replicas, once these are done
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
) -> Iterator[Refined]:
    """Refine volumes from posed starts, one step for each `next`.

    Args:
        images: normalised, centred, shape (b, d, d).
        denoise: D(y, t).
        refinement: schedule.
        starts: what is known of each volume, in the pose of its image, shape (b, d, d, d).
        background: value of empty space in the images.
        streams: random streams of descent 0, 1, …
        groups: symmetry of each volume, shape (b, g, 3, 3).
    """
    ends, done = [], 0
    for replica in range(refinement.replicas):
        views, noise = streams(replica)
        descent = reconstruct(
            images, denoise, refinement.each, background=background, views=views, noise=noise, volumes=starts, groups=groups
        )
        for step in descent:
            if refinement.last or replica + 1 < refinement.replicas or step.number < refinement.each.steps:
                yield Refined(step._replace(number=done + step.number), None, None)
        done += step.number
        ends.append(step)
    curves = [fourier_shell_correlation(first.volumes, second.volumes) for first, second in combinations(ends, 2)]
    agreement = torch.stack(curves).mean(0)
    diverged = torch.stack([end.diverged for end in ends]).any(0)
    mean = torch.stack([end.volumes for end in ends]).mean(0)
    difference = (ends[0].volumes - ends[1].volumes) / 2
    if refinement.last is None:
        residual = torch.stack([end.anchor_residual for end in ends]).mean(0)
        volumes, difference = torch.lerp(mean, starts, refinement.kept), difference * (1 - refinement.kept)
        yield Refined(
            step._replace(number=done, volumes=volumes, anchor_residual=residual, diverged=diverged), agreement, difference
        )
        return
    views, noise = streams(refinement.replicas)
    for step in reconstruct(
        images, denoise, refinement.last, background=background, views=views, noise=noise, volumes=mean, groups=groups
    ):
        yield Refined(step._replace(number=done + step.number, diverged=diverged | step.diverged), agreement, difference)
