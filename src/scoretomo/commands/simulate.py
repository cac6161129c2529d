"""Simulated class averages with their truth: images.mrcs and truth/."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .. import files
from ..compute import available_cores, run_tasks
from ..config import ObjectSettings, RealismSettings, SimulateSettings
from ..monitor.progress import progress_bar, say, warn
from ..rundir.inputs import INPUTS, remember, require_same_input
from ..rundir.settings_file import check_settings, write_settings
from ..simulation import average_class, simulate_image, truth_row
from .asked import asked_of_simulation
from .objects import files_of, open_object
from .pairing import POSES

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
    folder: Path
    numbers: tuple[int, ...]


def simulate_object(plan: Plan, output: Path, *, workers: int | None, force: bool) -> None:
    """Write images.mrcs, truth/NNN.mrc and truth/truth.csv; what is there already is not made again.

    Raises:
        InputError: the object can't be had, or the settings do not fit together.
    """
    name, settings = plan.object, plan.settings
    asked = asked_of_simulation(name, settings, plan.objects, plan.realism)
    plan = plan._replace(object=asked["simulate"]["object"])
    record, stack, truth = output / "simulation.toml", output / "images.mrcs", output / "truth"
    files.recover(output)
    begun = check_settings(record, asked, force=force)
    inputs = output / INPUTS
    if begun:
        require_same_input(inputs)
    finished = stack.exists() and (truth / POSES).exists() and len(list(truth.glob("[0-9]*.mrc"))) == settings.images
    if begun and finished:
        say(f"{output} is finished: {settings.images} images with their truths")
        return
    open_object.cache_clear()  # its file may be another one than the last time
    scene = open_object(plan.object, settings.size, settings.pixel_size, plan.objects)
    pixel_size = scene.pixel_size
    for note in scene.notes:
        warn(note)
    if not begun:
        old = [str(path.relative_to(output)) for path in (*truth.glob("[0-9]*.mrc"), truth / POSES, stack)]
        with files.replaced_together(output, "simulation", [*old, inputs.name, record.name]) as folder:
            if read := files_of(plan.object, plan.objects):
                files.write_json(folder / inputs.name, {"files": remember(read)})
            write_settings(folder / record.name, asked)
    files.make_folder(truth)
    files.remove_unfinished(output)
    _simulate_all(plan, pixel_size, output, workers or available_cores())
    said = "" if pixel_size is None else f" of {pixel_size:.3g} Å"
    say(f"{settings.images} images of {settings.size}² pixels{said} in {stack}, their volumes and poses in {truth}")


def _simulate_all(plan: Plan, pixel_size: float | None, output: Path, workers: int) -> None:
    numbers, truth = range(plan.settings.images), output / "truth"
    chunks = [Chunk(plan, truth, tuple(numbers[first : first + _CHUNK])) for first in numbers[::_CHUNK]]
    images: dict[int, np.ndarray] = {}
    rows: dict[int, dict[str, object]] = {}
    with progress_bar(count=True) as bar:
        shown = bar.add_task(f"simulating {Path(plan.object).name}", total=len(numbers))
        for _, (number, image, row) in run_tasks(simulate_chunk, chunks, workers):
            images[number], rows[number] = image, row
            bar.advance(shown)
    files.write_table(truth / POSES, [rows[number] for number in numbers])
    files.write_images(output / "images.mrcs", np.stack([images[number] for number in numbers]), pixel_size)


def simulate_chunk(chunk: Chunk) -> Iterator[tuple[int, np.ndarray, dict[str, object]]]:
    """Write the true volumes of some images; yields (number, image, row of truth.csv)."""
    name, settings, objects, realism = chunk.plan
    movable, pixel_size, _ = open_object(name, settings.size, settings.pixel_size, objects)
    for number in chunk.numbers:
        path = chunk.folder / f"{number:03d}.mrc"
        known = torch.from_numpy(files.read_map(path).density) if path.exists() else None
        made = simulate_image(movable, number, settings.size, settings.seed, noise=settings.noise, volume=known)
        if known is None:
            files.write_map(path, made.volume.numpy(), pixel_size)
        image, row = made.image, truth_row(number, made)
        if settings.realistic and pixel_size is not None:
            image, record = average_class(made.volume, number, pixel_size, settings.seed, realism)
            row |= record
        yield number, image.numpy(), row
