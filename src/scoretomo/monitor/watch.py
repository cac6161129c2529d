"""A running job in the terminal."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..graphics.montage import in_characters, shows_pictures, tiles
from ..graphics.surfaces import common_scale
from ..images import shift
from ..projection import project
from ..rundir.directory import RunDirectory, require_begun
from ..rundir.opened_run import OpenRun
from ..wording import duration
from .live import served
from .progress import console, print_line
from .state import Stage, StageState, State, read_state

INTERVAL = 1.0  # seconds between two looks
_ATTEMPTS = 5  # at reading a run, before a failure is an error
_PASSING = (OSError, ValueError, KeyError)  # failures where files are removed or written anew while they are read
_SMALLEST, _LARGEST = 10, 28  # pixels of a picture in the terminal
_OF_VOLUMES = {"replicates", "own image"}  # facts that change with every volume
_SYMBOLS = {"done": ("✓", "blue"), "working": ("▸", "yellow"), "waiting": ("·", "dim")}
_NOT_NEEDED = ("–", "dim")


def watch_run(path: Path, stages: Sequence[Stage], *, live: bool, interval: float = INTERVAL) -> bool:
    """Show the progress of a run, until it is finished or its job has stopped; no file is written.

    Args:
        path: the run directory.
        stages: the table of all stages, in their order.
        live: serve the report as well while it grows, until Ctrl-C.
        interval: seconds between two looks.

    Returns:
        False if the job has stopped before its end.

    Raises:
        InputError: no run has begun there.
    """
    run = require_begun(path)
    torch.set_num_threads(1)
    with _interruptible() as stopped, served(run) if live else nullcontext() as address:
        looks = _looks(run, stages, stopped, interval, stay=live)
        state = _show(run, looks, address) if console.is_terminal else _list_changes(run, looks, address)
    return state.job != "stopped" or stopped.is_set()


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C: an exception could come in the middle of anything."""
    stopped = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _looks(
    run: RunDirectory, stages: Sequence[Stage], stopped: threading.Event, interval: float, *, stay: bool
) -> Iterator[State]:
    """The state of a run every few seconds, until it is over, or, to stay, until Ctrl-C."""
    while True:
        state = _look(run, stages, interval)
        yield state
        if (state.over and not stay) or stopped.wait(interval):
            return


def _look(run: RunDirectory, stages: Sequence[Stage], interval: float) -> State:
    for _ in range(_ATTEMPTS - 1):  # files are removed meanwhile, where a run is begun afresh
        with suppress(*_PASSING):
            return read_state(run, stages)
        time.sleep(interval)
    return read_state(run, stages)


def _show(run: RunDirectory, looks: Iterator[State], address: str | None) -> State:
    """Draw the state after every look."""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as drawn:
        for state in looks:
            drawn.update(view(run, state, address, console), refresh=True)
    return state


def _list_changes(run: RunDirectory, looks: Iterator[State], address: str | None) -> State:
    """A line for each change."""
    if address:
        print_line(f"live report: {address}")
    before = None
    for state in looks:
        for line in changes(run, before, state):
            print_line(f"{datetime.now():%H:%M:%S} {line}")
        before = state
    return state


def changes(run: RunDirectory, before: State | None, now: State) -> list[str]:
    """Changes between two looks, a line each."""
    lines = []
    stages = {stage.name: stage for stage in before.stages} if before else {}
    facts = dict(before.facts) if before else {}
    for stage in now.stages:
        was = stages.get(stage.name)
        if stage.state == "done" and (was is None or was.state != "done"):
            lines.append(f"{stage.name}: {_done(stage)}")
        elif stage.state == "working" and (step := _step(now)) and step != _step(before):
            lines.append(f"{stage.name}: {', '.join(filter(None, (stage.detail, _share(now), _left(now))))}")
    made = any(stage.name == "volumes" and stage.state == "done" for stage in now.stages)
    lines += [
        f"{about}: {sentence}"
        for about, sentence in now.facts
        if facts.get(about) != sentence and (made or now.over or about not in _OF_VOLUMES)
    ]
    if (before is None or before.job != now.job) and now.job != "running":
        lines.append(verdict(run, now))
    return lines


def _step(state: State | None) -> tuple[str, int] | None:
    """What is being done, in steps of a tenth."""
    activity = state.activity if state else None
    return (activity.doing, int(10 * (activity.share or 0.0))) if activity and activity.doing else None


def _done(stage: StageState) -> str:
    if not stage.needed:
        return "not needed"
    took = "" if stage.seconds is None else f"in {duration(stage.seconds)}"
    return ", ".join(filter(None, (stage.detail, f"done {took}".strip())))


