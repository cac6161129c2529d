"""Charts as data: which lines and points, on which axes. `svg` draws them in the page, `figures` for a paper."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..rundir.results import FscResult, Landscape, Run, Volume, landscape_axes
from ..rundir.rows import ConvergenceRow, DenoisingRow, LossRow, ScreeRow

Tick = tuple[str, float]  # label, place

THRESHOLDS = (0.5, 0.143)  # of the FSC, at which resolutions are given
_MANY = 40  # curves, from which each is drawn fainter
_POINTS = 120  # of a convergence curve, at most
_LOG_FROM = 50.0  # ratio of the largest to the smallest residual, from which their axis is logarithmic
_DENOISING = {
    "network_training": "network, training images",
    "network_held_out": "network, held-out images",
    "exact_training": "exact score, training images",
    "exact_held_out": "exact score, held-out images",
    "wiener": "linear filter",
}


class Axis(NamedTuple):
    """What stands along one side of a chart."""

    label: str
    range: tuple[float, float]
    ticks: list[Tick]
    log: bool = False
    below: tuple[Tick, ...] = ()  # a further row of labels, in another unit


class Line(NamedTuple):
    """A curve."""

    kind: str  # decides its colour; a class of the style sheet
    name: str  # in the legend
    x: Sequence[float]
    y: Sequence[float]
    image: int | None = None  # whose volume it belongs to
    dots: bool = False


class Chart(NamedTuple):
    """Curves on their axes."""

    kind: str
    x: Axis
    y: Axis
    lines: list[Line]
    thresholds: tuple[float, ...] = ()  # of y
    steps: tuple[Tick, ...] = ()  # places along x, named above the chart
    large: bool = False

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Kind and name of each curve of the legend."""
        return list({line.kind: line.name for line in self.lines}.items())


def mean_curve(results: Sequence[FscResult]) -> list[float] | None:
    """Mean of the FSC curves of several volumes on one grid; None where there are no such."""
    curves = [result.curve for result in results]
    if len(curves) < 2 or len({len(curve) for curve in curves}) > 1:
        return None
    mean: list[float] = np.mean(curves, axis=0).tolist()
    return mean


def fsc_overview(run: Run) -> Chart:
    """FSC of every volume of a run with its truth, and their mean, against spatial frequency."""
    size, _ = run.fsc_grid
    compared = [(volume.number, volume.fsc.curve) for volume in run.volumes if volume.fsc]
    kind = "each many" if len(compared) > _MANY else "each"
    lines = [_fsc_line(kind, "each volume", curve, size, number) for number, curve in compared]
    mean = mean_curve(run.fsc_results)
    if mean is not None:
        lines.append(_fsc_line("mean", f"mean of {len(compared)}", mean, size))
    return _fsc_chart(run, lines, large=True)


def fsc_of_volume(run: Run, volume: Volume, mean: Sequence[float] | None) -> Chart | None:
    """FSC of one volume, before the mean of all; None where it has no truth."""
    if volume.fsc is None:
        return None
    size, _ = run.fsc_grid
    lines = [_fsc_line("mean behind", "mean of all", mean, size)] if mean else []
    lines.append(_fsc_line("volume", "this volume", volume.fsc.curve, size, volume.number))
    return _fsc_chart(run, lines, large=False)


def _fsc_line(kind: str, name: str, curve: Sequence[float], size: int, image: int | None = None) -> Line:
    return Line(kind, name, [shell / size for shell in range(len(curve))], [1.0, *curve[1:]], image)


def _fsc_chart(run: Run, lines: list[Line], *, large: bool) -> Chart:
    _, pixel_size = run.fsc_grid
    floor = -0.2 if min(min(line.y) for line in lines) < -0.05 else 0.0
    frequencies = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    named = [frequency for frequency in frequencies if large or frequency in (0, 0.2, 0.4)] if pixel_size else []
    resolutions = tuple((f"{(pixel_size or 1.0) / each:.3g} Å" if each else "∞", each) for each in named)
    label = "cycles per pixel; resolution" if pixel_size else "cycles per pixel"
    return Chart(
        kind="fsc",
        x=Axis(
            f"spatial frequency, {label}" if large else label,
            (0, 0.5),
            [(f"{each:g}", each) for each in frequencies],
            below=resolutions,
        ),
        y=Axis("FSC with the truth", (floor, 1.01), _labelled(_ticks(floor, 1, 5 if large else 3))),
        lines=lines,
        thresholds=THRESHOLDS,
        large=large,
    )


