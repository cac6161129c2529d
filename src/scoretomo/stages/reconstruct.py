"""From prepared images to one volume each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from cyclopts import Parameter, validators
from torch import Tensor

from .. import files
from ..compute import available_cores, best_device, random_stream, run_tasks
from ..ensemble.knowledge import Verdict, ask_left_out_images, consensus_views
from ..images import correlation, disc, parse_selection, require_several, shift
from ..matching import Poses
from ..presets import PRESETS
from ..projection import project, rotate
from ..reconstruction import Descent, Step, reconstruct
from ..score.exact import ExactScore
from ..score.network import NetworkScore
from ..score.tangent import TangentScore
from .consensus import find_consensus, read_poses
from .directory import RunDirectory, Stopwatch
from .importing import PreparedStack, read_prepared
from .progress import progress_bar, say, warn
from .train import open_network

Score = ExactScore | TangentScore | NetworkScore
_CLOSED: dict[str, type[ExactScore | TangentScore]] = {"exact": ExactScore, "tangent": TangentScore}
BATCH = 4  # volumes computed together; part of the result to the last digit, so not a setting
_NO_VOLUMES = torch.empty(0)  # a step is remembered without them


@dataclass(frozen=True)
class ReconstructSettings:
    """How volumes are made from images."""

    method: Literal["ensemble", "annealed", "paper"] = "ensemble"
    """How volumes are found. "ensemble": first one volume that explains all images, then from it a volume for each, all in
    one frame. The others start each volume from nothing: "paper" is Algorithm 1 as published, with one fixed noise level;
    "annealed" lets the noise level fall, which is better."""

    denoiser: Literal["tangent", "exact", "network"] = "tangent"
    """What knows how images look: "exact" is the score of the images themselves, in closed form; "tangent" also knows the
    ways in which they vary; "network" is the paper's, which learns first."""

    steps: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    """Descent steps; those of the method if not given. Fewer give a quick, rough look."""

    images: str | None = None
    """Reconstruct only these images, by number: 0,3,5-9. All if not given."""

    seed: int = 0
    """Seed of all random numbers; the same seed gives the same volumes, whatever the number of workers."""

    def descent(self) -> Descent:
        """The schedule that is asked for."""
        preset = PRESETS[self.method]
        return preset if self.steps is None else replace(preset, steps=self.steps)


class Batch(NamedTuple):
    """Images to reconstruct together."""

    directory: Path
    numbers: tuple[int, ...]
    descent: Descent
    seed: int
    denoiser: str
    posed: bool  # start from the consensus


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
    prepared = read_prepared(run.images)
    if settings.denoiser == "network":
        open_network(run, torch.device("cpu"))
    numbers = select_numbers(prepared.numbers, prepared.source_count, settings.images)
    batches = [numbers[first : first + BATCH] for first in range(0, len(numbers), BATCH)]
    finished = _finished(run)
    todo = [batch for batch in batches if not finished.keys() >= set(batch)]
    descent, posed = settings.descent(), settings.method == "ensemble"
    if not todo and run.volumes_star.exists():
        return False
    _say_what_is_not_asked(prepared, settings.images, numbers)
    if todo:
        if posed:
            find_consensus(run, settings.seed, workers=workers)
            _ask_left_out_images(run, settings)
        tasks = [Batch(run.path, tuple(batch), descent, settings.seed, settings.denoiser, posed) for batch in todo]
        _work_off(run, tasks, finished, workers)
        finished = _finished(run)
    rows = [finished[number] for number in numbers]
    files.write_table(run.volumes_table, rows)
    _write_poses(run, prepared, [row["image"] for row in rows if row["status"] == "done"])
    _say_what_failed(rows)
    return True


