"""Stage reliability: how far each volume can be relied on, and why: reliability.csv."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..fourier import fourier_shell_correlation, mean_fsc, resample
from ..images import disc
from ..projection import project
from ..reliability.calibration import (
    FLEXIBLE,
    RIGID,
    SIDE,
    TYPICAL_REPLICATES,
    Label,
    Predicted,
    Predictors,
    Reason,
    isolation,
    predict,
)
from ..rundir.directory import RunDirectory
from ..rundir.rows import PoseRow, ReliabilityRow
from .images import PreparedStack, read_prepared
from .job import Job
from .motion import motion_views
from .posed import centred_images, explained_images, read_consensus
from .replicates import read_replicates, replicate_curve


@dataclass(frozen=True)
class VolumeCriteria:
    """What counts of a volume; source: docs/dev/decisions/reliability-model.md, `hidden` chosen without a benchmark.

    Attributes:
        determined: Fourier ring correlation of a typical image and its view, from which shells of replicates count.
        hidden: observability below which a view hardly shows a mode.
    """

    determined: float = 0.5
    hidden: float = 0.1


VOLUME = VolumeCriteria()
_RIGID_REASONS: dict[Label, str] = {
    "reliable": "images and consensus volume agree in detail",
    "caution": "images and consensus volume agree in coarse features",
    "unreliable": "images and consensus volume agree in the coarsest features only",
}
_REASONS: dict[Reason, str] = {
    "replicates": "replicates differ more than usual",
    "fit": "the deformation model explains its image less well than others",
    "isolation": "few images show similar conformations",
    "good": "all predictors are good",
    "coarse": "images and views agree only in coarse features",
}
_UNDETERMINED = "too few images to separate motion from errors of each image"


class _Judged(NamedTuple):
    """Volumes of the first molecule, with what is predicted of them."""

    places: Mapping[int, int]  # of image numbers among them
    predictors: Predictors | None  # None without a flexibility test
    predicted: Predicted | None


def judge_volumes(run: RunDirectory, job: Job) -> None:
    """Write reliability.csv."""
    with job.estimate.working("reliability of the volumes"):
        write_reliability(run)


def write_reliability(run: RunDirectory) -> None:
    """Write reliability.csv of a run whose volumes are in one frame."""
    prepared = read_prepared(run.images)
    done = [row.image for row in run.volume_rows.read() if row.status == "done"]
    poses = {row.image: row for row in run.poses.read()}
    shares = {row.image: row.observability for row in run.landscape.observability.read()}
    modes = max(map(len, shares.values()), default=0)
    judged = _judge(run, prepared, done)
    size = prepared.images.shape[-1]
    finest = size / (min(SIDE, size) // 2) * (prepared.pixel_size or 1.0)
    unknown = (None,) * modes
    flexible = run.verdict == "flexible"
    rows = [_row(poses[number], judged, shares.get(number, unknown), finest, flexible=flexible) for number in done]
    run.reliability.write(rows)


def _judge(run: RunDirectory, prepared: PreparedStack, done: Sequence[int]) -> _Judged:
    explained = explained_images(run)
    numbers = [number for number in done if number in explained]
    places = {number: place for place, number in enumerate(numbers)}
    verdict = run.verdict
    if verdict == "undetermined" or not numbers:
        return _Judged(places, None, None)
    predictors = read_predictors(run, prepared, numbers)
    return _Judged(places, predictors, predict(predictors, FLEXIBLE if verdict == "flexible" else RIGID))


def _row(
    pose: PoseRow, judged: _Judged, shares: Sequence[float | None], finest: float, *, flexible: bool
) -> ReliabilityRow:
    """Predicted FSC down to the finest shell judged, with its interval; a label and its reason; the predictors."""
    place = judged.places.get(pose.image)
    predictors = judged.predictors
    measured = predictors is not None and place is not None
    label, reason = _verdict(pose, judged, shares, flexible=flexible)
    own = judged.predicted if measured and not pose.outlier and pose.class_number == 1 else None
    return ReliabilityRow(
        image=pose.image,
        expected_fsc=None if own is None or place is None else float(own.fsc[place]),
        low=None if own is None or place is None else float(own.low[place]),
        high=None if own is None or place is None else float(own.high[place]),
        resolution=None if own is None else finest,
        label=label,
        reason=reason,
        replicate_fsc=None if predictors is None or place is None else float(predictors.replicates[place]),
        correlation=pose.correlation,
        isolation=float(predictors.isolation[place]) if predictors and place is not None and flexible else None,
        observability=tuple(shares),
    )


def _verdict(pose: PoseRow, judged: _Judged, shares: Sequence[float | None], *, flexible: bool) -> tuple[Label, str]:
    """The label of a volume and its reason, in a sentence."""
    place = judged.places.get(pose.image)
    if pose.outlier:
        return "unreliable", "no view explains its image"
    if pose.class_number == 2:
        return "caution", "its image shows the second molecule, whose motion is not modelled"
    if judged.predicted is None or place is None:
        return "caution", _UNDETERMINED
    label = judged.predicted.label(place)
    reason = _reason(label, judged.predicted.reason(place)) if flexible else _RIGID_REASONS[label]
    hidden = [mode for mode, share in enumerate(shares, start=1) if share is not None and share < VOLUME.hidden]
    return label, "; ".join([reason, *(f"its view hardly shows mode {mode}" for mode in hidden)])


def _reason(label: Label, reason: Reason) -> str:
    """A reason in words; a reliable volume may have a predictor that is worse than usual."""
    return f"though {_REASONS[reason]}" if label == "reliable" and reason != "good" else _REASONS[reason]


def read_predictors(run: RunDirectory, prepared: PreparedStack, numbers: Sequence[int]) -> Predictors:
    """What a run measures of its volumes, by the numbers of their images; for a rigid molecule isolation is 1
    everywhere.
    """
    flexible = run.verdict == "flexible"
    fit = {row.image: row.correlation for row in run.poses.read()}
    apart = _isolation(run) if flexible else dict.fromkeys(prepared.numbers, 1.0)
    curves = _rings(run, prepared, flexible=flexible)
    explained = explained_images(run)
    rings = dict(zip(prepared.numbers, mean_fsc(curves).tolist(), strict=True))
    shells = curves[[number in explained for number in prepared.numbers]].median(0).values >= VOLUME.determined
    replicates = np.array([replicate_fsc(run, number, shells) for number in numbers])

    def own(values: Mapping[int, float]) -> np.ndarray:
        return np.array([values[number] for number in numbers])

    def typical(values: Mapping[int, float]) -> float:
        return statistics.median(values[number] for number in explained)

    return Predictors(replicates, own(fit), own(apart), typical(rings), typical(fit), typical(apart))


def _isolation(run: RunDirectory) -> dict[int, float]:
    """How far the conformation of each image is from those of others, by its number."""
    rows = run.latent.read()
    distances = isolation(np.array([row.z for row in rows]))
    return {row.image: float(value) for row, value in zip(rows, distances, strict=True)}


@torch.no_grad()
def _rings(run: RunDirectory, prepared: PreparedStack, *, flexible: bool) -> Tensor:
    """Fourier ring correlation of each image with the view of the model, or of the consensus volume of a rigid
    molecule.

    At the side s of judgement, shape (n, s // 2 + 1).
    """
    device = torch.device("cpu")
    consensus = read_consensus(run.assigned, prepared, prepared.numbers, device)  # the model has its own shifts
    images = centred_images(prepared, prepared.numbers, consensus, device) - prepared.background
    side = min(SIDE, images.shape[-1])
    if flexible:
        views = motion_views(run, side, device)
    else:
        views = resample(project(consensus.volumes[0], consensus.poses.rotations), side, 2)
    mask = disc(side)
    return fourier_shell_correlation(resample(images, side, 2) * mask, views * mask, dims=2)


def replicate_fsc(run: RunDirectory, number: int, shells: Tensor) -> float:
    """Mean FSC of the replicates of a volume in some shells; that of a typical volume if there are none.

    Args:
        run: the run.
        number: of the image of the volume.
        shells: those in which a typical image and the model agree, from shell 0 on, bool.
    """
    curve = replicate_curve(*read_replicates(run, number))[: len(shells)]
    some = curve[1:][shells[1:]]
    return float(some.mean()) if len(some) else TYPICAL_REPLICATES
