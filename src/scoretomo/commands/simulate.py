"""Simulated class averages with their truth: a volume and a pose for each image."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import files
from ..compute import available_cores, run_tasks
from ..config import ObjectSettings, RealismSettings, SimulateSettings
from ..monitor.progress import print_line, print_warning, progress_bar
from ..rundir.folders import SimulationFolder
from ..rundir.inputs import remember, require_same_input
from ..rundir.settings_file import check_settings, write_settings
from ..simulation import average_class, simulate_image, truth_row
from .objects import files_of, open_object
from .requests import record_of_simulation

_CHUNK = 4


class Plan(NamedTuple):
    """Everything that decides what an image looks like, but its number."""

    object: str
    settings: SimulateSettings
    objects: ObjectSettings
    realism: RealismSettings


class Chunk(NamedTuple):
    """Images to simulate together."""

    plan: Plan
    output: Path
    numbers: tuple[int, ...]


def simulate_object(plan: Plan, output: Path, *, workers: int | None, force: bool) -> None:
    """Write class averages of an object, with the true volume and pose of each; finished ones are not made again.

    Raises:
        InputError: the object can't be read, or the settings do not fit together.
    """
    settings, folder = plan.settings, SimulationFolder(output)
    record = record_of_simulation(plan.object, settings, plan.objects, plan.realism)
    plan = plan._replace(object=record["simulate"]["object"])
    files.recover(output)
    begun = check_settings(folder.config, record, force=force)
    if begun:
        require_same_input(folder.inputs)
    if begun and folder.images.exists() and folder.poses.exists() and len(folder.volumes()) == settings.images:
        print_line(f"{output} is finished: {settings.images} images with their truths")
        return
    open_object.cache_clear()  # its file may be another one than the last time
    scene = open_object(plan.object, settings.size, settings.pixel_size, plan.objects)
    for note in scene.notes:
        print_warning(note)
    if not begun:
        _begin(folder, plan, record)
    files.make_folder(folder.truth)
    files.remove_unfinished(output)
    _simulate_all(plan, scene.pixel_size, folder, workers or available_cores())
    scale = "" if scene.pixel_size is None else f" of {scene.pixel_size:.3g} Å"
    print_line(
        f"{settings.images} images of {settings.size}² pixels{scale}: {folder.images}; their volumes and poses: "
        f"{folder.truth}"
    )


def _begin(folder: SimulationFolder, plan: Plan, record: Mapping[str, Any]) -> None:
    """Write the settings, and the content of the files that are read, in the place of an earlier simulation."""
    replaced = (*folder.volumes(), folder.poses, folder.images, folder.inputs, folder.config)
    names = [str(path.relative_to(folder.path)) for path in replaced]
    with files.replaced_together(folder.path, "simulation", names) as new:
        if read := files_of(plan.object, plan.objects):
            files.write_json(new / folder.inputs.name, {"files": remember(read)})
        write_settings(new / folder.config.name, record)


def _simulate_all(plan: Plan, pixel_size: float | None, folder: SimulationFolder, workers: int) -> None:
    numbers = range(plan.settings.images)
    chunks = [Chunk(plan, folder.path, tuple(numbers[first : first + _CHUNK])) for first in numbers[::_CHUNK]]
    images: dict[int, np.ndarray] = {}
    rows: dict[int, dict[str, object]] = {}
    with progress_bar(count=True) as bar:
        shown = bar.add_task(f"simulating {Path(plan.object).name}", total=len(numbers))
        for _, (number, image, row) in run_tasks(simulate_chunk, chunks, workers):
            images[number] = image
            rows[number] = row
            bar.advance(shown)
    files.write_table(folder.poses, [rows[number] for number in numbers])
    files.write_images(folder.images, np.stack([images[number] for number in numbers]), pixel_size)


def simulate_chunk(chunk: Chunk) -> Iterator[tuple[int, np.ndarray, dict[str, object]]]:
    """Write the true volumes of some images; yields (number, image, row of the table of poses)."""
    name, settings, objects, realism = chunk.plan
    movable, pixel_size, _ = open_object(name, settings.size, settings.pixel_size, objects)
    for number in chunk.numbers:
        path = SimulationFolder(chunk.output).volume(number)
        before = torch.from_numpy(files.read_map(path).density) if path.exists() else None
        made = simulate_image(movable, number, settings.size, settings.seed, noise=settings.noise, volume=before)
        if before is None:
            files.write_map(path, made.volume.numpy(), pixel_size)
        image, row = made.image, truth_row(number, made)
        if settings.realistic and pixel_size is not None:
            image, record = average_class(made.volume, number, pixel_size, settings.seed, realism)
            row |= record
        yield number, image.numpy(), row
