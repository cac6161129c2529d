"""D(x, t) as a preconditioned network; its settings and weights as plain values, to save and to load."""

from .preconditioned import NetworkScore, PreconditionedUNet, Preconditioning, noise_level_weight
from .unet import NETWORKS, Architecture, UNet

__all__ = ["NETWORKS", "Architecture", "NetworkScore", "PreconditionedUNet", "Preconditioning", "UNet", "noise_level_weight"]
