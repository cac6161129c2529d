"""What the other commands refuse."""

from pathlib import Path

from ... import files
from ...commands.object_kinds import map_pixel_size, object_kind, read_motion, require_mask
from ...commands.pairing import numbered, paired, true_poses
from ...commands.requests import (
    images_of_an_experiment,
    kind_to_show,
    record_of_reproduction,
    record_of_simulation,
    require_room,
    run_to_evaluate,
    unlike,
)
from ...config import (
    ImportRequest,
    ObjectSettings,
    RealismSettings,
    ReproduceRequest,
    SimulateSettings,
)
from ...requirements import require_comparable, require_figures, require_picture, require_several, require_umap
from ...rundir.directory import RunDirectory, require_run
from ...rundir.folders import ExperimentFolder, SimulationFolder
from ...rundir.inputs import require_same_input
from ...rundir.settings_file import check_settings
from .headers import check_images, check_map

_SHORT = 2**23  # bytes of a model that are read in no time


def evaluate(maps: Path, truth: Path, output: Path | None) -> None:
    """Refuse what `evaluate_maps` would refuse of the first map and its truth, and of the output."""
    run = run_to_evaluate(maps)
    folder = output or (run.evaluation.path if run else None)
    if folder is not None:
        require_room(folder)
    truths = numbered(truth)
    pairs = paired(numbered(run.volume(0).parent if run else maps), truths, truth)
    number, path = next(iter(pairs.items()))
    first, second = check_map(path), check_map(truths.get(number, truth))
    if (first.pixel_size is None or second.pixel_size is None) and not run:
        try:
            require_comparable(first.shape[0], second.shape[0])
        except ValueError as error:
            raise unlike(path, error) from None
    if len(truths) > 1:
        true_poses(truth, truths)


def simulate(
    name: str,
    output: Path,
    settings: SimulateSettings,
    objects: ObjectSettings,
    realism: RealismSettings,
    *,
    force: bool,
) -> None:
    """Refuse what `simulate_object` would refuse before the object is moved."""
    kind, folder = object_kind(name, objects), SimulationFolder(output)
    record = record_of_simulation(name, settings, objects, realism)
    files.recover(output)
    if check_settings(folder.config, record, force=force):
        require_same_input(folder.inputs)
        return
    parts = [read_motion(text)[0] for text in objects.move]
    if kind == "map":
        _check_map_with_masks(Path(name), settings, [Path(part) for part in parts])
    if kind == "model":
        _check_model(Path(name), objects, parts)


def _check_map_with_masks(path: Path, settings: SimulateSettings, masks: list[Path]) -> None:
    there = check_map(path)
    map_pixel_size(path, there.pixel_size, settings.pixel_size)
    for mask in masks:
        require_mask(mask, check_map(mask).shape[0], path, there.shape[0])


def _check_model(path: Path, objects: ObjectSettings, parts: list[str]) -> None:
    if objects.trajectory is not None:
        files.require_trajectory(objects.trajectory)
    if files.file_size(path) < _SHORT:
        model = files.read_model(path)
        for part in parts:
            files.select_atoms(model, part)


def reproduce(request: ReproduceRequest, *, force: bool) -> None:
    """Refuse what `reproduce_experiment` would refuse."""
    plan, record = record_of_reproduction(request)
    folder = ExperimentFolder(request.output)
    files.recover(folder.run)
    check_settings(folder.config, record, force=force)
    if request.stack is not None and not RunDirectory(folder.run).images.exists():
        require_several(check_images(images_of_an_experiment(request, request.stack, plan)))
    if request.truth is not None:
        check_map(next(iter(numbered(request.truth).values())))


def landscape(directory: Path, *, umap: bool) -> None:
    """Refuse what `run_landscape` would refuse, except too few volumes."""
    RunDirectory(directory).require_one_frame()
    if umap:
        require_umap()


def figures(directory: Path) -> None:
    """Refuse what `draw_figures` would refuse."""
    require_figures()
    RunDirectory(directory).require_one_frame()


def info(request: ImportRequest, montage: Path | None) -> None:
    """Refuse what `show_info` would refuse."""
    require_picture(montage)
    kind = kind_to_show(request)
    if kind == "run":
        require_run(request.stack)
    elif kind == "map":
        check_map(request.stack)
    else:
        _, height, width = files.find_images(request.stack).shape
        if height == width or request.settings.crop is not None:
            check_images(request)
