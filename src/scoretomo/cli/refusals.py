"""What a command refuses before anything heavy is loaded: by settings, headers and tables, without looking at many pixels.

The functions that are named as commands are called before the stage is loaded, which takes seconds. The stage does not rely on it:
it calls the same functions that these are made of.
"""

import math
from pathlib import Path

from .. import files
from ..commands.asked import asked_of_reproduction, asked_of_simulation, kind_to_show, require_room, run_to_evaluate, unlike
from ..commands.object_kinds import map_pixel_size, object_kind, read_motion, require_mask
from ..commands.pairing import numbered, paired, true_poses
from ..config import (
    ImportSettings,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceSettings,
    SimulateSettings,
    TrainSettings,
)
from ..requirements import (
    field_of_view,
    parse_selection,
    require_comparable,
    require_figures,
    require_picture,
    require_pixel_size,
    require_several,
    require_umap,
    require_usable,
    unusable,
)
from ..rundir.asked import asked_of_reconstruction, asked_of_run, is_imported
from ..rundir.directory import RunDirectory, require_run
from ..rundir.inputs import INPUTS, require_same_input
from ..rundir.settings_file import check_settings

_FEW = 2**22  # pixels or voxels that are read in no time
_SHORT = 2**23  # bytes of a model that are read in no time


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
