"""What is shown in the terminal while work goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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

from .pulse import Word, telling

console = Console(highlight=False, soft_wrap=True, markup=False)  # file names may hold brackets


def say(sentence: str) -> None:
    """Tell the user."""
    console.print(sentence)


def warn(sentence: str) -> None:
    """Tell the user something to look at."""
    console.print(f"· {sentence}", style="yellow")


def progress_bar(*beyond: ProgressColumn, count: bool = False) -> Progress:
    """A bar with an estimate of the time left; with numbers if what it counts means something.

    Args:
        beyond: what to show of the time beyond this bar's; the time it has taken if there is nothing.
        count: whether to show numbers.
    """
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %")]
    if count:
        columns.append(MofNCompleteColumn())
    if not beyond:
        columns.append(TimeElapsedColumn())
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn(), *beyond, console=console)


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
