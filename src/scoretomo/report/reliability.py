"""Reliability of the volumes: its table, its summary, and expected FSC beside that with the truth."""

import statistics
from collections import Counter
from typing import NamedTuple, get_args

from ..rundir.results import Run, Volume
from ..rundir.rows import Label, ReliabilityRow

LABELS: tuple[Label, ...] = get_args(Label)  # the best first


class TableRow(NamedTuple):
    """A volume in the table."""

    volume: Volume
    rank: int | None  # of its label: 0 for the best
    state: int | None
    outlier: bool  # no view matches its image, or the image is of class 2


class VolumeTable(NamedTuple):
    """The rows, and which columns have something in them."""

    rows: list[TableRow]
    states: list[int]
    labels: list[Label]
    common: ReliabilityRow | None  # where the same holds for all
    modes: int  # whose observability is given
    calibrated: bool
    outliers: bool
    replicates: bool
    truth: bool


class Measured(NamedTuple):
    """Expected FSC beside that with the truth."""

    volumes: int
    inside: int  # of them, in their interval
    expected: float  # means, in the shells of the expected FSC
    measured: float


class ReliabilitySummary(NamedTuple):
    """Reliability of all volumes."""

    volumes: int
    counts: dict[str, int]  # volumes by label, the best first
    calibrated: bool
    resolution: float | None  # down to which the expected FSC counts, in Å, or pixels of the run
    median: float | None  # expected FSC
    common: bool  # all have the same expected FSC
    measured: Measured | None


def volume_table(run: Run) -> VolumeTable | None:
    """Every finished volume; None if there is none."""
    done = run.with_status("done")
    if not done:
        return None
    states = {row.image: row.state for row in run.landscape.rows} if run.landscape else {}
    apart = {*run.consensus.outliers, *run.consensus.class_2} if run.consensus else set()
    rows = [_row(volume, states.get(volume.number), volume.number in apart) for volume in done]
    reliability = [volume.reliability for volume in done if volume.reliability]
    observed = [row.observability for row in reliability if any(share is not None for share in row.observability)]
    several = len(set(states.values())) > 1
    return VolumeTable(
        rows=rows,
        states=sorted(set(states.values())) if several else [],
        labels=[label for label in LABELS if any(row.label == label for row in reliability)],
        common=_common(reliability),
        modes=max(map(len, observed), default=0),
        calibrated=any(row.expected_fsc is not None for row in reliability),
        outliers=any(row.outlier for row in rows),
        replicates=any(volume.row is not None and volume.row.replicate_fsc is not None for volume in done),
        truth=any(volume.fsc for volume in done),
    )


def _row(volume: Volume, state: int | None, outlier: bool) -> TableRow:
    rank = LABELS.index(volume.reliability.label) if volume.reliability else None
    return TableRow(volume, rank, state, outlier)


def _common(rows: list[ReliabilityRow]) -> ReliabilityRow | None:
    """The first row, if expected FSC, label and reason are the same in all."""
    verdicts = {(row.expected_fsc, row.low, row.high, row.resolution, row.label, row.reason) for row in rows}
    return rows[0] if len(verdicts) == 1 and len(rows) > 1 else None


def reliability_summary(run: Run) -> ReliabilitySummary | None:
    """Reliability of all volumes of a run; None where it was not estimated."""
    rows = [volume.reliability for volume in run.volumes if volume.reliability]
    if not rows:
        return None
    counts = Counter(row.label for row in rows)
    expected = [row.expected_fsc for row in rows if row.expected_fsc is not None]
    return ReliabilitySummary(
        volumes=len(rows),
        counts={label: counts[label] for label in LABELS if counts[label]},
        calibrated=bool(expected),
        resolution=next((row.resolution for row in rows if row.resolution), None),
        median=statistics.median(expected) if expected else None,
        common=len(set(expected)) == 1,
        measured=_measured(run),
    )


def _measured(run: Run) -> Measured | None:
    """Expected FSC of volumes beside that with their truth; None if the truth lacks the shells of the expected FSC."""
    size, pixel_size = run.fsc_grid
    if not run.pixel_size:  # lengths are in pixels of the run
        pixel_size = 1.0 if size == run.size else None
    pairs = []
    for volume in run.with_status("done"):
        row, result = volume.reliability, volume.fsc
        if not (pixel_size and result and row and row.resolution):
            continue
        shells = round(size * pixel_size / row.resolution)
        if row.expected_fsc is not None and row.low is not None and row.high is not None and shells < len(result.curve):
            measured = statistics.fmean(result.curve[1 : shells + 1])
            pairs.append((row.expected_fsc, measured, row.low <= measured <= row.high))
    if not pairs:
        return None
    expected, measured = (statistics.fmean(pair[place] for pair in pairs) for place in (0, 1))
    return Measured(len(pairs), sum(inside for *_, inside in pairs), expected, measured)
