"""From the files of a run to report.html."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .. import files
from ..monitor.progress import say, working
from ..report import render_report
from ..rundir.directory import RunDirectory, require_run


def report_run(directory: Path) -> None:
    """Write report.html and say where it is."""
    run = require_run(directory)
    with working("writing the report", run.progress):
        files.write_text(run.report, render_report(run.path))
    say(f"report: {run.report.absolute()}")


def report_beside(run: RunDirectory, new: Path, names: Sequence[str], event: Mapping[str, Any] | None) -> None:
    """Write report.html to a folder with new results of a run: as it is once these have taken their places.

    Args:
        run: the run.
        new: the folder.
        names: in the run, of the results that are new.
        event: what log.jsonl will say of them; None for nothing.
    """
    with TemporaryDirectory() as temporary, working("writing the report", run.progress):
        log = Path(temporary) / run.log.name
        if run.log.exists():
            shutil.copyfile(run.log, log)
        if event is not None:
            files.append_record(log, event)
        instead = {name: new / name for name in names} | {run.log.name: log}
        files.write_text(new / run.report.name, render_report(run.path, instead))
