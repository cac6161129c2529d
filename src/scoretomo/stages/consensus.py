"""From prepared images to one volume that explains them all, and the pose of each image in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import files
from ..alignment import align, place
from ..compute import available_cores, best_device, random_stream, run_tasks
from ..ensemble.consensus import COARSE, FINE, Consensus, Iteration, coarse_level, fine_level, settle
from ..fourier import fourier_shell_correlation, mean_fsc
from ..matching import Poses, coverage
from ..rotations import euler_from_rotations, rotations_from_euler
from .directory import RunDirectory, Stopwatch
from .importing import read_prepared
from .progress import progress_bar, say, warn

_STARTS = 4  # random blobs: one proves nothing, several that agree do
_AGREE = 0.8  # mean FSC of two starts from which they count as the same answer


class Start(NamedTuple):
    """One random blob to begin with."""

    directory: Path
    seed: int
    number: int


def find_consensus(run: RunDirectory, seed: int, *, workers: int | None) -> None:
    """Find the consensus of a run, unless it is there: consensus.mrc, poses.csv, and consensus/ with the starts."""
    if run.poses.exists():
        return
    clock, prepared, device = Stopwatch(), read_prepared(run.images), best_device()
    images = prepared.images.to(device) / prepared.s
    tasks = [Start(run.path, seed, number) for number in range(_STARTS) if not run.start(number).exists()]
    processes = 1 if device.type == "cuda" else (workers or available_cores())
    with progress_bar() as bar:
        for task in tasks:
            files.make_folder(run.start(task.number).parent)
        shown = bar.add_task(f"consensus: {len(tasks)} random starts", total=len(tasks) * COARSE.iterations)
        for _, done in run_tasks(try_start, tasks, processes):
            bar.advance(shown, done)
    starts = [_read_start(run.start(number), device) for number in range(_STARTS)]
    best = max(range(_STARTS), key=lambda number: coverage(starts[number][1].poses))
    _compare(run, [settled for _, settled in starts], best)
    torch.set_num_threads(1)
    with progress_bar() as bar:
        levels = fine_level(images, starts[best][0], random_stream(seed, "consensus", "fine"))
        shown = bar.add_task(f"consensus at {prepared.images.shape[-1]} pixels", total=FINE.iterations)
        for iteration in levels:
            bar.update(shown, completed=iteration.number)
    found = settle(images, iteration)
    files.write_map(run.consensus, (found.volume * prepared.s).cpu().numpy(), prepared.pixel_size)
    files.write_table(run.poses, _pose_rows(prepared.numbers, found.poses))
    run.record("consensus", coverage=round(coverage(found.poses), 5), seconds=clock.seconds())


def try_start(start: Start) -> Iterator[int]:
    """Go from one random blob to a settled volume at low resolution and write it; yields each iteration."""
    run, device = RunDirectory(start.directory), best_device()
    prepared = read_prepared(run.images)
    images = prepared.images.to(device) / prepared.s
    for iteration in coarse_level(images, random_stream(start.seed, "consensus", start.number)):
        last = iteration
        yield 1
    settled = settle(images, last)
    arrays = {"volume": last.volume, "centring": last.shifts, "settled": settled.volume, **settled.poses._asdict()}
    plain = {name: array.cpu().numpy() for name, array in arrays.items()}
    files.write_weights(run.start(start.number), plain, {"tau": last.tau})


def read_poses(run: RunDirectory, numbers: list[int]) -> Poses:
    """Poses of images by their numbers, in the frame of consensus.mrc."""
    rows = {int(row["image"]): row for row in files.read_table(run.poses)}

    def column(*names: str) -> Tensor:
        return torch.tensor([[float(rows[number][name]) for name in names] for number in numbers], dtype=torch.float64)

    rotations = rotations_from_euler(column("rot", "tilt", "psi")).float()
    return Poses(rotations, column("shift_x", "shift_y").float(), column("correlation")[:, 0].float())


def _read_start(path: Path, device: torch.device) -> tuple[Iteration, Consensus]:
    arrays, record = files.read_weights(path)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    poses = Poses(*(tensors[name] for name in Poses._fields))
    last = Iteration(0, record["tau"], tensors["volume"], tensors["centring"], 0.0)
    return last, Consensus(tensors["settled"], poses)


def _compare(run: RunDirectory, starts: list[Consensus], best: int) -> None:
    """Say, and write, whether the starts came to the same answer."""
    reference = starts[best].volume.cpu()
    rows: list[dict[str, Any]] = []
    for number, start in enumerate(starts):
        moved = place(start.volume.cpu(), align(start.volume.cpu(), reference))
        agreement = 1.0 if number == best else float(mean_fsc(fourier_shell_correlation(moved, reference)))
        rows.append({"start": number, "coverage": round(coverage(start.poses), 5), "agreement": round(agreement, 4)})
    files.write_table(run.starts, rows)
    others = sorted(row["agreement"] for row in rows if row["start"] != best)
    agreeing = sum(value >= _AGREE for value in others)
    values = ", ".join(f"{value:.2f}" for value in others)
    if agreeing == len(others):
        say(f"all {len(starts)} starts came to the same volume: mean FSC with the best {values}")
    else:
        warn(
            f"only {agreeing + 1} of {len(starts)} starts came to the same volume (mean FSC with the best {values}): "
            "the images may be too few, or too different, to be sure of the shape"
        )


def _pose_rows(numbers: list[int], poses: Poses) -> list[dict[str, Any]]:
    angles = euler_from_rotations(poses.rotations.double()).tolist()
    return [
        {
            "image": number,
            **{name: round(value, 4) for name, value in zip(("rot", "tilt", "psi"), angle, strict=True)},
            **{name: round(value, 4) for name, value in zip(("shift_x", "shift_y"), shift, strict=True)},
            "correlation": round(correlation, 5),
        }
        for number, angle, shift, correlation in zip(
            numbers, angles, poses.shifts.tolist(), poses.correlations.tolist(), strict=True
        )
    ]
