"""Curves as inline SVG; colours and fonts come from the page's style sheet, so they follow light and dark."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup


class Axes(NamedTuple):
    """Where data lie on a chart: plot area in SVG units, and the ranges shown."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int
    x: tuple[float, float]
    y: tuple[float, float]
    log_y: bool = False
    log_x: bool = False

    def at_x(self, value: float) -> float:
        low, high = self.x
        if self.log_x:
            value, low, high = (math.log10(v) for v in (value, low, high))
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def at_y(self, value: float) -> float:
        low, high = self.y
        if self.log_y:
            value, low, high = (math.log10(max(v, self.y[0])) for v in (value, low, high))
        part = min(max((value - low) / ((high - low) or 1), 0), 1)
        return self.height - self.bottom - part * (self.height - self.top - self.bottom)

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        return "M" + "L".join(f"{self.at_x(x):.1f} {self.at_y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    raw = (high - low) / about or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{Markup.escape(text)}</text>'


def _y_axis(axes: Axes, ticks: Sequence[float]) -> list[str]:
    return [
        f'<path class="grid" d="M{axes.left} {axes.at_y(t):.1f}H{axes.width - axes.right}"/>'
        + _text(axes.left - 7, axes.at_y(t) + 4, f"{t:g}", "tick", "end")
        for t in ticks
    ]


def _svg(axes: Axes, label: str, parts: Sequence[str], kind: str) -> Markup:
    title = Markup.escape(label)
    return Markup(
        f'<svg class="chart {kind}" viewBox="0 0 {axes.width} {axes.height}" role="img" aria-label="{title}">'
        + "".join(parts)
        + "</svg>"
    )


def fsc_chart(
    curves: Mapping[int, Sequence[float]],
    mean: Sequence[float] | None,
    size: int,
    pixel_size: float | None,
    *,
    label: str,
    large: bool = False,
) -> Markup:
    """FSC against spatial frequency, in cycles per pixel and, if the pixel size is known, in Å.

    Args:
        curves: FSC at shells 0 … size // 2 of each image's volume.
        mean: the mean over all volumes, drawn thick (behind a single curve: thin).
        size: side of the volumes in voxels.
        pixel_size: Å per voxel.
        label: what a screen reader says.
        large: the overview of all volumes rather than the chart of one.
    """
    lowest = min([0.0, *(value for curve in curves.values() for value in curve[1:])])
    floor = -0.2 if lowest < -0.05 else 0.0
    width, height = (480, 320) if large else (300, 215)
    axes = Axes(width, height, 40, 12, 14, 58 if pixel_size else 42, (0, 0.5), (floor, 1))
    parts = _y_axis(axes, _ticks(floor, 1, 5 if large else 3))
    for frequency in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        x, base = axes.at_x(frequency), height - axes.bottom
        parts.append(_text(x, base + 17, f"{frequency:g}", "tick"))
        if pixel_size and (large or frequency in (0, 0.2, 0.4)):
            parts.append(_text(x, base + 33, f"{pixel_size / frequency:.3g} Å" if frequency else "∞", "tick second"))
    unit = "cycles per pixel; resolution" if pixel_size else "cycles per pixel"
    parts.append(_text(axes.at_x(0.25), height - 6, f"spatial frequency, {unit}" if large else unit, "axis"))
    for threshold in (0.5, 0.143):
        y = axes.at_y(threshold)
        parts.append(f'<path class="threshold" d="M{axes.left} {y:.1f}H{width - axes.right}"/>')
        parts.append(_text(axes.left + 5, y - 5, f"{threshold}", "threshold", "start"))

    def line(curve: Sequence[float], kind: str, extra: str = "") -> str:
        path = axes.path([shell / size for shell in range(len(curve))], [1.0, *curve[1:]])
        return f'<path class="{kind}"{extra} d="{path}"/>'

    if mean is not None and not large:
        parts.append(line(mean, "curve mean behind"))
    kind = "curve one" if not large else ("curve each many" if len(curves) > 40 else "curve each")
    parts += [line(curve, kind, f' data-image="{number}"') for number, curve in curves.items()]
    if mean is not None and large:
        parts.append(line(mean, "curve mean"))
    return _svg(axes, label, parts, "fsc")


def convergence_chart(rows: Sequence[Mapping[str, str]], *, label: str) -> Markup:
    """Residuals of the anchor (the volume's own image) and of the random views over the steps of Algorithm 1.

    The axis is logarithmic where the residuals span more than a factor of 50. Steps at which the number of views grows are
    marked with that number.
    """
    thin = max(1, len(rows) // 120)
    chosen = [*rows[::thin], rows[-1]]
    steps = [float(row["step"]) for row in chosen]
    series = {name: [float(row[name]) for row in chosen] for name in ("view_residual", "anchor_residual")}
    values = [value for curve in series.values() for value in curve if math.isfinite(value) and value > 0] or [1.0]
    low, high = min(values), max(values)
    log = high > 50 * low
    if log:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
    ticks = [10.0**k for k in range(round(math.log10(low)), round(math.log10(high)) + 1)] if log else _ticks(0, high * 1.05, 4)
    x_range = (steps[0], max(steps[-1], steps[0] + 1))
    y_range = (low if log else 0.0, max(high * 1.05, ticks[-1]))
    axes = Axes(300, 215, 44, 24, 14, 42, x_range, y_range, log)
    parts = _y_axis(axes, ticks[:: max(1, len(ticks) // 6)])
    parts += [_text(axes.at_x(t), axes.height - axes.bottom + 17, f"{t:g}", "tick") for t in _ticks(*axes.x, 4)]
    parts.append(_text(axes.at_x(sum(axes.x) / 2), axes.height - 6, "step", "axis"))
    parts.append(_text(axes.left, axes.top - 8, "M =", "tick", "end"))
    views = None
    for row in rows:
        if row["views"] != views:
            views = row["views"]
            x = axes.at_x(float(row["step"]))
            parts.append(f'<path class="mark" d="M{x:.1f} {axes.top - 4}V{axes.height - axes.bottom}"/>')
            parts.append(_text(x + 3, axes.top - 8, f"{views}", "tick", "start"))
    for name, curve in series.items():
        good = [(step, value) for step, value in zip(steps, curve, strict=True) if math.isfinite(value)]
        if good:
            parts.append(f'<path class="curve {name.split("_")[0]}" d="{axes.path(*zip(*good, strict=True))}"/>')
    return _svg(axes, label, parts, "convergence")


def loss_chart(rows: Sequence[Mapping[str, str]], *, label: str) -> Markup:
    """Training loss against the images seen, both axes logarithmic."""
    seen = [float(row["images_seen"]) for row in rows]
    loss = [float(row["loss"]) for row in rows]
    good = [(x, y) for x, y in zip(seen, loss, strict=True) if math.isfinite(y) and y > 0] or [(1.0, 1.0)]
    values = [y for _, y in good]
    return _log_chart({"one": good}, (min(values) * 0.9, max(values) * 1.1), "images seen", label, "loss")


def error_chart(curves: Mapping[str, Sequence[tuple[float, float]]], *, label: str) -> Markup:
    """Denoising error against the noise level t, both axes logarithmic.

    Args:
        curves: (t, error) by the class of its curve in the style sheet.
        label: what a screen reader says.
    """
    values = [error for curve in curves.values() for _, error in curve]
    return _log_chart(curves, (min(values) * 0.85, max(values) * 1.15), "noise level t", label, "errors")


def _log_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], y_range: tuple[float, float], axis: str, label: str, kind: str
) -> Markup:
    places = [x for curve in curves.values() for x, _ in curve]
    x_range = (min(places), max(max(places), min(places) * 1.01))
    axes = Axes(480, 300, 48, 12, 16, 42, x_range, y_range, log_y=True, log_x=True)
    parts = _y_axis(axes, _log_ticks(*y_range))
    for tick in _log_ticks(*x_range):
        parts.append(_text(axes.at_x(tick), axes.height - axes.bottom + 17, f"{tick:,g}", "tick"))
    parts.append(_text((axes.left + axes.width - axes.right) / 2, axes.height - 6, axis, "axis"))
    parts += [f'<path class="curve {name}" d="{axes.path(*zip(*curve, strict=True))}"/>' for name, curve in curves.items()]
    return _svg(axes, label, parts, kind)


def scree_chart(components: Sequence[tuple[float, float]], *, label: str) -> Markup:
    """Variance of each principal component beside that which chance gives, (variance, chance) each; logarithmic.

    Args:
        components: the first one first.
        label: what a screen reader says.
    """
    values = [value for pair in components for value in pair if value > 0] or [1.0]
    low, high = max(min(values), 1e-7 * max(values)) / 1.5, 1.5 * max(values)
    axes = Axes(480, 300, 58, 12, 16, 42, (0.5, len(components) + 0.5), (low, high), log_y=True)
    numbers = range(1, len(components) + 1)
    parts = _y_axis(axes, _log_ticks(low, high))
    parts += [_text(axes.at_x(k), axes.height - axes.bottom + 17, f"{k}", "tick") for k in numbers if k == 1 or k % 5 == 0]
    parts.append(_text((axes.left + axes.width - axes.right) / 2, axes.height - 6, "principal component", "axis"))
    for name, place in (("view", 1), ("one", 0)):
        parts.append(f'<path class="curve {name}" d="{axes.path(list(numbers), [pair[place] for pair in components])}"/>')
    parts += [
        f'<circle class="dot" cx="{axes.at_x(k):.1f}" cy="{axes.at_y(pair[0]):.1f}" r="3.5"/>'
        for k, pair in zip(numbers, components, strict=True)
    ]
    return _svg(axes, label, parts, "scree")


class Spread(NamedTuple):
    """Values along one axis of a scatter: names and places are all that the page needs to draw it."""

    name: str
    places: list[float]  # of each value, from 0 to 1
    ticks: list[tuple[str, float]]  # label, place


def spread(name: str, values: Sequence[float]) -> Spread:
    """Values on an axis that holds them all, with a little space around."""
    pad = 0.06 * ((max(values) - min(values)) or 1.0)
    low, high = min(values) - pad, max(values) + pad
    ticks = [(f"{tick:g}", round((tick - low) / (high - low), 4)) for tick in _ticks(low, high, 5)]
    return Spread(name, [round((value - low) / (high - low), 4) for value in values], ticks)


SCATTER = Axes(560, 440, 44, 12, 16, 42, (0, 1), (0, 1))


def scatter_chart(points: Sequence[tuple[int, int, str, str]], x: Spread, y: Spread, *, label: str) -> Markup:
    """Volumes as points that lead to them; page scripts move them to other axes.

    Args:
        points: number of the image, number of the state from 1, a word for its colour if there is one, what a screen reader says.
        x: where the points are, left to right.
        y: and from below to above.
        label: what a screen reader says of the whole.
    """
    parts = ['<g class="ticks">']
    for text, place in y.ticks:
        parts.append(f'<path class="grid" d="M{SCATTER.left} {SCATTER.at_y(place):.1f}H{SCATTER.width - SCATTER.right}"/>')
        parts.append(_text(SCATTER.left - 7, SCATTER.at_y(place) + 4, text, "tick", "end"))
    parts += [_text(SCATTER.at_x(place), SCATTER.height - SCATTER.bottom + 17, text, "tick") for text, place in x.ticks]
    parts.append("</g>")
    parts.append(_text((SCATTER.left + SCATTER.width - SCATTER.right) / 2, SCATTER.height - 6, x.name, "axis x"))
    parts.append(_text(SCATTER.left + 4, SCATTER.top + 10, y.name, "axis y", "start"))
    for (number, state, word, said), across, up in zip(points, x.places, y.places, strict=True):
        kinds = f"volume state-{state}" + (f" {word.replace(' ', '-')}" if word else "")
        parts.append(
            f'<a href="#image-{number}" aria-label="{Markup.escape(said)}"><circle class="{kinds}" data-number="{number}" '
            f'data-state="{state}" cx="{SCATTER.at_x(across):.1f}" cy="{SCATTER.at_y(up):.1f}" r="5"/></a>'
        )
    parts.append('<circle class="here" r="9" hidden="hidden"/>')
    return _svg(SCATTER, label, parts, "scatter").replace(Markup(' role="img"'), Markup(' role="group"'))


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from low to high, or the powers alone where those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]
    decades = [tick for tick in fine if math.log10(tick) % 1 == 0]
    return decades if len(fine) > 8 else fine


def gain_scale(single_map: float, mean: float, ceiling: float) -> Markup:
    """The conformation gain as a ruler: best single map, these volumes, perfect volumes."""
    low, high = min(single_map, mean), max(ceiling, mean)
    pad = 0.12 * ((high - low) or 1.0)
    axes = Axes(560, 100, 24, 0, 24, 0, (low - pad, high + pad), (0, 1))
    at = {name: axes.at_x(value) for name, value in (("single", single_map), ("mean", mean), ("ceiling", ceiling))}
    apart = at["ceiling"] - at["single"] > 300
    parts = [
        f'<path class="ruler" d="M{axes.left} 46H{axes.width - axes.right}"/>',
        f'<path class="gain" d="M{at["single"]:.1f} 46H{at["mean"]:.1f}"/>',
        f'<path class="end" d="M{at["single"]:.1f} 39v14M{at["ceiling"]:.1f} 39v14"/>',
        f'<circle class="here" cx="{at["mean"]:.1f}" cy="46" r="7"/>',
        _text(at["mean"], 26, f"these volumes {mean:.3f}", "here"),
        _text(at["single"], 74, f"best single map {single_map:.3f}", "tick", "start" if at["single"] < 280 else "middle"),
        _text(at["ceiling"], 74 if apart else 92, f"perfect {ceiling:.3f}", "tick", "end" if at["ceiling"] > 280 else "middle"),
    ]
    label = f"Mean FSC of the best single map {single_map:.3f}, of these volumes {mean:.3f}, of perfect volumes {ceiling:.3f}"
    return _svg(axes, label, parts, "gain-ruler")
