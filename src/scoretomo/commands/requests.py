"""Requests of commands other than a run, as their records hold them, and what these commands refuse."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from .. import files
from ..config import ImportRequest, ImportSettings, ObjectSettings, RealismSettings, ReproduceRequest, SimulateSettings
from ..experiments import Experiment, experiment_named
from ..requirements import require_pixel_size, require_ranges
from ..rundir.directory import EVALUATING, RunDirectory
from ..rundir.folders import EvaluationFolder
from .object_kinds import is_name, object_kind


def kind_to_show(request: ImportRequest) -> Literal["run", "map", "stack"]:
    """Whether a path is a run directory, a map or a stack.

    Raises:
        InputError: options of an import are given for something else than a stack.
    """
    file = request.stack
    kind: Literal["run", "map", "stack"] = "run" if file.is_dir() else "map" if files.is_map(file) else "stack"
    if kind != "stack" and (request.pixel_size is not None or request.settings != ImportSettings()):
        raise files.InputError(f"options of an import are for a stack of images, and {file} is a {kind}: remove them")
    return kind


def run_to_evaluate(maps: Path) -> RunDirectory | None:
    """The run whose volumes are to be evaluated; None for other maps.

    Raises:
        InputError: it is not finished, or of another format.
    """
    files.recover(maps)
    run = RunDirectory(maps)
    if not run.config.exists():
        return None
    run.require_format()
    if not run.volume_rows.exists():
        raise files.InputError(f"the run in {maps} is not finished: run it again to continue, then evaluate it")
    return run


def require_room(folder: Path) -> None:
    """Refuse to write an evaluation among other files.

    Raises:
        InputError: the folder holds something else than an evaluation.
    """
    if folder.exists() and not folder.is_dir():
        raise files.InputError(f"{folder} should be a folder for FSC results but is a file: give another --output")
    files.recover(folder)
    begun = EvaluationFolder(folder).compared.exists()
    if folder.exists() and not begun and any(path.name != EVALUATING for path in folder.iterdir()):
        raise files.InputError(
            f"{folder} should be a new or empty folder for FSC results but holds other files: give another --output"
        )


def unlike(path: Path, error: ValueError) -> files.InputError:
    """The error for a map that can't be compared with its truth."""
    return files.InputError(f"{path} and its truth do not fit together: {error}")


def record_of_simulation(
    name: str, settings: SimulateSettings, objects: ObjectSettings, realism: RealismSettings
) -> dict[str, Any]:
    """A simulation, as simulation.toml holds it.

    Raises:
        InputError: settings contradict each other.
    """
    if realism != RealismSettings() and not settings.realistic:
        raise files.InputError(
            "settings of particles and their averages are for realistic images: give --realistic as well"
        )
    if settings.realistic and settings.noise:
        raise files.InputError("--noise is for images that are not realistic: give --snr, the particles' own, instead")
    require_ranges(realism)
    require_pixel_size(settings.pixel_size)
    if settings.realistic and settings.pixel_size is None and object_kind(name, objects) == "shape":
        raise files.InputError(f"realistic images of {name} need its size: give --pixel-size, in Å")
    path = name if is_name(name) else str(Path(name).absolute())
    averages = asdict(realism) if settings.realistic else {}
    return {"simulate": {"object": path, **asdict(settings), **asdict(objects), **averages}}


def record_of_reproduction(request: ReproduceRequest) -> tuple[Experiment, dict[str, Any]]:
    """An experiment, and what experiment.toml holds of it.

    Raises:
        InputError: it needs images, and none are given.
    """
    name, stack, truth = request.experiment, request.stack, request.truth
    plan = experiment_named(name, request.settings)
    if stack is None and plan.simulated is None:
        raise files.InputError(
            f"{name} needs real class averages: give --stack FILE, and --truth MAP to have volumes evaluated"
        )
    if stack is None and (truth is not None or request.pixel_size is not None):
        raise files.InputError("--truth and --pixel-size are about images of your own: give them with --stack")
    paths = {"stack": stack and stack.absolute(), "truth": truth and truth.absolute()}
    return plan, {
        "reproduce": {"experiment": name, **paths, "pixel_size": request.pixel_size, **asdict(request.settings)}
    }


def images_of_an_experiment(request: ReproduceRequest, stack: Path, plan: Experiment) -> ImportRequest:
    """The images of an experiment that a user's stack gives, at the experiment's size."""
    select = None if request.settings.images is None else f"0-{plan.images - 1}"
    return ImportRequest(stack, request.pixel_size, ImportSettings(size=plan.size, select=select))
