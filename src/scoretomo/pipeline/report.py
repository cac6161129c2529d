"""Stage report: from the files of a run to report.html."""

from ..files import write_text
from ..monitor.progress import print_line, working
from ..report import render_report
from ..rundir.directory import RunDirectory


def write_report(run: RunDirectory) -> None:
    """Write report.html, and show where it is."""
    with working("writing the report", run.progress):
        write_text(run.report, render_report(run))
    print_line(f"report: {run.report.absolute()}")
