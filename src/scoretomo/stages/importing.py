"""From the user's file to prepared images: images.mrcs, with images.csv and images.json beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from ..images import ImportSettings, prepare
from .directory import differences, plain
from .progress import console


@dataclass(frozen=True)
class PreparedStack:
    """Images as the descent needs them.

    Attributes:
        images: background 0, masked, in the units of the data, shape (n, d, d).
        numbers: number of each in the user's stack.
        source_count: how many the user's stack has.
        pixel_size: Å per pixel, or None.
        mu, s: the one affine map (x − μ)/s of the stack.
    """

    images: Tensor
    numbers: list[int]
    source_count: int
    pixel_size: float | None
    mu: float
    s: float

    @property
    def background(self) -> float:
        """Value of empty space in normalised images."""
        return -self.mu / self.s

    def normalised(self, numbers: Sequence[int] | None = None) -> Tensor:
        """Images of zero mean and unit variance inside the mask, by number; all if not given."""
        places = range(len(self.numbers)) if numbers is None else [self.numbers.index(number) for number in numbers]
        return (self.images[list(places)] - self.mu) / self.s
