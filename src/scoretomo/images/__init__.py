"""What every image undergoes: background, normalise, mask, crop, checks."""

from .augmenting import augment, place_images
from .background import Background, disc, find_background, otsu_level, subtract_background
from .checks import find_unusable, grey_factors, looks_inverted, touches_edge
from .preparing import Prepared, centre_of_mass, correlation, normalisation, prepare, shift

__all__ = [
    "Background",
    "Prepared",
    "augment",
    "centre_of_mass",
    "correlation",
    "disc",
    "find_background",
    "find_unusable",
    "grey_factors",
    "looks_inverted",
    "normalisation",
    "otsu_level",
    "place_images",
    "prepare",
    "shift",
    "subtract_background",
    "touches_edge",
]
