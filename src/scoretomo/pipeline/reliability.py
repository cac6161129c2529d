"""From the volumes of a run to reliability.csv: how far each can be trusted, and why."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..deformation.model import views_of
from ..fourier import fourier_shell_correlation, mean_fsc, resample
from ..images import disc
from ..projection import project
from ..reliability.calibration import MOVING, RIGID, SIDE, TYPICAL_REPLICAS, Expected, Marks, expected, isolation
from ..rundir.directory import RunDirectory
from .consensus import centred_images, explained_images, read_consensus
from .deformation import read_motion
from .images import PreparedStack

_TOLD = 0.5  # Fourier ring correlation of a typical image and the model, from which replicas are asked
_HARDLY = 0.1  # of what an average view shows of a motion
_AGREE = {  # of a rigid molecule
    "trust": "images and consensus agree in detail",
    "with care": "images and consensus agree in coarse features",
    "do not": "images and consensus agree in the coarsest features only",
}
_FEW = "too few images to tell a motion from what each image has wrong"


def settle_reliability(run: RunDirectory, prepared: PreparedStack, seen: Mapping[int, Sequence[float]]) -> None:
    """Write reliability.csv of a run whose volumes are in one frame.

    Args:
        run: the run.
        prepared: its images.
        seen: how much of each motion the image of a volume shows, by its number.
    """
    done = [row for row in files.read_table(run.volumes_table) if row["status"] == "done"]
    poses = {row["image"]: row for row in files.read_table(run.poses)}
    explained = explained_images(run)
    judged = [int(row["image"]) for row in done if int(row["image"]) in explained]
    moving = run.motion.exists()
    marks = read_marks(run, prepared, judged) if run.moves.exists() and judged else None
    found = expected(marks, MOVING if moving else RIGID) if marks else None
    places = {number: place for place, number in enumerate(judged)}
    size = prepared.images.shape[-1]
    finest = round(size / (min(SIDE, size) // 2) * (prepared.pixel_size or 1.0), 2)
    motions = max(map(len, seen.values()), default=0)
    rows: list[dict[str, Any]] = []
    for row in done:
        number, pose = int(row["image"]), poses[row["image"]]
        place = places.get(number)
        own = () if marks is None or place is None else (marks.replicas[place], marks.isolation[place])
        replicas, apart = (round(float(mark), 5) for mark in own) if own else ("", "")
        hidden = [k for k, share in enumerate(seen.get(number, ()), start=1) if share < _HARDLY]
        shown = [round(share, 3) for share in seen[number]] if number in seen else [""] * motions
        rows.append(
            {
                "image": number,
                **_verdict(found, place, pose, hidden, finest, moving=moving),
                "replicas": replicas,
                "correlation": pose["correlation"],
                "isolation": apart if moving else "",
                **{f"motion_{k + 1}_seen": share for k, share in enumerate(shown)},
            }
        )
    files.write_table(run.reliability, rows)


def read_marks(run: RunDirectory, prepared: PreparedStack, numbers: Sequence[int]) -> Marks:
    """What a run says of its volumes, by the numbers of their images; of a rigid molecule every image is as far from others."""
    moving = run.motion.exists()
    fit = {int(row["image"]): float(row["correlation"]) for row in files.read_table(run.poses)}
    apart = _isolation(run) if moving else dict.fromkeys(prepared.numbers, 1.0)
    curves, explained = _rings(run, prepared, moving=moving), explained_images(run)
    rings = dict(zip(prepared.numbers, mean_fsc(curves).tolist(), strict=True))
    shells = curves[[number in explained for number in prepared.numbers]].median(0).values >= _TOLD
    replicas = np.array([replica_agreement(run, number, shells) for number in numbers])

    def own(mark: Mapping[int, float]) -> np.ndarray:
        return np.array([mark[number] for number in numbers])

    def typical(mark: Mapping[int, float]) -> float:
        return statistics.median(mark[number] for number in explained)

    return Marks(replicas, own(fit), own(apart), typical(rings), typical(fit), typical(apart))


def _isolation(run: RunDirectory) -> dict[int, float]:
    """How far the conformation of each image is from those of others, by its number."""
    rows = files.read_table(run.coordinates)
    names = [name for name in rows[0] if name.startswith("coordinate_")]
    far = isolation(np.array([[float(row[name]) for name in names] for row in rows]))
    return {int(row["image"]): float(value) for row, value in zip(rows, far, strict=True)}


@torch.no_grad()
def _rings(run: RunDirectory, prepared: PreparedStack, *, moving: bool) -> Tensor:
    """Fourier ring correlation of each image with the view of the model, or of the consensus of a rigid molecule.

    At the side s of judgement, shape (n, s // 2 + 1).
    """
    device = torch.device("cpu")
    consensus = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)  # the model has its own shifts
    images = centred_images(prepared, prepared.numbers, consensus, device) - prepared.background
    side = min(SIDE, images.shape[-1])
    if moving:
        views = views_of(read_motion(run, device), side)
    else:
        views = resample(project(consensus.volumes[0], consensus.poses.rotations), side, 2)
    images, mask = resample(images, side, 2), disc(side)
    return fourier_shell_correlation(images * mask, views * mask, dims=2)


def read_replicas(run: RunDirectory, number: int) -> tuple[Tensor, Tensor]:
    """A volume, at 64 pixels at most, and half of what its replicas differ by, as far as that is in the volume; (d, d, d) each."""
    half = torch.from_numpy(files.read_map(run.difference(number)).density)
    return resample(torch.from_numpy(files.read_map(run.volume(number)).density), len(half), 3), half


def agreement(volume: Tensor, half: Tensor) -> Tensor:
    """FSC of the replicas of a volume, shape (d // 2 + 1,)."""
    return fourier_shell_correlation(volume + half, volume - half)


def replica_agreement(run: RunDirectory, number: int, shells: Tensor) -> float:
    """Mean FSC of the replicas of a volume, as much of them as it has, in some shells; that of a typical volume if there are none.

    Args:
        run: the run.
        number: of the image of the volume.
        shells: those of which a typical image and the model tell the same, from shell 0 on, bool.
    """
    curve = agreement(*read_replicas(run, number))[: len(shells)]
    some = curve[1:][shells[1:]]
    return float(some.mean()) if len(some) else TYPICAL_REPLICAS


def _verdict(
    found: Expected | None, place: int | None, pose: Mapping[str, str], hidden: Sequence[int], finest: float, *, moving: bool
) -> dict[str, Any]:
    """Expected FSC down to the finest shell judged, with its interval, where there is one; a word and its reason.

    Hidden are motions that the view hardly shows. Without a number the reason is why there is none.
    """
    unknown = dict.fromkeys(("expected_fsc", "low", "high", "down_to"), "")
    if pose["outlier"] == "1":
        return {**unknown, "word": "do not", "reason": "no view explains its image"}
    if pose["second"] == "1":
        return {**unknown, "word": "with care", "reason": "its image shows the second molecule, whose motion is not known"}
    if found is None or place is None:
        return {**unknown, "word": "with care", "reason": _FEW}
    number, word = {"expected_fsc": found.fsc, "low": found.low, "high": found.high}, found.word(place)
    reasons = [found.reason(place) if moving else _AGREE[word], *(f"its view hardly shows motion {motion}" for motion in hidden)]
    return {
        **{name: round(float(values[place]), 3) for name, values in number.items()},
        "down_to": finest,
        "word": word,
        "reason": "; ".join(reasons),
    }
