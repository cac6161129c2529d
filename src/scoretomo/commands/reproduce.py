"""A whole experiment of the paper: data, score, samples, volumes, evaluation, in one report."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import files
from ..compute import available_cores, best_device, processes_for, random_stream, require_one_process, volumes_together
from ..config import (
    ImportSettings,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceSettings,
    SampleSettings,
    SimulateSettings,
    TrainSettings,
)
from ..denoisers.network import NetworkScore, PreconditionedUNet, architecture_for
from ..denoisers.training import begin_training, train
from ..experiments import Experiment
from ..images import disc
from ..monitor.progress import say
from ..pipeline.images import read_prepared
from ..pipeline.report import report_run
from ..pipeline.runner import reconstruct_prepared, train_imported
from ..pipeline.volumes import require_volumes
from ..presets import PRESETS, TRAININGS
from ..reconstruction.algorithm import reconstruct
from ..report import words
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import require_alone
from ..rundir.settings_file import check_settings, write_settings
from .asked import asked_of_reproduction
from .evaluate import evaluate_maps
from .sample import sample_run
from .simulate import Plan, simulate_object


def reproduce_experiment(
    name: str,
    output: Path,
    settings: ReproduceSettings,
    *,
    stack: Path | None,
    truth: Path | None,
    pixel_size: float | None,
    workers: int | None,
    force: bool,
) -> None:
    """Do one of the paper's experiments from its data to a report, or continue to.

    Raises:
        InputError: the experiment needs images, and none are given.
    """
    require_one_process()
    plan, asked = asked_of_reproduction(name, settings, stack, truth, pixel_size)
    record, folder, data = output / "experiment.toml", output / "run", output / "data"
    run = RunDirectory(folder)
    begun = check_settings(record, asked, force=force)
    files.make_folder(folder)
    require_alone(run.progress)
    if not begun:
        write_settings(record, asked)
    if stack is not None and settings.images is None:
        count = files.find_images(stack).shape[0]
        plan = replace(plan, images=count, volumes=min(plan.volumes, count))
    if not run.volumes_star.exists():
        _say_what_it_costs(name, plan, workers or available_cores())
    importing = ImportSettings(size=plan.size, select=None if settings.images is None else f"0-{plan.images - 1}")
    if stack is None:
        taken = SimulateSettings(images=plan.images, size=plan.size, realistic=plan.realistic, seed=settings.seed)
        simulated = Plan(str(plan.simulated), taken, ObjectSettings(), RealismSettings())
        simulate_object(simulated, data, workers=workers, force=force)
        stack, truth, importing = data / "images.mrcs", data / "truth", ImportSettings()
    learning = TrainSettings(network=plan.network)  # type: ignore[arg-type]
    train_imported(stack, folder, pixel_size, importing, learning, seed=settings.seed, workers=workers, force=force)
    sample_run(folder, SampleSettings(seed=settings.seed), force=force)
    numbers = read_prepared(run.images).numbers[: plan.volumes]
    volumes = ReconstructSettings(
        method=plan.method,  # type: ignore[arg-type]
        denoiser="network",
        images=",".join(map(str, numbers)),
        seed=settings.seed,
    )
    reconstruct_prepared(folder, volumes, workers=workers, force=force)
    if truth is not None and any((folder / "volumes").glob("*.mrc")):
        evaluate_maps(folder, truth, None, workers=workers)
    else:
        report_run(folder)
    run.end()
    require_volumes(run)


def _say_what_it_costs(name: str, plan: Experiment, cores: int) -> None:
    """Time a few steps of both computations on this machine, and say what all of them will take."""
    say(f"{name}: {plan.images} class averages of {plan.size}², network “{plan.network}”, {plan.volumes} volumes")
    learner, device = torch.device("cuda" if torch.cuda.is_available() else "cpu"), best_device()
    together = min(plan.volumes, volumes_together(plan.size))
    images = torch.randn(together, plan.size, plan.size, generator=random_stream(0, "cost"))
    mask = disc(plan.size)
    network = PreconditionedUNet(architecture_for(plan.network, plan.size), 1.0).to(learner)
    training = TRAININGS[plan.network]
    torch.set_num_threads(1)
    few = replace(training, examples=3 * training.batch)
    steps = train(images.to(learner), 0.0, mask.to(learner), begin_training(network), few, threads=min(cores, training.shards))
    learning = _seconds_of_a_step(steps) * training.steps
    descent = PRESETS[plan.method]
    streams = [random_stream(0, "cost", number) for number in range(together)]
    usual = replace(descent, steps=3, views=(round(sum(descent.views) / 2),) * 2)
    score = NetworkScore(network.to(device), 0.0, mask.to(device))
    descending = reconstruct(images.to(device), score, usual, background=0.0, views=random_stream(0, "cost"), noise=streams)
    batches = -(-plan.volumes // together)
    rounds = -(-batches // processes_for(cores))
    volumes = _seconds_of_a_step(descending) * descent.steps * rounds
    where = "a GPU" if learner.type == "cuda" else f"{cores} cores"
    say(f"on {where}, training takes about {words.duration(learning)}, and the volumes about {words.duration(volumes)}")


def _seconds_of_a_step(steps: Iterator[Any]) -> float:
    """Of the third step: the first ones warm up."""
    for _ in itertools.islice(steps, 2):
        pass
    begin = time.perf_counter()
    next(steps)
    return time.perf_counter() - begin
