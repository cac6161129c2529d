"""Images known in closed form, turned and flipped without interpolation."""

import math

import torch
from torch import Tensor

from scoretomo.fourier import coordinates

SIZE = 24


def blobs(count: int, dtype: torch.dtype, turn: float = 0.0, flip: bool = False, size: int = SIZE) -> Tensor:
    """Images of Gaussian blobs, flipped (x → −x) and then turned by an angle: evaluated there, not interpolated."""
    generator = torch.Generator().manual_seed(1)
    centre = (torch.rand(count, 6, 2, generator=generator, dtype=torch.float64) - 0.5) * size * 0.3
    width = torch.rand(count, 6, generator=generator, dtype=torch.float64) * size / 32 + size / 18
    height = torch.rand(count, 6, generator=generator, dtype=torch.float64)
    if flip:
        centre = centre * torch.tensor([-1, 1])
    c, s = math.cos(turn), math.sin(turn)
    centre = centre @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    pixels = coordinates(size, 2, dtype=torch.float64).permute(1, 2, 0)
    squared = (pixels[None, :, :, None] - centre[:, None, None]).square().sum(-1)
    return (height[:, None, None] * torch.exp(-squared / 2 / width[:, None, None] ** 2)).sum(-1).to(dtype)
