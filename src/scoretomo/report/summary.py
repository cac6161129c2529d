"""The head of the page: how many images and volumes there are, and the notes of the import."""

import math
import re
import statistics
from typing import NamedTuple

from ..rundir.results import Run, Volume, seconds_taken
from ..rundir.rows import Verdict

_EXCLUDED = re.compile(r"(image )?\d+ (more images )?excluded: ")  # notes that the table of images has, too


class Range(NamedTuple):
    """Values of several volumes."""

    mean: float
    low: float
    high: float


class Summary(NamedTuple):
    """The run in numbers."""

    images: int  # in the stack
    selected: int
    included: list[int]  # numbers of images, here and below
    excluded: list[int]
    requested: list[int]
    done: list[int]
    diverged: list[int]
    missing: list[int]
    common_frame: bool
    seconds: float | None  # for everything; None if an interrupted session left some unrecorded
    seconds_per_volume: float | None
    fsc: Range | None  # mean FSC with the truth
    resolution: float | None  # median, at FSC 0.5
    anchor_correlation: float | None  # median


class Reason(NamedTuple):
    """Images that share a reason or a warning."""

    text: str
    images: list[int]


class Notes(NamedTuple):
    """What there is to report about the images."""

    excluded: list[Reason]
    warned: list[Reason]
    others: list[str]  # of the import, and of the evaluation


def summary_of(run: Run) -> Summary:
    """The run in numbers."""
    selected = [image for image in run.images if image.selected]
    done = run.with_status("done")
    correlations = [volume.row.anchor_correlation for volume in done if volume.row]
    correlations = [value for value in correlations if math.isfinite(value)]
    rows = [result.row for result in run.fsc_results]
    values = [row.mean_fsc for row in rows]
    return Summary(
        images=len(run.images),
        selected=len(selected),
        included=[image.number for image in selected if image.pixels is not None],
        excluded=[image.number for image in selected if image.pixels is None],
        requested=[volume.number for volume in run.volumes],
        done=_numbers(done),
        diverged=_numbers(run.with_status("diverged")),
        missing=_numbers(run.with_status("missing")),
        common_frame=any(volume.pose for volume in run.volumes),
        seconds=seconds_taken(run),
        seconds_per_volume=statistics.fmean(volume.row.seconds for volume in done if volume.row) if done else None,
        fsc=Range(statistics.fmean(values), min(values), max(values)) if values else None,
        resolution=statistics.median(row.resolution_0_5 for row in rows) if rows else None,
        anchor_correlation=statistics.median(correlations) if correlations else None,
    )


def _numbers(volumes: list[Volume]) -> list[int]:
    return [volume.number for volume in volumes]


def verdict_of(run: Run) -> Verdict | None:
    """Of the flexibility test; None before there is one."""
    test = run.landscape.summary if run.landscape else run.consensus and run.consensus.flexibility
    return test.verdict if test else None


def notes_of(run: Run) -> Notes:
    """What import and evaluation reported, and which images were excluded or are doubtful."""
    noted = [note for note in (run.imported.notes if run.imported else ()) if not _EXCLUDED.match(note)]
    noted += run.evaluation.notes if run.evaluation else ()
    excluded: dict[str, list[int]] = {}
    warned: dict[str, list[int]] = {}
    for image in run.images:
        if image.pixels is None and image.selected:
            excluded.setdefault(image.row.reason, []).append(image.number)
        if image.row.warning:
            warned.setdefault(image.row.warning, []).append(image.number)
    return Notes(
        excluded=[Reason(text, numbers) for text, numbers in excluded.items()],
        warned=[Reason(text, numbers) for text, numbers in warned.items()],
        others=[
            note if "." in note.split()[0] else note[:1].upper() + note[1:] for note in noted
        ],  # a file keeps its name
    )
