"""When volumes have a landscape."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LandscapeCriteria:
    """When volumes have a landscape, and in which shells; source: chosen without a benchmark.

    Attributes:
        fewest: volumes of one molecule.
        agree: FSC of replicates, down to which shells are used.
    """

    fewest: int = 3
    agree: float = 0.5


LANDSCAPE = LandscapeCriteria()
