"""Charts as inline SVG; colours and fonts come from the page's style sheet, so they follow light and dark."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from .charts import Axis, Chart, Line


class Frame(NamedTuple):
    """Size of a picture and the margins around its plot area, in SVG units."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def base(self) -> int:
        """Lower end of the plot area."""
        return self.height - self.bottom

    @property
    def end(self) -> int:
        """Right end of the plot area."""
        return self.width - self.right

    @property
    def middle(self) -> float:
        """Middle of the plot area, from left to right."""
        return (self.left + self.end) / 2

    def at_x(self, share: float) -> float:
        """Where a share of the width is, from the left."""
        return self.left + share * (self.end - self.left)

    def at_y(self, share: float) -> float:
        """Where a share of the height is, from below."""
        return self.base - share * (self.base - self.top)


SCATTER = Frame(560, 440, 44, 12, 16, 42)


def draw(chart: Chart, label: str) -> Markup:
    """A chart as SVG.

    Args:
        chart: what to draw.
        label: for screen readers.
    """
    frame = _frame(chart)
    parts = [*_y_axis(chart.y, frame), *_x_axis(chart.x, frame), *_thresholds(chart, frame), *_steps(chart, frame)]
    for line in chart.lines:
        parts += _curve(line, chart, frame)
    title = Markup.escape(label)
    return Markup(
        f'<svg class="chart {chart.kind}" viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{title}">'
        + "".join(parts)
        + "</svg>"
    )


def share(value: float, axis: Axis) -> float:
    """Where a value is on its axis, from 0 to 1 within the range."""
    low, high = axis.range
    if axis.log:
        value, low, high = (math.log10(max(each, axis.range[0])) for each in (value, low, high))
    return (value - low) / ((high - low) or 1)


def _frame(chart: Chart) -> Frame:
    longest = max((len(label) for label, _ in chart.y.ticks), default=0)
    width, height = (480, 320 if chart.x.below else 300) if chart.large else (300, 215)
    return Frame(
        width=width,
        height=height,
        left=max(40, 16 + 8 * longest),
        top=24 if chart.steps else 12,
        right=16,
        bottom=58 if chart.x.below else 42,
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{Markup.escape(text)}</text>'


def _y_axis(axis: Axis, frame: Frame) -> list[str]:
    parts = []
    for label, place in axis.ticks:
        y = frame.at_y(share(place, axis))
        parts.append(f'<path class="grid" d="M{frame.left} {y:.1f}H{frame.end}"/>')
        parts.append(_text(frame.left - 7, y + 4, label, "tick", "end"))
    return parts


def _x_axis(axis: Axis, frame: Frame) -> list[str]:
    parts = [_text(frame.at_x(share(place, axis)), frame.base + 17, label, "tick") for label, place in axis.ticks]
    parts += [_text(frame.at_x(share(place, axis)), frame.base + 33, label, "tick") for label, place in axis.below]
    parts.append(_text(frame.middle, frame.height - 6, axis.label, "axis"))
    return parts


def _thresholds(chart: Chart, frame: Frame) -> list[str]:
    parts = []
    for threshold in chart.thresholds:
        y = frame.at_y(share(threshold, chart.y))
        parts.append(f'<path class="threshold" d="M{frame.left} {y:.1f}H{frame.end}"/>')
        parts.append(_text(frame.left + 5, y - 5, f"{threshold}", "threshold", "start"))
    return parts


def _steps(chart: Chart, frame: Frame) -> list[str]:
    parts = [_text(frame.left, frame.top - 8, "M =", "tick", "end")] if chart.steps else []
    for label, place in chart.steps:
        x = frame.at_x(share(place, chart.x))
        parts.append(f'<path class="mark" d="M{x:.1f} {frame.top - 4}V{frame.base}"/>')
        parts.append(_text(x + 3, frame.top - 8, label, "tick", "start"))
    return parts


def _curve(line: Line, chart: Chart, frame: Frame) -> list[str]:
    points = list(zip(_clipped(line.x, chart.x), _clipped(line.y, chart.y), strict=True))
    path = "M" + "L".join(f"{frame.at_x(x):.1f} {frame.at_y(y):.1f}" for x, y in points)
    whose = "" if line.image is None else f' data-image="{line.image}"'
    dots = [
        f'<circle class="dot" cx="{frame.at_x(x):.1f}" cy="{frame.at_y(y):.1f}" r="3.5"/>'
        for x, y in points
        if line.dots
    ]
    return [f'<path class="curve {line.kind}"{whose} d="{path}"/>', *dots]


def _clipped(values: Sequence[float], axis: Axis) -> list[float]:
    return [min(max(share(value, axis), 0), 1) for value in values]
