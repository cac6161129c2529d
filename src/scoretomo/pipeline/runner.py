"""From a request to a finished run: the stages in their order, except those that are done."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch

from .. import files
from ..compute import best_device, joined_group, processes_for, require_one_process
from ..config import ImportRequest, ReconstructSettings, RunRequest, TrainSettings
from ..landscape import LANDSCAPE
from ..monitor.progress import print_line, working
from ..monitor.time_estimate import TimeEstimate
from ..requirements import require_umap
from ..rundir.directory import LANDSCAPE_PARTS, RunDirectory, Stopwatch, entry, require_run
from ..rundir.heartbeat import require_alone
from ..rundir.inputs import require_same_input
from ..rundir.requests import record_of_reconstruction, record_of_run
from ..rundir.rows import Verdict
from ..rundir.settings_file import check_settings
from ..rundir.stages import TRAINING, StageName
from ..wording import counted, duration
from . import STAGES, Stage
from .costs import Plan, likely_verdict
from .criteria import record_criteria
from .denoising import measure_score
from .images import PreparedStack, import_stack, read_and_prepare, read_prepared, write_prepared
from .job import Job
from .landscape import landscape_numbers, show_modes, write_landscape
from .network import open_network
from .reliability import write_reliability
from .report import show_verdict, write_report, write_report_to
from .train import train_network
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
        again: tuple[StageName, ...] = ("images",)
        if check_settings(run.config, record, force=force, beside=(run.progress.name,)) and run.images.exists():
            _continue(run)
            again = ()
        if not run_stages(run, job, STAGES, again=again):
            print_line(f"{run.path} is finished")
            show_verdict(run)
        run.end()
        require_volumes(run)


def _continue(run: RunDirectory) -> None:
    require_same_input(run.import_record.path)
    run.require_same_images()
    run.claim()


def run_stages(
    run: RunDirectory, job: Job, stages: Sequence[Stage], *, again: Collection[StageName] = ()
) -> list[StageName]:
    """Run the stages that are not done, and those that need one that was run.

    Args:
        run: the run.
        job: its settings, and how it is worked on.
        stages: in their order.
        again: stages that are run even if they are done.

    Returns:
        Names of those that were run.
    """
    files.remove_unfinished(run.path)
    torch.set_num_threads(1)  # what this process does itself does not depend on the number of workers, either
    run_now: list[StageName] = []
    prepared: PreparedStack | None = None
    for number, stage in enumerate(stages):
        if not stage.applies(job.settings):
            continue
        if stage.done(run, job.settings) and not {stage.name, *stage.needs} & {*run_now, *again}:
            continue
        if stage.name != "images":
            prepared = prepared or _begin_estimate(run, job, stages[number:])
            job.estimate.plan(_costs(run, job, stages[number:], prepared, _expected_verdict(run, prepared)))
        clock = Stopwatch()
        stage.run(run, job)
        run.record("stage", stage=stage.name, seconds=clock.seconds())
        run_now.append(stage.name)
    return run_now


def _begin_estimate(run: RunDirectory, job: Job, ahead: Sequence[Stage]) -> PreparedStack:
    """Read the images once they are prepared, record all criteria, and show how long the run will take."""
    prepared = read_prepared(run.images)
    record_criteria(run)
    warn_of_excluded(prepared, job.settings)
    _show_estimate(run, job, ahead, prepared)
    return prepared


def _costs(
    run: RunDirectory, job: Job, stages: Sequence[Stage], prepared: PreparedStack, verdict: Verdict
) -> dict[str, float]:
    """What is ahead, in core-seconds of each part, with a verdict of the flexibility test."""
    count, size = prepared.images.shape[:2]
    missing = missing_batches(run, prepared, job.settings)
    plan = Plan(
        settings=job.settings,
        training=job.training,
        images=count,
        size=size,
        batches=tuple(map(len, missing)),
        processes=_processes(job, prepared),
        verdict=verdict,
        motion=run.motion,
    )
    ahead = [stage for stage in stages if stage.applies(job.settings) and not stage.done(run, job.settings)]
    return {part: cost for stage in ahead for part, cost in stage.cost(plan).items()}


def _expected_verdict(run: RunDirectory, prepared: PreparedStack) -> Verdict:
    """That of the flexibility test or, before it, the one that is likely."""
    return run.verdict if run.flexibility.exists() else likely_verdict(len(prepared.images))


def _processes(job: Job, prepared: PreparedStack) -> int:
    """Processes that make volumes, as many as memory holds."""
    return processes_for(job.workers, memory_of_a_process(prepared))


def _show_estimate(run: RunDirectory, job: Job, ahead: Sequence[Stage], prepared: PreparedStack) -> None:
    """How long the run will take on a usual CPU, before it begins."""
    begun = run.start(0).exists() or run.loss.exists() or bool(run.logged_volumes())
    if begun or best_device().type != "cpu":
        return
    expected = _expected_verdict(run, prepared)
    usual = _total(_costs(run, job, ahead, prepared, expected))
    rigid = usual if expected != "flexible" else _total(_costs(run, job, ahead, prepared, "rigid"))
    more = f", {rigid} if the molecule is rigid" if rigid != usual else ""
    print_line(f"time estimate: {usual} on {counted(_processes(job, prepared), 'core')} of a usual CPU{more}")


def _total(costs: Mapping[str, float]) -> str:
    """The sum of some costs in whole minutes."""
    return duration(60 * math.ceil(sum(costs.values()) / 60)).removesuffix(" 00 s")


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
        written = run.with_landscape_in(new)
        clock = Stopwatch()
        with working("landscape of the volumes", run.progress):
            write_landscape(written, umap=umap)
            write_reliability(written)
        event = entry("stage", stage="landscape", seconds=clock.seconds())
        write_report_to(new, written, event)
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
    run = RunDirectory(directory)
    record = record_of_reconstruction(directory, volumes)
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
    return bool(run_stages(run, job, [stage for stage in STAGES if stage.name not in TRAINING]))


def train_imported(
    images: ImportRequest, output: Path, settings: TrainSettings, *, seed: int, workers: int | None, force: bool
) -> bool:
    """Import a stack into a run directory, train a network on it, or continue to, and write a report.

    Returns:
        Whether this process is the one of several that ends the job: by `end_training`, where nothing follows.
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
