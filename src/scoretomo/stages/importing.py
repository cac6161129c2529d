"""From the user's file to prepared images: images.mrcs, with images.csv and images.json beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from ..images import ImportSettings, Prepared, prepare
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


def import_stack(
    stack: Path, output: Path, pixel_size: float | None, settings: ImportSettings, *, force: bool
) -> None:
    """Read, check, prepare and write class averages; say what was found."""
    if output.suffix != ".mrcs":
        raise files.InputError(f"--output should end in .mrcs, got {output}: name the stack to write, such as images.mrcs")
    if output.resolve() == stack.resolve():
        raise files.InputError(f"--output {output} is the input itself: give another name, no input is ever changed")
    asked = _record_of(stack, pixel_size, settings)
    record = output.with_suffix(".json")
    if output.exists() and record.exists() and not force:
        if json.loads(record.read_text(encoding="utf-8"))["asked"] == asked:
            console.print(f"{output} is finished")
            return
        raise files.InputError(f"{output} was imported with other settings: give another --output, or --force to replace it")
    if output.exists() and not force:
        raise files.InputError(f"{output} is there already and not from an import: give another --output, or --force to replace it")
    write_prepared(output, *prepare_stack(stack, pixel_size, settings), asked=asked)


def prepare_stack(
    stack: Path, pixel_size: float | None, settings: ImportSettings
) -> tuple[files.ImageStack, Prepared]:
    """Read and prepare; nothing is written.

    Raises:
        InputError: the stack cannot be read or used.
    """
    read = files.read_images(stack)
