"""What is asked of a run, as its record has it, and whether that was done already."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import files
from ..config import ImportSettings, ReconstructSettings, TrainSettings
from ..requirements import require_sense
from .directory import RunDirectory
from .inputs import require_same_input


def asked_of_run(
    stack: Path,
    output: Path,
    pixel_size: float | None,
    importing: ImportSettings,
    training: TrainSettings,
    volumes: ReconstructSettings,
) -> dict[str, Any]:
    """What is asked of a run, as config.toml has it.

    Raises:
        InputError: settings contradict each other, or the run would replace its input.
    """
    require_sense(volumes)
    if stack.absolute() == RunDirectory(output).images.absolute():
        raise files.InputError(f"{output} holds the input itself, which is never changed: give another --output")
    learns = volumes.denoiser == "network"
    if training != TrainSettings() and not learns:
        raise files.InputError("--network, --examples and --held-out are about a learned score: give --denoiser network as well")
    settings = asdict(importing) | asdict(volumes) | (asdict(training) if learns else {})
    return {"run": {"stack": stack.absolute(), "pixel_size": pixel_size, **settings}}


def asked_of_import(stack: Path, pixel_size: float | None, importing: ImportSettings) -> dict[str, Any]:
    """What is asked of an import, as the record beside its images has it."""
    return {"stack": str(stack.absolute()), "pixel_size": pixel_size, **asdict(importing)}


def is_imported(stack: Path, output: Path, pixel_size: float | None, importing: ImportSettings, *, force: bool) -> bool:
    """Whether this was imported already.

    Raises:
        InputError: the output can't be a stack, is the input, or is there and something else, or of another input.
    """
    if output.suffix != ".mrcs":
        raise files.InputError(f"--output should end in .mrcs, got {output}: name the stack to write, such as images.mrcs")
    if output.absolute() == stack.absolute():
        raise files.InputError(f"--output {output} is the input itself, which is never changed: give another name")
    files.recover(output.parent)
    record = output.with_suffix(".json")
    if not output.exists() or force:
        return False
    if not record.exists():
        raise files.InputError(f"{output} is there already and not from an import: give another --output, or --force")
    if files.read_json(record).get("asked") != asked_of_import(stack, pixel_size, importing):
        raise files.InputError(f"{output} was imported with other settings: give another --output, or --force to replace it")
    require_same_input(record, "give another --output, or --force to replace it")
    return True


def asked_of_reconstruction(directory: Path, volumes: ReconstructSettings) -> dict[str, Any]:
    """What is asked of a reconstruction from prepared images, as config.toml has it.

    Raises:
        InputError: settings contradict each other, or there are no prepared images, or of another input.
    """
    require_sense(volumes)
    images = RunDirectory(directory).images
    record = images.with_suffix(".json")
    if not record.exists() or not images.exists():
        raise files.InputError(f"{directory} should hold images.mrcs from an import: scoretomo import STACK --output {images}")
    require_same_input(record, f"import it again: scoretomo import STACK --output {images} --force")
    return {"run": {**files.read_json(record)["asked"], **asdict(volumes)}}
