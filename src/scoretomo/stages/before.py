"""What a command refuses before anything heavy is loaded: by settings, headers and tables, without looking at many pixels.

The functions that are named as commands are called before the stage is loaded, which takes seconds. The stage does not rely on it:
it calls the same functions that these are made of.
"""

import math
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from .. import files
from ..experiments import Experiment, experiment_asked
from ..requirements import (
    check_realism,
    field_of_view,
    parse_selection,
    require_comparable,
    require_sense,
    require_several,
    require_usable,
    unusable,
)
from ..settings import (
    ImportSettings,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceSettings,
    SimulateSettings,
    TrainSettings,
)
from .directory import EVALUATING, RunDirectory, require_run
from .inputs import INPUTS, require_same_input
from .kinds import is_name, map_pixel_size, object_kind, read_motion, require_mask
from .pairing import numbered, paired, true_poses
from .record import check_settings

_FEW = 2**22  # pixels or voxels that are read in no time
_SHORT = 2**23  # bytes of a model that are read in no time
COMPARED = "progress.jsonl"  # in a folder of scores: what has been compared
_PICTURES = (".png", ".jpg", ".webp")


def run(
    stack: Path,
    output: Path,
    pixel_size: float | None,
    importing: ImportSettings,
    training: TrainSettings,
    volumes: ReconstructSettings,
    *,
    force: bool,
) -> None:
    """Refuse what `run_all` would refuse."""
    directory = RunDirectory(output)
    files.recover(output)
    asked = asked_of_run(stack, output, pixel_size, importing, training, volumes)
    begun = check_settings(directory.config, asked, force=force, beside=(directory.progress.name,))
    if begun and directory.images.exists():
        require_same_input(directory.images.with_suffix(".json"))
    else:
        require_several(_images(stack, pixel_size, importing, volumes.images))


def import_(stack: Path, output: Path, pixel_size: float | None, importing: ImportSettings, *, force: bool) -> None:
    """Refuse what `import_stack` would refuse."""
    if not is_imported(stack, output, pixel_size, importing, force=force):
        _images(stack, pixel_size, importing)


def train(stack: Path, output: Path, pixel_size: float | None, importing: ImportSettings, *, force: bool) -> None:
    """Refuse what `train_imported` would refuse of the images."""
    files.recover(output)
    prepared = RunDirectory(output).images
    own = stack.absolute() == prepared.absolute()
    anew = force and not own and prepared.with_suffix(".json").exists()
    if anew or not is_imported(stack, prepared, pixel_size, importing, force=False):
        require_several(_images(stack, pixel_size, importing))


def reconstruct(directory: Path, volumes: ReconstructSettings, *, force: bool) -> None:
    """Refuse what `reconstruct_only` would refuse."""
    files.recover(directory)
    asked = asked_of_reconstruction(directory, volumes)
    check_settings(RunDirectory(directory).config, asked, force=force, beside=None)
    if volumes.images is not None:
        parse_selection(volumes.images, files.read_json(RunDirectory(directory).images.with_suffix(".json"))["count"])


def evaluate(maps: Path, truth: Path, output: Path | None) -> None:
    """Refuse what `evaluate_maps` would refuse of the first map and its truth, and of the output."""
    directory = run_to_evaluate(maps)
    folder = output or (directory.evaluation if directory else None)
    if folder is not None:
        require_room(folder)
    truths = numbered(truth)
    pairs = paired(numbered(directory.path / "volumes" if directory else maps), truths, truth)
    number, path = next(iter(pairs.items()))
    first, second = _map(path), _map(truths.get(number, truth))
    if (first.pixel_size is None or second.pixel_size is None) and not directory:
        try:
            require_comparable(first.shape[0], second.shape[0])
        except ValueError as error:
            raise unlike(path, error) from None
    if len(truths) > 1:
        true_poses(truth, truths)


