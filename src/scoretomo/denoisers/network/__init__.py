"""D(x, t) as a preconditioned network; its settings and weights as plain values, to save and to load."""

from .preconditioned import NetworkScore, PreconditionedUNet, Preconditioning, noise_level_weight
from .unet import NETWORKS, Architecture, UNet, architecture_for

__all__ = [
    "NETWORKS",
    "Architecture",
    "NetworkScore",
    "PreconditionedUNet",
    "Preconditioning",
    "UNet",
    "architecture_for",
    "noise_level_weight",
]
