"""Import → reconstruct → report in one go."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..images import ImportSettings
from .directory import RunDirectory, Stopwatch, require_run
from .importing import import_into
from .progress import console
from .reconstruct import ReconstructSettings, reconstruct_run
from .report import report_run


def run_all(
    stack: Path,
    output: Path,
    pixel_size: float | None,
    importing: ImportSettings,
    volumes: ReconstructSettings,
    *,
    workers: int | None,
    force: bool,
) -> None:
    """Everything from a stack to a report; what is finished is not done again."""
    run = RunDirectory(output)
    asked: dict[str, Any] = {"stack": stack.resolve(), "pixel_size": pixel_size, **asdict(importing), **asdict(volumes)}
    import_into(run, stack, pixel_size, importing, asked, force=force)
    if run.report.exists() and run.volumes_table.exists():
        console.print(f"{output} is finished: [bold]{run.report.resolve()}[/]")
        return
    clock = Stopwatch()
    reconstruct_run(run, volumes, workers=workers)
    run.record("done", seconds=clock.seconds())
    report_run(output)


def reconstruct_only(directory: Path, volumes: ReconstructSettings, *, workers: int | None) -> None:
    """Continue the reconstruction of a run directory, as it was begun."""
    run = require_run(directory)
    run.check(asdict(volumes))
    reconstruct_run(run, volumes, workers=workers)
