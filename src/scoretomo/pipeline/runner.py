"""From a request to a finished run: the stages in their order, those that are done left out."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from .. import files
from ..compute import best_device, joined_group, processes_for, require_one_process
from ..config import ImportRequest, ReconstructSettings, RunRequest, TrainSettings
from ..monitor.progress import print_line, working
from ..monitor.time_estimate import TimeEstimate
from ..report import render_report
from ..requirements import require_umap
from ..rundir.directory import LANDSCAPE_PARTS, RunDirectory, Stopwatch, entry, require_run
from ..rundir.heartbeat import require_alone
from ..rundir.inputs import require_same_input
from ..rundir.requests import record_of_reconstruction, record_of_run
from ..rundir.settings_file import check_settings
from ..wording import counted, duration
from . import STAGES, Stage
from .costs import Plan, likely_verdict
from .criteria import record_criteria
from .denoising import measure_score
from .images import PreparedStack, import_stack, read_and_prepare, read_prepared, write_prepared
from .job import Job
from .landscape import LANDSCAPE, landscape_numbers, show_modes, write_landscape
from .reliability import write_reliability
from .report import write_report
from .train import open_network, train_network
from .volumes import memory_of_a_process, missing_batches, require_volumes, warn_of_excluded


def run_all(request: RunRequest, *, workers: int | None, force: bool) -> None:
    """Everything from a stack to a report; what is finished is not done again."""
    require_one_process()
    run = RunDirectory(request.output)
    record = record_of_run(request)
    job = Job(request.images, request.volumes, request.training, record, workers, TimeEstimate({}, run.progress))
    with run.alone():
        if not force:
            run.require_format()
        begun = check_settings(run.config, record, force=force, beside=(run.progress.name,))
        if begun and run.images.exists():
            _continue(run)
        else:
            _stage("images").run(run, job)
        if not run_stages(run, job, STAGES):
            print_line(f"{run.path} is finished: {run.report.absolute()}")
        run.end()
        require_volumes(run)


def _continue(run: RunDirectory) -> None:
    require_same_input(run.import_record.path)
    run.require_same_images()
    run.claim()


def _stage(name: str) -> Stage:
    return next(stage for stage in STAGES if stage.name == name)


def run_stages(run: RunDirectory, job: Job, stages: Sequence[Stage]) -> list[str]:
    """Run the stages that are not done, and those that need one that was run. Returns the names of those
    that were run.
    """
    files.remove_unfinished(run.path)
    torch.set_num_threads(1)  # what this process does itself does not depend on the number of workers, either
    record_criteria(run)
    run_now: list[str] = []
    prepared = read_prepared(run.images)
    _show_estimate(run, job, stages, prepared)
    for number, stage in enumerate(stages):
        if not stage.applies(job.settings) or (stage.done(run, job.settings) and not set(stage.needs) & set(run_now)):
            continue
        job.estimate.plan(_costs(run, job, stages[number:], prepared))
        clock = Stopwatch()
        stage.run(run, job)
        run.record("stage", stage=stage.name, seconds=clock.seconds())
        run_now.append(stage.name)
    return run_now


def _costs(
    run: RunDirectory, job: Job, stages: Sequence[Stage], prepared: PreparedStack, *, rigid: bool = False
) -> dict[str, float]:
    """What is ahead, in core-seconds of each part, as far as it can be foreseen."""
    count, size = prepared.images.shape[:2]
    verdict = run.flexibility.read().verdict if run.flexibility.exists() else likely_verdict(count)
    missing = missing_batches(run, prepared, job.settings)
    plan = Plan(
        settings=job.settings,
        images=count,
        size=size,
        batches=tuple(map(len, missing)),
        processes=_processes(job, prepared),
        verdict="rigid" if rigid and verdict == "flexible" else verdict,
    )
    ahead = [stage for stage in stages if stage.applies(job.settings) and not stage.done(run, job.settings)]
    return {part: cost for stage in ahead for part, cost in stage.cost(plan).items()}


def _processes(job: Job, prepared: PreparedStack) -> int:
    """Processes that make volumes, as many as memory holds."""
    return processes_for(job.workers, memory_of_a_process(prepared))


def _show_estimate(run: RunDirectory, job: Job, stages: Sequence[Stage], prepared: PreparedStack) -> None:
    """How long the run will take on a usual CPU, before it begins, and what it will leave out."""
    warn_of_excluded(prepared, job.settings)
    if job.settings.method != "ensemble" or best_device().type != "cpu" or run.start(0).exists():
        return
    processes = _processes(job, prepared)
    costs = [sum(_costs(run, job, stages, prepared, rigid=rigid).values()) for rigid in (False, True)]
    usual, rigid = (duration(60 * math.ceil(cost / 60)).removesuffix(" 00 s") for cost in costs)
    more = f", {rigid} if the molecule is rigid" if rigid != usual else ""
    print_line(f"time estimate: {usual} on {counted(processes, 'core')} of a usual CPU{more}")


def run_landscape(directory: Path, *, umap: bool) -> None:
    """Analyse the volumes of a run again, and write its report; the earlier results stay until all is there.

    Raises:
        InputError: there is no run with volumes in one frame, or umap-learn is missing.
    """
    run = RunDirectory(directory)
    run.require_one_frame()
    numbers = landscape_numbers(run)
    if len(numbers) < LANDSCAPE.fewest:
        raise files.InputError(
            f"{directory} has {len(numbers)} volumes of one molecule, expected {LANDSCAPE.fewest} or more: make "
            "more of them"
        )
    if umap:
        require_umap()
    with run.alone(), files.replaced_together(run.path, "landscape", LANDSCAPE_PARTS) as new:
        torch.set_num_threads(1)  # as in the run
        written, clock = run.with_landscape_in(new), Stopwatch()
        with working("landscape of the volumes", run.progress):
            write_landscape(written, umap=umap)
            write_reliability(written)
        event = entry("stage", stage="landscape", seconds=clock.seconds())
        with working("writing the report", run.progress):
            files.write_text(new / run.report.name, render_report(written, event))
    files.append_record(run.log, event)
    show_modes(run)
    print_line(f"report: {run.report.absolute()}")


def report_only(directory: Path) -> None:
    """Write report.html of a run again."""
    write_report(require_run(directory))


def reconstruct_only(directory: Path, volumes: ReconstructSettings, *, workers: int | None, force: bool) -> None:
    """Reconstruct prepared images (images.mrcs of an import) where they are, or continue to."""
    run = RunDirectory(directory)
    with run.alone():
        worked = reconstruct_prepared(directory, volumes, workers=workers, force=force)
        run.end()
        require_volumes(run)
    done = "" if worked else f"{directory} is finished: "
    print_line(f"{done}volumes are in {directory / 'volumes'}; write a report with: scoretomo report {directory}")


def reconstruct_prepared(directory: Path, volumes: ReconstructSettings, *, workers: int | None, force: bool) -> bool:
    """The same as a part of a job that goes on; returns whether there was anything to do."""
    run, record = RunDirectory(directory), record_of_reconstruction(directory, volumes)
    if not force:
        run.require_format()
    if volumes.denoiser == "network":
        open_network(run, torch.device("cpu"))  # before anything that takes long
    job = Job(None, volumes, TrainSettings(), record, workers, TimeEstimate({}, run.progress))
    if check_settings(run.config, record, force=force, beside=None):
        run.require_same_images()
        run.claim()
    else:
        run.begin(record)
    return bool(run_stages(run, job, [stage for stage in STAGES if stage.name not in ("images", "network", "report")]))


def train_imported(
    images: ImportRequest, output: Path, settings: TrainSettings, *, seed: int, workers: int | None, force: bool
) -> bool:
    """Import a stack into a run directory, train a network on it, or continue to, and write a report.

    Returns:
        Whether this process is the one of several that speaks for all: `end_training`, where nothing follows.
    """
    run = RunDirectory(output)
    with joined_group() as group:
        if group.rank == 0:
            require_alone(run.progress)
            files.recover(output)
            if not force:
                run.require_format()
            _import(images, run, force=force)
            run.claim()
        group.wait_for_first()
        worked = train_network(run, settings, group, seed=seed, workers=workers, force=force)
    if group.rank > 0:
        return False
    measure_score(run, best_device())
    if worked or not run.report.exists():
        report_only(output)
    return True


def end_training(output: Path) -> None:
    """Release the run, and show what can be done with its network."""
    RunDirectory(output).end()
    print_line(
        f"samples: scoretomo sample {output}; volumes: scoretomo reconstruct {output} --method paper --denoiser network"
    )


def _import(images: ImportRequest, run: RunDirectory, *, force: bool) -> None:
    """Import into a run directory; by force, all that came of earlier images goes with them."""
    own = images.stack.absolute() == run.images.absolute()
    if force and not own and run.import_record.exists():
        imported = read_and_prepare(images)
        with files.replaced_together(run.path, "run", run.results(keep_images=False)) as folder:
            write_prepared(folder / run.images.name, imported)
    else:
        import_stack(images, run.images, force=False)
