"""The table of all volumes: how far to believe each, and why; and what was expected of them beside their truth."""

import statistics
from typing import NamedTuple

from ..rundir.results import Run, Trust, Volume
from .words import WORDS, calibrated


class Row(NamedTuple):
    """What the table says of one volume."""

    volume: Volume
    rank: int | None  # of its word: 0 for the best
    state: int | None
    outlier: bool  # whether its image is one that no view explains, or that shows something else
    replica_fsc: float | None
    correlation: float | None


class Table(NamedTuple):
    """The rows, and which columns have something in them."""

    rows: list[Row]
    states: list[int]
    words: list[str]
    alike: Trust | None  # where the same holds for all
    motions: int  # of which it is known how much each view shows
    calibrated: bool
    outliers: bool
    replicas: bool
    truth: bool


def reliability_table(run: Run) -> Table | None:
    """Every volume that came out; None if none did."""
    done = run.with_status("done")
    if not done:
        return None
    states = {int(row["image"]): int(row["state"]) for row in run.landscape.rows} if run.landscape else {}
    strangers = {*run.shared.outliers, *run.shared.second} if run.shared else set()
    rows = [
        Row(
            volume=volume,
            rank=WORDS.index(volume.trust.word) if volume.trust else None,
            state=states.get(volume.number),
            outlier=volume.number in strangers,
            replica_fsc=_number(volume, "replica_fsc"),
            correlation=_number(volume, "anchor_correlation"),
        )
        for volume in done
    ]
    found = {volume.trust.word for volume in done if volume.trust}
    seen = [volume.trust.seen for volume in done if volume.trust and any(share is not None for share in volume.trust.seen)]
    verdicts = {volume.trust._replace(seen=()) for volume in done if volume.trust}
    return Table(
        rows=rows,
        states=sorted(set(states.values())) if len(set(states.values())) > 1 else [],
        words=[word for word in WORDS if word in found],
        alike=verdicts.pop() if len(verdicts) == 1 and len(done) > 1 else None,
        motions=max((len(shares) for shares in seen), default=0),
        calibrated=calibrated(run),
        outliers=any(row.outlier for row in rows),
        replicas=any(row.replica_fsc is not None for row in rows),
        truth=any(volume.score for volume in done),
    )


class Kept(NamedTuple):
    """How volumes did of which an FSC was expected, by a truth."""

    volumes: int
    inside: int  # of them, in their interval
    expected: float  # means, in the shells that were judged
    found: float


def promise_kept(run: Run) -> Kept | None:
    """What was expected of volumes beside their truth; None if none is known in the shells that were judged."""
    size, pixel_size = run.fsc_grid
    if not run.pixel_size:  # lengths are in pixels of the run
        pixel_size = 1.0 if size == run.size else None
    pairs = []
    for volume in run.with_status("done"):
        trust, score = volume.trust, volume.score
        if not (pixel_size and score and trust and trust.down_to):
            continue
        shells = round(size * pixel_size / trust.down_to)
        if trust.expected is not None and trust.low is not None and trust.high is not None and shells < len(score.curve):
            found = statistics.fmean(score.curve[1 : shells + 1])
            pairs.append((trust.expected, found, trust.low <= found <= trust.high))
    if not pairs:
        return None
    expected, found = (statistics.fmean(pair[place] for pair in pairs) for place in (0, 1))
    return Kept(len(pairs), sum(inside for *_, inside in pairs), expected, found)


def _number(volume: Volume, name: str) -> float | None:
    return float(volume.row[name]) if volume.row.get(name) else None
