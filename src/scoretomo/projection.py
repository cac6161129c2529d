"""The paper's f(V, R) and its exact adjoint.

f(V, R)(x, y) = Σ_z V(Rᵀ(x, y, z)): by the Fourier slice theorem the 2D transform of the view is the volume's transform
on the plane Rᵀ(kx, ky, 0). It is evaluated there by a non-uniform FFT over the disc |k| < d/2 (the band that every
rotation keeps), on the half plane that a real image needs. The adjoint uses the same points, kernel and weights, so
⟨f(V), y⟩ = ⟨V, fᵀ(y)⟩ to rounding.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .fourier import adjoint_transform_at, coordinates, transform_at


class HalfPlane(NamedTuple):
    """One of each conjugate pair of frequencies of a real image inside the disc, on the layout of rfft2."""

    points: Tensor  # (p, 3): (kx, ky, 0) in radians per pixel; the first is 0
    places: Tensor  # (p,): where they stand in the flattened (d, d // 2 + 1) transform
    weight: Tensor  # (p,): 2 for a pair, 1 for the zero frequency; divided by d²
    axis: Tensor  # numbers of the points on kx = 0, whose partners stand in the same column …
    partner: Tensor  # … and where: rfft2 keeps both of them


@lru_cache(maxsize=16)
def half_plane(size: int, dtype: torch.dtype, device: torch.device) -> HalfPlane:
    """The frequencies that views of this side are made of."""
    kx = torch.arange(size // 2 + 1)
    ky = torch.fft.fftfreq(size, 1 / size).round().long()
    inside = kx.square() + ky[:, None].square() < (size / 2) ** 2
    index = (inside & ((kx > 0) | (ky[:, None] >= 0))).flatten().nonzero()[:, 0]
    row, column = index // len(kx), index % len(kx)
    points = torch.stack([kx[column], ky[row], torch.zeros_like(row)], 1).to(dtype) * (2 * math.pi / size)
    weight = torch.where(index == 0, 1.0, 2.0).to(dtype) / size**2
    axis = ((column == 0) & (row > 0)).nonzero()[:, 0]
    partner = (size - row[axis]) * len(kx)
    return HalfPlane(points.to(device, dtype), index.to(device), weight.to(device), axis.to(device), partner.to(device))


def slices(plane: HalfPlane, rotations: Tensor) -> Tensor:
    """Points Rᵀ(kx, ky, 0) of every view, shape (m · p, 3)."""
    return (plane.points @ rotations.to(plane.points)).reshape(-1, 3)


def project(volume: Tensor, rotations: Tensor) -> Tensor:
    """Project a volume along z after rotating it: the paper's f(V, R).

    Args:
        volume: density, shape (…, d, d, d), axes (z, y, x); several volumes share the rotations.
        rotations: matrices acting on (x, y, z) columns, shape (m, 3, 3).

    Returns:
        Views, shape (…, m, d, d), axes (y, x); density × pixel, band-limited to |k| < d/2.
    """
    size, batch = volume.shape[-1], volume.shape[:-3]
    plane = half_plane(size, volume.dtype, volume.device)
    values = transform_at(volume.reshape(-1, size, size, size), slices(plane, rotations))
    views = images_of(values.reshape(values.shape[0] * len(rotations), -1), size)
    return views.reshape(*batch, len(rotations), size, size)


def backproject(views: Tensor, rotations: Tensor) -> Tensor:
    """Smear views back along their directions and add them up: the exact adjoint of `project`.

    Args:
        views: shape (…, m, d, d), axes (y, x).
        rotations: the rotations they were projected with, shape (m, 3, 3).

    Returns:
        Volumes, shape (…, d, d, d): the sum over views.
    """
    size, batch = views.shape[-1], views.shape[:-3]
    plane = half_plane(size, views.dtype, views.device)
    values = spectrum(views.reshape(-1, size, size)) * plane.weight
    volumes = adjoint_transform_at(values.reshape(batch.numel(), -1), slices(plane, rotations), size)
    return volumes.reshape(*batch, size, size, size)


def images_of(values: Tensor, size: int) -> Tensor:
    """Images of this side whose `spectrum` has these values, shape (n, p) to (n, d, d)."""
    plane = half_plane(size, values.real.dtype, values.device)
    full = values.new_zeros(len(values), size * (size // 2 + 1))
    full[:, plane.places] = values
    full[:, plane.partner] = values[:, plane.axis].conj()
    images = torch.fft.irfft2(full.reshape(-1, size, size // 2 + 1), s=(size, size))
    return torch.fft.fftshift(images, dim=(-2, -1))


def spectrum(images: Tensor) -> Tensor:
    """Fourier coefficients of images at the points of their `half_plane`, shape (n, d, d) to (n, p)."""
    plane = half_plane(images.shape[-1], images.dtype, images.device)
    return torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1))).flatten(-2)[:, plane.places]


def rotate(volume: Tensor, rotation: Tensor, shift: Tensor | None = None) -> Tensor:
    """Turn a volume about index d // 2 and shift it, by band-limited (Fourier) interpolation.

    Args:
        volume: shape (…, d, d, d); all are moved alike.
        rotation: matrix acting on (x, y, z) columns, shape (3, 3): the result at p is V(Rᵀ(p − shift)).
        shift: (x, y, z) in voxels, shape (3,).

    Returns:
        Moved volumes, same shape; frequencies outside the ball |k| < d/2 are dropped.
    """
    size, batch = volume.shape[-1], volume.shape[:-3]
    k = coordinates(size, 3, dtype=volume.dtype, device=volume.device).flatten(1).T * (2 * math.pi / size)
    inside = k.norm(dim=1) < math.pi * (1 - 1e-6)
    values = transform_at(volume.reshape(-1, size, size, size), k[inside] @ rotation.to(k))
    if shift is not None:
        values = values * torch.exp(-1j * (k[inside] @ shift.to(k)))
    full = values.new_zeros(len(values), size**3)
    full[:, inside] = values
    axes = (-3, -2, -1)
    moved = torch.fft.ifftn(torch.fft.ifftshift(full.reshape(-1, size, size, size), dim=axes), dim=axes).real
    return torch.fft.fftshift(moved, dim=axes).reshape(*batch, size, size, size)


def mirror(volume: Tensor) -> Tensor:
    """The other hand: z → −z about index d // 2, shape (…, d, d, d) as before. Its view at R = I is the same."""
    size = volume.shape[-1]
    flipped = volume.flip(-3)
    return flipped.roll(1, -3) if size % 2 == 0 else flipped
