"""scoretomo: one 3D volume per 2D class average, by score-based random tomography."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stages.opening import OpenRun

__version__ = "0.1.0"


def open(directory: str | Path) -> "OpenRun":
    """Open a run directory: its images, volumes, poses and landscape as arrays.

    Args:
        directory: what `scoretomo run` wrote; it may be unfinished.

    Raises:
        InputError: it is no run directory.
    """
    from .stages.opening import OpenRun  # so that importing the package stays quick

    return OpenRun(Path(directory))