def convergence(rows: Sequence[ConvergenceRow]) -> Chart | None:
    """Residuals of the anchor (the volume's own image) and of random views over the steps of Algorithm 1.

    Steps at which the number of views M grows are named with it. None without any step.
    """
    if not rows:
        return None
    chosen = [*rows[:: max(1, len(rows) // _POINTS)], rows[-1]]
    lines = [
        _finite("view", "random views", [(row.step, row.view_residual) for row in chosen]),
        _finite("anchor", "anchor", [(row.step, row.anchor_residual) for row in chosen]),
    ]
    first, last = rows[0].step, rows[-1].step
    x_range = (float(first), float(max(last, first + 1)))
    grown = [row for place, row in enumerate(rows) if place == 0 or row.views != rows[place - 1].views]
    return Chart(
        kind="convergence",
        x=Axis("step", x_range, _labelled(_ticks(*x_range, 4))),
        y=_residual_axis([value for line in lines for value in line.y if value > 0] or [1.0]),
        lines=[line for line in lines if line.x],
        steps=tuple((f"{row.views}", float(row.step)) for row in grown),
    )


def _residual_axis(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    if high <= _LOG_FROM * low:
        ticks = _ticks(0, high * 1.05, 4)
        return Axis("residual", (0.0, max(high * 1.05, ticks[-1])), _labelled(ticks))
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1)]
    return Axis(
        "residual", (powers[0], max(high * 1.05, powers[-1])), _labelled(powers[:: max(1, len(powers) // 6)]), log=True
    )


def training_loss(rows: Sequence[LossRow]) -> Chart | None:
    """Training loss against the images seen, both axes logarithmic; None without any."""
    line = _finite("volume", "training loss", [(row.images_seen, row.loss) for row in rows if row.loss > 0])
    if not rows:
        return None
    values = line.y or [1.0]
    return _log_chart("loss", "images seen", "loss", (min(values) * 0.9, max(values) * 1.1), [line])


def denoising_error(rows: Sequence[DenoisingRow]) -> Chart | None:
    """Denoising error of every denoiser against the noise level t, both axes logarithmic; None without any."""
    curves = denoising_curves(rows)
    if not curves:
        return None
    lines = [Line(_css(name), _DENOISING[name], list(curve), list(curve.values())) for name, curve in curves.items()]
    values = [error for line in lines for error in line.y]
    return _log_chart("errors", "noise level t", "denoising error", (min(values) * 0.85, max(values) * 1.15), lines)


def denoising_curves(rows: Sequence[DenoisingRow]) -> dict[str, dict[float, float]]:
    """Denoising error by noise level, of every column that has any."""
    columns = {
        name: {row.t: getattr(row, name) for row in rows if getattr(row, name) is not None} for name in _DENOISING
    }
    return {name: curve for name, curve in columns.items() if curve}


def _css(name: str) -> str:
    return name.replace("_", " ", 1).replace("_", "-")


def _finite(kind: str, name: str, points: Sequence[tuple[float, float]]) -> Line:
    good = [(float(x), y) for x, y in points if math.isfinite(y)]
    return Line(kind, name, [x for x, _ in good], [y for _, y in good])


def _log_chart(kind: str, x: str, y: str, y_range: tuple[float, float], lines: list[Line]) -> Chart:
    places = [place for line in lines for place in line.x] or [1.0]
    x_range = (min(places), max(max(places), min(places) * 1.01))
    return Chart(
        kind=kind,
        x=Axis(x, x_range, [(f"{tick:,g}", tick) for tick in _log_ticks(*x_range)], log=True),
        y=Axis(y, y_range, _labelled(_log_ticks(*y_range)), log=True),
        lines=[line for line in lines if line.x],
        large=True,
    )


def scree(rows: Sequence[ScreeRow]) -> Chart:
    """Variance of each principal component of the volumes beside the noise floor; logarithmic."""
    numbers = [float(row.component) for row in rows]
    values = [value for row in rows for value in (row.variance, row.noise_floor) if value > 0] or [1.0]
    low = max(min(values), 1e-7 * max(values)) / 1.5
    high = 1.5 * max(values)
    named = [number for number in numbers if number == 1 or number % 5 == 0]
    return Chart(
        kind="scree",
        x=Axis("principal component", (0.5, len(rows) + 0.5), _labelled(named)),
        y=Axis("variance", (low, high), _labelled(_log_ticks(low, high)), log=True),
        lines=[
            Line("floor", "noise floor (replicates)", numbers, [row.noise_floor for row in rows]),
            Line("volume", "volumes", numbers, [row.variance for row in rows], dots=True),
        ],
        large=True,
    )


class Spread(NamedTuple):
    """Values along one axis of a scatter, as shares of that axis."""

    name: str
    places: list[float]  # of each value, from 0 to 1
    ticks: list[Tick]


class Point(NamedTuple):
    """A volume in a scatter."""

    image: int
    state: int  # from 1
    label: str  # of its reliability; empty without one


class Scatter(NamedTuple):
    """Volumes as points; the first two axes are those that they are shown along at first."""

    points: list[Point]
    axes: list[Spread]
    states: Mapping[int, int]  # volumes by the number of their state

    @property
    def x(self) -> Spread:
        """From left to right."""
        return self.axes[0]

    @property
    def y(self) -> Spread:
        """From below to above."""
        return self.axes[min(1, len(self.axes) - 1)]


def scatter(run: Run, landscape: Landscape) -> Scatter:
    """Every volume along the modes and components of its landscape."""
    labels = {volume.number: volume.reliability.label for volume in run.volumes if volume.reliability}
    return Scatter(
        points=[Point(row.image, row.state, labels.get(row.image, "")) for row in landscape.rows],
        axes=[_spread(axis.name, axis.values) for axis in landscape_axes(landscape)],
        states={row.state: row.volumes for row in landscape.states},
    )


def _spread(name: str, values: Sequence[float]) -> Spread:
    """Values on an axis that holds them all, with a little space around."""
    pad = 0.06 * ((max(values) - min(values)) or 1.0)
    low, high = min(values) - pad, max(values) + pad
    ticks = [(f"{tick:g}", round((tick - low) / (high - low), 4)) for tick in _ticks(low, high, 5)]
    return Spread(name, [round((value - low) / (high - low), 4) for value in values], ticks)


def _labelled(ticks: Sequence[float]) -> list[Tick]:
    return [(f"{tick:g}", tick) for tick in ticks]


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    raw = (high - low) / about or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from low to high, or the powers alone where those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]
    decades = [tick for tick in fine if math.log10(tick) % 1 == 0]
    return decades if len(fine) > 8 else fine
