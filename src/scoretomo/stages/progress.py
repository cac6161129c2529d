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


def progress_bar(*further: ProgressColumn, count: bool = False) -> Progress:
    """A bar with elapsed time, an estimate of the time left and further columns; with numbers if what it counts means something."""
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %")]
    if count:
        columns.append(MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), *further, console=console)
