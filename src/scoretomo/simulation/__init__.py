"""Random conformation + random pose → image, with its truth."""

from .averaging import ClassAverage, average_class, contrast_transfer
from .junk import JUNK_KINDS, Junk, junk_class, with_junk
from .maps import MovingMap, isolated, voxel_places
from .statistics import StackStatistics, measure
from .taking import EDGE, Movable, Phantom, Simulated, Specimen, phantom_volume, simulate, simulate_image, truth_row

__all__ = [
    "EDGE",
    "JUNK_KINDS",
    "ClassAverage",
    "Junk",
    "Movable",
    "MovingMap",
    "Phantom",
    "Simulated",
    "Specimen",
    "StackStatistics",
    "average_class",
    "contrast_transfer",
    "isolated",
    "junk_class",
    "measure",
    "phantom_volume",
    "simulate",
    "simulate_image",
    "truth_row",
    "voxel_places",
    "with_junk",
]
