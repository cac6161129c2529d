"""The table of all volumes: how far to believe each, and why."""

import statistics
from typing import NamedTuple

from .results import Run, Volume
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
    reason: str | None  # where all have the same and no number
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
    told = calibrated(run)
    reasons = {volume.trust.reason for volume in done if volume.trust}
    return Table(
        rows=rows,
        states=sorted(set(states.values())) if len(set(states.values())) > 1 else [],
        words=[word for word in WORDS if word in found],
        reason=reasons.pop() if len(reasons) == 1 and not told else None,
        motions=max((len(shares) for shares in seen), default=0),
        calibrated=told,
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
    """What was expected of volumes beside their truth; None if none is known."""
    size, pixel_size = run.fsc_grid
    pairs = []
    for volume in run.with_status("done"):
        trust, score = volume.trust, volume.score
        if trust and score and trust.expected is not None and trust.low is not None and trust.high is not None and trust.down_to:
            shells = round(size * (pixel_size or 1.0) / trust.down_to)
            found = statistics.fmean(score.curve[1 : shells + 1])
            pairs.append((trust.expected, found, trust.low <= found <= trust.high))
    if not pairs:
        return None
    expected, found = (statistics.fmean(pair[place] for pair in pairs) for place in (0, 1))
    return Kept(len(pairs), sum(inside for *_, inside in pairs), expected, found)


def _number(volume: Volume, name: str) -> float | None:
    return float(volume.row[name]) if volume.row.get(name) else None
