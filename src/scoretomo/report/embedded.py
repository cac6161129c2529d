"""Which densities the page carries: as many volumes as fit, what all images share, and the volumes along ways."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import read_map
from ..graphics import densities, surfaces
from ..images import otsu_level
from ..rundir.results import Run, Shared, Volume

SIDE = 64  # longest side of a density in voxels; SMALL_DENSITY_SIDE where not all would fit
BUDGET = 14_000_000  # characters of base64 for all volumes
WAY_BUDGET = 4_000_000  # … and for those along ways


class Embedded(NamedTuple):
    """One density in the page, by the name of its element."""

    name: str
    side: int
    box: float  # side in Å, or in pixels of the run
    level: float
    peak: float
    kind: str  # volume | truth
    data: str  # empty if an element of this name is in the page already
    frame: str = ""  # M and offset in box sides: at Mᵀq + offset it is the volume in the common frame, at q


def _priority(done: Sequence[Volume]) -> list[Volume]:
    """Best and worst score first, then volumes spread evenly over the set."""
    ranked = sorted((v.score.mean_fsc, k) for k, v in enumerate(done) if v.score)
    extremes = [ranked[-1][1], ranked[0][1]] if ranked else []
    return [done[k] for k in densities.spread_order(len(done), extremes)]


def of_volumes(run: Run, done: Sequence[Volume]) -> dict[int, list[Embedded]]:
    """Densities (and truths) by image number, until the budget of the page is spent."""
    order = _priority(done)
    side = SIDE
    sample = [sum(len(d.data) for d in _pair(run, volume, side, set())) for volume in order[:3]]
    if sample and statistics.fmean(sample) * len(order) > BUDGET:
        side = surfaces.SMALL_DENSITY_SIDE
    spent, there = 0, set[str]()
    chosen = {}
    for volume in order:
        pair = _pair(run, volume, side, there)
        spent += sum(len(density.data) for density in pair)
        if spent > BUDGET:
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
    if truth is not None and volume.score:
        if volume.score.frame:
            *matrix, x, y, z = volume.score.frame
            numbers = [*matrix, *(shift / len(shown.density) for shift in (x, y, z))]
            pair[0] = pair[0]._replace(frame=" ".join(f"{number:.5f}" for number in numbers))
        name = f"truth-{sorted({str(score.truth) for score in run.scores}).index(str(volume.score.truth))}"
        there_already = Embedded(name, 0, 0, 0, 0, "truth", "")
        pair.append(there_already if name in there else _embedded(name, truth, side, box, "truth"))
    return pair


def _truth(volume: Volume) -> np.ndarray | None:
    """The truth on the grid of the aligned volume, if both can be read."""
    if not (volume.score and volume.aligned and volume.score.truth.is_file()):
        return None
    truth, aligned = read_map(volume.score.truth), read_map(volume.aligned)
    return densities.on_grid(truth.density, truth.pixel_size, len(aligned.density), aligned.pixel_size)


def of_all(shared: Shared, pixel_size: float | None) -> list[Embedded]:
    """The consensus and, where there are some, the second one and the mean of the volumes."""
    paths = {"consensus": shared.path, "second": shared.second_path, "mean": shared.mean_path}
    found = []
    for name, path in paths.items():
        if path:
            density = read_map(path).density
            found.append(_embedded(f"map-{name}", density, SIDE, len(density) * (pixel_size or 1.0), "volume"))
    return found


def of_motion_map(path: Path) -> Embedded:
    """The map of what moves, to colour the consensus with."""
    density = read_map(path).density
    return _embedded("map-motion", density, surfaces.SMALL_DENSITY_SIDE, 1.0, "heat", float(density.max()))


def of_ways(ways: Sequence[Sequence[Path]], pixel_size: float | None) -> list[list[Embedded]]:
    """The volumes along each way, on one grey scale and at one level, while the budget of the page lasts, then none."""
    spent, found = 0, list[list[Embedded]]()
    for number, way in enumerate(ways, start=1):
        read = [read_map(path).density for path in way]
        peak = densities.quantise(np.maximum.reduce(read), surfaces.SMALL_DENSITY_SIDE).peak
        values = [densities.quantise(density, surfaces.SMALL_DENSITY_SIDE, peak).values for density in read]
        level, box = statistics.median(otsu_level(each) for each in values), len(read[0]) * (pixel_size or 1.0)
        frames = [
            Embedded(f"way-{number}-{k}", len(each), box, level, peak, "volume", densities.packed(each))
            for k, each in enumerate(values)
        ]
        spent += sum(len(frame.data) for frame in frames)
        found.append(frames if spent <= WAY_BUDGET else [])
    return found


def _embedded(name: str, density: np.ndarray, side: int, box: float, kind: str, peak: float | None = None) -> Embedded:
    values, peak = densities.quantise(density, side, peak)
    return Embedded(name, len(values), box, otsu_level(values), peak, kind, densities.packed(values))
