"""scoretomo: one 3D volume per 2D class average, by score-based random tomography."""

from .api import open_run, run

__version__ = "0.1.0"
__all__ = ["open_run", "run"]
