"""From the consensus to how the molecule moves, and the final pose of each image."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..ensemble.motion import Fitting, Motion, cloud, fit, unexplained, views_of
from ..images import correlation, disc
from ..rotations import euler_from_rotations
from .consensus import centred_images, read_consensus
from .directory import RunDirectory, Stopwatch
from .importing import read_prepared
from .progress import progress_bar, say

_FEWEST = 24  # images from which motion can be learned
_LEFT_OUT = 0.2
_CLEARLY = 0.6  # the molecule moves if motion leaves less than this share of what one shape leaves unexplained
_FITTING = Fitting()


class Trial(NamedTuple):
    """A model to try on left-out images."""

    directory: Path
    seed: int
    moves: bool


def settle_motion(run: RunDirectory, seed: int, *, workers: int | None) -> bool:
    """Ask left-out images whether the molecule moves, learn how, and write the final poses.

    Returns:
        Whether it moves.
    """
    if run.poses.exists():
        return run.motion.exists()
    clock, prepared = Stopwatch(), read_prepared(run.images)
    if len(prepared.numbers) < _FEWEST:
        files.write_table(run.poses, files.read_table(run.consensus_poses))
        return False
    moves = _try_both(run, seed, len(prepared.numbers), workers)
    if moves and not run.motion.exists():
        _learn(run, seed, processes_for(workers))
    _write_poses(run, moves)
    run.record("motion", moves=moves, seconds=clock.seconds())
    return moves


def _try_both(run: RunDirectory, seed: int, count: int, workers: int | None) -> bool:
    """Fit a shape that moves and one that does not to most images, and ask the others."""
    tasks = [Trial(run.path, seed, moves) for moves in (True, False) if not run.trial(moves).exists()]
    if tasks:
        with progress_bar() as bar:
            shown = bar.add_task("asking left-out images whether it moves", total=len(tasks) * _FITTING.trial_epochs(count))
            for _, done in run_tasks(try_motion, tasks, processes_for(workers)):
                bar.advance(shown, done)
    moving, still = (files.read_weights(run.trial(moves))[1]["left_out"] for moves in (True, False))
    moves = moving < _CLEARLY * still
    files.write_table(run.moves, [{"still": round(still, 6), "moving": round(moving, 6), "moves": int(moves)}])
    verdict = "it moves" if moves else "taken as rigid"
    say(f"one shape leaves {100 * still:.2f} % of left-out images unexplained, one that moves {100 * moving:.2f} %: {verdict}")
    return moves


def try_motion(trial: Trial) -> Iterator[int]:
    """Fit a model to four fifths of the images as far as a trial goes and write it; yields each epoch."""
    run, device = RunDirectory(trial.directory), best_device()
    images, good, motion = _begin(run, trial.seed, device, moves=trial.moves)
    left_out = torch.randperm(len(images), generator=random_stream(trial.seed, "motion", "left out")).to(device)
    taught = good.clone()
    taught[left_out[: round(_LEFT_OUT * len(images))]] = False
    last, of = _FITTING.trial_epochs(len(images)), _FITTING.epochs_for(len(images))
    stream = random_stream(trial.seed, "motion", "trial")
    for _ in fit(motion, images, _FITTING, stream, epochs=range(last), of=of, taught=taught):
        yield 1
    asked = unexplained(motion, images, _FITTING, (last - 1) / (of - 1))[~taught & good]
    _write(run.trial(trial.moves), motion, left_out=float(asked.mean()))


def _learn(run: RunDirectory, seed: int, threads: int) -> None:
    """Go on from the trial with all images."""
    device = best_device()
    images, good, _ = _begin(run, seed, device, moves=True)
    motion = _read(run.trial(True), device)
    of = _FITTING.epochs_for(len(images))
    epochs = range(_FITTING.trial_epochs(len(images)), of)
    torch.set_num_threads(1)
    with progress_bar() as bar:
        shown = bar.add_task("learning how it moves", total=len(epochs))
        stream = random_stream(seed, "motion", "all")
        for _ in fit(motion, images, _FITTING, stream, epochs=epochs, of=of, taught=good, threads=threads):
            bar.advance(shown)
    _write(run.motion, motion)


def _begin(run: RunDirectory, seed: int, device: torch.device, *, moves: bool) -> tuple[Tensor, Tensor, Motion]:
    """Centred images with empty space 0, which of them the consensus explains, and a model that has learned nothing."""
    prepared = read_prepared(run.images)
    consensus = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    images = centred_images(prepared, prepared.numbers, consensus, device) - prepared.background
    stream = random_stream(seed, "motion", "start")
    motion = cloud(consensus.volumes[0], consensus.poses.rotations, _FITTING, stream, group=consensus.group, moves=moves)
    return images, consensus.teaching, motion


@torch.no_grad()
def _write_poses(run: RunDirectory, moves: bool) -> None:
    """poses.csv, and motion.csv with the coordinates of each image; where nothing moves, poses are those of the consensus."""
    rows = files.read_table(run.consensus_poses)
    if not moves:
        files.write_table(run.poses, rows)
        return
    prepared, device = read_prepared(run.images), best_device()
    motion, size = read_motion(run, device), prepared.images.shape[-1]
    consensus = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    images = centred_images(prepared, prepared.numbers, consensus, device) - prepared.background
    fits = correlation(views_of(motion, size), images, disc(size).to(device)).tolist()
    angles = euler_from_rotations(motion.poses().double()).tolist()
    shifts = (consensus.poses.shifts + motion.shifts * (size / 2)).tolist()
    for row, angle, shift, fitted in zip(rows, angles, shifts, fits, strict=True):
        if row["second"] == "1":
            continue
        names = ("rot", "tilt", "psi", "shift_x", "shift_y")
        row |= {name: str(round(value, 4)) for name, value in zip(names, (*angle, *shift), strict=True)}
        row["correlation"] = str(round(fitted, 5))
    files.write_table(
        run.coordinates,
        [
            {"image": row["image"], **{f"coordinate_{k + 1}": round(value, 5) for k, value in enumerate(place)}}
            for row, place in zip(rows, motion.coordinates.tolist(), strict=True)
            if row["second"] == "0"
        ],
    )
    files.write_table(run.poses, rows)


def read_motion(run: RunDirectory, device: torch.device) -> Motion:
    """The motion of a run, as learned."""
    return _read_once(run.motion, run.motion.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _read_once(path: Path, written: int, device: torch.device) -> Motion:
    """Read once by each process for a file as it was written."""
    return _read(path, device)


def _write(path: Path, motion: Motion, **record: float) -> None:
    arrays = {name: tensor.cpu().numpy() for name, tensor in motion.state_dict().items()}
    files.write_weights(path, arrays, {"fitting": asdict(_FITTING), "moves": motion.moves, "voxel": motion.voxel, **record})


def _read(path: Path, device: torch.device) -> Motion:
    arrays, record = files.read_weights(path)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    motion = Motion(
        state["points"],
        state["masses"],
        state["rotations"],
        Fitting(**record["fitting"]),
        voxel=record["voxel"],
        generator=torch.Generator(),
        group=state["group"],
        moves=record["moves"],
    )
    motion.load_state_dict(state)
    return motion.to(device)