def _work_off(run: RunDirectory, tasks: Sequence[Batch], finished: dict[int, Any], workers: int | None) -> None:
    processes = 1 if best_device().type == "cuda" else (workers or available_cores())
    clock = Stopwatch()
    total = sum(len(task.numbers) * task.descent.steps for task in tasks)
    with progress_bar() as bar:
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
    source = run.weights if batch.denoiser == "network" else run.images
    score = _score(run.path, batch.denoiser, batch.posed, source.stat().st_mtime_ns, device)
    poses, start = None, None
    if batch.posed:
        poses = read_poses(run, list(batch.numbers))
        images = _centred(prepared, list(batch.numbers), poses, device)
        consensus = _normalised_consensus(run, prepared, device)
        start = torch.stack([rotate(consensus, rotation) for rotation in poses.rotations])
    else:
        images = prepared.normalised(batch.numbers).to(device)
    clock, curve, told = Stopwatch(), list[Step](), 0
    for step in reconstruct(
        images,
        score,
        batch.descent,
        background=prepared.background,
        views=random_stream(batch.seed, "views"),
        noise=[random_stream(batch.seed, "noise", number) for number in batch.numbers],
        volumes=start,
    ):
        curve.append(step._replace(volumes=_NO_VOLUMES))
        if step.number % 10 == 0 or step.number == batch.descent.steps:
            yield Progress(step.number - told)
            told = step.number
    last = step
    fit = correlation(project(last.volumes, torch.eye(3, device=device)[None])[:, 0], images, score.mask).tolist()
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
        diverged = bool(last.diverged[place])
        if not diverged:
            volume = last.volumes[place] if poses is None else rotate(last.volumes[place], poses.rotations[place].mT)
            files.write_map(run.volume(number), (volume * prepared.s).cpu().numpy(), prepared.pixel_size)
        yield {
            "image": number,
            "file": "" if diverged else str(run.volume(number).relative_to(run.path)),
            "status": "diverged" if diverged else "done",
            "seconds": round(seconds, 2),
            "steps": batch.descent.steps,
            "anchor_correlation": round(fit[place], 5),
            "anchor_residual": round(float(last.anchor_residual[place]), 5),
            "view_residual": round(float(last.view_residual[place]), 5),
        }


@lru_cache(maxsize=1)
def _score(directory: Path, denoiser: str, posed: bool, written: int, device: torch.device) -> Score:
    """The score of prepared images, made once by each process for a file as it was written."""
    run = RunDirectory(directory)
    if denoiser == "network":
        return open_network(run, device)
    prepared = read_prepared(run.images)
    mask = disc(prepared.images.shape[-1]).to(device)
    if not posed:
        return _CLOSED[denoiser](prepared.normalised().to(device), prepared.background, mask)
    known = _centred(prepared, prepared.numbers, read_poses(run, prepared.numbers), device)
    if _verdict(run).takes_views:
        views = consensus_views(_normalised_consensus(run, prepared, device), prepared.background, mask)
        known = torch.cat([known, views])
    return _CLOSED[denoiser](known, prepared.background, mask)


def _ask_left_out_images(run: RunDirectory, settings: ReconstructSettings) -> None:
    """left_out.csv: whether the score should know views of the consensus besides the images."""
    if settings.denoiser == "network" or run.left_out.exists():
        return
    prepared, device = read_prepared(run.images), best_device()
    mask = disc(prepared.images.shape[-1]).to(device)
    poses = read_poses(run, prepared.numbers)
    verdict = ask_left_out_images(
        _centred(prepared, prepared.numbers, poses, device),
        poses.rotations.to(device),
        lambda known: _CLOSED[settings.denoiser](known, prepared.background, mask),
        prepared.background,
        mask,
        random_stream(settings.seed, "left out"),
    )
    files.write_table(run.left_out, [verdict._asdict()])
    errors = f"{verdict.with_views:.3f} with views of the consensus, {verdict.images:.3f} without"
    say(f"left-out images are denoised with error {errors}: the score {'takes' if verdict.takes_views else 'does not take'} them")


def _verdict(run: RunDirectory) -> Verdict:
    (row,) = files.read_table(run.left_out)
    return Verdict(**{name: float(value) for name, value in row.items()})


def _centred(prepared: PreparedStack, numbers: list[int], poses: Poses, device: torch.device) -> Tensor:
    """Normalised images, moved by their shifts."""
    images = prepared.normalised(numbers).to(device) - prepared.background
    return shift(images, -poses.shifts.to(device)) + prepared.background


def _normalised_consensus(run: RunDirectory, prepared: PreparedStack, device: torch.device) -> Tensor:
    return torch.from_numpy(files.read_map(run.consensus).density).to(device) / prepared.s


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
    keys = ("image", "file", "status", "seconds", "steps", "anchor_correlation", "anchor_residual", "view_residual")
    rows = {}
    for record in files.read_records(run.log):
        if record["event"] == "volume" and (record["status"] == "diverged" or run.volume(record["image"]).exists()):
            rows[record["image"]] = {key: record[key] for key in keys}
    return rows


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


def _say_what_failed(rows: Sequence[dict[str, Any]]) -> None:
    failed = [str(row["image"]) for row in rows if row["status"] == "diverged"]
    if failed:
        warn(
            f"the descent diverged for image {', '.join(failed)}: no volume was written for it; "
            "look at the image in the report, and at convergence/"
        )
