"""A request as the records of a run hold it, and whether it was carried out already."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import files
from ..config import ImportRequest, ReconstructSettings, RunRequest, TrainSettings
from ..requirements import require_sense
from .directory import RunDirectory
from .inputs import require_same_input
from .rows import ImportRecord
from .tables import Record


def record_of_run(request: RunRequest) -> dict[str, Any]:
    """A run, as config.toml holds it.

    Raises:
        InputError: settings contradict each other, or the run would replace its input.
    """
    stack, output = request.images.stack.absolute(), request.output
    require_sense(request.volumes)
    if stack == RunDirectory(output).images.absolute():
        raise files.InputError(f"{output} holds the input itself, which is never changed: give another --output")
    trains = request.volumes.denoiser == "network"
    if request.training != TrainSettings() and not trains:
        raise files.InputError(
            "--network, --examples and --held-out are for a network score: give --denoiser network as well"
        )
    settings = asdict(request.images.settings) | asdict(request.volumes) | (asdict(request.training) if trains else {})
    return {"run": {"stack": stack, "pixel_size": request.images.pixel_size, **settings}}


def record_of_import(request: ImportRequest) -> dict[str, Any]:
    """An import, as the record beside its images holds it."""
    return {"stack": str(request.stack.absolute()), "pixel_size": request.pixel_size, **asdict(request.settings)}


def is_imported(request: ImportRequest, output: Path, *, force: bool) -> bool:
    """Whether a stack was imported already.

    Args:
        request: the stack, and how it is to be prepared.
        output: the prepared stack.
        force: replace what is there.

    Raises:
        InputError: the output can't be a stack, is the input, or is there and something else, or of another input.
    """
    if output.suffix != ".mrcs":
        raise files.InputError(
            f"--output should end in .mrcs, got {output}: name the stack to write, such as images.mrcs"
        )
    if output.absolute() == request.stack.absolute():
        raise files.InputError(f"--output {output} is the input itself, which is never changed: give another name")
    files.recover(output.parent)
    record = Record(output.with_suffix(".json"), ImportRecord)
    if not output.exists() or force:
        return False
    if not record.exists():
        raise files.InputError(f"{output} is there already and not from an import: give another --output, or --force")
    if record.read().request != record_of_import(request):
        raise files.InputError(
            f"{output} was imported with other settings: give another --output, or --force to replace it"
        )
    require_same_input(record.path, "give another --output, or --force to replace it")
    return True


def record_of_reconstruction(directory: Path, volumes: ReconstructSettings) -> dict[str, Any]:
    """A reconstruction from prepared images, as config.toml holds it.

    Raises:
        InputError: settings contradict each other, or there are no prepared images, or of another input.
    """
    require_sense(volumes)
    run = RunDirectory(directory)
    if not run.import_record.exists() or not run.images.exists():
        raise files.InputError(
            f"{directory} should hold images.mrcs from an import: scoretomo import STACK --output {run.images}"
        )
    require_same_input(run.import_record.path, f"import it again: scoretomo import STACK --output {run.images} --force")
    return {"run": {**run.import_record.read().request, **asdict(volumes)}}
