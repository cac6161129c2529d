"""All comparisons of an evaluation together: means, the conformation gain, and a table in the terminal."""

import math
import statistics
from collections.abc import Sequence

from rich.table import Table

from ..evaluation import conformation_gain
from ..monitor.progress import console, print_warning
from ..rundir.rows import Agreement, Comparison, EvaluationSummary
from ..wording import resolution
from .comparison_remarks import each_once

_SHOWN = 20  # rows in the terminal


def summarise(comparisons: Sequence[Comparison]) -> EvaluationSummary:
    """Means over all comparisons and, where every one has its bounds, the conformation gain."""
    first = comparisons[0]
    results = [comparison.result for comparison in comparisons]
    fsc, auc = (statistics.mean(getattr(result, name) for result in results) for name in ("mean_fsc", "auc"))
    summary = EvaluationSummary(
        n=len(comparisons),
        mean_fsc=fsc,
        auc=auc,
        unit="Å" if first.pixel_size else "px",
        size=first.size,
        pixel_size=first.pixel_size,
        notes=tuple(each_once(comparisons)),
    )
    curves = [comparison.curve for comparison in comparisons]
    if len({len(curve) for curve in curves}) == 1:
        summary = summary._replace(mean_curve=tuple(statistics.mean(values) for values in zip(*curves, strict=True)))
    singles = [comparison.single_map for comparison in comparisons if comparison.single_map]
    ceilings = [comparison.ceiling for comparison in comparisons if comparison.ceiling]
    return summary if len(ceilings) < len(comparisons) else _with_gain(summary, _mean(singles), _mean(ceilings))


def _mean(agreements: Sequence[Agreement]) -> Agreement:
    return Agreement(*(statistics.mean(values) for values in zip(*agreements, strict=True)))


def _with_gain(summary: EvaluationSummary, single: Agreement, ceiling: Agreement) -> EvaluationSummary:
    """The summary with the means of the best single map and of interpolated truths, and the gain, if there is room."""
    gain = conformation_gain(summary.mean_fsc, single.mean_fsc, ceiling.mean_fsc)
    gain_auc = conformation_gain(summary.auc, single.auc, ceiling.auc)
    return summary._replace(
        single_map_mean_fsc=single.mean_fsc,
        ceiling_mean_fsc=ceiling.mean_fsc,
        conformation_gain=None if math.isnan(gain) else gain,
        single_map_auc=single.auc,
        ceiling_auc=ceiling.auc,
        conformation_gain_auc=None if math.isnan(gain_auc) else gain_auc,
    )


def show(comparisons: Sequence[Comparison], summary: EvaluationSummary) -> None:
    """Print FSC results as a table, and the means."""
    for note in summary.notes:
        print_warning(note)
    console.print(_table(comparisons[:_SHOWN], summary))
    if len(comparisons) > _SHOWN:
        console.print(f"and {len(comparisons) - _SHOWN} more in fsc.csv")
    if len(comparisons) > 1:
        console.print(f"mean of {len(comparisons)}: mean FSC {summary.mean_fsc:.3f}, AUC {summary.auc:.3f}")
    if len({comparison.result.hand for comparison in comparisons}) > 1:
        console.print(
            "the hand differs: of maps in one frame, one that differs alone may be wrong, "
            "unless the object is its own mirror image"
        )
    if summary.conformation_gain is not None:
        console.print(
            f"best single map {summary.single_map_mean_fsc:.3f}, "
            f"truth after interpolation {summary.ceiling_mean_fsc:.3f}: "
            f"conformation gain {summary.conformation_gain:+.2f} (0 is one rigid map, 1 is perfect)"
        )


def _table(comparisons: Sequence[Comparison], summary: EvaluationSummary) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in ("map", "mean FSC", "AUC", f"FSC 0.5 ({summary.unit})", f"FSC 0.143 ({summary.unit})", "hand"):
        table.add_column(heading, justify="right")
    for result in (comparison.result for comparison in comparisons):
        table.add_row(
            str(result.image),
            f"{result.mean_fsc:.3f}",
            f"{result.auc:.3f}",
            resolution(result.resolution_0_5, summary.pixel_size),
            resolution(result.resolution_0_143, summary.pixel_size),
            result.hand,
        )
    return table
