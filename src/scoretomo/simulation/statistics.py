"""What a stack of class averages is like: radial power spectrum and background."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..fourier import centred_fft, radius, shell_index, shell_means


class StackStatistics(NamedTuple):
    """Mean statistics of the images of a stack.

    Attributes:
        frequency: of each ring of the Fourier transform, in cycles per pixel.
        power: mean power of its coefficients, each image scaled so that its power up to the band's end is 1.
        ring: mean of the ring between 0.75 and 0.85 half sides, relative to the standard deviation of the image within:
            the dark surround that the contrast transfer leaves is negative.
        rim: standard deviation in that ring, relative to the same.
    """

    frequency: Tensor
    power: Tensor
    ring: float
    rim: float


def measure(images: Tensor, band: float) -> StackStatistics:
    """Measure a stack.

    Args:
        images: shape (n, d, d).
        band: end of the band in which the power of every image is made 1, in cycles per pixel; the mean of the image
            (ring 0) does not belong to it.
    """
    size = images.shape[-1]
    shell = shell_index(size, 2)
    inside = (shell > 0) & (radius(size, 2) <= band * size)
    power = centred_fft(images.double(), 2).abs().square()
    power = (power / power[:, inside].sum(1)[:, None, None].clamp(min=1e-300)).mean(0)
    rings = size // 2 + 1
    distance = radius(size, 2) / (size / 2)
    spread = images[:, distance < 0.85].std(1)
    ring = images[:, (distance >= 0.75) & (distance < 0.85)]
    return StackStatistics(
        torch.arange(rings) / size,
        shell_means(power, 2)[:rings],
        float((ring.mean(1) / spread).mean()),
        float((ring.std(1) / spread).mean()),
    )
