"""From the files of a run to report.html."""

from pathlib import Path

from .. import files
from ..report import render_report
from .directory import require_run
from .progress import say, working


def report_run(directory: Path) -> None:
    """Write report.html and say where it is."""
    run = require_run(directory)
    with working("writing the report", run.progress):
        files.write_text(run.report, render_report(run.path))
    say(f"report: {run.report.absolute()}")
