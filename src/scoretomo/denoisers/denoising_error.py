"""How well a denoiser denoises: its error against the noise level, beside what a linear filter could reach."""

from collections.abc import Callable

from torch import Tensor

from ..fourier import centred_fft, shell_index, shell_means


def denoising_error(
    denoise: Callable[[Tensor, float], Tensor], clean: Tensor, noise: Tensor, t: float, mask: Tensor
) -> float:
    """Root mean square of D(x + tε, t) − x, per pixel inside the mask.

    Args:
        denoise: D(y, t).
        clean: normalised images x, shape (n, d, d).
        noise: ε ~ N(0, I), shape (n, d, d).
        t: noise level.
        mask: circular mask, shape (d, d).
    """
    error = (denoise(clean + t * noise, t) - clean) * mask
    return float((error.square().sum() / (len(clean) * mask.sum())).sqrt())


def wiener_bound(images: Tensor, t: float, mask: Tensor) -> float:
    """Error of the best linear denoiser of Gaussian images with the power spectrum of these, and their mean known.

    A frequency of power P is left with the error P t² / (P + t²). Mean and spectrum are averaged over rotations, since
    images come turned by any angle; the spectrum is that of images which vary everywhere as these do inside the mask.
    For images that are empty outside it the figure is a guide, not a strict bound.

    Args:
        images: normalised images, shape (n, d, d).
        t: noise level.
        mask: circular mask, shape (d, d).
    """
    inside = float(mask.sum()) / mask.numel()
    spread = (images - _ring_means(images.mean(0))) * mask
    power = _ring_means(centred_fft(spread, 2).abs().square().mean(0)) / (mask.numel() * inside)
    return float((power * t**2 / (power + t**2)).mean().sqrt())


def _ring_means(values: Tensor) -> Tensor:
    """Every value replaced by the mean of its ring, one pixel wide about index d // 2; shape (d, d)."""
    return shell_means(values, 2)[shell_index(values.shape[-1], 2, device=values.device)]
