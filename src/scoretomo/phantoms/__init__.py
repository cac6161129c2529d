"""Movable objects: shapes, atoms, maps."""

from .atoms import Atoms, FormFactors, MovingAtoms
from .motions import Motion, draw_between, motion_of
from .shapes import MovingBox, MovingCapsid
from .strands import large_subunit, ribosome

__all__ = [
    "Atoms",
    "FormFactors",
    "Motion",
    "MovingAtoms",
    "MovingBox",
    "MovingCapsid",
    "draw_between",
    "large_subunit",
    "motion_of",
    "ribosome",
]
