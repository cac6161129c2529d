"""From prepared images to one volume each."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks, volumes_together
from ..config import ReconstructSettings
from ..deformation.schedule import Fitting
from ..errors import NoVolumesError
from ..fourier import mean_fsc, resample
from ..images import correlation
from ..monitor.progress import say, warn
from ..monitor.time_estimate import Outlook, ensemble_outlook, volumes_work
from ..presets import MOTION, PRESETS, REFINEMENTS
from ..projection import project, rotate
from ..reconstruction.algorithm import EXPLODED, Denoiser, Descent, Step, reconstruct
from ..reconstruction.refinement import Refined, Refinement, Streams, refine_volumes
from ..report import words
from ..requirements import parse_selection, require_several
from ..rundir.directory import DIFFERENCE_SIDE, RunDirectory, Stopwatch
from .consensus import FEWEST_TO_MOVE, Posed, centred_images, explained_images, find_consensus, read_consensus
from .deformation import conformations, settle_motion
from .images import PreparedStack, read_prepared
from .score_support import Known, known_before, known_of_few, open_score, settle_score
from .train import open_network

_PROGRAM, _KNOWN_OF_A_PIXEL, _OF_A_VOXEL = 0.7e9, 100, 400  # bytes: benchmarks/growth.py measures them
_UNLIKE = 5.0  # times as strong as the median, or as weak, from which an image is said to be unlike the others
_NO_VOLUMES = torch.empty(0)  # a step is remembered without them
_COLUMNS = (  # of volumes.csv
    "image",
    "file",
    "status",
    "seconds",
    "steps",
    "kept",
    "anchor_correlation",
    "anchor_residual",
    "view_residual",
    "replica_fsc",
)


def _schedule_asked(settings: ReconstructSettings, size: int, known: Known = "unasked") -> Descent | Refinement:
    """The schedule that settings ask for; with the ensemble method it depends on what is known before.

    Args:
        settings: of the run.
        size: side of the images in pixels.
        known: what `known_before` says.
    """
    if settings.method == "ensemble":
        refinement = REFINEMENTS[known]
        return refinement.at_side(size) if settings.steps is None else refinement.in_steps(settings.steps)
    preset = PRESETS[settings.method]
    return preset if settings.steps is None else replace(preset, steps=settings.steps)


def _fitting_asked(settings: ReconstructSettings, size: int) -> Fitting:
    """How the motion is learned from images of a size: a rough look needs less of it, too."""
    usual = REFINEMENTS["modelled"].at_side(size).steps
    return MOTION if settings.steps is None else MOTION.share(min(1.0, settings.steps / usual))


class Batch(NamedTuple):
    """Images to reconstruct together."""

    directory: Path
    numbers: tuple[int, ...]
    schedule: Descent | Refinement  # from nothing, or from what the ensemble knows
    seed: int
    denoiser: str


class Progress(NamedTuple):
    """Descent steps a batch has done since it last said so."""

    steps: int


def reconstruct_run(run: RunDirectory, settings: ReconstructSettings, *, workers: int | None) -> bool:
    """Reconstruct what is still missing in a run directory, then write volumes.csv and volumes.star.

    Returns:
        Whether anything was missing.

    Raises:
        InputError: no image is left to reconstruct, the selection does not fit, or no network is there where one is asked for.
    """
    files.remove_unfinished(run.path)
    torch.set_num_threads(1)  # what this process does itself does not depend on the number of workers, either
    prepared = read_prepared(run.images)
    if settings.denoiser == "network":
        open_network(run, torch.device("cpu"))
    numbers = select_numbers(prepared.numbers, prepared.source_count, settings.images)
    together = volumes_together(prepared.images.shape[-1])  # part of the result to the last digit, so not a setting
    batches = [numbers[first : first + together] for first in range(0, len(numbers), together)]
    finished = _finished(run)
    todo = [batch for batch in batches if not finished.keys() >= set(batch)]
    if not todo and run.volumes_star.exists():
        return False
    _say_what_is_not_asked(prepared, settings.images, numbers)
    if todo:
        processes = processes_for(workers, _memory_of_a_process(prepared))
        outlook = _outlook(run, prepared, settings, todo, processes)
        if settings.method == "ensemble" and best_device().type == "cpu" and not run.start(0).exists():
            works = outlook.work, _outlook(run, prepared, settings, todo, processes, rigid=True).work
            usual, still = (words.duration(60 * math.ceil(work / 60)).removesuffix(" 00 s") for work in works)
            more = f", {still} if the molecule turns out to be rigid" if still != usual else ""
            say(f"this takes about {usual} on {words.counted(processes, 'core')} of a usual CPU{more}")
        tasks = _tasks(run, prepared, settings, todo, outlook, workers)
        steps = sum(len(task.numbers) * task.schedule.steps for task in tasks)
        outlook.expect("volumes", volumes_work(prepared.images.shape[-1], steps, len(tasks), processes))
        _work_off(run, tasks, finished, outlook, processes)
        finished = _finished(run)
    rows = [finished[number] for number in numbers]
    files.write_table(run.volumes_table, rows)
    if run.poses.exists() and not run.motion.exists():
        _write_mean(run, prepared, rows)
    _write_poses(run, prepared, [row["image"] for row in rows if row["status"] == "done"])
    _say_what_failed(run, rows)
    return True


def _memory_of_a_process(prepared: PreparedStack) -> float:
    """Bytes that a process takes at most which makes volumes: the program, what the score knows, and a batch."""
    count, size = prepared.images.shape[:2]
    count += 6 * size  # views of a consensus, which the score may know
    return _PROGRAM + _KNOWN_OF_A_PIXEL * count * size**2 + _OF_A_VOXEL * volumes_together(size) * size**3


def _outlook(
    run: RunDirectory,
    prepared: PreparedStack,
    settings: ReconstructSettings,
    todo: Sequence[list[int]],
    processes: int,
    *,
    rigid: bool = False,
) -> Outlook:
    """What is ahead, as far as it can be foreseen."""
    if settings.method != "ensemble":
        return Outlook({"volumes": 1.0}, run.progress)
    count, size = prepared.images.shape[:2]
    asked = count >= FEWEST_TO_MOVE
    of_few = known_of_few(count, "C1" if settings.symmetry == "auto" else settings.symmetry)
    likely: Known = of_few if not asked else "rigid" if rigid else "moving" if settings.denoiser == "network" else "modelled"
    work = volumes_work(size, _schedule_asked(settings, size, likely).steps * sum(map(len, todo)), len(todo), processes)
    outlook = ensemble_outlook(count, size, _fitting_asked(settings, size) if asked else None, work, processes, run.progress)
    if rigid:
        outlook.expect_no_motion()
    return outlook


def _tasks(
    run: RunDirectory,
    prepared: PreparedStack,
    settings: ReconstructSettings,
    todo: Sequence[list[int]],
    outlook: Outlook,
    workers: int | None,
) -> list[Batch]:
    """What is to be done, once it is known what all images have in common."""
    known: Known = "unasked"
    size, second = prepared.images.shape[-1], set[int]()
    if settings.method == "ensemble":
        find_consensus(run, settings.seed, settings.symmetry, outlook, flip=settings.hand == "flip", workers=workers)
        settle_motion(run, settings.seed, _fitting_asked(settings, size), outlook, workers=workers)
        settle_score(run, settings.denoiser, settings.seed, outlook)
        known = known_before(run)
        second = {int(row["image"]) for row in files.read_table(run.poses) if row["second"] == "1"}
    tasks = []
    for batch in todo:
        for some, begin in (([n for n in batch if n not in second], known), ([n for n in batch if n in second], "unasked")):
            if some:
                tasks.append(Batch(run.path, tuple(some), _schedule_asked(settings, size, begin), settings.seed, settings.denoiser))
    return tasks


def _work_off(run: RunDirectory, tasks: Sequence[Batch], finished: dict[int, Any], outlook: Outlook, processes: int) -> None:
    clock = Stopwatch()
    total = sum(len(task.numbers) * task.schedule.steps for task in tasks)
    with outlook.bar("volumes") as bar:
        shown = bar.add_task(f"reconstructing {sum(len(task.numbers) for task in tasks)} volumes", total=total)
        for number, message in run_tasks(reconstruct_batch, tasks, processes):
            if isinstance(message, Progress):
                bar.advance(shown, message.steps * len(tasks[number].numbers))
            elif message["image"] not in finished:
                run.record("volume", **message)
    run.record("reconstructed", seconds=clock.seconds(), workers=processes)


def reconstruct_batch(batch: Batch) -> Iterator[Progress | dict[str, Any]]:
    """Run Algorithm 1 on a batch and write its volumes; yields progress, then a row of volumes.csv for each image."""
    run, device = RunDirectory(batch.directory), best_device()
    prepared = read_prepared(run.images)
    posed = isinstance(batch.schedule, Refinement)
    score = open_score(run, batch.denoiser, posed=posed, device=device)
    consensus = read_consensus(run, prepared, batch.numbers, device) if posed else None
    if consensus is None:
        images = prepared.normalised(batch.numbers).to(device)
    else:
        images = centred_images(prepared, batch.numbers, consensus, device)
    clock, curve, told = Stopwatch(), list[Step](), 0
    for last in _descend(batch, prepared, images, score, consensus):
        step = last.step
        curve.append(step._replace(volumes=_NO_VOLUMES))
        if step.number % 10 == 0 or step.number == batch.schedule.steps:
            yield Progress(step.number - told)
            told = step.number
    fit = correlation(project(step.volumes, torch.eye(3, device=device)[None])[:, 0], images, score.mask).tolist()
    seconds = clock.seconds() / len(batch.numbers)
    for place, number in enumerate(batch.numbers):
        rows = [
            {
                "step": step.number,
                "t": step.t,
                "views": step.views,
                "anchor_residual": float(step.anchor_residual[place]),
                "view_residual": float(step.view_residual[place]),
            }
            for step in curve
        ]
        files.make_folder(run.convergence(number).parent)
        files.make_folder(run.volume(number).parent)
        files.write_table(run.convergence(number), rows)
        diverged = bool(step.diverged[place])
        if not diverged:
            volume = step.volumes[place]
            if consensus is not None:
                volume = rotate(volume, consensus.poses.rotations[place].mT)
                if last.difference is not None:
                    _write_difference(run, prepared, number, rotate(last.difference[place], consensus.poses.rotations[place].mT))
            files.write_map(run.volume(number), (volume * prepared.s).cpu().numpy(), prepared.pixel_size)
        yield {
            "image": number,
            "file": "" if diverged else str(run.volume(number).relative_to(run.path)),
            "status": "diverged" if diverged else "done",
            "seconds": round(seconds, 2),
            "steps": batch.schedule.steps,
            "kept": batch.schedule.kept if isinstance(batch.schedule, Refinement) else None,
            "anchor_correlation": round(fit[place], 5),
            "anchor_residual": round(float(step.anchor_residual[place]), 5),
            "view_residual": round(float(step.view_residual[place]), 5),
            "replica_fsc": None if last.agreement is None else round(float(mean_fsc(last.agreement[place])), 5),
        }


def _descend(
    batch: Batch, prepared: PreparedStack, images: Tensor, denoise: Denoiser, consensus: Posed | None
) -> Iterator[Refined]:
    """The descents of a batch: cold ones, or refinements of the consensus or of the conformations of the images."""

    def streams(*descent: int) -> Streams:
        noise = [random_stream(batch.seed, "noise", number, *descent) for number in batch.numbers]
        return Streams(random_stream(batch.seed, "views", *descent), noise)

    background = prepared.background
    if isinstance(batch.schedule, Descent):
        views, noise = streams()
        for step in reconstruct(images, denoise, batch.schedule, background=background, views=views, noise=noise):
            yield Refined(step, None, None)
        return
    if consensus is None:
        raise ValueError("a refinement begins with a consensus")
    rotations, group = consensus.poses.rotations, consensus.group
    places = [prepared.numbers.index(number) for number in batch.numbers]
    starts = conformations(RunDirectory(batch.directory), consensus, places, images - background)
    groups = None if group is None else torch.stack([turn @ group @ turn.mT for turn in rotations])
    if groups is not None:
        groups[consensus.second] = torch.eye(3).to(groups)
    yield from refine_volumes(images, denoise, batch.schedule, starts, background=background, streams=streams, groups=groups)


def select_numbers(kept: Sequence[int], count: int, selection: str | None) -> list[int]:
    """Numbers to reconstruct, in the user's count, without the images that import left out.

    Args:
        kept: numbers of the images that import kept.
        count: how many images the user's stack has.
        selection: what the user asked for.

    Raises:
        InputError: the selection does not fit, or too few images are left for a reconstruction.
    """
    require_several(kept)
    if selection is None:
        return list(kept)
    asked = parse_selection(selection, count)
    numbers = [number for number in asked if number in set(kept)]
    if not numbers:
        raise files.InputError(f"--images {selection} should name images that can be used, but import left out all of them")
    return numbers


def _say_what_is_not_asked(prepared: PreparedStack, selection: str | None, numbers: Sequence[int]) -> None:
    if selection is not None:
        missing = sorted(set(parse_selection(selection, prepared.source_count)) - set(numbers))
        if missing:
            warn(f"not reconstructed, because import left it out: image {', '.join(map(str, missing))}")


def _finished(run: RunDirectory) -> dict[int, dict[str, Any]]:
    """Rows of volumes.csv for what is done, by image number; a volume counts only when it is there and recorded."""
    rows = {}
    for record in files.read_records(run.log):
        if record["event"] == "volume" and (record["status"] == "diverged" or run.volume(record["image"]).exists()):
            rows[record["image"]] = {key: record[key] for key in _COLUMNS if record.get(key) is not None}
    return rows


def _write_difference(run: RunDirectory, prepared: PreparedStack, number: int, difference: Tensor) -> None:
    """Half the difference of the replicas of a volume, at 64 pixels at most."""
    size = min(DIFFERENCE_SIDE, len(difference))
    small = resample(difference, size, 3) * prepared.s
    pixel_size = prepared.pixel_size and prepared.pixel_size * len(difference) / size
    files.make_folder(run.difference(number).parent)
    files.write_map(run.difference(number), small.cpu().numpy(), pixel_size)


def _write_mean(run: RunDirectory, prepared: PreparedStack, rows: Sequence[dict[str, Any]]) -> None:
    """mean.mrc of a molecule that does not move: what is wrong differs from volume to volume, and the mean has less of it."""
    explained = explained_images(run)
    paths = [run.volume(row["image"]) for row in rows if row["status"] == "done" and row["image"] in explained]
    if len(paths) > 1:
        total = np.zeros((prepared.images.shape[-1],) * 3)
        for path in paths:
            total += files.read_map(path).density
        files.write_map(run.mean, (total / len(paths)).astype(np.float32), prepared.pixel_size)


def _write_poses(run: RunDirectory, prepared: PreparedStack, numbers: Sequence[int]) -> None:
    """volumes.star: poses from the consensus, or all 0 where every volume is in the frame of its image."""
    slices = {number: place for place, number in enumerate(prepared.numbers)}
    poses = {int(row["image"]): row for row in files.read_table(run.poses)} if run.poses.exists() else {}
    at_rest = dict.fromkeys(("rot", "tilt", "psi", "shift_x", "shift_y"), 0.0)
    rows = [
        {
            "image": f"{slices[number] + 1:06d}@images.mrcs",
            "volume": str(run.volume(number).relative_to(run.path)),
            **{name: float(poses.get(number, at_rest)[name]) for name in at_rest},
        }
        for number in numbers
    ]
    files.write_pose_star(run.volumes_star, rows, pixel_size=prepared.pixel_size, size=prepared.images.shape[-1])


def require_volumes(run: RunDirectory) -> None:
    """Refuse to call a run a success that has no volume.

    Raises:
        NoVolumesError: all descents diverged.
    """
    rows = files.read_table(run.volumes_table)
    if not any(row["status"] == "done" for row in rows):
        raise NoVolumesError(f"no volume was written: {_why_diverged(run, [int(row['image']) for row in rows])}")


def _say_what_failed(run: RunDirectory, rows: Sequence[dict[str, Any]]) -> None:
    failed = [row["image"] for row in rows if row["status"] == "diverged"]
    if failed and len(failed) < len(rows):  # a run without any ends with this sentence
        warn(f"{words.counted(len(failed), 'volume')} could not be made: {_why_diverged(run, failed)}")


def _why_diverged(run: RunDirectory, failed: Sequence[int]) -> str:
    """When the descents of some images diverged, which of these images are unlike the others, and what to do."""
    prepared = read_prepared(run.images)
    strengths = dict(zip(prepared.numbers, prepared.images.flatten(1).norm(dim=1).tolist(), strict=True))
    usual = statistics.median(strengths.values())
    ratios = {number: strengths[number] / usual for number in failed}
    unlike = [f"image {number} is {ratio:.2g}" for number, ratio in ratios.items() if not 1 / _UNLIKE < ratio < _UNLIKE]
    odd = f" ({', '.join(unlike[:5])} times as strong as the others)" if unlike else ""
    first = min(_diverged_at(run, number) for number in failed)
    return (
        f"the descent diverged for {words.images(failed)}{odd}, first at step {first}: "
        f"{'leave such images out with --select' if unlike else 'try --method ensemble'}, and see convergence/ for each step"
    )


def _diverged_at(run: RunDirectory, number: int) -> int:
    """The step at which a descent had diverged."""
    rows = files.read_table(run.convergence(number))
    return next((int(row["step"]) for row in rows if not float(row["anchor_residual"]) < EXPLODED), len(rows))
