"""The replicates of a volume, as stages read them."""

import torch
from torch import Tensor

from .. import files
from ..fourier import fourier_shell_correlation, resample
from ..rundir.directory import RunDirectory

DIFFERENCE_SIDE = 64  # pixels of what replicates differ in, at most


def read_replicates(run: RunDirectory, number: int) -> tuple[Tensor, Tensor]:
    """A volume, at 64 pixels at most, and half of what its replicates differ by, as far as that is in it; (d, d, d)
    each.
    """
    half = torch.from_numpy(files.read_map(run.difference(number)).density)
    return resample(torch.from_numpy(files.read_map(run.volume(number)).density), len(half), 3), half


def replicate_curve(volume: Tensor, half: Tensor) -> Tensor:
    """FSC of the replicates of a volume, shape (d // 2 + 1,)."""
    return fourier_shell_correlation(volume + half, volume - half)
