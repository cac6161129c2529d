"""Stage network: the network score is trained on the prepared images, and its denoising error measured: score/."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch

from .. import files
from ..compute import Group, available_cores, best_device, joined_group, random_stream
from ..config import TrainSettings
from ..denoisers.network import PreconditionedUNet, architecture_for
from ..denoisers.training import Training, TrainingState, TrainingStep, begin_training, pack, train, unpack
from ..images import disc
from ..monitor.time_estimate import TimeEstimate
from ..presets import TRAININGS
from ..requirements import require_several
from ..rundir.directory import RunDirectory, Stopwatch
from ..rundir.rows import LossRow
from ..rundir.settings_file import check_settings, write_settings
from .denoising import measure_score
from .images import fingerprint, read_prepared
from .job import Job
from .network import open_network, write_network

_POINTS = 200  # of the loss curve
SAVE_EVERY = 20.0  # seconds
_ENOUGH = 100  # images, from which on some are held out
_ONE_OF = 20  # images is held out then


def train_score(run: RunDirectory, job: Job) -> None:
    """Train the network of a run, or continue to, and measure its denoising error; writes score/."""
    with joined_group() as group:
        train_network(run, job.training, group, seed=job.settings.seed, workers=job.workers, estimate=job.estimate)
    measure_score(run, best_device())


def train_network(
    run: RunDirectory,
    settings: TrainSettings,
    group: Group,
    *,
    seed: int,
    workers: int | None,
    force: bool = False,
    estimate: TimeEstimate | None = None,
) -> bool:
    """Train a network on the prepared images of a run directory, or go on; the processes of a group share the work.

    Args:
        run: the run.
        settings: of the training.
        group: processes.
        seed: of all random numbers.
        workers: threads of all processes; None for as many as there are cores.
        force: replace a network that was trained otherwise.
        estimate: of the time of the job that the training is a part of; None where it is all.

    Returns:
        Whether anything was left to do.
    """
    prepared = read_prepared(run.images)
    held_out = _held_out(prepared.numbers, settings.held_out)
    training = _training_of(settings, seed)
    _require_even_shares(settings, training, group)
    if group.rank == 0:
        _begin(run, {"train": {**asdict(settings), "seed": seed, "images": fingerprint(prepared)}}, force=force)
    group.wait_for_first()
    if run.weights.exists():
        open_network(run, torch.device("cpu"))
        return False
    images = prepared.normalised([number for number in prepared.numbers if number not in held_out]).to(group.device)
    state, pending = _begin_or_go_on(run, settings, images, seed)
    steps = _steps(images, prepared.background, state, training, group, workers)
    if group.rank > 0:
        deque(steps, maxlen=0)
        return True
    _watch(run, steps, state, training, pending, len(images), estimate or TimeEstimate({}, run.progress))
    write_network(run, state, prepared, settings.network, training, held_out)
    run.state.unlink(missing_ok=True)
    return True


def _training_of(settings: TrainSettings, seed: int) -> Training:
    """The training by some settings."""
    preset = replace(TRAININGS[settings.network], seed=seed)
    return preset if settings.examples is None else replace(preset, examples=settings.examples)


def _require_even_shares(settings: TrainSettings, training: Training, group: Group) -> None:
    """Refuse so many processes as can't share a batch evenly.

    Raises:
        InputError: they can't.
    """
    if training.shards % group.processes:
        raise files.InputError(
            f"network {settings.network} shares each batch among {training.shards} parts, which {group.processes} "
            "processes can't "
            f"divide evenly: start torchrun with --nproc-per-node {' or '.join(_divisors(training.shards))}"
        )


def _steps(
    images: torch.Tensor,
    background: float,
    state: TrainingState,
    training: Training,
    group: Group,
    workers: int | None,
) -> Iterator[TrainingStep]:
    """The steps of a training, shared by the processes of a group and, on CPUs, by threads."""
    torch.set_num_threads(1)
    return train(
        images,
        background,
        disc(images.shape[-1]).to(group.device),
        state,
        training,
        threads=_threads(training, group, workers),
        rank=group.rank,
        processes=group.processes,
        add_up=group.add_up,
    )


def _threads(training: Training, group: Group, workers: int | None) -> int:
    """Threads of each process of a group."""
    if group.device.type == "cuda":
        return 1
    return max(1, min(workers or available_cores(), training.shards) // group.processes)


def _divisors(number: int) -> list[str]:
    return [str(part) for part in range(1, number + 1) if number % part == 0]


def _held_out(numbers: list[int], wanted: int | None) -> list[int]:
    """Numbers of held-out images, evenly spread.

    Raises:
        InputError: too few would remain for the training.
    """
    require_several(numbers)
    usual = len(numbers) // _ONE_OF if len(numbers) >= _ENOUGH else 0
    count = usual if wanted is None else wanted
    if count > len(numbers) // 2:
        raise files.InputError(
            f"--held-out should leave at least half of the {len(numbers)} images for the training, got {count}"
        )
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]


def _begin(run: RunDirectory, settings: dict[str, Any], *, force: bool) -> None:
    """Continue what was begun with the same settings, or make room for something new."""
    if not check_settings(run.training, settings, force=force, beside=None):
        with files.replaced_together(run.path, "score", (run.samples.path.name, run.score.name)) as folder:
            write_settings(folder / run.score.name / run.training.name, settings)
    files.remove_unfinished(run.score)


def _begin_or_go_on(
    run: RunDirectory, settings: TrainSettings, images: torch.Tensor, seed: int
) -> tuple[TrainingState, list[float]]:
    """The state to go on from, and the losses since the last point of the curve."""
    sigma_data = float(images.square().mean().sqrt())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_stream(seed, "weights").initial_seed())
        network = PreconditionedUNet(architecture_for(settings.network, images.shape[-1]), sigma_data)
    state = begin_training(network.to(images.device))
    if run.state.exists():
        tensors, record = files.read_weights(run.state)
        state = unpack({name: torch.from_numpy(array) for name, array in tensors.items()}, record["step"], state)
        return state, record["losses"]
    return state, []


def _watch(
    run: RunDirectory,
    steps: Iterator[TrainingStep],
    state: TrainingState,
    training: Training,
    pending: list[float],
    count: int,
    estimate: TimeEstimate,
) -> None:
    """Take the steps; show them, keep the loss curve, and save now and then what is needed to go on."""
    seen = state.step * training.batch
    rows = [row for row in run.loss.read() if row.images_seen <= seen]  # later ones are made again
    before = rows[-1].seconds if rows else 0.0
    every = max(1, training.steps // _POINTS)
    clock = Stopwatch()
    saved = time.monotonic()
    losses = list(pending)
    with estimate.bar("network") as bar:
        shown = bar.add_task(f"training on {count} images", total=training.steps, completed=state.step)
        for step in steps:
            done = step.state.step
            if not math.isfinite(step.loss):
                raise files.InputError(
                    f"training failed at step {done}, where the loss became {step.loss}: look for extreme pixels "
                    "in the images "
                    "(scoretomo info), or try another --seed"
                )
            losses.append(step.loss)
            if done % every == 0 or done == training.steps:
                loss = sum(losses) / len(losses)
                seconds = round(before + clock.seconds(), 1)
                rows.append(LossRow(done * training.batch, loss, step.rate, seconds))
                losses.clear()
                bar.update(shown, description=f"training on {count} images, loss {loss:.3f}")
            if time.monotonic() - saved > SAVE_EVERY or done == training.steps:
                if rows:
                    run.loss.write(rows)
                tensors = {name: tensor.numpy() for name, tensor in pack(step.state).items()}
                files.write_weights(run.state, tensors, {"step": done, "losses": losses})
                saved = time.monotonic()
            bar.update(shown, completed=done)
