"""Whitening: each ring of an image counts by how little a model leaves of it, so that fine detail is heard beside coarse.

Plain least squares hear what is strong. Of images with little noise a model leaves mostly coarse things, which it can't show, and
poses and detail are fitted to them. Where every ring is divided by the root of what is left in it, as in the noise spectra of
RELION (Scheres, 2012), no ring drowns another; where noise is all that is left, and white, nothing changes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import centred_fft, centred_ifft, radius, shell_index

_FLOOR = 1e-8  # of the strongest ring: less is not left, in float32


@dataclass(frozen=True)
class Whitening:
    """A filter of images of any side with one field of view.

    Attributes:
        amplitude: of rings 0, 1, …, shape (r,), at most 1.
    """

    amplitude: Tensor

    @classmethod
    def of(cls, left: Tensor) -> "Whitening":
        """The filter that makes each ring of some images equally strong.

        Args:
            left: what a model leaves of images, shape (n, d, d).
        """
        ring = shell_index(left.shape[-1], 2, device=left.device).flatten()
        square = centred_fft(left, 2).abs().square().mean(0).flatten()
        power = torch.zeros(left.shape[-1] // 2 + 1, dtype=left.dtype, device=left.device)
        kept = ring < len(power)
        power.index_add_(0, ring[kept], square[kept]).div_(torch.bincount(ring[kept], minlength=len(power)))
        power[0] = power[1]  # a mask and the zero of the images decide the mean
        amplitude = power.clamp_min(_FLOOR * float(power.max())).rsqrt()
        return cls(amplitude / amplitude.max())

    def __call__(self, images: Tensor) -> Tensor:
        """Filter images, shape (n, s, s); rings beyond the last count as that one."""
        at = radius(images.shape[-1], 2, dtype=images.dtype, device=images.device).clamp(max=len(self.amplitude) - 1)
        below, logs = at.floor().long(), self.amplitude.log()
        above = (below + 1).clamp(max=len(logs) - 1)
        filtered = centred_fft(images, 2) * torch.lerp(logs[below], logs[above], at - below).exp()
        return centred_ifft(filtered, 2).real
