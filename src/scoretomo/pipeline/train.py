"""Training of the network score on prepared images: score/weights.safetensors."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from .. import __version__, files
from ..compute import Group, available_cores, random_stream
from ..config import TrainSettings
from ..denoisers.network import Architecture, NetworkScore, PreconditionedUNet, architecture_for
from ..denoisers.training import Training, TrainingState, TrainingStep, begin_training, pack, train, unpack
from ..images import disc
from ..monitor.progress import activity_of, progress_bar
from ..presets import TRAININGS
from ..requirements import require_several
from ..rundir.directory import RunDirectory, Stopwatch, require_network
from ..rundir.heartbeat import beating
from ..rundir.rows import LossRow
from ..rundir.settings_file import check_settings, write_settings
from .images import PreparedStack, fingerprint, read_prepared

_POINTS = 200  # of the loss curve
SAVE_EVERY = 20.0  # seconds
_ENOUGH = 100  # images, from which on some are held out


def _training_asked(settings: TrainSettings, seed: int) -> Training:
    """The training by some settings."""
    preset = replace(TRAININGS[settings.network], seed=seed)
    return preset if settings.examples is None else replace(preset, examples=settings.examples)


def train_network(
    run: RunDirectory, settings: TrainSettings, group: Group, *, seed: int, workers: int | None, force: bool = False
) -> bool:
    """Train a network on the prepared images of a run directory, or go on; the processes of a group share the work.

    Returns:
        Whether anything was left to do.
    """
    prepared = read_prepared(run.images)
    held_out = _held_out(prepared.numbers, settings.held_out)
    training = _training_asked(settings, seed)
    if training.shards % group.processes:
        raise files.InputError(
            f"network {settings.network} shares each batch among {training.shards} parts, which {group.processes} "
            "processes can't "
            f"divide evenly: start torchrun with --nproc-per-node {' or '.join(_divisors(training.shards))}"
        )
    if group.rank == 0:
        _begin(run, {"train": {**asdict(settings), "seed": seed, "images": fingerprint(prepared)}}, force=force)
    group.wait_for_first()
    if run.weights.exists():
        open_network(run, torch.device("cpu"))
        return False
    kept = [number for number in prepared.numbers if number not in held_out]
    images = prepared.normalised(kept).to(group.device)
    state, pending = _begin_or_go_on(run, settings, images, seed)
    threads = (
        1
        if group.device.type == "cuda"
        else max(1, min(workers or available_cores(), training.shards) // group.processes)
    )
    torch.set_num_threads(1)
    steps = train(
        images,
        prepared.background,
        disc(images.shape[-1]).to(group.device),
        state,
        training,
        threads=threads,
        rank=group.rank,
        processes=group.processes,
        add_up=group.add_up,
    )
    if group.rank > 0:
        for _ in steps:
            pass
        return True
    _watch(run, steps, state, training, pending, len(images))
    _write_network(run, state, prepared, settings.network, training, held_out)
    run.state.unlink(missing_ok=True)
    return True


def _divisors(number: int) -> list[str]:
    return [str(part) for part in range(1, number + 1) if number % part == 0]


def open_network(run: RunDirectory, device: torch.device) -> NetworkScore:
    """The trained network of a run as a denoiser.

    Raises:
        InputError: there is none, or it was trained on other images.
    """
    weights, record = _read_network(run)
    prepared = read_prepared(run.images)
    if (record["size"], record["mu"], record["s"]) != (prepared.images.shape[-1], prepared.mu, prepared.s):
        raise files.InputError(
            f"the network in {run.score} was trained on other images than {run.images}: train it again, with --force"
        )
    architecture = Architecture(**{**record["architecture"], "channels": tuple(record["architecture"]["channels"])})
    network = PreconditionedUNet(architecture, record["sigma_data"])
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return NetworkScore(network.to(device), record["background"], disc(record["size"]).to(device))


def held_out_numbers(run: RunDirectory) -> list[int]:
    """Numbers of the images that the network of a run was not shown."""
    return list(_read_network(run)[1]["held_out"])


def _read_network(run: RunDirectory) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    require_network(run)
    return files.read_weights(run.weights)


def _held_out(numbers: list[int], wanted: int | None) -> list[int]:
    """Numbers of images to keep from the network, evenly spread.

    Raises:
        InputError: too few would be left to learn from.
    """
    require_several(numbers)
    count = wanted if wanted is not None else len(numbers) // 20 if len(numbers) >= _ENOUGH else 0
    if count > len(numbers) // 2:
        raise files.InputError(
            f"--held-out should leave at least half of the {len(numbers)} images to learn from, got {count}"
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
) -> None:
    """Take the steps; show them, keep the loss curve, and save now and then what is needed to go on."""
    rows = [
        row for row in run.loss.read() if row.images_seen <= state.step * training.batch
    ]  # later ones are made again
    before = rows[-1].seconds if rows else 0.0
    every = max(1, training.steps // _POINTS)
    clock, saved, losses = Stopwatch(), time.monotonic(), list(pending)
    with progress_bar() as bar, beating(run.progress, lambda: activity_of(bar)):
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


def _write_network(
    run: RunDirectory,
    state: TrainingState,
    prepared: PreparedStack,
    network: str,
    training: Training,
    held_out: list[int],
) -> None:
    record = {
        "scoretomo": __version__,
        "network": network,
        "architecture": asdict(architecture_for(network, prepared.images.shape[-1])),
        "examples": training.examples,
        "seed": training.seed,
        "size": prepared.images.shape[-1],
        "sigma_data": state.network.preconditioning.sigma_data,
        "background": prepared.background,
        "mu": prepared.mu,
        "s": prepared.s,
        "held_out": held_out,
    }
    weights = {name: tensor.cpu().numpy() for name, tensor in state.average.state_dict().items()}
    files.write_weights(run.weights, weights, record)
