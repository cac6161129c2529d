"""Densities inside the page: 8-bit, small enough for the browser, for as many volumes as the budget allows."""

import base64
import zlib
from typing import NamedTuple

import numpy as np
import torch

from ..fourier import pad_or_crop, resample


class Density(NamedTuple):
    """A volume for display: negative densities are 0, the highest are 255."""

    values: np.ndarray  # (d, d, d) uint8, axes (z, y, x)
    peak: float  # density shown as 255


def quantise(density: np.ndarray, side: int, peak: float | None = None) -> Density:
    """Fourier-crop a volume (d, d, d) to at most ``side`` voxels and quantise it, to a given peak or its own."""
    volume = torch.from_numpy(np.ascontiguousarray(density, np.float32))
    small = resample(volume, side, 3).numpy() if side < len(density) else density
    if peak is None:
        positive = small[small > 0]
        peak = float(np.quantile(positive, 0.9995)) if positive.size else 1.0
    return Density(np.clip(small * (255 / peak), 0, 255).round().astype(np.uint8), peak)


def packed(values: np.ndarray) -> str:
    """Differences along x (modulo 256), deflated, in base64; values (d, d, d) uint8, axes (z, y, x).

    Smooth maps take about half of their bytes.
    """
    steps = np.diff(values, axis=-1, prepend=np.zeros_like(values[..., :1]))
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(steps.tobytes()) + deflate.flush()).decode()


def on_grid(truth: np.ndarray, truth_pixel: float | None, size: int, pixel_size: float | None) -> np.ndarray | None:
    """A truth on the grid of the volumes, None if it is not a cube; without pixel sizes boxes are taken as equal."""
    if truth.ndim != 3 or len(set(truth.shape)) != 1:
        return None
    side = len(truth)
    volume = torch.from_numpy(np.ascontiguousarray(truth, np.float32))
    wanted = round(side * truth_pixel / pixel_size) if truth_pixel and pixel_size else size
    return pad_or_crop(resample(volume, max(wanted, 1), 3), size, 3).numpy()


def spread_order(count: int, first: list[int]) -> list[int]:
    """Numbers 0 … count − 1, the given ones first, then every one as far as possible from those before it."""
    order = list(dict.fromkeys(first))
    step = 1 << max(count - 1, 1).bit_length()
    while step >= 1:
        order += range(0, count, step)
        step //= 2
    return list(dict.fromkeys(order))
