"""Whitening: each ring of an image counts by how little a model leaves of it, so that fine detail is heard beside coarse.

Plain least squares hear what is strong. Where a model leaves mostly coarse things, which it can't show, poses and detail are fitted
to them. Divided by the root of what is left in it, as in the noise spectra of RELION (Scheres, 2012), no ring drowns another; where
noise is all that is left, and white, nothing changes. Detail that is yet to be learned is left, too, but no noise: so a ring never
counts less than a coarser one.
"""

import torch
from torch import Tensor

from ..fourier import centred_fft, centred_ifft, radius, shell_means

_FLOOR = 1e-8  # of the strongest ring: less is not left, in float32


def whitening(left: Tensor) -> Tensor:
    """Gains by which `filtered` makes the mean power of some images the same in every ring, or more in finer ones.

    Args:
        left: what a model leaves of images, shape (n, d, d).

    Returns:
        Of rings 0 … d // 2, rising to 1.
    """
    power = shell_means(centred_fft(left, 2).abs().square().mean(0), 2)[: left.shape[-1] // 2 + 1]
    power[0] = power[1]  # a mask and the zero of the images decide the mean
    floor = max(_FLOOR * float(power.max()), torch.finfo(power.dtype).tiny)
    gains = power.clamp_min(floor).rsqrt().cummax(0).values
    return gains / gains[-1]


def filtered(images: Tensor, gains: Tensor) -> Tensor:
    """Images of any side, each ring times its gain; rings beyond the last count as that one.

    Args:
        images: shape (n, s, s), of the field of view that the gains are for.
        gains: of rings 0, 1, …, above 0.
    """
    at = radius(images.shape[-1], 2, dtype=images.dtype, device=images.device).clamp(max=len(gains) - 1)
    below, logs = at.floor().long(), gains.log()
    above = (below + 1).clamp(max=len(logs) - 1)
    spectrum = centred_fft(images, 2) * torch.lerp(logs[below], logs[above], at - below).exp()
    return centred_ifft(spectrum, 2).real
