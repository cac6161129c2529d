"""Ring weights: each ring of an image counts by how little a model leaves of it, so that fine detail counts beside
coarse.

Plain least squares weigh what is strong. Where a model leaves mostly coarse residuals, which it cannot explain, poses
and detail are fitted to them. Divided by the root of its residual power, as in the noise spectra of RELION (Scheres,
2012), no ring outweighs another; where only white noise is left, nothing changes. A ring never counts less than a
coarser one: detail that the model has yet to fit is a residual, too, but no noise.
"""

import torch
from torch import Tensor

from ..fourier import centred_fft, centred_ifft, radius, shell_means

_FLOOR = 1e-8  # of the strongest ring: the least residual in float32


def ring_weights(residuals: Tensor) -> Tensor:
    """Weights by which `filtered` makes the residual power the same in every ring, or higher in finer ones.

    Args:
        residuals: images less their views, shape (n, d, d).

    Returns:
        Of rings 0 … d // 2, rising to 1.
    """
    power = shell_means(centred_fft(residuals, 2).abs().square().mean(0), 2)[: residuals.shape[-1] // 2 + 1]
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
