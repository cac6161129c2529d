"""From the consensus to how the molecule moves, and the final pose of each image."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..consensus.assignment import outliers
from ..deformation.model import MANY, Cloud, condense, displacements, evidence, fit, sharpened, unexplained, views_of, volumes_of
from ..deformation.pose_rescue import LOOKS, look_again
from ..deformation.principal_modes import principal_ways
from ..deformation.schedule import Fitting
from ..fourier import low_pass
from ..images import correlation, disc
from ..matching import Poses, choose
from ..monitor.progress import say
from ..monitor.time_estimate import Outlook
from ..projection import rotate
from ..rundir.directory import RunDirectory, Stopwatch
from .assignment import soften
from .consensus import FEWEST_TO_MOVE, Posed, centred_images, pose_rows, read_consensus
from .images import read_prepared

_LEFT_OUT = 0.2
_CLEARLY = 0.05  # evidence of motion, in pixels, that is needed: molecules held still had up to 0.046, some that move 0.053


class Trial(NamedTuple):
    """A model to ask left-out images about."""

    directory: Path
    seed: int
    fitting: Fitting
    moves: bool

    @property
    def path(self) -> Path:
        """Where their answer is."""
        run = RunDirectory(self.directory)
        return run.moving_trial if self.moves else run.still_trial


class Known(NamedTuple):
    """What a model is fitted to."""

    numbers: list[int]  # of the images in the user's stack
    images: Tensor  # centred, empty space 0, (n, d, d)
    consensus: Posed  # with the poses in it


def settle_motion(run: RunDirectory, seed: int, fitting: Fitting, outlook: Outlook, *, workers: int | None) -> None:
    """Ask left-out images whether the molecule moves, learn how, and write the final poses."""
    if run.poses.exists():
        return
    clock, known = Stopwatch(), _known(run)
    asked, moves = int(known.consensus.teaching.sum()) >= FEWEST_TO_MOVE, False
    if asked:
        shape = len(known.images), known.images.shape[-1]
        moves = _try_both(run, seed, fitting, shape, outlook, workers)
    if moves:
        if not run.motion.exists():
            _learn(run, known, seed, fitting, outlook, processes_for(workers))
        _write_moved(run, known)
    else:
        if asked:
            outlook.expect_no_motion()
            soften(run, seed, outlook, workers=workers)
        files.write_table(run.poses, files.read_table(run.consensus_poses))
    run.record("motion", moves=moves, seconds=clock.seconds())


def _known(run: RunDirectory) -> Known:
    prepared, device = read_prepared(run.images), best_device()
    consensus = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    images = centred_images(prepared, prepared.numbers, consensus, device) - prepared.background
    return Known(prepared.numbers, images, consensus)


def _try_both(
    run: RunDirectory, seed: int, fitting: Fitting, shape: tuple[int, int], outlook: Outlook, workers: int | None
) -> bool:
    """Fit a shape that moves and one that does not to most images, and ask the others."""
    count, size = shape
    trials = [Trial(run.path, seed, fitting, moves) for moves in (True, False)]
    tasks = [trial for trial in trials if not trial.path.exists()]
    if tasks:
        with outlook.bar("trial") as bar:
            shown = bar.add_task("does it move? asking left-out images", total=len(tasks) * fitting.trial_epochs(count))
            for _, done in run_tasks(try_motion, tasks, processes_for(workers)):
                bar.advance(shown, done)
    moving, still = (files.read_table(trial.path) for trial in trials)
    return _verdict(run, moving, still, fitting, size)


def _verdict(
    run: RunDirectory,
    moving: Sequence[Mapping[str, str]],
    still: Sequence[Mapping[str, str]],
    fitting: Fitting,
    size: int,
) -> bool:
    """Write and say what left-out images say of a model that moves, and of one that does not."""
    left, left_by_one = ([float(row["unexplained"]) for row in rows] for rows in (moving, still))
    moved = [float(row["displacement"]) for row in moving]
    found = evidence(left_by_one, left, moved)
    moves = found > _CLEARLY
    verdict = {
        "still": round(statistics.fmean(left_by_one), 6),
        "moving": round(statistics.fmean(left), 6),
        "displacement": round(float(np.quantile(moved, MANY)) * size / fitting.side, 4),
        "evidence": round(found, 4),
        "needed": _CLEARLY,
        "moves": int(moves),
    }
    files.write_table(run.moves, [verdict])
    say(
        f"the molecule {'moves' if moves else 'is taken as rigid'}: one shape leaves {100 * verdict['still']:.2f} % of left-out "
        f"images unexplained, one that moves {100 * verdict['moving']:.2f} %, by {verdict['displacement']:.2f} pixels averaged "
        f"over its mass (evidence {found:.2g}, {_CLEARLY:g} needed)"
    )
    return moves


def try_motion(trial: Trial) -> Iterator[int]:
    """Fit a model to four fifths of the images as far as a trial goes, and write what it leaves unexplained; yields each epoch."""
    known = _known(RunDirectory(trial.directory))
    images, consensus = known.images, known.consensus
    cloud = _begin(known, trial.seed, trial.fitting, moves=trial.moves)
    places = consensus.teaching.nonzero()[:, 0]
    order = torch.randperm(len(places), generator=random_stream(trial.seed, "motion", "left out")).to(places.device)
    asked = places[order[: round(_LEFT_OUT * len(places))]]
    taught = consensus.teaching.clone()
    taught[asked] = False
    last, of = trial.fitting.trial_epochs(len(images)), trial.fitting.epochs_for(len(images))
    stream = random_stream(trial.seed, "motion", "trial")
    for _ in fit(cloud, images, trial.fitting, stream, epochs=range(last), of=of, taught=taught):
        yield 1
    done = (last - 1) / (of - 1)
    left = unexplained(cloud, images, trial.fitting, done, some=asked)
    moved = displacements(cloud, asked)
    rows = [
        {"image": known.numbers[place], "unexplained": round(share, 8), "displacement": round(distance, 5)}
        for place, share, distance in zip(asked.tolist(), left.tolist(), moved.tolist(), strict=True)
    ]
    if trial.moves:
        count = trial.fitting.coordinates
        ways = principal_ways(cloud, images, trial.fitting, done, taught=taught, asked=asked, count=count)
        far = ways.distances[:, ways.real].tolist()
        told = [
            {"image": number, **{f"way_{k + 1}": float(f"{value:.6g}") for k, value in enumerate(values)}}
            for number, values in zip(known.numbers, far, strict=True)
        ]
        files.write_table(RunDirectory(trial.directory).trial_ways, told)
    files.write_table(trial.path, rows)


def _begin(known: Known, seed: int, fitting: Fitting, *, moves: bool) -> Cloud:
    """The consensus as a model, before it learns."""
    consensus, stream = known.consensus, random_stream(seed, "motion", "start")
    return condense(consensus.volumes[0], consensus.poses.rotations, fitting, stream, group=consensus.group, moves=moves)


def _learn(run: RunDirectory, known: Known, seed: int, fitting: Fitting, outlook: Outlook, threads: int) -> None:
    """Learn from all images, and from larger ones level by level in more detail.

    It begins anew: going on from a trial, images that did not teach there ended in wrong conformations, a whole corner of them.
    """
    device, size = known.images.device, known.images.shape[-1]
    levels = fitting.levels(size)
    for level, at in enumerate(levels):
        path = run.motion if at is levels[-1] else run.rough_motion(level)
        if path.exists():
            continue
        if level == 0:
            cloud = _begin(known, seed, at, moves=True)
        else:
            cloud = sharpened(_read(run.rough_motion(level - 1), device), size, at, random_stream(seed, "motion", "sharper", level))
        stream, detail = random_stream(seed, "motion", "all", level), f" at {min(size, at.side)} pixels" if len(levels) > 1 else ""
        with outlook.bar(f"motion {level}") as bar:
            moved = _teach(
                cloud, known, at, stream, bar, f"learning how it moves{detail}", threads, looks=LOOKS if level == 0 else ()
            )
        if level == 0:
            run.record("second look", moved=moved)
            if moved:
                say(f"images found in another pose, among the conformations of others: {moved}")
        _write(path, cloud, at)


def _teach(
    cloud: Cloud,
    known: Known,
    fitting: Fitting,
    stream: torch.Generator,
    bar: Progress,
    what: str,
    threads: int,
    *,
    looks: Sequence[float],
) -> int:
    """Fit a model to all images; after some shares of the epochs seek those that it explains least. Returns how many moved."""
    count, mine = fitting.epochs_for(len(known.images)), ~known.consensus.second
    elsewhere = (cloud.rotations != known.consensus.poses.rotations).flatten(1).any(1)  # since a level before
    shown, taught, moved = bar.add_task(what, total=count), known.consensus.teaching | elsewhere, torch.zeros_like(mine)
    at = [round(share * count) for share in looks]
    for epoch in fit(cloud, known.images, fitting, stream, epochs=range(count), of=count, taught=taught, threads=threads):
        if epoch in at:
            found = look_again(cloud, known.images, fitting, (epoch - 1) / (count - 1), asked=mine)
            moved |= found
            taught |= found  # from here on it teaches
        bar.advance(shown)
    return int(moved.sum())


@torch.no_grad()
def _write_moved(run: RunDirectory, known: Known) -> None:
    """motion.csv with the coordinates of each image, and poses.csv: in its own conformation an image has a better pose."""
    cloud = read_motion(run, known.images.device)
    size, mine, before = known.images.shape[-1], ~known.consensus.second, known.consensus.poses
    fits = correlation(views_of(cloud, size), known.images, disc(size).to(known.images))
    poses = choose(mine, Poses(cloud.poses(), before.shifts + cloud.shifts * (size / 2), fits), before)
    coordinates = [
        {"image": number, **{f"coordinate_{k + 1}": round(value, 5) for k, value in enumerate(place)}}
        for number, place, is_mine in zip(known.numbers, cloud.coordinates.tolist(), mine.tolist(), strict=True)
        if is_mine
    ]
    files.write_table(run.coordinates, coordinates)
    odd = known.consensus.outliers.clone()
    odd[mine] = outliers(poses.of(mine))
    files.write_table(run.poses, pose_rows(known.numbers, poses, odd, known.consensus.second))


@torch.no_grad()
def conformations(run: RunDirectory, consensus: Posed, places: Sequence[int], images: Tensor) -> Tensor:
    """What is known of the volumes of some images before they are refined, in the poses of these.

    Args:
        run: the run.
        consensus: the consensus and these images in it.
        places: of these images among the prepared ones.
        images: these images, centred, empty space 0, shape (b, d, d).

    Returns:
        Shape (b, d, d, d).
    """
    which = zip(consensus.second.tolist(), consensus.poses.rotations, strict=True)
    starts = torch.stack([rotate(consensus.volumes[int(second)], turn) for second, turn in which])
    if not run.motion.exists():
        return starts
    cloud = read_motion(run, images.device)
    moved = volumes_of(cloud, places, images)
    if images.shape[-1] > cloud.size:  # what is finer than the model has seen is as in the consensus
        moved += starts - low_pass(starts, cloud.size / 2, 3)
    return torch.where(consensus.second[:, None, None, None], starts, moved)


def read_motion(run: RunDirectory, device: torch.device) -> Cloud:
    """The motion of a run, as learned."""
    return _read_once(run.motion, run.motion.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _read_once(path: Path, written: int, device: torch.device) -> Cloud:
    """Read once by each process for a file as it was written."""
    return _read(path, device)


def _write(path: Path, cloud: Cloud, fitting: Fitting) -> None:
    arrays = {name: tensor.cpu().numpy() for name, tensor in cloud.state_dict().items()}
    files.write_weights(path, arrays, {"fitting": asdict(fitting), "moves": cloud.moves, "voxel": cloud.voxel})


def _read(path: Path, device: torch.device) -> Cloud:
    arrays, record = files.read_weights(path)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    cloud = Cloud(
        state["points"],
        state["masses"],
        state["rotations"],
        Fitting(**record["fitting"]),
        voxel=record["voxel"],
        generator=torch.Generator(),
        group=state["group"],
        moves=record["moves"],
    )
    cloud.load_state_dict(state)
    return cloud.to(device)
