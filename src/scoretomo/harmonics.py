"""Images with all their in-plane turns and flips, none of them stored.

In polar Fourier coordinates a turn is a phase per angular harmonic m and a flip a conjugation, so the inner products of
a view with all turns of all images are one small matrix product for each m, followed by an FFT over m (the steerable
principal components of Zhao & Singer, 2014). Nothing is interpolated on the pixel grid.
"""

import math
from copy import copy
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from .fourier import adjoint_transform_at, transform_at

_ROWS = 1024  # images added up at a time: bounds the memory


class _PolarGrid(NamedTuple):
    """Frequencies at Gauss–Legendre radii and even angles, inside the disc |k| < π."""

    points: Tensor  # (radii · angles / 2, 2): (kx, ky) over the half circle; the other half is conjugate
    scale: Tensor  # (radii,): square root of the quadrature weight, so that squared coefficients add up to the norm
    phase: Tensor  # (harmonics,): i^m, after which a flip is a conjugation
    angles: int


@lru_cache(maxsize=8)
def _polar_grid(size: int, dtype: torch.dtype, device: torch.device) -> _PolarGrid:
    harmonics = math.ceil(math.pi * size / 2) + 12  # J_m(π d / 2) is negligible beyond
    angles = 2 * next_fast_len(harmonics)
    nodes, weights = np.polynomial.legendre.leggauss(size)
    radii, widths = torch.from_numpy(nodes + 1) * (math.pi / 2), torch.from_numpy(weights) * (math.pi / 2)
    turn = torch.arange(angles // 2, dtype=torch.float64) * (2 * math.pi / angles)
    points = torch.stack([radii[:, None] * turn.cos(), radii[:, None] * turn.sin()], -1).reshape(-1, 2)
    phase = torch.tensor([1, 1j, -1, -1j], dtype=torch.complex128)[torch.arange(harmonics) % 4]
    scale = (radii * widths / (2 * math.pi)).sqrt()
    return _PolarGrid(points.to(device, dtype), scale.to(device, dtype), phase.to(device, dtype.to_complex()), angles)


def angular_harmonics(images: Tensor) -> Tensor:
    """Angular harmonics of the images' Fourier transforms, an isometry on images band-limited to |k| < π.

    Turning an image by θ multiplies harmonic m by exp(−imθ); flipping it (x → −x) gives (−1)^m times the conjugate.

    Args:
        images: real, shape (b, d, d), origin at index d // 2.

    Returns:
        Complex coefficients, shape (b, harmonics, radii), m ≥ 0. Σ |c|² with m > 0 counted twice is the squared norm.
    """
    grid = _polar_grid(images.shape[-1], images.dtype, images.device)
    half = transform_at(images, grid.points).reshape(len(images), len(grid.scale), -1)
    circle = torch.cat([half, half.conj()], -1)
    harmonics = torch.fft.fft(circle, dim=-1)[..., : len(grid.phase)] / grid.angles
    return (harmonics * grid.scale[:, None] * grid.phase).transpose(1, 2)


def image_of_harmonics(harmonics: Tensor, size: int) -> Tensor:
    """Exact adjoint of `angular_harmonics` (m > 0 counted twice), and its inverse on band-limited images."""
    real = harmonics.real.dtype
    grid = _polar_grid(size, real, harmonics.device)
    spectrum = (harmonics.transpose(1, 2) * grid.phase[: harmonics.shape[1]].conj()) * grid.scale[:, None]
    spectrum[..., 1:] *= 2
    padded = torch.nn.functional.pad(spectrum, (0, grid.angles - spectrum.shape[-1]))
    circle = torch.fft.ifft(padded, dim=-1)
    first, second = circle.tensor_split(2, dim=-1)
    return adjoint_transform_at((first + second.conj()).flatten(1), grid.points, size)


class TurnedImages:
    """All in-plane turns and flips of a set of images: inner products with views, and weighted sums.

    A turned image T is an image, flipped (x → −x) or not, then turned by one of ``turns`` even angles, positive from x
    to y.

    Args:
        images: shape (n, d, d), 0 outside the inscribed disc.
        tolerance: largest share of an image's squared norm that the compression may lose.
    """

    def __init__(self, images: Tensor, *, tolerance: float = 1e-5) -> None:
        self.count, self.size = len(images), images.shape[-1]
        coefficients = torch.cat([angular_harmonics(part) for part in images.split(64)]).transpose(
            0, 1
        )  # (m, n, radii)
        twice = torch.full((len(coefficients), 1, 1), 2.0, dtype=images.dtype, device=images.device)
        twice[0] = 1
        energy = (twice * coefficients.abs().square()).sum((0, 2))
        self.basis, templates = _principal_radii(coefficients, twice[:, 0, 0], tolerance * float(energy.min()))
        self.templates = torch.cat([templates.real, templates.imag], 1)  # (m, 2n, components)
        self.half_norm = (twice[: len(templates)] * templates.abs().square()).sum((0, 2)) / 2
        self.turns = next_fast_len(2 * len(self.basis), real=True)

    def views_in(self, memory: float) -> int:
        """How many views' products fit in some bytes, at least one; they are held about four times."""
        return max(1, int(memory / (self.count * 2 * self.turns * self.half_norm.element_size() * 4)))

    def take(self, some: slice) -> "TurnedImages":
        """Some of the images."""
        taken = copy(self)
        halves = self.templates.unflatten(1, (2, -1))[:, :, some]
        taken.templates = halves.flatten(1, 2)
        taken.half_norm = self.half_norm[some]
        taken.count = halves.shape[2]
        return taken

    def coarse(self, harmonics: int) -> "TurnedImages":
        """The same images by their lowest harmonics only, at as many turns as these need."""
        taken = copy(self)
        taken.basis = self.basis[:harmonics]
        taken.templates = self.templates[:harmonics]
        taken.turns = next_fast_len(2 * len(taken.basis), real=True)
        return taken

    def products(self, views: Tensor) -> Tensor:
        """Inner products with every image, flip and turn.

        Args:
            views: 0 outside the disc, shape (v, d, d).

        Returns:
            Shape (v, n, 2, turns).
        """
        return self.products_of_components(self.components(views))

    def components(self, views: Tensor) -> Tensor:
        """What views have in common with the compressed images: complex, shape (m, v, components)."""
        harmonics = angular_harmonics(views)[:, : len(self.basis)].transpose(0, 1)
        return torch.complex(harmonics.real @ self.basis, harmonics.imag @ self.basis)

    def products_of_components(self, components: Tensor) -> Tensor:
        """`products` of views that are given as components, shape (m, v, c)."""
        rows = torch.cat([components.real, components.imag], 1)  # (m, 2v, components)
        products = torch.bmm(rows, self.templates.transpose(1, 2))  # (m, 2v, 2n)
        (rr, ri), (ir, ii) = (half.tensor_split(2, 2) for half in products.tensor_split(2, 1))
        straight = torch.complex(rr + ii, ri - ir)  # conj(view) · template
        flipped = torch.complex(rr - ii, -ri - ir)  # conj(view) · conj(template)
        flipped[1::2] *= -1
        spectrum = torch.stack([straight, flipped], -1).permute(1, 2, 3, 0)
        return torch.fft.irfft(spectrum.conj(), n=self.turns, norm="forward")

    def circles(self, components: Tensor, view: Tensor, image: Tensor, flip: Tensor) -> Tensor:
        """Inner products of single pairs.

        Args:
            components: of views, shape (m, v, components).
            view, image, flip: which view meets which image, flipped where 1, shape (rows,).

        Returns:
            At all turns, shape (rows, turns).
        """
        spectrum = (components[:, view] * self._flipped(image, flip).conj()).sum(2)
        return torch.fft.irfft(spectrum.T, n=self.turns, norm="forward")

    def sums(self, views: int, view: Tensor, image: Tensor, flip: Tensor, weights: Tensor) -> Tensor:
        """Σ w T for every view.

        Args:
            views: how many.
            view, image, flip: which view gets which image, flipped where 1, shape (rows,).
            weights: of its turns, shape (rows, turns).

        Returns:
            Images, shape (views, d, d).
        """
        total = torch.zeros(
            len(self.basis), views, self.basis.shape[-1], dtype=weights.dtype.to_complex(), device=weights.device
        )
        for rows in torch.arange(len(view), device=view.device).split(_ROWS):
            per_harmonic = torch.fft.rfft(weights[rows])[:, : len(self.basis)]  # Σ_θ w e^(−imθ)
            total.index_add_(1, view[rows], self._flipped(image[rows], flip[rows]) * per_harmonic.T[..., None])
        return self.image(total)

    def weighted_components(self, weights: Tensor) -> Tensor:
        """Σ w T for every view where most weights count; followed by `image` the exact adjoint of `products`.

        Args:
            weights: shape (v, n, 2, turns).

        Returns:
            Components, shape (m, v, components).
        """
        spectrum = (
            torch.fft.rfft(weights)[..., : len(self.basis)].permute(3, 0, 2, 1).clone()
        )  # (m, v, 2, n): Σ_θ w e^(−imθ)
        spectrum[1::2, :, 1] *= -1  # (−1)^m of a flip
        straight, flipped = spectrum.unbind(2)
        real, imaginary = self.templates.tensor_split(2, 1)
        return (straight + flipped) @ real.to(spectrum.dtype) + 1j * (
            (straight - flipped) @ imaginary.to(spectrum.dtype)
        )

    def turned(self, image: Tensor, flip: Tensor, angle: Tensor) -> Tensor:
        """Single turned images: which, flipped where 1, turned by radians, shape (rows,) each; returns (rows, d, d)."""
        return self.image(turn(self._flipped(image, flip), angle))

    def image(self, components: Tensor) -> Tensor:
        """Images of components, shape (m, v, components) to (v, d, d)."""
        harmonics = torch.bmm(components, self.basis.transpose(1, 2).to(components.dtype)).transpose(0, 1)
        return image_of_harmonics(harmonics, self.size)

    def _flipped(self, image: Tensor, flip: Tensor) -> Tensor:
        """Components of images, flipped where flip is 1, shape (m, rows, components)."""
        real, imaginary = self.templates.tensor_split(2, 1)
        return flipped(torch.complex(real[:, image], imaginary[:, image]), flip)


def turn(components: Tensor, angle: Tensor) -> Tensor:
    """Turn images, given by components of their angular harmonics, by radians; shapes (m, rows, components) and
    (rows,).
    """
    harmonic = torch.arange(len(components), device=angle.device)
    return components * torch.polar(torch.ones_like(angle), -angle * harmonic[:, None])[..., None]


def flipped(components: Tensor, flip: Tensor) -> Tensor:
    """Flip images (x → −x), given by components of their angular harmonics, where flip is 1."""
    sign = (1 - 2 * flip)[:, None].to(components.real.dtype)
    out = torch.complex(components.real, components.imag * sign)
    out[1::2] *= sign  # (−1)^m of a flip
    return out


def circle_top(circle: Tensor, place: Tensor) -> Tensor:
    """Where values on a circle are largest, between the samples: top of a parabola through a sample and its neighbours.

    Args:
        circle: values at even angles, shape (rows, turns).
        place: number of the largest one, shape (rows,).

    Returns:
        Angles in radians, shape (rows,).
    """
    turns = circle.shape[-1]
    before, here, after = (circle.gather(1, ((place + step) % turns)[:, None])[:, 0] for step in (-1, 0, 1))
    bend = (2 * here - before - after).clamp_min(torch.finfo(here.dtype).tiny)
    return (place + ((after - before) / (2 * bend)).clamp(-0.5, 0.5)) * (2 * math.pi / turns)


def _principal_radii(coefficients: Tensor, multiplicity: Tensor, lost: float) -> tuple[Tensor, Tensor]:
    """Real radial components of each harmonic that hold all but ``lost`` of every image's squared norm.

    Args:
        coefficients: (m, n, radii), complex.
        multiplicity: how often each harmonic counts in the norm, shape (m,).
        lost: squared norm that any one image may lose.

    Returns:
        Basis (m, radii, components), real, orthonormal or zero columns; templates (m, n, components), complex.
    """
    stacked = torch.cat([coefficients.real, coefficients.imag], 1)
    _, _, directions = torch.linalg.svd(stacked, full_matrices=False)  # (m, components, radii)
    basis = directions.transpose(1, 2)
    power = (stacked @ basis).square().unflatten(1, (2, -1)).sum(1) * multiplicity[:, None, None]  # (m, n, components)
    weakest_first = power.amax(1).flatten().argsort()
    dropped = power.permute(0, 2, 1).flatten(0, 1)[weakest_first].cumsum(0).amax(1) <= lost
    keep = torch.ones_like(dropped)
    keep[weakest_first] = ~dropped
    keep = keep.reshape(power.shape[0], power.shape[2])
    harmonics = int(keep.any(1).nonzero().max()) + 1 if keep.any() else 1
    components = max(1, int(keep.sum(1).max()))
    order = (~keep).long().argsort(dim=1, stable=True)[:, :components]  # chosen components first
    chosen = basis.gather(2, order[:, None, :].expand(-1, basis.shape[1], -1)) * keep.gather(1, order)[:, None]
    chosen = chosen[:harmonics].contiguous()
    return chosen, coefficients[:harmonics] @ chosen.to(coefficients.dtype)
