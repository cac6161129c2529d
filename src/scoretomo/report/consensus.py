"""The consensus volume, that of class 2, and the mean of the volumes."""

from typing import NamedTuple

from ..files import read_map
from ..graphics import surfaces
from ..rundir.results import Run
from .embedded import Embedded, of_map, of_variability
from .pictures import THUMBNAIL, Picture, projections

_SIDE = 192  # pixels of a projection


class Map(NamedTuple):
    """A volume that belongs to many images."""

    name: str  # consensus | class 2 | mean
    thumbnail: str
    projections: list[Picture]
    density: Embedded


class ConsensusSection(NamedTuple):
    """The section about the consensus volume."""

    maps: list[Map]
    variability: Embedded | None  # colours the consensus volume


def consensus_section(run: Run, reach: float) -> ConsensusSection | None:
    """The section about the consensus volume of a run; None without one."""
    consensus, landscape = run.consensus, run.landscape
    if consensus is None:
        return None
    paths = {"consensus": consensus.path, "class 2": consensus.class_2_path, "mean": consensus.mean_path}
    maps = []
    for name, path in paths.items():
        if path:
            density = read_map(path).density
            thumbnail = surfaces.thumbnail(density, reach, THUMBNAIL)
            embedded = of_map(name, density, run.pixel_size)
            maps.append(Map(name, thumbnail, projections(density, _SIDE), embedded))
    variability = of_variability(landscape.variability) if landscape and landscape.trajectories else None
    return ConsensusSection(maps, variability)