def simulate(
    name: str, output: Path, settings: SimulateSettings, objects: ObjectSettings, realism: RealismSettings, *, force: bool
) -> None:
    """Refuse what `simulate_object` would refuse, but for what turning the object would show."""
    kind, path = object_kind(name, objects), Path(name)
    asked = asked_of_simulation(name, settings, objects, realism)
    files.recover(output)
    if check_settings(output / "simulation.toml", asked, force=force):
        require_same_input(output / INPUTS)
        return
    parts = [read_motion(text)[0] for text in objects.move]
    if kind == "map":
        found = _map(path)
        map_pixel_size(path, found.pixel_size, settings.pixel_size)
        for mask in map(Path, parts):
            require_mask(mask, _map(mask).shape[0], path, found.shape[0])
    if kind == "model":
        if objects.trajectory is not None:
            files.require_trajectory(objects.trajectory)
        if files.file_size(path) < _SHORT:
            model = files.read_model(path)
            for part in parts:
                files.select_atoms(model, part)


def reproduce(
    name: str,
    output: Path,
    settings: ReproduceSettings,
    *,
    stack: Path | None,
    truth: Path | None,
    pixel_size: float | None,
    force: bool,
) -> None:
    """Refuse what `reproduce_experiment` would refuse."""
    plan, asked = asked_of_reproduction(name, settings, stack, truth, pixel_size)
    files.recover(output / "run")
    check_settings(output / "experiment.toml", asked, force=force)
    if stack is not None and not (output / "run" / "images.mrcs").exists():
        select = None if settings.images is None else f"0-{plan.images - 1}"
        require_several(_images(stack, pixel_size, ImportSettings(size=plan.size, select=select)))
    if truth is not None:
        _map(next(iter(numbered(truth).values())))


def landscape(directory: Path, *, umap: bool) -> None:
    """Refuse what `landscape_only` would refuse, but for too few volumes."""
    RunDirectory(directory).require_one_frame()
    if umap:
        require_umap()


def figures(directory: Path) -> None:
    """Refuse what `draw_figures` would refuse."""
    require_figures()
    RunDirectory(directory).require_one_frame()


def info(file: Path, montage: Path | None, pixel_size: float | None, importing: ImportSettings) -> None:
    """Refuse what `show_info` would refuse."""
    require_picture(montage)
    kind = kind_to_show(file, pixel_size, importing)
    if kind == "run":
        require_run(file)
    elif kind == "map":
        _map(file)
    else:
        _, height, width = files.find_images(file).shape
        if height == width or importing.crop is not None:
            _images(file, pixel_size, importing)


def _images(stack: Path, pixel_size: float | None, importing: ImportSettings, selection: str | None = None) -> list[int]:
    """Refuse images that can't be prepared as is asked; returns the numbers of those that can be used, as far as is known."""
    require_pixel_size(pixel_size)
    found = files.find_images(stack)
    count, height, width = found.shape
    field_of_view(height, width, importing, stack.name)
    numbers = list(range(count)) if importing.select is None else parse_selection(importing.select, count)
    if math.prod(found.shape) <= _FEW:
        images = found.read()
        unused = found.unused if importing.select is None else {}
        reasons = [unusable(images[number]) or unused.get(number, "") for number in numbers]
        require_usable(reasons, stack.name)
        numbers = [number for number, reason in zip(numbers, reasons, strict=True) if not reason]
    if selection is not None:
        parse_selection(selection, count)
    return numbers


def _map(path: Path) -> files.StoredArray:
    """Refuse what is no map, a small one also by its values."""
    found = files.find_map(path)
    if math.prod(found.shape) <= _FEW:
        files.read_map(path)
    return found


def require_umap() -> None:
    """Refuse to place volumes by UMAP where it can't be had.

    Raises:
        InputError: umap-learn is not installed.
    """
    if find_spec("umap") is None:
        raise files.InputError("--umap needs umap-learn, which is not installed: pip install 'scoretomo[umap]'")


def require_figures() -> None:
    """Refuse to draw where that can't be done.

    Raises:
        InputError: the ``figures`` extra is missing.
    """
    missing = [name for name in ("matplotlib", "av") if find_spec(name) is None]
    if missing:
        raise files.InputError(f"figures need {' and '.join(missing)}: pip install 'scoretomo[figures]'")


