"""Stage volumes: from prepared images to one volume each."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks, volumes_together
from ..config import ReconstructSettings
from ..errors import NoVolumesError
from ..fourier import mean_fsc, resample
from ..images import correlation, disc
from ..monitor.progress import print_warning
from ..projection import project, rotate
from ..reconstruction.algorithm import DIVERGENCE, Descent, Step, reconstruct
from ..reconstruction.refinement import Refined, Refinement, Streams, refine_volumes
from ..requirements import parse_selection, select_numbers
from ..rundir.directory import RunDirectory, Stopwatch
from ..rundir.rows import ConvergenceRow, VolumeRow
from ..rundir.tables import to_json
from ..wording import counted
from ..wording import images as images_named
from .images import PreparedStack, read_prepared
from .job import Job
from .motion import body_volume, motion_views, start_volumes
from .posed import Posed, centred_images, explained_images, read_final
from .replicates import DIFFERENCE_SIDE, replicate_curve
from .schedules import descent_schedule, refinement_start
from .score_support import Score, open_posed_score, open_score

# Bytes, as benchmarks/growth.py measures them.
_PROGRAM = 0.7e9
_SCORE_PIXEL = 100
_VOXEL = 400
_NO_VOLUMES = torch.empty(0)  # a step is remembered without them


@dataclass(frozen=True)
class StrengthCriteria:
    """Which images of descents that diverged are named as unlike the others; source: chosen without a benchmark.

    Attributes:
        unlike: times as strong as the median, or as weak.
    """

    unlike: float = 5.0


STRENGTH = StrengthCriteria()


class AsModelled(NamedTuple):
    """A schedule without a descent: the volumes are those of the rigid bodies."""

    steps: int = 1


class Batch(NamedTuple):
    """Images to reconstruct together."""

    directory: Path
    numbers: tuple[int, ...]
    schedule: Descent | Refinement | AsModelled  # from nothing, or from the consensus volume or the deformation model
    seed: int
    denoiser: str


class Progress(NamedTuple):
    """Descent steps a batch has done since its last message."""

    steps: int


def make_volumes(run: RunDirectory, job: Job) -> None:
    """Reconstruct what is still missing in a run directory, then write volumes.csv, volumes.star and, without a model,
    mean.mrc.

    Raises:
        NoVolumesError: every descent diverged.
    """
    prepared = read_prepared(run.images)
    numbers = selected_numbers(prepared, job.settings)
    missing = missing_batches(run, prepared, job.settings)
    if missing:
        tasks = _tasks(run, prepared, job.settings, missing)
        _work_off(run, tasks, job, processes_for(job.workers, memory_of_a_process(prepared)))
    finished = finished_rows(run)
    rows = [finished[number] for number in numbers]
    run.volume_rows.write(rows)
    if run.poses.exists() and run.verdict != "flexible":
        _write_mean(run, prepared, rows)
    _write_star(run, prepared, [row.image for row in rows if row.status == "done"])
    _warn_of_diverged(run, rows)


def selected_numbers(prepared: PreparedStack, settings: ReconstructSettings) -> list[int]:
    """Numbers of the images whose volumes are made."""
    return select_numbers(prepared.numbers, prepared.source_count, settings.images)


def volumes_are_made(run: RunDirectory, settings: ReconstructSettings) -> bool:
    """Whether every volume is there, and the tables that name them."""
    return run.volumes_star.exists() and not missing_batches(run, read_prepared(run.images), settings)


def missing_batches(run: RunDirectory, prepared: PreparedStack, settings: ReconstructSettings) -> list[list[int]]:
    """Numbers of the images to reconstruct together, of the batches that are not finished."""
    numbers = selected_numbers(prepared, settings)
    together = volumes_together(prepared.images.shape[-1])  # part of the result to the last digit, so not a setting
    batches = [numbers[first : first + together] for first in range(0, len(numbers), together)]
    finished = finished_rows(run)
    return [batch for batch in batches if not finished.keys() >= set(batch)]


def memory_of_a_process(prepared: PreparedStack) -> float:
    """Bytes that a process takes at most which makes volumes: the program, the images of the score, and a batch."""
    count, size = prepared.images.shape[:2]
    count += 6 * size  # views of a consensus volume, which the score may include
    return _PROGRAM + _SCORE_PIXEL * count * size**2 + _VOXEL * volumes_together(size) * size**3


def _tasks(
    run: RunDirectory, prepared: PreparedStack, settings: ReconstructSettings, missing: Sequence[list[int]]
) -> list[Batch]:
    """Batches with their schedules; images of class 2 start from a consensus volume that no flexibility test was made
    of.
    """
    size = prepared.images.shape[-1]
    ensemble = settings.method == "ensemble"
    start = refinement_start(run) if ensemble else "undetermined"
    class_2 = {row.image for row in run.poses.read() if row.class_number == 2} if ensemble else set[int]()
    tasks = []
    for batch in missing:
        of_class_1 = [number for number in batch if number not in class_2]
        of_class_2 = [number for number in batch if number in class_2]
        for some, begin in ((of_class_1, start), (of_class_2, "undetermined")):
            if some:
                modelled = run.motion == "bodies" and begin == start
                schedule = AsModelled() if modelled else descent_schedule(settings, size, begin)
                tasks.append(Batch(run.path, tuple(some), schedule, settings.seed, settings.denoiser))
    return tasks


def _work_off(run: RunDirectory, tasks: Sequence[Batch], job: Job, processes: int) -> None:
    finished = finished_rows(run)
    total = sum(len(task.numbers) * task.schedule.steps for task in tasks)
    with job.estimate.bar("volumes") as bar:
        shown = bar.add_task(f"reconstructing {sum(len(task.numbers) for task in tasks)} volumes", total=total)
        for number, message in run_tasks(reconstruct_batch, tasks, processes):
            if isinstance(message, Progress):
                bar.advance(shown, message.steps * len(tasks[number].numbers))
            elif message.image not in finished:
                run.record("volume", **to_json(message))


class _Opened(NamedTuple):
    """What the volumes of a batch are made of."""

    prepared: PreparedStack
    consensus: Posed | None  # with the images of the batch in it; None without one
    images: Tensor  # of the batch, normalised, (b, d, d)
    score: Score


class _Ended(NamedTuple):
    """A batch whose descents have ended."""

    refined: Refined
    curve: list[Step]  # without volumes
    correlations: list[float]  # of the images with the views in their poses
    seconds: float  # of each volume


def reconstruct_batch(batch: Batch) -> Iterator[Progress | VolumeRow]:
    """Run Algorithm 1 on a batch and write its volumes; yields progress, then a row of volumes.csv for each image."""
    run = RunDirectory(batch.directory)
    if isinstance(batch.schedule, AsModelled):
        yield from _write_modelled(run, batch)
        return
    opened = _open(run, batch)
    clock = Stopwatch()
    curve: list[Step] = []
    reported = 0
    for item in _descend(batch, opened):
        if isinstance(item, Refined):
            refined = item
            continue
        curve.append(item._replace(volumes=_NO_VOLUMES))
        if item.number % 10 == 0 or item.number == batch.schedule.steps:
            yield Progress(item.number - reported)
            reported = item.number
    views = project(refined.volumes, torch.eye(3, device=refined.volumes.device)[None])[:, 0]
    correlations = correlation(views, opened.images, opened.score.mask).tolist()
    ended = _Ended(refined, curve, correlations, clock.seconds() / len(batch.numbers))
    for place, number in enumerate(batch.numbers):
        row = _row(run, batch, ended, place)
        run.convergence(number).write(_convergence(curve, place))
        if row.status == "done":
            _write_volume(run, opened, number, refined, place)
        yield row


def _write_modelled(run: RunDirectory, batch: Batch) -> Iterator[Progress | VolumeRow]:
    """Write the volumes of images whose conformations rigid bodies have; yields as `reconstruct_batch`."""
    device = best_device()
    prepared = read_prepared(run.images)
    consensus = read_final(run, prepared, batch.numbers, device)
    images = centred_images(prepared, batch.numbers, consensus, device)
    places = [prepared.numbers.index(number) for number in batch.numbers]
    residuals = motion_views(run, images.shape[-1], device, places) * disc(images.shape[-1]).to(images)
    residuals = (residuals + prepared.background - images).flatten(1).norm(dim=1) / images.flatten(1).norm(dim=1)
    for number, place, residual, fit in zip(
        batch.numbers, places, residuals.tolist(), consensus.poses.correlations.tolist(), strict=True
    ):
        clock = Stopwatch()
        volume, difference = body_volume(run, place, device)
        curve = replicate_curve(resample(volume, len(difference), 3), difference)
        files.make_folder(run.volume(number).parent)
        files.write_map(run.volume(number), (volume * prepared.s).cpu().numpy(), prepared.pixel_size)
        _write_difference(run, prepared, number, difference)
        yield Progress(1)
        yield VolumeRow(
            image=number,
            file=str(run.volume(number).relative_to(run.path)),
            status="done",
            seconds=clock.seconds(),
            steps=0,
            start_weight=1.0,
            anchor_correlation=fit,
            anchor_residual=residual,
            view_residual=None,
            replicate_fsc=float(mean_fsc(curve)),
        )


def _open(run: RunDirectory, batch: Batch) -> _Opened:
    device = best_device()
    prepared = read_prepared(run.images)
    if isinstance(batch.schedule, Descent):
        score = open_score(run, batch.denoiser, device=device)
        return _Opened(prepared, None, prepared.normalised(batch.numbers).to(device), score)
    score = open_posed_score(run, batch.denoiser, device=device)
    consensus = read_final(run, prepared, batch.numbers, device)
    return _Opened(prepared, consensus, centred_images(prepared, batch.numbers, consensus, device), score)


def _row(run: RunDirectory, batch: Batch, ended: _Ended, place: int) -> VolumeRow:
    """The row of volumes.csv of an image of a batch."""
    number = batch.numbers[place]
    refined = ended.refined
    diverged = bool(refined.diverged[place])
    curves = refined.replicate_curves
    return VolumeRow(
        image=number,
        file="" if diverged else str(run.volume(number).relative_to(run.path)),
        status="diverged" if diverged else "done",
        seconds=ended.seconds,
        steps=batch.schedule.steps,
        start_weight=batch.schedule.start_weight if isinstance(batch.schedule, Refinement) else None,
        anchor_correlation=ended.correlations[place],
        anchor_residual=float(refined.anchor_residual[place]),
        view_residual=float(refined.view_residual[place]),
        replicate_fsc=None if curves is None else float(mean_fsc(curves[place])),
        diverged_at=_diverged_at(ended.curve, place) if diverged else None,
    )


def _diverged_at(curve: Sequence[Step], place: int) -> int:
    """The step at which a descent had diverged."""
    residuals = ((step.number, float(step.anchor_residual[place])) for step in curve)
    return next((number for number, residual in residuals if not residual < DIVERGENCE.exploded), len(curve))


def _convergence(curve: Sequence[Step], place: int) -> list[ConvergenceRow]:
    return [
        ConvergenceRow(
            step.number, step.t, step.views, float(step.anchor_residual[place]), float(step.view_residual[place])
        )
        for step in curve
    ]


def _write_volume(run: RunDirectory, opened: _Opened, number: int, refined: Refined, place: int) -> None:
    """A volume in the common frame, by the rotation from that of its image, and half the difference of its
    replicates.
    """
    prepared = opened.prepared
    volume = refined.volumes[place]
    if opened.consensus is not None:
        rotation = opened.consensus.poses.rotations[place].mT
        volume = rotate(volume, rotation)
        if refined.difference is not None:
            _write_difference(run, prepared, number, rotate(refined.difference[place], rotation))
    files.make_folder(run.volume(number).parent)
    files.write_map(run.volume(number), (volume * prepared.s).cpu().numpy(), prepared.pixel_size)


def _descend(batch: Batch, opened: _Opened) -> Iterator[Step | Refined]:
    """The descents of a batch: from nothing, or refinements of the consensus volume or of the conformations of the
    images.
    """

    def streams(*descent: int) -> Streams:
        noise = [random_stream(batch.seed, "noise", number, *descent) for number in batch.numbers]
        return Streams(random_stream(batch.seed, "views", *descent), noise)

    prepared, consensus, images, denoise = opened
    background = prepared.background
    if isinstance(batch.schedule, Descent):
        views, noise = streams()
        for step in reconstruct(images, denoise, batch.schedule, background=background, views=views, noise=noise):
            yield step
        yield Refined(step.volumes, step.diverged, step.anchor_residual, step.view_residual, None, None)
        return
    if consensus is None or not isinstance(batch.schedule, Refinement):
        raise ValueError("a refinement begins with a consensus")
    rotations = consensus.poses.rotations
    group = consensus.group
    places = [prepared.numbers.index(number) for number in batch.numbers]
    starts = start_volumes(RunDirectory(batch.directory), consensus, places, images - background)
    groups = None if group is None else torch.stack([turn @ group @ turn.mT for turn in rotations])
    if groups is not None:
        groups[consensus.in_class_2] = torch.eye(3).to(groups)
    yield from refine_volumes(
        images, denoise, batch.schedule, starts, background=background, streams=streams, groups=groups
    )


def warn_of_excluded(prepared: PreparedStack, settings: ReconstructSettings) -> None:
    """Name the selected images that import has excluded."""
    if settings.images is not None:
        numbers = selected_numbers(prepared, settings)
        missing = sorted(set(parse_selection(settings.images, prepared.source_count)) - set(numbers))
        if missing:
            print_warning(f"not reconstructed, because import excluded {images_named(missing)}")


def finished_rows(run: RunDirectory) -> dict[int, VolumeRow]:
    """Rows of volumes.csv for what is done, by image number; a volume counts only when it is there and recorded."""
    rows = run.logged_volumes()
    return {number: row for number, row in rows.items() if row.status == "diverged" or run.volume(number).exists()}


def _write_difference(run: RunDirectory, prepared: PreparedStack, number: int, difference: Tensor) -> None:
    """Half the difference of the replicates of a volume, at 64 pixels at most."""
    size = min(DIFFERENCE_SIDE, len(difference))
    small = resample(difference, size, 3) * prepared.s
    pixel_size = prepared.pixel_size and prepared.pixel_size * prepared.images.shape[-1] / size
    files.make_folder(run.difference(number).parent)
    files.write_map(run.difference(number), small.cpu().numpy(), pixel_size)


def _write_mean(run: RunDirectory, prepared: PreparedStack, rows: Sequence[VolumeRow]) -> None:
    """mean.mrc of a molecule without a deformation model: errors differ from volume to volume, and the mean has less of
    them.
    """
    explained = explained_images(run)
    paths = [run.volume(row.image) for row in rows if row.status == "done" and row.image in explained]
    if len(paths) > 1:
        total = np.zeros((prepared.images.shape[-1],) * 3)
        for path in paths:
            total += files.read_map(path).density
        files.write_map(run.mean, (total / len(paths)).astype(np.float32), prepared.pixel_size)


def _write_star(run: RunDirectory, prepared: PreparedStack, numbers: Sequence[int]) -> None:
    """volumes.star: final poses, or all 0 where every volume is in the frame of its image."""
    slices = {number: place for place, number in enumerate(prepared.numbers)}
    poses = {row.image: row for row in run.poses.read()}
    rows = [
        {
            "image": f"{slices[number] + 1:06d}@{run.images.name}",
            "volume": str(run.volume(number).relative_to(run.path)),
            **{name: float(getattr(poses[number], name)) if poses else 0.0 for name in _POSE},
        }
        for number in numbers
    ]
    files.write_pose_star(run.volumes_star, rows, pixel_size=prepared.pixel_size, size=prepared.images.shape[-1])


_POSE = ("rot", "tilt", "psi", "shift_x", "shift_y")


def require_volumes(run: RunDirectory) -> None:
    """Refuse to call a run a success that has no volume.

    Raises:
        NoVolumesError: all descents diverged.
    """
    rows = run.volume_rows.read()
    if not any(row.status == "done" for row in rows):
        raise NoVolumesError(f"no volume was written: {_why_diverged(run, rows)}")


def _warn_of_diverged(run: RunDirectory, rows: Sequence[VolumeRow]) -> None:
    diverged = [row for row in rows if row.status == "diverged"]
    if diverged and len(diverged) < len(rows):  # a run without any ends with this sentence
        print_warning(f"{counted(len(diverged), 'volume')} could not be made: {_why_diverged(run, diverged)}")


def _why_diverged(run: RunDirectory, diverged: Sequence[VolumeRow]) -> str:
    """When the descents of some images diverged, which of these images are unlike the others, and what to do."""
    prepared = read_prepared(run.images)
    strengths = dict(zip(prepared.numbers, prepared.images.flatten(1).norm(dim=1).tolist(), strict=True))
    usual = statistics.median(strengths.values())
    numbers = [row.image for row in diverged]
    ratios = {number: strengths[number] / usual for number in numbers}
    unlike = [f"image {number} is {ratio:.2g}" for number, ratio in ratios.items() if _is_unlike(ratio)]
    which = f" ({', '.join(unlike[:5])} times as strong as the others)" if unlike else ""
    first = min(row.diverged_at or row.steps for row in diverged)
    if unlike:
        remedy = "exclude such images with --select"
    elif files.read_toml(run.config)["run"]["method"] == "ensemble":
        remedy = "check these images for junk, grey scale and contrast, or exclude them with --select"
    else:
        remedy = "try --method ensemble"
    return (
        f"the descent diverged for {images_named(numbers)}{which}, first at step {first}: {remedy}; "
        "convergence/ has each step"
    )


def _is_unlike(ratio: float) -> bool:
    """Whether an image is so many times as strong as the others that it differs from them."""
    return not 1 / STRENGTH.unlike < ratio < STRENGTH.unlike
