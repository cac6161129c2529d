"""Which densities the page carries: as many volumes as fit, the consensus volumes, and the volumes of trajectories."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import read_map
from ..graphics import densities, surfaces
from ..images import otsu_level
from ..rundir.results import Run, Volume

SIDE = 64  # longest side of a density in voxels; SMALL_DENSITY_SIDE where not all would fit


class Budget(NamedTuple):
    """Characters of base64 that a page has for densities."""

    volumes: int = 14_000_000
    trajectories: int = 4_000_000


BUDGET = Budget()


class Embedded(NamedTuple):
    """One density in the page, by the name of its element."""

    name: str
    side: int
    box: float  # side in Å, or in pixels of the run
    level: float
    peak: float
    kind: str  # volume | truth | variability | bodies
    data: str  # empty if an element of this name is in the page already
    frame: str = ""  # M and offset in box sides: at Mᵀq + offset it is the volume in the common frame, at q


def priority(done: Sequence[Volume]) -> list[Volume]:
    """Best and worst FSC first, then volumes spread evenly over the set."""
    ranked = sorted((volume.fsc.row.mean_fsc, place) for place, volume in enumerate(done) if volume.fsc)
    extremes = [ranked[-1][1], ranked[0][1]] if ranked else []
    return [done[k] for k in densities.spread_order(len(done), extremes)]


def of_volumes(run: Run, done: Sequence[Volume], budget: int) -> dict[int, list[Embedded]]:
    """Densities (and truths) by image number, until the budget is spent."""
    order = priority(done)
    side = SIDE
    sample = [sum(len(d.data) for d in _pair(run, volume, side, set())) for volume in order[:3]]
    if sample and statistics.fmean(sample) * len(order) > budget:
        side = surfaces.SMALL_DENSITY_SIDE
    spent = 0
    there = set[str]()
    chosen = {}
    for volume in order:
        pair = _pair(run, volume, side, there)
        spent += sum(len(density.data) for density in pair)
        if spent > budget:
            break
        there |= {density.name for density in pair}
        chosen[volume.number] = pair
    return chosen


def _pair(run: Run, volume: Volume, side: int, there: set[str]) -> list[Embedded]:
    """A volume, beside its truth if it was aligned with one that can still be read."""
    truth = _truth(volume)
    shown = read_map(volume.aligned if truth is not None and volume.aligned else volume.path or Path())
    box = len(shown.density) * ((shown.pixel_size or run.pixel_size) if run.pixel_size else 1.0)
    pair = [_embedded(f"density-{volume.number}", shown.density, side, box, "volume")]
    if truth is not None and volume.fsc:
        if volume.fsc.frame:
            *matrix, x, y, z = volume.fsc.frame
            numbers = [*matrix, *(shift / len(shown.density) for shift in (x, y, z))]
            pair[0] = pair[0]._replace(frame=" ".join(f"{number:.5f}" for number in numbers))
        name = f"truth-{sorted({str(each.truth) for each in run.fsc_results}).index(str(volume.fsc.truth))}"
        there_already = Embedded(name, 0, 0, 0, 0, "truth", "")
        pair.append(there_already if name in there else _embedded(name, truth, side, box, "truth"))
    return pair


def _truth(volume: Volume) -> np.ndarray | None:
    """The truth on the grid of the aligned volume, if both can be read."""
    if not (volume.fsc and volume.aligned and volume.fsc.truth.is_file()):
        return None
    truth, aligned = read_map(volume.fsc.truth), read_map(volume.aligned)
    return densities.on_grid(truth.density, truth.pixel_size, len(aligned.density), aligned.pixel_size)


def of_map(name: str, density: np.ndarray, pixel_size: float | None) -> Embedded:
    """A volume that belongs to many images."""
    return _embedded(f"map-{name.replace(' ', '-')}", density, SIDE, len(density) * (pixel_size or 1.0), "volume")


def of_variability(path: Path) -> Embedded:
    """The variability map, to colour the consensus volume with."""
    density = read_map(path).density
    return _embedded("map-variability", density, surfaces.SMALL_DENSITY_SIDE, 1.0, "variability", float(density.max()))


def of_bodies(bodies: np.ndarray) -> Embedded:
    """Which rigid body each place belongs to, from 0, to colour the surface of all with."""
    return Embedded("map-colours", len(bodies), 1.0, 0.0, 1.0, "bodies", densities.packed(bodies))


def of_trajectories(
    trajectories: Sequence[Sequence[Path]], pixel_size: float | None, budget: int
) -> list[list[Embedded]]:
    """The volumes of each trajectory, on one grey scale and at one level, while the budget lasts, then none."""
    spent = 0
    embedded = list[list[Embedded]]()
    for number, paths in enumerate(trajectories, start=1):
        read = [read_map(path).density for path in paths]
        peak = densities.quantise(np.maximum.reduce(read), surfaces.SMALL_DENSITY_SIDE).peak
        values = [densities.quantise(density, surfaces.SMALL_DENSITY_SIDE, peak).values for density in read]
        level = statistics.median(otsu_level(each) for each in values)
        box = len(read[0]) * (pixel_size or 1.0)
        frames = [
            Embedded(f"trajectory-{number}-{k}", len(each), box, level, peak, "volume", densities.packed(each))
            for k, each in enumerate(values)
        ]
        spent += sum(len(frame.data) for frame in frames)
        embedded.append(frames if spent <= budget else [])
    return embedded


def _embedded(name: str, density: np.ndarray, side: int, box: float, kind: str, peak: float | None = None) -> Embedded:
    values, peak = densities.quantise(density, side, peak)
    return Embedded(name, len(values), box, otsu_level(values), peak, kind, densities.packed(values))
