"""What is shown in the terminal while work goes on."""

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
