"""What every image undergoes: background, normalise, mask, crop, checks."""

from .augmenting import augment, place_images
from .background import Background, disc, find_background, otsu_level, subtract_background
from .centring import centre_of_mass, reach, shift
from .checks import find_unusable, grey_factors, looks_inverted, touches_edge
from .junk import JUNK, JunkCriteria, find_junk
from .preparing import Prepared, correlation, normalisation, prepare

__all__ = [
    "JUNK",
    "Background",
    "JunkCriteria",
    "Prepared",
    "augment",
    "centre_of_mass",
    "correlation",
    "disc",
    "find_background",
    "find_junk",
    "find_unusable",
    "grey_factors",
    "looks_inverted",
    "normalisation",
    "otsu_level",
    "place_images",
    "prepare",
    "reach",
    "shift",
    "subtract_background",
    "touches_edge",
]
