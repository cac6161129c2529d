"""Sentences and progress bars in the terminal."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from ..rundir.heartbeat import Activity, beating

_EVERY = 60.0  # seconds from line to line where the output is no terminal


class PipeConsole(Console):
    """A console whose program ends silently, as by SIGPIPE, where its output is no longer read, as after ``| head``."""

    def on_broken_pipe(self) -> None:
        """End the program."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(128 + signal.SIGPIPE) from None


console = PipeConsole(highlight=False, soft_wrap=True, markup=False)  # file names may hold brackets


def print_line(sentence: str) -> None:
    """Print a sentence."""
    console.print(sentence)


def print_warning(sentence: str) -> None:
    """Print a sentence that the user should not miss."""
    console.print(f"· {sentence}", style="yellow")


def progress_bar(*beyond: ProgressColumn, count: bool = False) -> Progress:
    """A bar with an estimate of the time left; where the output is no terminal, a line each minute.

    Args:
        beyond: columns after the time left; the time elapsed if there are none.
        count: whether to show how many there are, and how many are done.
    """
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %")]
    if count:
        columns.append(MofNCompleteColumn())
    if not beyond:
        columns.append(TimeElapsedColumn())
    kind = Progress if console.is_terminal else _Lines
    return kind(
        *columns,
        TextColumn("left"),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        *beyond,
        console=console,
    )


class _Lines(Progress):
    """A bar that writes a line now and then."""

    _last = 0.0

    def start(self) -> None:
        """Begin to count the time to the first line."""
        self._last = self.get_time()
        super().start()

    def update(self, *given: Any, **changed: Any) -> None:
        """The same, and a line if it is time for one."""
        super().update(*given, **changed)
        self._write()

    def advance(self, *given: Any, **changed: Any) -> None:
        """The same, and a line if it is time for one."""
        super().advance(*given, **changed)
        self._write()

    def _write(self) -> None:
        if self.get_time() - self._last >= _EVERY and not self.finished:
            self._last = self.get_time()
            self.console.print(self.get_renderable())


@contextmanager
def working(what: str, heartbeat: Path | None, left: Callable[[], float | None] = lambda: None) -> Iterator[None]:
    """Show, in the terminal and to other processes, that something is being done whose progress is unknown.

    Args:
        what: is being done.
        heartbeat: progress.json of the run; None for no heartbeats.
        left: seconds for all stages.
    """
    with console.status(what), beating(heartbeat, lambda: Activity(what, seconds_left_in_all=left())):
        yield


def activity_of(
    bar: Progress, left: Callable[[float, float | None], float | None] = lambda share, here: None
) -> Activity | None:
    """The activity that a bar shows; None before there is anything.

    Args:
        bar: whose last task counts.
        left: seconds for all stages when a share of this one is done, and so many are left for the rest of it.
    """
    if not bar.tasks:
        return None
    task = bar.tasks[-1]
    share = task.percentage / 100
    here = task.time_remaining
    return Activity(task.description, round(share, 4), here, left(share, here))
