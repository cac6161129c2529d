"""Import → reconstruct → report in one go."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import files
from ..images import ImportSettings
from .directory import RunDirectory
from .importing import read_and_prepare, write_prepared
from .progress import console
from .reconstruct import ReconstructSettings, reconstruct_run, select_numbers
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
    asked: dict[str, Any] = {"run": {"stack": stack.absolute(), "pixel_size": pixel_size, **asdict(importing), **asdict(volumes)}}
    begun = run.begun(asked, force=force)
    if not (begun and run.images.exists()):
        imported = read_and_prepare(stack, pixel_size, importing)
        select_numbers(imported.prepared.numbers, len(imported.sources), volumes.images)
        run.begin(asked)
        write_prepared(run.images, imported)
    if run.report.exists():
        console.print(f"{output} is finished: [bold]{run.report.resolve()}[/]")
        return
    reconstruct_run(run, volumes, workers=workers)
    report_run(output)


def reconstruct_only(directory: Path, volumes: ReconstructSettings, *, workers: int | None, force: bool) -> None:
    """Reconstruct prepared images (images.mrcs of an import) where they are, or continue to."""
    run = RunDirectory(directory)
    record = run.images.with_suffix(".json")
    if not record.exists() or not run.images.exists():
        raise files.InputError(f"{directory} should hold images.mrcs from an import: scoretomo import STACK --output {run.images}")
    asked = {"run": {**json.loads(record.read_text(encoding="utf-8"))["asked"], **asdict(volumes)}}
    if not run.begun(asked, force=force):
        run.begin(asked)
    reconstruct_run(run, volumes, workers=workers)
