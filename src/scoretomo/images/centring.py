"""Where the particle is in an image, and moving it."""

import math

import torch
from torch import Tensor

from ..fourier import coordinates, low_pass, pad_or_crop, radius
from .background import BRIGHT, disc


def centre_of_mass(images: Tensor) -> Tensor:
    """Centre of mass of what is brighter than 30 % of the maximum, as (x, y) in pixels from index d // 2, shape (n, 2).

    An image in which nothing is bright has it at 0.

    Args:
        images: background 0, shape (n, d, d).
    """
    mass = torch.where(_bright(images), images, 0).clamp(min=0)
    x, y = coordinates(images.shape[-1], 2, device=images.device)
    return torch.stack([(mass * x).sum((1, 2)), (mass * y).sum((1, 2))], 1) / mass.sum((1, 2)).clamp(min=1e-30)[:, None]


def reach(images: Tensor) -> Tensor:
    """How far what is brighter than 30 % of the maximum reaches from index d // 2, in pixels, shape (n,).

    Args:
        images: background 0, shape (n, d, d).
    """
    return (_bright(images) * radius(images.shape[-1], 2, device=images.device)).amax((1, 2))


def _bright(images: Tensor) -> Tensor:
    """What is bright inside the circular mask, after a low-pass, so that no single pixel rules; shape (n, d, d)."""
    size = images.shape[-1]
    smooth = low_pass(images, size / 4, 2) * disc(size, device=images.device)
    return smooth > BRIGHT * smooth.amax((1, 2), keepdim=True)


def shift(images: Tensor, by: Tensor) -> Tensor:
    """Move images of background 0 by (x, y) pixels, by Fourier interpolation; nothing comes in again at the other side.

    Args:
        images: shape (n, d, d).
        by: shape (n, 2).
    """
    if not by.any():
        return images.clone()
    size = images.shape[-1]
    room = size + 2 * math.ceil(float(by.abs().max()))
    kx, ky = torch.fft.rfftfreq(room, device=images.device), torch.fft.fftfreq(room, device=images.device)
    phase = by[:, 0, None, None] * kx + by[:, 1, None, None] * ky[:, None]
    spectrum = torch.fft.rfft2(pad_or_crop(images, room, 2)) * torch.exp(-2j * math.pi * phase)
    return pad_or_crop(torch.fft.irfft2(spectrum, s=(room, room)), size, 2)
