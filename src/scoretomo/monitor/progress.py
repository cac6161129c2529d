"""What is shown in the terminal while work goes on."""

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

from ..rundir.heartbeat import Word, telling

_EVERY = 60.0  # seconds from line to line where the output is no terminal

console = Console(highlight=False, soft_wrap=True, markup=False)  # file names may hold brackets


def say(sentence: str) -> None:
    """Tell the user."""
    console.print(sentence)


def warn(sentence: str) -> None:
    """Tell the user something to look at."""
    console.print(f"· {sentence}", style="yellow")


def progress_bar(*beyond: ProgressColumn, count: bool = False) -> Progress:
    """A bar with an estimate of the time left; with numbers if what it counts means something.

    Where the output is no terminal, as the log of a batch system, it is a line each minute.

    Args:
        beyond: what to show of the time beyond this bar's; the time it has taken if there is nothing.
        count: whether to show numbers.
    """
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %")]
    if count:
        columns.append(MofNCompleteColumn())
    if not beyond:
        columns.append(TimeElapsedColumn())
    kind = Progress if console.is_terminal else _Lines
    return kind(
        *columns, TextColumn("left"), TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)), *beyond, console=console
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
def working(what: str, told: Path | None, left: Callable[[], float | None] = lambda: None) -> Iterator[None]:
    """Show, in the terminal and to other processes, that something is being done of which nobody knows how far it is.

    Args:
        what: it is.
        told: progress.json of the run; None if other processes are not to be told.
        left: seconds for all stages.
    """
    with console.status(what), telling(told, lambda: Word(what, seconds_left_in_all=left())):
        yield


def word_of(bar: Progress, left: Callable[[float], float | None] = lambda share: None) -> Word | None:
    """What a bar shows; None before there is anything.

    Args:
        bar: whose last task counts.
        left: seconds for all stages when a share of this one is done.
    """
    if not bar.tasks:
        return None
    task = bar.tasks[-1]
    share = task.percentage / 100
    return Word(task.description, round(share, 4), task.time_remaining, left(share))
