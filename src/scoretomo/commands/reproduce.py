"""A whole experiment of the paper: images, network score, samples, volumes, evaluation, in one report."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from .. import files
from ..compute import available_cores, best_device, processes_for, random_stream, require_one_process, volumes_together
from ..config import (
    ImportRequest,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceRequest,
    SampleSettings,
    SimulateSettings,
    TrainSettings,
)
from ..denoisers.network import NetworkScore, PreconditionedUNet, architecture_for
from ..denoisers.training import begin_training, train
from ..experiments import Experiment
from ..images import disc
from ..monitor.progress import print_line
from ..pipeline.images import read_prepared
from ..pipeline.report import write_report
from ..pipeline.runner import reconstruct_prepared, train_imported
from ..pipeline.volumes import require_volumes
from ..presets import PRESETS, TRAININGS
from ..reconstruction.algorithm import reconstruct
from ..rundir.directory import RunDirectory
from ..rundir.folders import ExperimentFolder
from ..rundir.heartbeat import require_alone
from ..rundir.settings_file import check_settings, write_settings
from ..wording import duration
from .evaluate import evaluate_maps
from .requests import images_of_an_experiment, record_of_reproduction
from .sample import sample_run
from .simulate import Plan, simulate_object


def reproduce_experiment(request: ReproduceRequest, *, workers: int | None, force: bool) -> None:
    """Do one of the paper's experiments from its data to a report, or continue to.

    Raises:
        InputError: the experiment needs images, and none are given.
    """
    require_one_process()
    folder = ExperimentFolder(request.output)
    run = RunDirectory(folder.run)
    plan, record = record_of_reproduction(request)
    begun = check_settings(folder.config, record, force=force)
    files.make_folder(folder.run)
    require_alone(run.progress)
    if not begun:
        write_settings(folder.config, record)
    if request.stack is not None and request.settings.images is None:
        count = files.find_images(request.stack).shape[0]
        plan = replace(plan, images=count, volumes=min(plan.volumes, count))
    if not run.volumes_star.exists():
        _show_costs(request.experiment, plan, workers or available_cores())
    truth = request.truth
    if request.stack is None:
        _simulate(plan, folder, request.settings.seed, workers=workers, force=force)
        images, truth = ImportRequest(folder.data.images), folder.data.truth
    else:
        images = images_of_an_experiment(request, request.stack, plan)
    _make_volumes(plan, run, images, request.settings.seed, workers=workers, force=force)
    if truth is not None and any(run.volume(number).exists() for number in read_prepared(run.images).numbers):
        evaluate_maps(run.path, truth, None, workers=workers)
    else:
        write_report(run)
    run.end()
    require_volumes(run)


def _simulate(plan: Experiment, folder: ExperimentFolder, seed: int, *, workers: int | None, force: bool) -> None:
    """Simulate the images of an experiment, with their truths."""
    settings = SimulateSettings(images=plan.images, size=plan.size, realistic=plan.realistic, seed=seed)
    simulated = Plan(str(plan.simulated), settings, ObjectSettings(), RealismSettings())
    simulate_object(simulated, folder.data.path, workers=workers, force=force)


def _make_volumes(
    plan: Experiment, run: RunDirectory, request: ImportRequest, seed: int, *, workers: int | None, force: bool
) -> None:
    """Train a network on the images, draw samples of it, and reconstruct volumes with it."""
    training = TrainSettings(network=plan.network)  # type: ignore[arg-type]
    train_imported(request, run.path, training, seed=seed, workers=workers, force=force)
    sample_run(run.path, SampleSettings(seed=seed), force=force)
    numbers = read_prepared(run.images).numbers[: plan.volumes]
    volumes = ReconstructSettings(
        method=plan.method,  # type: ignore[arg-type]
        denoiser="network",
        images=",".join(map(str, numbers)),
        seed=seed,
    )
    reconstruct_prepared(run.path, volumes, workers=workers, force=force)


def _show_costs(name: str, plan: Experiment, cores: int) -> None:
    """Time a few steps of both computations on this machine, and print how long all of them take."""
    print_line(
        f"{name}: {plan.images} class averages of {plan.size}², network “{plan.network}”, {plan.volumes} volumes"
    )
    where = "a GPU" if torch.cuda.is_available() else f"{cores} cores"
    times = duration(_training_time(plan, cores)), duration(_descent_time(plan, cores))
    print_line(f"on {where}, training takes about {times[0]}, and the volumes about {times[1]}")


def _training_time(plan: Experiment, cores: int) -> float:
    """Seconds of training on this machine, from its third step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, mask = _noise(plan).to(device), disc(plan.size).to(device)
    network = PreconditionedUNet(architecture_for(plan.network, plan.size), 1.0).to(device)
    training = TRAININGS[plan.network]
    torch.set_num_threads(1)
    few = replace(training, examples=3 * training.batch)
    steps = train(images, 0.0, mask, begin_training(network), few, threads=min(cores, training.shards))
    return _seconds_of_a_step(steps) * training.steps


def _descent_time(plan: Experiment, cores: int) -> float:
    """Seconds of all descents on this machine, from the third step of one batch."""
    device, images, mask = best_device(), _noise(plan), disc(plan.size)
    network = PreconditionedUNet(architecture_for(plan.network, plan.size), 1.0)
    descent = PRESETS[plan.method]
    streams = [random_stream(0, "cost", number) for number in range(len(images))]
    usual = replace(descent, steps=3, views=(round(sum(descent.views) / 2),) * 2)
    score = NetworkScore(network.to(device), 0.0, mask.to(device))
    steps = reconstruct(images.to(device), score, usual, background=0.0, views=random_stream(0, "cost"), noise=streams)
    batches = -(-plan.volumes // len(images))
    rounds = -(-batches // processes_for(cores))
    return _seconds_of_a_step(steps) * descent.steps * rounds


def _noise(plan: Experiment) -> torch.Tensor:
    """A batch of noise in the place of images."""
    together = min(plan.volumes, volumes_together(plan.size))
    return torch.randn(together, plan.size, plan.size, generator=random_stream(0, "cost"))


def _seconds_of_a_step(steps: Iterator[Any]) -> float:
    """Of the third step: the first ones warm up."""
    for _ in itertools.islice(steps, 2):
        pass
    begin = time.perf_counter()
    next(steps)
    return time.perf_counter() - begin
