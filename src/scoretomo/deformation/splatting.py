"""Gaussians at any points as images or as a volume, with the derivatives of the images by hand.

A sum of Gaussians is the sum of points, whose Fourier transform a non-uniform FFT finds in one go, times the transform
of one Gaussian. It ends at the grid's highest frequency, so nothing is folded back from beyond. Images with different
points are tiles of one mosaic, so that one transform makes them all.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..fourier import (
    adjoint_transform_of_points,
    centred_fft,
    centred_ifft,
    coordinates,
    pad_or_crop,
    radius,
    transform_of_points,
)

_BORDER = 0.1  # of a tile, on each side: Gaussians reach beyond their image


class _Mosaic(NamedTuple):
    """Square tiles, row by row."""

    across: int
    tile: int

    @property
    def size(self) -> int:
        """Of the whole, in pixels."""
        return self.across * self.tile

    def angles(self, places: Tensor) -> Tensor:
        """Places (b, p, 2) in pixels from the centre of their tile as angles of the whole, (b · p, 2)."""
        number = torch.arange(len(places), device=places.device)
        corner = torch.stack([number % self.across, number // self.across], 1) * self.tile
        centre = (corner + self.tile // 2 - self.size // 2).to(places)
        return ((places + centre[:, None]) * (2 * math.pi / self.size)).flatten(0, 1)

    def join(self, images: Tensor) -> Tensor:
        """Images (b, d, d) as the whole, empty where there is none."""
        tiles = images.new_zeros(self.across**2, self.tile, self.tile)
        tiles[: len(images)] = pad_or_crop(images, self.tile, 2)
        return (
            tiles.reshape(self.across, self.across, self.tile, self.tile).transpose(1, 2).reshape(self.size, self.size)
        )

    def cut(self, whole: Tensor, count: int, side: int) -> Tensor:
        """Adjoint of `join`, for so many images of a side."""
        tiles = (
            whole.reshape(self.across, self.tile, self.across, self.tile)
            .transpose(1, 2)
            .reshape(-1, self.tile, self.tile)
        )
        return pad_or_crop(tiles[:count], side, 2)


class _Splat(torch.autograd.Function):
    """The images of `splat`, and their derivatives."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, masses: Tensor, side: int, width: float) -> Tensor:
        """Place the points, blur them, cut the mosaic."""
        mosaic = _Mosaic(math.ceil(math.sqrt(len(places))), side + 2 * math.ceil(_BORDER * side))
        seen = masses * (places.abs() < side / 2).all(-1)
        angles = mosaic.angles(places)
        gaussian = _gaussian(mosaic.size, 2, width, places.dtype, places.device)
        whole = centred_ifft(transform_of_points(seen.flatten(), angles, mosaic.size) * gaussian, 2).real
        ctx.save_for_backward(places, seen, angles, gaussian)
        ctx.mosaic = mosaic
        return mosaic.cut(whole, len(places), side)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Slopes by the places and by the masses: the blurred slope of the images, and its gradient, at the points."""
        (places, seen, angles, gaussian), mosaic = ctx.saved_tensors, ctx.mosaic
        blurred = centred_fft(mosaic.join(slope), 2) * gaussian / mosaic.size**2
        frequencies = _frequencies(mosaic.size, slope.dtype, slope.device)
        spectra = torch.stack([blurred, blurred * 1j * frequencies])  # itself, and ∂/∂x + i ∂/∂y of it
        values, gradients = adjoint_transform_of_points(spectra, angles)
        by_place = torch.view_as_real(gradients).reshape(places.shape) * seen[..., None]
        by_mass = values.real.reshape(seen.shape) * (places.abs() < slope.shape[-1] / 2).all(-1)
        return by_place, by_mass, None, None


def splat(places: Tensor, masses: Tensor, side: int, width: float) -> Tensor:
    """Images of Gaussians; what is outside an image is not seen. Differentiable once by the places and the masses.

    Args:
        places: (x, y) in pixels from the centre, shape (b, p, 2).
        masses: shape (b, p).
        side: of the images in pixels.
        width: standard deviation in pixels.

    Returns:
        Shape (b, side, side).
    """
    return _Splat.apply(places, masses, side, width)


def density(places: Tensor, masses: Tensor, side: int, width: float) -> Tensor:
    """A volume of Gaussians.

    Args:
        places: (x, y, z) in voxels from the centre, shape (p, 3).
        masses: shape (p,).
        side: of the volume in voxels.
        width: standard deviation in voxels.

    Returns:
        Shape (side, side, side).
    """
    inside = masses * (places.abs() < side / 2).all(-1)
    spectrum = transform_of_points(inside, places * (2 * math.pi / side), side)
    return centred_ifft(spectrum * _gaussian(side, 3, width, places.dtype, places.device), 3).real


@lru_cache(maxsize=4)
def _frequencies(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """k_x + i k_y on the centred grid, in radians a pixel, (size, size)."""
    x, y = coordinates(size, 2, dtype=dtype, device=device) * (2 * math.pi / size)
    return torch.complex(x, y)


@lru_cache(maxsize=4)
def _gaussian(size: int, dims: int, width: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Transform of a Gaussian of mass 1, without the frequencies that have no partner of the other sign; (size,) *
    dims. It is the same in all steps of an epoch.
    """
    k = radius(size, dims, dtype=dtype, device=device) * (2 * math.pi / size)
    transform = torch.exp(-0.5 * (k * width).square())
    if size % 2 == 0:
        for axis in range(dims):
            transform.select(axis, 0).zero_()
    return transform
