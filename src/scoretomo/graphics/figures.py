"""Figures for a publication: the sizes of journals, text as text, surfaces as pictures inside."""

from __future__ import annotations  # matplotlib, of the extra, is imported where it draws

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from ..files import atomic
from ..rundir.results import Run
from . import charts, colours, movies, shading, surfaces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SINGLE, DOUBLE = 88.0, 180.0  # width of one column, and of both, in mm
SURFACES = 6  # along a trajectory
SURFACE_SIDE = 480  # pixels of a surface: 400 per inch and more where it is printed
VIEWS = {"from the front": 0.0, "from its side": 90.0, "from behind": 180.0}  # degrees about the upright axis

_LINES: dict[str, dict[str, Any]] = {  # by the kind of a line
    "volume": {"color": colours.VOLUME},
    "floor": {"color": colours.OTHER, "linestyle": "--"},
    "each": {"color": colours.VOLUME, "linewidth": 0.5},
    "mean": {"color": colours.INK, "linewidth": 1.5},
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 7,
    "text.color": colours.INK,
    "axes.labelcolor": colours.INK,
    "axes.edgecolor": colours.SOFT,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": colours.SOFT,
    "ytick.color": colours.SOFT,
    "xtick.labelcolor": colours.INK,
    "ytick.labelcolor": colours.INK,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "ytick.minor.width": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # text stays text, its font inside
    "svg.fonttype": "none",
    "svg.hashsalt": "scoretomo",
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as .pdf and .svg; the same figure gives the same files."""
    with _styled():
        for suffix, dated in ((".pdf", "CreationDate"), (".svg", "Date")):
            with atomic(path.with_suffix(suffix)) as temporary:
                figure.savefig(temporary, format=suffix[1:], metadata={dated: None})


def draw_charts(run: Run) -> dict[str, Figure]:
    """Figures of curves and points by their names, those for which a run has numbers."""
    replicates = [
        volume.row.replicate_fsc for volume in run.volumes if volume.row and volume.row.replicate_fsc is not None
    ]
    drawn: dict[str, Figure] = {}
    with _styled():
        if run.landscape:
            drawn["scree"] = _chart(charts.scree(run.landscape.scree), 60)
            drawn["landscape"] = _scatter(charts.scatter(run, run.landscape))
        if replicates:
            drawn["replicates"] = _replicates(replicates)
        if run.fsc_results:
            drawn["fsc"] = _chart(charts.fsc_overview(run), 68)
    return drawn


def _styled() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    return rc_context(_STYLE)


def _figure(width: float, height: float) -> Figure:
    """An empty figure, its sides in mm."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 25.4, height / 25.4))


def _whole_numbers(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def _chart(chart: charts.Chart, height: float) -> Figure:
    """A chart in one column, its height in mm."""
    figure = _figure(SINGLE, height)
    axes = figure.add_subplot()
    for line in chart.lines:
        kind = line.kind.split()[0]
        same = sum(other.kind == line.kind for other in chart.lines)
        faint = min(1.0, max(0.08, 6 / same)) if kind == "each" else 1.0
        label = "" if kind == "each" else line.name
        axes.plot(
            line.x,
            line.y,
            marker="o" if line.dots else "",
            ms=3,
            alpha=faint,
            label=label,
            **_LINES[kind],
        )
    _lay(axes, chart.x, "x")
    _lay(axes, chart.y, "y")
    for threshold in chart.thresholds:
        axes.axhline(threshold, color=colours.SOFT, linewidth=0.5, linestyle=":")
        place = (chart.x.range[1], threshold)
        axes.annotate(f"{threshold}", place, (0, 1.5), textcoords="offset points", ha="right", color=colours.SOFT)
    if any(line.kind.split()[0] != "each" for line in chart.lines):
        axes.legend(loc="lower left" if chart.thresholds else "best")
    return figure


def _lay(axes: Axes, axis: charts.Axis, side: Literal["x", "y"]) -> None:
    """Label, range and ticks along a side of a figure: x or y."""
    below = {place: label for label, place in axis.below}
    labels = [f"{label}\n{below[place]}" if place in below else label for label, place in axis.ticks]
    if axis.log:
        axes.set(**{f"{side}scale": "log"})
    axes.set(**{f"{side}lim": axis.range, f"{side}label": axis.label})
    axes.set(**{f"{side}ticks": [place for _, place in axis.ticks], f"{side}ticklabels": labels})
    if axis.log:
        axes.tick_params(axis=side, which="minor", labelbottom=False, labelleft=False)


def _scatter(scatter: charts.Scatter) -> Figure:
    """Volumes along two modes, each in the colour of its state."""
    figure = _figure(SINGLE, 75)
    axes = figure.add_subplot()
    for state, colour in zip(scatter.states, colours.STATES, strict=False):
        inside = [place for place, point in enumerate(scatter.points) if point.state == state]
        x, y = ([axis.places[place] for place in inside] for axis in (scatter.x, scatter.y))
        axes.scatter(x, y, s=9, color=colour, edgecolor="white", linewidth=0.3, label=f"{state}  ({len(inside)})")
    _lay(axes, charts.Axis(scatter.x.name, (0, 1), scatter.x.ticks), "x")
    _lay(axes, charts.Axis(scatter.y.name, (0, 1), scatter.y.ticks), "y")
    if len(scatter.states) > 1:
        figure.legend(loc="outside right upper", title="state (volumes)", handletextpad=0.1)
    return figure


def _replicates(values: Sequence[float]) -> Figure:
    figure = _figure(SINGLE, 55)
    axes = figure.add_subplot()
    axes.hist(
        values,
        bins=min(30, max(5, round(len(values) ** 0.5) * 2)),
        color=colours.VOLUME,
        edgecolor="white",
        linewidth=0.4,
    )
    middle = float(np.median(values))
    axes.axvline(middle, color=colours.OTHER, linestyle="--")
    axes.annotate(
        f"median {middle:.3f}",
        (middle, 1),
        (-3, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
    )
    axes.set(xlabel="mean replicate FSC of a volume", ylabel="volumes")
    axes.locator_params(axis="x", nbins=5)
    _whole_numbers(axes.yaxis)
    return figure


def along_trajectory(scene: movies.Scene, trajectory: Tensor) -> Iterator[np.ndarray]:
    """Surfaces along a trajectory for `row`; arguments as of `movies.morph`."""
    for place in np.linspace(0, len(trajectory) - 1, SURFACES).round().astype(int):
        yield movies.picture(scene, trajectory[place], movies.turned(scene.view, 0), SURFACE_SIDE)


def three_views(scene: movies.Scene, density: Tensor) -> Iterator[np.ndarray]:
    """Surfaces of a volume from the sides of VIEWS, for `row`; arguments as of `movies.turntable`."""
    for angle in VIEWS.values():
        yield movies.picture(scene, density, movies.turned(scene.view, angle), SURFACE_SIDE)


def row(drawn: Sequence[np.ndarray], names: Sequence[str], scene: movies.Scene, box: float | None) -> Figure:
    """Surfaces side by side over both columns, with what their colours mean.

    Args:
        drawn: the pictures.
        names: what to write above each.
        scene: what they were drawn with.
        box: side of the box in Å: gives a scale bar; None without a pixel size.
    """
    top, bottom, left, right = _used(drawn)
    side = len(drawn[0]) / 2 / scene.reach  # of the box, in pixels
    with _styled():
        width = (DOUBLE - (14 if scene.paint is not None else 0)) / len(drawn)
        figure = _figure(DOUBLE, width * (bottom - top) / (right - left) + 9)
        places = [figure.add_subplot(1, len(drawn), k + 1) for k in range(len(drawn))]
        for axes, shown, name in zip(places, drawn, names, strict=True):
            axes.imshow(shown[top:bottom, left:right], interpolation="none")
            axes.set_axis_off()
            axes.set_title(name, fontsize=7)
        if box:
            _scale_bar(places[0], side / box)
        if scene.paint is not None:
            _legend_of_motion(figure, places)
        return figure


def _used(drawn: Sequence[np.ndarray]) -> tuple[int, int, int, int]:
    """First row and column, and those after the last, of what is not white in any of the pictures, with a margin."""
    dark = np.stack(drawn).min(axis=(0, 3)) < 255
    dark |= not dark.any()
    ys, xs = (dark.any(axis).nonzero()[0] for axis in (1, 0))
    margin = len(dark) // 24
    return (
        max(ys[0] - margin, 0),
        min(ys[-1] + 1 + margin, len(dark)),
        max(xs[0] - margin, 0),
        min(xs[-1] + 1 + margin, len(dark)),
    )


def _scale_bar(axes: Axes, pixels: float) -> None:
    """A bar of a round number of Å, at most a third of the picture long, below it; an Å is so many pixels."""
    about = 0.35 * axes.get_xlim()[1] / pixels
    length = next(m * 10.0**p for p in range(4, -3, -1) for m in (5, 2, 1) if m * 10.0**p <= about)
    low = axes.get_ylim()[0]
    axes.plot([0, length * pixels], [low, low], color=colours.INK, linewidth=1.5, solid_capstyle="butt", clip_on=False)
    axes.annotate(f"{length:g} Å", (0, low), (0, -2), textcoords="offset points", va="top")


def _legend_of_motion(figure: Figure, places: Sequence[Axes]) -> None:
    """The colours of moving and rigid parts, as they look in the light."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    ends = [surfaces.in_light(shading.PALE), surfaces.in_light(shading.ORANGE)]
    scale = ScalarMappable(Normalize(*shading.TINTED), LinearSegmentedColormap.from_list("motion", ends))
    bar = figure.colorbar(scale, ax=list(places), shrink=0.7, aspect=14, ticks=list(shading.TINTED))
    bar.ax.set_yticklabels(["rigid", "moving"])
    bar.outline.set_visible(False)
