"""Algorithm 1, refinement of a posed start, and the support of the score."""

from .algorithm import Denoiser, Descent, Step, descent_direction, operator_norm, reconstruct

__all__ = ["Denoiser", "Descent", "Step", "descent_direction", "operator_norm", "reconstruct"]
