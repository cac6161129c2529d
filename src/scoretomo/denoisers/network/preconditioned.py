"""The network behind the denoiser D(x, t), preconditioned as by Karras et al. (2022, Table 1).

    D(x, t) = c_skip x + c_out F(c_in x, c_noise)

The factors give F inputs and targets of unit variance at every noise level, so that the loss at the start is 1 at each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...fourier import pad_or_crop
from .unet import Architecture, UNet

_TOGETHER = 2**18  # pixels that pass through the network in one call: bounds the memory


@dataclass(frozen=True)
class Preconditioning:
    """The factors of the preconditioning as functions of the noise level.

    Attributes:
        sigma_data: standard deviation σ_d of the images' pixels about 0.
    """

    sigma_data: float

    def skip(self, t: Tensor) -> Tensor:
        """c_skip = σ_d² / (t² + σ_d²)."""
        return self.sigma_data**2 / (t**2 + self.sigma_data**2)

    def out(self, t: Tensor) -> Tensor:
        """c_out = t σ_d / √(t² + σ_d²)."""
        return t * self.sigma_data / (t**2 + self.sigma_data**2).sqrt()

    def scale(self, t: Tensor) -> Tensor:
        """c_in = 1 / √(t² + σ_d²)."""
        return 1 / (t**2 + self.sigma_data**2).sqrt()

    def label(self, t: Tensor) -> Tensor:
        """c_noise = ln(t) / 4."""
        return t.log() / 4


def noise_level_weight(t: Tensor, sigma_data: float) -> Tensor:
    """Weight of the squared error at noise level t, λ = (t² + σ_d²) / (t σ_d)²: one over c_out²."""
    return (t**2 + sigma_data**2) / (t * sigma_data) ** 2


class PreconditionedUNet(nn.Module):
    """D(x, t) as it is trained.

    Args:
        architecture: of the network.
        sigma_data: standard deviation of the normalised images' pixels about 0, measured on them.
    """

    def __init__(self, architecture: Architecture, sigma_data: float) -> None:
        super().__init__()
        self.preconditioning = Preconditioning(sigma_data)
        self.multiple = architecture.multiple
        self.unet = UNet(architecture)

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        """Noisy images, shape (b, d, d), and the noise level of each, shape (b,) → denoised images.

        Sides that the network cannot halve often enough are padded with zeros, about the same origin.
        """
        factors, level, size = self.preconditioning, t[:, None, None], noisy.shape[-1]
        entering = pad_or_crop(factors.scale(level) * noisy, -(-size // self.multiple) * self.multiple, 2)
        denoised = self.unet(entering[:, None], factors.label(t))[:, 0].to(noisy.dtype)
        return factors.skip(level) * noisy + factors.out(level) * pad_or_crop(denoised, size, 2)


class NetworkScore:
    """The denoiser that a network has learned.

    Args:
        network: trained, on the device where the views will be.
        background: value of empty space in normalised images, −μ / s.
        mask: circular mask, shape (d, d); outside it images are known to be empty.
    """

    def __init__(self, network: PreconditionedUNet, background: float, mask: Tensor) -> None:
        self.network = network.eval().requires_grad_(False)
        self.background, self.mask, self.size = background, mask, mask.shape[-1]

    @torch.no_grad()
    def __call__(self, views: Tensor, t: float | Tensor) -> Tensor:
        """Denoise normalised views, shape (v, d, d), at one noise level or one for each view."""
        levels = torch.as_tensor(t, dtype=views.dtype, device=views.device).expand(len(views))
        together = max(1, _TOGETHER // self.size**2)
        parts = zip(views.split(together), levels.split(together), strict=True)
        denoised = torch.cat([self.network(part, level) for part, level in parts])
        return (denoised - self.background) * self.mask + self.background
