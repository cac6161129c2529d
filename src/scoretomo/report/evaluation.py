"""Volumes against the truth: FSC of all, and the conformation gain."""

from typing import NamedTuple

from ..graphics import charts, svg
from ..rundir.results import Run

_FRAME = svg.Frame(560, 100, 24, 0, 24, 0)
_APART = 300  # between the ends of the ruler, from which their names fit on one line


class Place(NamedTuple):
    """A mean FSC on the ruler of the conformation gain."""

    fsc: float
    x: float
    anchor: str  # of its name: start | middle | end


class Gain(NamedTuple):
    """The conformation gain, and its ruler: best single map, these volumes, perfect volumes."""

    value: float
    frame: svg.Frame
    single: Place
    volumes: Place
    perfect: Place
    one_line: bool


class EvaluationSection(NamedTuple):
    """The section about volumes and their truth."""

    fsc: charts.Chart
    gain: Gain | None


def evaluation_section(run: Run) -> EvaluationSection | None:
    """The section about the volumes of a run and their truth; None without one."""
    return EvaluationSection(charts.fsc_overview(run), _gain(run)) if run.fsc_results else None


def _gain(run: Run) -> Gain | None:
    evaluation = run.evaluation
    if evaluation is None or evaluation.conformation_gain is None:
        return None
    single, ceiling = evaluation.single_map_mean_fsc or 0.0, evaluation.ceiling_mean_fsc or 1.0
    low, high = min(single, evaluation.mean_fsc), max(ceiling, evaluation.mean_fsc)
    pad = 0.12 * ((high - low) or 1.0)
    axis = charts.Axis("mean FSC", (low - pad, high + pad), [])
    at = {value: _FRAME.at_x(svg.share(value, axis)) for value in (single, evaluation.mean_fsc, ceiling)}
    middle = _FRAME.width / 2
    return Gain(
        value=evaluation.conformation_gain,
        frame=_FRAME,
        single=Place(single, at[single], "start" if at[single] < middle else "middle"),
        volumes=Place(evaluation.mean_fsc, at[evaluation.mean_fsc], "middle"),
        perfect=Place(ceiling, at[ceiling], "end" if at[ceiling] > middle else "middle"),
        one_line=at[ceiling] - at[single] > _APART,
    )
