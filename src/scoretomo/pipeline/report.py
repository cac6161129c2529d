"""Stage report: from the files of a run to report.html."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_text
from ..monitor.progress import print_line, working
from ..report import render_report
from ..rundir.directory import RunDirectory
from ..rundir.rows import Verdict

_VERDICTS: Mapping[Verdict, str] = {
    "flexible": "the molecule is flexible",
    "rigid": "the molecule is rigid",
    "undetermined": "whether the molecule moves is undetermined, with so few images",
}


def write_report(run: RunDirectory) -> None:
    """Write report.html, and show the verdict and where it is."""
    with working("writing the report", run.progress):
        write_text(run.report, render_report(run))
    show_verdict(run)


def show_verdict(run: RunDirectory) -> None:
    """Show the verdict of the flexibility test, of a run that has one, and where the report is."""
    verdict = f"{_VERDICTS[run.verdict]}; " if run.flexibility.exists() else ""
    print_line(f"{verdict}report: {run.report.absolute()}")


def write_report_to(folder: Path, run: RunDirectory, event: Mapping[str, Any] | None = None) -> None:
    """Write report.html to a folder whose content will take the place of older results of the run together.

    Args:
        folder: holds the new results.
        run: the run with its new results.
        event: the line that will be added to its log.
    """
    with working("writing the report", run.progress):
        write_text(folder / run.report.name, render_report(run, event))
