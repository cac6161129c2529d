"""D(y, t) of the images themselves, in closed form.

With rotations and flips as augmentation, the smoothed density p_t of a finite set of images is a mixture of Gaussians, so

    D(y, t) = Σ w_{kθs} T_{kθs},    w = softmax(−‖y − T_{kθs}‖² / 2t²),

over every image k, in-plane turn θ and flip s. All turns of an image are found at once: in polar Fourier coordinates a turn is a
phase per angular harmonic m, so the inner products of a view with all turns of all images are one small matrix product for each
m, followed by an FFT over m (the steerable principal components of Zhao & Singer, 2014). Nothing is interpolated on the pixel
grid and no turned image is ever stored.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ..fourier import adjoint_transform_at, transform_at

_ROWS = 1024  # templates added up at a time: bounds the memory
_NEGLIGIBLE = 20.0  # images whose exponent is this far below the best one's have weights under e⁻²⁰


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


class Nearest(NamedTuple):
    """The template nearest to each of v views: an image, flipped (x → −x) or not, then turned."""

    image: Tensor  # (v,): place of the image
    angle: Tensor  # (v,): degrees, positive from x to y
    flipped: Tensor  # (v,), bool
    template: Tensor  # (v, d, d)


class ExactScore:
    """The denoiser of a finite set of images with all their in-plane turns and flips.

    Args:
        images: normalised images, shape (n, d, d), equal to ``background`` outside the circular mask.
        background: value of empty space, −μ / s of the normalisation.
        mask: circular mask, shape (d, d); only what is inside counts.
        tolerance: largest share of an image's squared norm that the compression may lose.
        working_memory: bytes that a call may use for inner products; views are worked off in tiles, small ones stay in cache.
    """

    def __init__(
        self, images: Tensor, background: float, mask: Tensor, *, tolerance: float = 1e-5, working_memory: float = 2e7
    ) -> None:
        self.background, self.mask, self.size = background, mask, images.shape[-1]
        expanded = [angular_harmonics((part - background) * mask) for part in images.split(64)]
        coefficients = torch.cat(expanded).transpose(0, 1)  # (m, n, radii)
        twice = torch.full((len(coefficients), 1, 1), 2.0, dtype=images.dtype, device=images.device)
        twice[0] = 1
        energy = (twice * coefficients.abs().square()).sum((0, 2))
        self.basis, templates = _principal_radii(coefficients, twice[:, 0, 0], tolerance * float(energy.min()))
        self.templates = torch.cat([templates.real, templates.imag], 1)  # (m, 2n, components)
        self.half_norm = (twice[: len(templates)] * templates.abs().square()).sum((0, 2)) / 2
        self.count, self.turns = len(images), next_fast_len(2 * len(self.basis), real=True)
        per_view = self.count * 2 * self.turns * images.element_size() * 4
        self.tile = max(1, int(working_memory / per_view))

    def __call__(self, views: Tensor, t: float) -> Tensor:
        """Denoise normalised views, shape (v, d, d), at noise level t."""
        return torch.cat([self._denoise(tile, t) for tile in views.split(self.tile)])

    def nearest(self, views: Tensor, *, other_than: Tensor | None = None) -> Nearest:
        """The nearest of all turned and flipped images.

        Args:
            views: normalised, shape (v, d, d).
            other_than: place of an image that does not count, for each view, shape (v,); all count if not given.
        """
        ignored = torch.full((len(views),), -1, device=views.device) if other_than is None else other_than
        found = [self._nearest(*tile) for tile in zip(views.split(self.tile), ignored.split(self.tile), strict=True)]
        return Nearest(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _nearest(self, views: Tensor, ignored: Tensor) -> Nearest:
        closeness = self._likeness(views) - self.half_norm[:, None, None]  # (v, n, 2, turns)
        closeness[torch.arange(self.count, device=views.device) == ignored[:, None]] = -torch.inf
        best = closeness.flatten(1).argmax(1)
        row, turn = best // self.turns, best % self.turns
        circle = closeness.flatten(1, 2)[torch.arange(len(views), device=views.device), row]  # (v, turns)
        before, here, after = (circle.gather(1, ((turn + step) % self.turns)[:, None])[:, 0] for step in (-1, 0, 1))
        bend = (2 * here - before - after).clamp_min(torch.finfo(here.dtype).tiny)
        angle = (turn + ((after - before) / (2 * bend)).clamp(-0.5, 0.5)) * (2 * math.pi / self.turns)  # top of a parabola
        image, flip = row // 2, row % 2
        harmonic = torch.arange(len(self.basis), device=views.device)
        turned = self._flipped(image, flip) * torch.polar(torch.ones_like(angle), -angle * harmonic[:, None])[..., None]
        return Nearest(image, angle.rad2deg(), flip.bool(), self._image(turned))

    def _denoise(self, views: Tensor, t: float) -> Tensor:
        likeness = self._likeness(views)
        exponents = likeness.sub_(self.half_norm[:, None, None]).div_(t**2)
        best = exponents.amax((1, 2, 3), keepdim=True)
        view, image, flip = (exponents.amax(3) > best[..., 0] - _NEGLIGIBLE).nonzero(as_tuple=True)
        weights = (exponents[view, image, flip] - best[view, 0, 0]).exp_()  # (rows, turns)
        total = weights.new_zeros(len(views)).index_add_(0, view, weights.sum(1))
        return self._image(self._sum(len(views), view, image, flip, weights / total[view, None]))

    def _image(self, components: Tensor) -> Tensor:
        """Images of components, shape (m, v, components) to (v, d, d); empty outside the mask."""
        harmonics = torch.bmm(components, self.basis.transpose(1, 2).to(components.dtype)).transpose(0, 1)
        return image_of_harmonics(harmonics, self.size) * self.mask + self.background

    def _flipped(self, image: Tensor, flip: Tensor) -> Tensor:
        """Components of images, flipped where flip is 1, shape (m, rows, components)."""
        sign = (1 - 2 * flip)[:, None]
        turned = torch.complex(self.templates[:, image], self.templates[:, image + self.count] * sign)
        turned[1::2] *= sign  # (−1)^m of a flip
        return turned

    def _sum(self, views: int, view: Tensor, image: Tensor, flip: Tensor, weights: Tensor) -> Tensor:
        """Σ w T of every view, as components: shape (m, views, components).

        Args:
            views: how many.
            view, image, flip: which view gets which template, shape (rows,).
            weights: of its turns, shape (rows, turns).
        """
        total = torch.zeros(len(self.basis), views, self.basis.shape[-1], dtype=weights.dtype.to_complex(), device=weights.device)
        for rows in torch.arange(len(view), device=view.device).split(_ROWS):
            per_harmonic = torch.fft.rfft(weights[rows])[:, : len(self.basis)]  # Σ_θ w e^(−imθ)
            total.index_add_(1, view[rows], self._flipped(image[rows], flip[rows]) * per_harmonic.T[..., None])
        return total

    def _likeness(self, views: Tensor) -> Tensor:
        """Inner products of views with every image, flip and turn: shape (v, n, 2, turns)."""
        harmonics = angular_harmonics((views - self.background) * self.mask)[:, : len(self.basis)].transpose(0, 1)
        rows = torch.cat([harmonics.real, harmonics.imag], 1) @ self.basis  # (m, 2v, components)
        products = torch.bmm(rows, self.templates.transpose(1, 2))  # (m, 2v, 2n)
        (rr, ri), (ir, ii) = (half.tensor_split(2, 2) for half in products.tensor_split(2, 1))
        straight = torch.complex(rr + ii, ri - ir)  # conj(view) · template
        flipped = torch.complex(rr - ii, -ri - ir)  # conj(view) · conj(template)
        flipped[1::2] *= -1
        spectrum = torch.stack([straight, flipped], -1).permute(1, 2, 3, 0)
        return torch.fft.irfft(spectrum.conj(), n=self.turns, norm="forward")


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
    order = (~keep).long().argsort(dim=1, stable=True)[:, :components]  # kept components first
    chosen = basis.gather(2, order[:, None, :].expand(-1, basis.shape[1], -1)) * keep.gather(1, order)[:, None]
    chosen = chosen[:harmonics].contiguous()
    return chosen, coefficients[:harmonics] @ chosen.to(coefficients.dtype)