def kind_to_show(file: Path, pixel_size: float | None, importing: ImportSettings) -> Literal["run", "map", "stack"]:
    """What a file is, or a directory.

    Raises:
        InputError: options of an import are given for something else than a stack.
    """
    kind: Literal["run", "map", "stack"] = "run" if file.is_dir() else "map" if files.is_map(file) else "stack"
    if kind != "stack" and (pixel_size is not None or importing != ImportSettings()):
        raise files.InputError(f"options of an import are for a stack of images, and {file} is a {kind}: leave them out")
    return kind


def require_pixel_size(given: float | None) -> None:
    """Refuse a pixel size that no image has.

    Raises:
        InputError: it is below 0.01 Å or above 1000 Å.
    """
    if given is not None and files.sensible_pixel_size(given) is None:
        raise files.InputError(f"--pixel-size should be Å per pixel between 0.01 and 1000, got {given}: correct it")


def require_picture(montage: Path | None) -> None:
    """Refuse to write a montage under a name that is no picture's.

    Raises:
        InputError: it ends in something else.
    """
    if montage is not None and montage.suffix.lower() not in _PICTURES:
        raise files.InputError(f"--montage should end in .png, .jpg or .webp, got {montage}: name a picture")


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


def run_to_evaluate(maps: Path) -> RunDirectory | None:
    """The run whose volumes are to be judged; None of other maps.

    Raises:
        InputError: it is not finished.
    """
    files.recover(maps)
    directory = RunDirectory(maps) if (maps / "config.toml").exists() else None
    if directory and not directory.volumes_table.exists():
        raise files.InputError(f"the run in {maps} is not finished: run it again to continue, then evaluate it")
    return directory


def require_room(folder: Path) -> None:
    """Refuse to write scores among other files.

    Raises:
        InputError: the folder holds something else than an evaluation.
    """
    if folder.exists() and not folder.is_dir():
        raise files.InputError(f"{folder} should be a folder for scores but is a file: give another --output")
    files.recover(folder)
    if folder.exists() and not (folder / COMPARED).exists() and any(path.name != EVALUATING for path in folder.iterdir()):
        raise files.InputError(f"{folder} should be a new or empty folder for scores but holds other files: give another --output")


def unlike(path: Path, error: ValueError) -> files.InputError:
    """The sentence for a map that can't be compared with its truth."""
    return files.InputError(f"{path} and its truth do not fit together: {error}")


def asked_of_simulation(name: str, settings: SimulateSettings, objects: ObjectSettings, realism: RealismSettings) -> dict[str, Any]:
    """What is asked of a simulation, as simulation.toml has it.

    Raises:
        InputError: settings contradict each other.
    """
    if realism != RealismSettings() and not settings.realistic:
        raise files.InputError("settings of particles and their averages are for realistic images: give --realistic as well")
    if settings.realistic and settings.noise:
        raise files.InputError("--noise is for images that are not realistic: give --snr, the particles' own, instead")
    check_realism(realism)
    require_pixel_size(settings.pixel_size)
    if settings.realistic and settings.pixel_size is None and object_kind(name, objects) == "shape":
        raise files.InputError(f"realistic images of {name} need its size: give --pixel-size, in Å")
    path = name if is_name(name) else str(Path(name).absolute())
    averages = asdict(realism) if settings.realistic else {}
    return {"simulate": {"object": path, **asdict(settings), **asdict(objects), **averages}}


def asked_of_reproduction(
    name: str, settings: ReproduceSettings, stack: Path | None, truth: Path | None, pixel_size: float | None
) -> tuple[Experiment, dict[str, Any]]:
    """The experiment, and what is asked of it as experiment.toml has it.

    Raises:
        InputError: it needs images, and none are given.
    """
    plan = experiment_asked(name, settings)
    if stack is None and plan.simulated is None:
        raise files.InputError(f"{name} needs real class averages: give --stack FILE, and --truth MAP to have volumes judged")
    if stack is None and (truth is not None or pixel_size is not None):
        raise files.InputError("--truth and --pixel-size are about images of your own: give them with --stack")
    paths = {"stack": stack and stack.absolute(), "truth": truth and truth.absolute()}
    return plan, {"reproduce": {"experiment": name, **paths, "pixel_size": pixel_size, **asdict(settings)}}
