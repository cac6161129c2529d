"""The map that explains posed images best, in least squares with a smoothness prior.

    minimise over V   Σ_d m_d ‖f(V, R_d) − x_d‖² + Σ_k λ(|k|) |V̂(k)|²

fᵀf is a convolution, so its kernel, made once on a grid of twice the side, replaces all views: conjugate gradients then
cost two fast Fourier transforms a step, however many images there are. λ is noise over signal in each shell, as in
RELION (Scheres, 2012).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..fourier import adjoint_transform_at, centred_fft, centred_ifft, inscribed, pad_or_crop, shell_index, shell_means
from ..optimise import conjugate_gradients
from ..projection import backproject, half_plane, slices


def invert(
    sums: Tensor,
    masses: Tensor,
    rotations: Tensor,
    damping: Tensor,
    *,
    group: Tensor | None = None,
    start: Tensor | None = None,
    steps: int = 12,
) -> Tensor:
    """Find the volume inside the inscribed ball whose views fit posed images.

    Args:
        sums: m_d x_d, images times how much each counts, empty space 0, shape (v, d, d).
        masses: m_d, shape (v,).
        rotations: shape (v, 3, 3).
        damping: λ of shells 0 … d // 2, shape (d // 2 + 1,); the last one also holds beyond.
        group: rotations under which the volume stays the same, shape (g, 3, 3): every image is seen in g poses.
        start: where to begin, shape (d, d, d); the empty volume if not given.
        steps: of conjugate gradients.

    Returns:
        Volume, shape (d, d, d).
    """
    turns = torch.eye(3, dtype=rotations.dtype, device=rotations.device)[None] if group is None else group
    equations = _normal_equations(masses, rotations, turns, damping, sums.shape[-1])
    seen = torch.stack([backproject(sums, rotations @ turn) for turn in turns]).mean(0)
    volume = torch.zeros_like(equations.ball) if start is None else start * equations.ball
    right = equations.ball * seen
    for step in conjugate_gradients(equations.applied, equations.conditioned, right, volume, steps):
        volume = step.solution
    return volume


class _NormalEquations(NamedTuple):
    """The normal equations of the least squares, inside the ball."""

    ball: Tensor  # 1 inside, else 0, (d, d, d)
    kernel: Tensor  # Fourier transform of the kernel of fᵀf, on the layout of rfftn, (2d, 2d, d + 1)
    penalty: Tensor  # λ of every Fourier coefficient, (d, d, d)
    inverse: Tensor  # about the inverse of both, which conditions the gradients, (d, d, d)

    def applied(self, volume: Tensor) -> Tensor:
        """Their left side, (Σ m fᵀf + λ) V, for a volume; (d, d, d)."""
        size = volume.shape[-1]
        padded = torch.fft.rfftn(pad_or_crop(volume, 2 * size, 3))
        seen = pad_or_crop(torch.fft.irfftn(padded * self.kernel, s=(2 * size,) * 3), size, 3)
        return self.ball * (seen + centred_ifft(centred_fft(volume, 3) * self.penalty, 3).real)

    def conditioned(self, residual: Tensor) -> Tensor:
        """A residual times the approximate inverse, (d, d, d)."""
        return self.ball * centred_ifft(centred_fft(residual, 3) * self.inverse, 3).real


def _normal_equations(masses: Tensor, rotations: Tensor, turns: Tensor, damping: Tensor, size: int) -> _NormalEquations:
    """The normal equations of images in given poses.

    Args:
        masses, rotations, damping: as in `invert`.
        turns: under which the volume stays the same, shape (g, 3, 3).
        size: side of the volume.
    """
    shell = shell_index(size, 3, device=masses.device)
    penalty = size * damping[shell.clamp(max=size // 2)]
    kernel = torch.stack([_kernel(masses, rotations @ turn, size) for turn in turns]).mean(0)
    odd = size % 2
    density = shell_means(kernel[odd::2, odd::2, odd::2], 3)
    return _NormalEquations(
        ball=inscribed(size, 3, dtype=masses.dtype, device=masses.device),
        kernel=torch.fft.ifftshift(kernel)[..., : size + 1],
        penalty=penalty,
        inverse=1 / (density[shell].clamp_min(0) + penalty).clamp_min(1e-12),
    )


def _kernel(masses: Tensor, rotations: Tensor, size: int) -> Tensor:
    """Fourier transform of the convolution kernel of Σ m fᵀf, on a centred grid of twice the side."""
    plane = half_plane(size, masses.dtype, masses.device)
    values = (masses[:, None] * plane.weight).reshape(1, -1)
    kernel = adjoint_transform_at(values.to(values.dtype.to_complex()), slices(plane, rotations), 2 * size)[0]
    return centred_fft(kernel, 3).real


_DAMPING = 0.2  # λ with single poses


def posed_map(
    images: Tensor,
    rotations: Tensor,
    *,
    group: Tensor | None = None,
    start: Tensor | None = None,
    damping: float = _DAMPING,
) -> Tensor:
    """The map that fits centred images in given poses; shapes (n, d, d) and (n, 3, 3), returns (d, d, d)."""
    shells = torch.full((images.shape[-1] // 2 + 1,), damping, dtype=images.dtype, device=images.device)
    return invert(images, images.new_ones(len(images)), rotations, shells, group=group, start=start)
