"""Figures for a publication: the sizes of journals, text as text, surfaces as pictures inside."""

from __future__ import annotations  # matplotlib, of the extra, is imported where it draws

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..files import atomic
from ..rundir.results import Landscape, Run, landscape_axes
from ..wording import plain
from . import movies, surfaces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SINGLE, DOUBLE = 88.0, 180.0  # width of one column, and of both, in mm
SURFACES = 6  # along a motion
SURFACE_SIDE = 480  # pixels of a surface: 400 per inch and more where it is printed
VIEWS = {"from the front": 0.0, "from its side": 90.0, "from behind": 180.0}  # degrees about the upright axis

_INK, _SOFT, _VOLUME, _OTHER = "#1d2125", "#5c646c", "#2f6f9f", "#a9651a"
_STATES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # as in the page
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 7,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _SOFT,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
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


def charts(run: Run) -> dict[str, Figure]:
    """Figures of curves and points by their names, those for which a run has numbers."""
    replicas = [float(volume.row["replica_fsc"]) for volume in run.volumes if volume.row.get("replica_fsc")]
    drawn: dict[str, Figure] = {}
    with _styled():
        if run.landscape:
            drawn |= {"scree": _scree(run.landscape), "landscape": _scatter(run.landscape)}
        if replicas:
            drawn["replicas"] = _replicas(replicas)
        if run.scores:
            drawn["fsc"] = _fsc(run)
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


def _scree(found: Landscape) -> Figure:
    figure = _figure(SINGLE, 60)
    axes = figure.add_subplot()
    numbers = range(1, len(found.scree) + 1)
    axes.semilogy(numbers, [float(row["variance"]) for row in found.scree], "o-", color=_VOLUME, ms=3, label="volumes")
    axes.semilogy(numbers, [float(row["chance"]) for row in found.scree], "--", color=_OTHER, label="chance (replicas)")
    axes.set(xlabel="principal component", ylabel="variance")
    _whole_numbers(axes.xaxis)
    axes.legend()
    return figure


def _scatter(found: Landscape) -> Figure:
    """Volumes along two motions, each in the colour of its state."""
    figure = _figure(SINGLE, 75)
    axes = figure.add_subplot()
    names = (landscape_axes(found) * 2)[:2]
    for number, colour in enumerate(_STATES[: len(found.states)], start=1):
        places = np.array([[float(row[name]) for name in names] for row in found.rows if int(row["state"]) == number])
        label = f"{number}  ({len(places)})"
        axes.scatter(places[:, 0], places[:, 1], s=9, color=colour, edgecolor="white", linewidth=0.3, label=label)
    axes.set(xlabel=plain(names[0]), ylabel=plain(names[1]))
    if len(found.states) > 1:
        figure.legend(loc="outside right upper", title="state (volumes)", handletextpad=0.1)
    return figure


def _replicas(values: Sequence[float]) -> Figure:
    figure = _figure(SINGLE, 55)
    axes = figure.add_subplot()
    axes.hist(values, bins=min(30, max(5, round(len(values) ** 0.5) * 2)), color=_VOLUME, edgecolor="white", linewidth=0.4)
    middle = float(np.median(values))
    axes.axvline(middle, color=_OTHER, linestyle="--")
    axes.annotate(
        f"median {middle:.3f}", (middle, 1), (-3, 0), xycoords=("data", "axes fraction"), textcoords="offset points", ha="right"
    )
    axes.set(xlabel="mean FSC of the two replicas of a volume", ylabel="volumes")
    axes.locator_params(axis="x", nbins=5)
    _whole_numbers(axes.yaxis)
    return figure


def _fsc(run: Run) -> Figure:
    """FSC of every volume with its truth, and their mean."""
    figure = _figure(SINGLE, 65)
    axes = figure.add_subplot()
    size, pixel_size = run.fsc_grid
    curves = [[1.0, *score.curve[1:]] for score in run.scores]
    faint = min(1.0, max(0.08, 6 / len(curves)))
    for curve in curves:
        axes.plot(np.arange(len(curve)) / size, curve, color=_VOLUME, linewidth=0.5, alpha=faint)
    if len(curves) > 1 and len({len(curve) for curve in curves}) == 1:
        axes.plot(np.arange(len(curves[0])) / size, np.mean(curves, 0), color=_INK, linewidth=1.5, label=f"mean of {len(curves)}")
        axes.legend(loc="lower left")
    for threshold in (0.5, 0.143):
        axes.axhline(threshold, color=_SOFT, linewidth=0.5, linestyle=":")
        axes.annotate(f"{threshold}", (0.5, threshold), (0, 1.5), textcoords="offset points", ha="right", color=_SOFT)
    lowest = min(0.0, *(min(curve) for curve in curves))
    axes.set(xlim=(0, 0.5), ylim=(lowest, 1.01), ylabel="FSC with the truth")
    if pixel_size:
        ticks = np.arange(1, 6) / 10
        axes.set_xticks([0, *ticks], ["∞", *(f"{pixel_size / tick:.3g}" for tick in ticks)])
        axes.set_xlabel("resolution (Å)")
    else:
        axes.set_xlabel("spatial frequency (cycles per pixel)")
    return figure


def along_motion(scene: movies.Scene, way: Tensor) -> Iterator[np.ndarray]:
    """Surfaces along a motion for `row`; arguments as of `movies.morph`."""
    for place in np.linspace(0, len(way) - 1, SURFACES).round().astype(int):
        yield movies.picture(scene, way[place], movies.turned(scene.view, 0), SURFACE_SIDE)


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
        box: side of the box in Å, if it is known: gives a scale bar.
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
            _meaning(figure, places)
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
    axes.plot([0, length * pixels], [low, low], color=_INK, linewidth=1.5, solid_capstyle="butt", clip_on=False)
    axes.annotate(f"{length:g} Å", (0, low), (0, -2), textcoords="offset points", va="top")


def _meaning(figure: Figure, places: Sequence[Axes]) -> None:
    """The colours of what moves, as they look in the light."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = LinearSegmentedColormap.from_list("moves", [surfaces.in_light(surfaces.PALE), surfaces.in_light(surfaces.ORANGE)])
    scale = ScalarMappable(Normalize(surfaces.STILL, surfaces.MOST), colours)
    bar = figure.colorbar(scale, ax=list(places), shrink=0.7, aspect=14, ticks=[surfaces.STILL, surfaces.MOST])
    bar.ax.set_yticklabels(["still", "moves"])
    bar.outline.set_visible(False)
