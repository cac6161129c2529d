"""Random conformation + random pose → image, with its truth."""

from .averaging import ClassAverage, average_class, contrast_transfer
from .maps import MovingMap, isolated, voxel_places
from .statistics import StackStatistics, measure
from .taking import EDGE, Movable, Phantom, Simulated, Specimen, phantom_volume, simulate, simulate_image, truth_row

__all__ = [
    "EDGE",
    "ClassAverage",
    "Movable",
    "MovingMap",
    "Phantom",
    "Simulated",
    "Specimen",
    "StackStatistics",
    "average_class",
    "contrast_transfer",
    "isolated",
    "measure",
    "phantom_volume",
    "simulate",
    "simulate_image",
    "truth_row",
    "voxel_places",
]
