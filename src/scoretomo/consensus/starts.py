"""Random starts: one proves nothing, several that come to the same volume do."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..alignment import moved_onto
from ..fourier import fourier_shell_correlation, mean_fsc
from ..matching import mean_correlation
from . import Consensus


@dataclass(frozen=True)
class StartCriteria:
    """How random starts are compared; source: docs/dev/decisions/cold-starts.md, and few-images.md there for the mean.

    Attributes:
        count: how many there are.
        same_volume: mean FSC with the best start, from which another came to the same volume.
        alike: mean FSC from which the mean of starts of few images is better than one of them.
        sure: mean FSC from which it is no better any more.
    """

    count: int = 4
    same_volume: float = 0.8
    alike: float = 0.7
    sure: float = 0.9


STARTS = StartCriteria()


def best_start(starts: Sequence[Consensus]) -> int:
    """Which start explains its images best, by their mean correlation."""
    return max(range(len(starts)), key=lambda number: mean_correlation(starts[number].poses))


def agreements(starts: Sequence[Consensus], best: int) -> list[float]:
    """Mean FSC of each start with the best one, after alignment; 1 for itself."""
    reference = starts[best].volume.cpu()
    return [
        1.0 if number == best else round(_aligned_fsc(start.volume.cpu(), reference), 4)
        for number, start in enumerate(starts)
    ]


def _aligned_fsc(volume: Tensor, reference: Tensor) -> float:
    """Mean FSC of two volumes after alignment."""
    return float(mean_fsc(fourier_shell_correlation(moved_onto(volume, reference), reference)))


def starts_to_average(fsc: Sequence[float], best: int, criteria: StartCriteria = STARTS) -> list[int]:
    """Starts of few images whose mean is taken, the best first: those that are like it; where all agree it alone.

    Args:
        fsc: mean FSC of each start with the best.
        best: number of the best.
        criteria: of starts.
    """
    others = [number for number, value in enumerate(fsc) if number != best and value >= criteria.alike]
    return [best, *others] if any(fsc[number] < criteria.sure for number in others) else [best]
