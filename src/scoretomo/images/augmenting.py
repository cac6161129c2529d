"""Augmentation by the true symmetries of class averages: in-plane turns, flips and small shifts."""

import math

import torch
from torch import Tensor

from ..fourier import coordinates

SHIFT = 0.01  # largest shift along an axis, as a share of the side


def augment(
    images: Tensor, background: float, mask: Tensor, generator: torch.Generator, *, interpolation: str = "bicubic"
) -> Tensor:
    """Turn every image by a random angle, flip every second one or so, shift it by up to 1 % of the side.

    About index d // 2, the centre of the projector; then the circular mask.

    Args:
        images: normalised, shape (b, d, d).
        background: value of empty space, −μ / s.
        mask: circular mask, shape (d, d).
        generator: random stream, on the CPU.
        interpolation: "bicubic", or "bilinear" as in the paper, which blurs.

    Returns:
        The moved images, shape (b, d, d).
    """
    count, size = len(images), images.shape[-1]
    angle = torch.rand(count, generator=generator) * (2 * math.pi)
    flip = 1.0 - 2 * torch.randint(2, (count,), generator=generator)
    shift = (2 * torch.rand(count, 2, generator=generator) - 1) * SHIFT * size
    turn = torch.stack(
        [torch.stack([angle.cos() * flip, -angle.sin() * flip], -1), torch.stack([angle.sin(), angle.cos()], -1)], 1
    )
    return place_images(
        images, turn.to(images), shift.to(images), background, interpolation=interpolation
    ) * mask + background * (1 - mask)


def place_images(
    images: Tensor, turns: Tensor, shifts: Tensor, background: float, *, interpolation: str = "bicubic"
) -> Tensor:
    """Interpolate images at turned and shifted places: out(p) = image(Tp + s), p relative to index d // 2.

    Args:
        images: shape (b, d, d).
        turns: 2×2 matrices T on (x, y) columns, shape (b, 2, 2).
        shifts: s as (x, y) in pixels, shape (b, 2).
        background: value outside the images.
        interpolation: "bicubic" or "bilinear".

    Returns:
        The moved images, shape (b, d, d).
    """
    size = images.shape[-1]
    points = coordinates(size, 2, dtype=images.dtype, device=images.device).flatten(1)  # (2, d²)
    places = (turns @ points + shifts[:, :, None]).transpose(1, 2).reshape(-1, size, size, 2)
    grid = (places + size // 2) * (2 / (size - 1)) - 1  # pixel centres of index 0 and d − 1 are at −1 and 1
    moved = torch.nn.functional.grid_sample(
        (images - background)[:, None], grid, mode=interpolation, align_corners=True
    )
    return moved[:, 0] + background
