"""scoretomo: one 3D volume per 2D class average, by score-based random tomography."""

__version__ = "0.1.0"
