"""The state of a run: which stages are done, by its files."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, NamedTuple, Protocol

from .. import files
from ..config import ReconstructSettings
from ..requirements import select_numbers
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import Activity, Heartbeat, read_heartbeat
from ..rundir.rows import VolumeRow
from ..rundir.stages import TRAINING, StageName
from ..wording import counted, images

_OPTIONAL: StageName = "report"  # not written by every command: a job that ended well has finished its own stages

Job = Literal["running", "silent", "stopped", "finished"]

# what stages leave that a run may not need; without it they have only passed on what they read
_RESULTS: Mapping[StageName, Callable[[RunDirectory], bool]] = {
    "assignment": lambda run: run.assignment.exists(),
    "deformation": lambda run: run.coarse_model.exists(),
    "bodies": lambda run: run.motion != "none",
    "motion": lambda run: run.model.exists(),
    "landscape": lambda run: run.landscape.rows.exists(),
}


class Stage(Protocol):
    """A row of the table of stages."""

    @property
    def name(self) -> StageName: ...
    @property
    def applies(self) -> Callable[[ReconstructSettings], bool]: ...
    @property
    def done(self) -> Callable[[RunDirectory, ReconstructSettings], bool]: ...


class StageState(NamedTuple):
    """The state of a stage."""

    name: str
    state: Literal["done", "working", "waiting"]
    detail: str = ""  # its result, or what is being done
    seconds: float | None = None  # it took
    needed: bool = True  # False where it is done because this run has no use for it


class State(NamedTuple):
    """A run as it is now."""

    job: Job
    stages: list[StageState]
    activity: Activity | None  # of the job that works on it, or the last one of a job that stopped
    silent_since: str  # time of the last heartbeat of a silent job
    facts: list[tuple[str, str]]  # results so far: a heading and a sentence each
    last: int | None  # number of the image whose volume was finished last

    @property
    def over(self) -> bool:
        """Whether no job works on it any more."""
        return self.job in ("stopped", "finished")


def read_state(run: RunDirectory, stages: Sequence[Stage]) -> State:
    """The state of a run; nothing is written.

    Args:
        run: the run.
        stages: the table of all stages, in their order.
    """
    heartbeat = read_heartbeat(run.progress)
    volumes = run.logged_volumes()
    took = {record["stage"]: record["seconds"] for record in run.records() if record["event"] == "stage"}
    states = _states(run, stages, volumes, took)
    job = _job(heartbeat, states)
    activity = heartbeat.activity if heartbeat and job != "finished" else None
    if activity and job != "stopped":
        states = _at_work(states, activity)
    done = [number for number, row in volumes.items() if row.status == "done" and run.volume(number).exists()]
    since = f"{heartbeat.silent_since.astimezone():%H:%M on %d %B}" if heartbeat and heartbeat.silent_since else ""
    return State(job, states, activity, since, list(_facts(run, volumes)), done[-1] if done else None)


def _job(heartbeat: Heartbeat | None, stages: Sequence[StageState]) -> Job:
    """The state of the job; one that ends well removes its heartbeat."""
    if heartbeat and not heartbeat.dead:
        return "running" if heartbeat.at_work else "silent"
    complete = all(stage.state == "done" for stage in stages if stage.name != _OPTIONAL)
    return "finished" if complete and heartbeat is None else "stopped"


def _states(
    run: RunDirectory, stages: Sequence[Stage], volumes: Mapping[int, VolumeRow], took: Mapping[str, float]
) -> list[StageState]:
    """The stages that a run has; stages after one that is not done are not done, whatever files are there."""
    section = files.read_toml(run.config).get("run", {}) if run.config.exists() else None
    settings = _settings(section or {})
    details = _details(run, settings, volumes)
    states: list[StageState] = []
    for stage in stages:
        if stage.applies(settings) if section else stage.name in TRAINING:
            done = all(state.state == "done" for state in states) and stage.done(run, settings)
            detail = details[stage.name]() if stage.name in details else ""
            seconds = took.get(stage.name) if done else None
            needed = not done or stage.name not in _RESULTS or _RESULTS[stage.name](run)
            states.append(StageState(stage.name, "done" if done else "waiting", detail, seconds, needed))
    return states


def _settings(section: Mapping[str, Any]) -> ReconstructSettings:
    names = {field.name for field in fields(ReconstructSettings)}
    return ReconstructSettings(**{name: value for name, value in section.items() if name in names})


def _details(
    run: RunDirectory, settings: ReconstructSettings, volumes: Mapping[int, VolumeRow]
) -> Mapping[StageName, Callable[[], str]]:
    """The result of each stage that has a short one."""
    return {
        "images": lambda: _included(run),
        "network": lambda: _loss(run),
        "flexibility": lambda: _verdict(run),
        "volumes": lambda: _made(run, settings, volumes),
        "landscape": lambda: _modes(run),
    }


def _included(run: RunDirectory) -> str:
    if not run.images.exists():
        return ""
    return f"{sum(row.included for row in run.image_rows.read())} of {run.import_record.read().size}² pixels"


def _loss(run: RunDirectory) -> str:
    rows = run.loss.read() if run.weights.exists() else []
    return f"loss {rows[-1].loss:.3f}" if rows else ""


def _verdict(run: RunDirectory) -> str:
    return run.flexibility.read().verdict if run.flexibility.exists() else ""


def _made(run: RunDirectory, settings: ReconstructSettings, volumes: Mapping[int, VolumeRow]) -> str:
    rows = run.image_rows.read()
    numbers = [row.number for row in rows if row.included]
    requested = len(select_numbers(numbers, len(rows), settings.images)) if numbers else 0
    made = sum(row.status == "diverged" or run.volume(number).exists() for number, row in volumes.items())
    return f"{made} of {requested}" if requested else ""


def _modes(run: RunDirectory) -> str:
    """How many modes of motion there are, if that is determined."""
    modes = run.landscape.summary.read().modes if run.landscape.rows.exists() else None
    return "" if modes is None else counted(modes, "mode")


def _at_work(stages: list[StageState], activity: Activity) -> list[StageState]:
    """The job is at the first stage that is not done; after the last one, an experiment has activities of its own."""
    at = next((place for place, stage in enumerate(stages) if stage.state != "done"), None)
    if at is None and activity.doing:
        return [*stages, StageState(activity.doing, "working")]
    return [
        stage._replace(state="working", detail=stage.detail or activity.doing.removeprefix(f"{stage.name}: "))
        if place == at
        else stage
        for place, stage in enumerate(stages)
    ]


def _facts(run: RunDirectory, volumes: Mapping[int, VolumeRow]) -> Iterator[tuple[str, str]]:
    """Results so far."""
    yield from _consensus_facts(run)
    yield from _flexibility_facts(run)
    yield from _volume_facts(volumes)


def _consensus_facts(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """Correlation, agreement of the starts, outliers, and the second molecule of a mixture."""
    folder = run.assigned if run.assigned.summary.exists() else run.first
    starts, poses = run.starts.read(), run.poses.read() or folder.poses.read()
    if folder.summary.exists():
        summary = folder.summary.read()
        yield (
            "correlation",
            f"{summary.correlation:.3f} with views of the consensus, "
            f"{summary.held_out_correlation:.3f} of held-out images with a consensus of the others",
        )
    elif starts:
        best = max(row.correlation for row in starts)
        yield "correlation", f"{best:.3f} with views of the best start, at low resolution"
    if starts:
        agreeing = sum(row.agrees for row in starts)
        values = ", ".join(f"{fsc:.2f}" for fsc in sorted(row.fsc for row in starts)[:-1])
        yield "starts", f"{agreeing} of {len(starts)} came to the same volume (mean FSC {values})"
    if poses:
        outliers = [row.image for row in poses if row.outlier]
        yield "outliers", images(outliers) if outliers else "none"
        class_2 = sum(row.class_number == 2 for row in poses)
        if class_2:
            yield "mixture", f"{counted(class_2, 'image')} of class 2"


def _flexibility_facts(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """The verdict of the flexibility test, where it was made."""
    test = run.flexibility.read() if run.flexibility.exists() else None
    if test and test.rigid_residual is not None and test.flexible_residual is not None:
        rigid, flexible = 100 * test.rigid_residual, 100 * test.flexible_residual
        residuals = f"{rigid:.2f} % by the rigid model, {flexible:.2f} % by the deformation model"
        yield "flexibility", f"{test.verdict}: residual fraction of held-out images {residuals}"


def _volume_facts(volumes: Mapping[int, VolumeRow]) -> Iterator[tuple[str, str]]:
    """Replicate FSC, correlation with the images, and descents that diverged."""
    fsc = {number: row.replicate_fsc for number, row in volumes.items() if row.replicate_fsc is not None}
    if fsc:
        worst = min(fsc, key=lambda number: fsc[number])
        yield "replicates", f"mean FSC {statistics.fmean(fsc.values()):.3f}, least {fsc[worst]:.3f} (volume {worst})"
    correlations = [row.anchor_correlation for row in volumes.values() if row.status == "done"]
    if correlations:
        yield "own image", f"correlation with the view in its pose {statistics.median(correlations):.4f} (median)"
    diverged = [number for number, row in volumes.items() if row.status == "diverged"]
    if diverged:
        yield "diverged", images(diverged)