def _share(state: State) -> str:
    share = state.activity.share if state.activity else None
    return "" if share is None else f"{100 * share:.0f} %"


def _left(state: State) -> str:
    """The time left for the stage at work."""
    left = state.activity.seconds_left if state.activity else None
    return "" if left is None else f"{duration(left)} left"


def verdict(run: RunDirectory, state: State) -> str:
    """The state of the job, in a sentence."""
    if state.job == "finished":
        there = run.report.exists()
        return (
            f"finished; report: {run.report.absolute()}"
            if there
            else f"finished; a report: scoretomo report {run.path}"
        )
    if state.job == "stopped":
        where = f", at “{state.activity.doing}”" if state.activity and state.activity.doing else ""
        return f"the job has stopped before its end{where}; the same command continues it"
    if state.job == "silent":
        return f"no heartbeat since {state.silent_since}: if the job has stopped, the same command continues it"
    left = state.activity.seconds_left_in_all if state.activity else None
    return "running" if left is None else f"running, about {duration(max(left, 1.0))} left in all"


def view(run: RunDirectory, state: State, address: str | None, terminal: Console) -> RenderableType:
    """All that the terminal shows of a state, as far as there is room.

    Args:
        run: the run.
        state: of it.
        address: of the live report, if there is one.
        terminal: where it will be shown.
    """
    colour = {"running": "bold", "finished": "bold blue"}.get(state.job, "bold yellow")
    head = Text(f"{run.path.resolve().name}: ", "bold").append(verdict(run, state), colour)
    parts: list[RenderableType] = [head, _stages(state), Text()]
    if facts := [*state.facts, *([("live report", address)] if address else [])]:
        parts += [_pairs(facts), Text()]
    shown = Group(*parts)
    lines = len(terminal.render_lines(shown, terminal.options))
    if shows_pictures(terminal) and state.last is not None:
        room = min(_LARGEST, terminal.width // 5 - 1, 2 * (terminal.height - lines - 2))
        side = room - room % 2
        if side >= _SMALLEST:
            with suppress(*_PASSING):
                parts += _pictures(run, state.last, side)
    return Group(*parts)


def _stages(state: State) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for stage in state.stages:
        mark, style = _SYMBOLS[stage.state] if stage.needed else _NOT_NEEDED
        detail: RenderableType = Text(_done(stage) if stage.state == "done" else "")
        if stage.state == "working":
            detail = _work(stage, state)
        table.add_row(Text(mark, style), Text(stage.name, style if style == "dim" else ""), detail)
    return table


def _work(stage: StageState, state: State) -> RenderableType:
    """What is being done, and its progress."""
    share = state.activity.share if state.activity else None
    what = Text(", ".join(filter(None, (stage.detail, _left(state)))))
    if share is None:
        return what
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(ProgressBar(total=1.0, completed=share, width=16), Text(f"{100 * share:3.0f} %", no_wrap=True), what)
    return row


def _pairs(facts: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for about, sentence in facts:
        table.add_row(about, sentence)
    return table


class _Pictures(NamedTuple):
    """Pictures of a volume."""

    image: np.ndarray
    view: np.ndarray  # in the pose of the image
    projections: list[np.ndarray]


def _pictures(run: RunDirectory, number: int, side: int) -> list[RenderableType]:
    """The image of a volume, the view in its pose, and projections of the volume, with their titles."""
    image, fit, projections = _pictures_of(run.path, number, run.volume(number).stat().st_mtime_ns)
    shown = [
        *tiles([image, fit], side, common_scale(image, fit)),
        *tiles(projections, side, common_scale(*projections)),
    ]
    names = (f"image {number}", "its view", "along z", "along y", "along x")
    titles = Text("".join(f"{name[:side]:<{side + 1}}" for name in names), "dim", no_wrap=True)
    return [titles, *in_characters(shown)]


@lru_cache(maxsize=1)
def _pictures_of(path: Path, number: int, written: int) -> _Pictures:
    """Pictures of a volume, read once as it was written."""
    opened = OpenRun(path)
    density = opened.volumes[number]
    image = opened.images[opened.numbers.tolist().index(number)]
    rotation, moved = torch.eye(3), torch.zeros(2)
    if poses := opened.poses:
        place = poses.numbers.tolist().index(number)
        rotation = torch.from_numpy(poses.rotations[place]).float()
        moved = torch.from_numpy(poses.shifts[place]).float()
    fit = shift(project(torch.from_numpy(density), rotation[None]), moved[None])[0].numpy()
    return _Pictures(image, fit, [density.sum(axis) for axis in range(3)])
