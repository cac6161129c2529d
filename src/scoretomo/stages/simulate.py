"""Simulated class averages with their truth: images.mrcs and truth/."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from cyclopts import Parameter, validators

from .. import files
from ..compute import available_cores, run_tasks
from ..phantoms import MovingBox, MovingCapsid
from ..simulation import simulate_image, truth_row
from .progress import progress_bar, say
from .record import check_settings, write_settings

PHANTOMS = {"box": MovingBox, "capsid": MovingCapsid}
_CHUNK = 4


@dataclass(frozen=True)
class SimulateSettings:
    """What is simulated."""

    images: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 300
    """Number of images, each of another random conformation and direction."""

    size: Annotated[int, Parameter(validator=validators.Number(gte=8, lte=1024))] = 88
    """Side of the images, in pixels."""

    noise: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0
    """Standard deviation of white noise, relative to that of each noise-free image."""

    seed: int = 0
    """Seed of all random numbers; image 17 is the same however many there are."""


class Chunk(NamedTuple):
    """Images to simulate together."""

    phantom: str
    folder: Path
    numbers: tuple[int, ...]
    settings: SimulateSettings


def simulate_object(phantom: str, output: Path, settings: SimulateSettings, *, workers: int | None, force: bool) -> None:
    """Write images.mrcs, truth/NNN.mrc and truth/truth.csv; what is there already is not made again."""
    asked: dict[str, Any] = {"simulate": {"object": phantom, **asdict(settings)}}
    record, stack, truth = output / "simulation.toml", output / "images.mrcs", output / "truth"
    if not check_settings(record, asked, force=force):
        files.make_folder(truth)
        for old in (stack, truth / "truth.csv", *truth.glob("[0-9]*.mrc")):
            old.unlink(missing_ok=True)
        write_settings(record, asked)
    files.remove_unfinished(output)
    if stack.exists() and (truth / "truth.csv").exists() and len(list(truth.glob("[0-9]*.mrc"))) == settings.images:
        say(f"{output} is finished: {settings.images} images with their truths")
        return
    numbers = range(settings.images)
    chunks = [
        Chunk(phantom, truth, tuple(numbers[first : first + _CHUNK]), settings) for first in range(0, settings.images, _CHUNK)
    ]
    images: dict[int, np.ndarray] = {}
    rows: dict[int, dict[str, object]] = {}
    with progress_bar(count=True) as bar:
        shown = bar.add_task(f"simulating a moving {phantom}", total=settings.images)
        for _, (number, image, row) in run_tasks(simulate_chunk, chunks, workers or available_cores()):
            images[number], rows[number] = image, row
            bar.advance(shown)
    files.write_table(truth / "truth.csv", [rows[number] for number in numbers])
    files.write_images(stack, np.stack([images[number] for number in numbers]), None)
    say(f"{settings.images} images of {settings.size}² pixels in {stack}, their volumes and poses in {truth}")


def simulate_chunk(chunk: Chunk) -> Iterator[tuple[int, np.ndarray, dict[str, object]]]:
    """Write the true volumes of some images; yields (number, image, row of truth.csv)."""
    settings, phantom = chunk.settings, PHANTOMS[chunk.phantom]()
    for number in chunk.numbers:
        path = chunk.folder / f"{number:03d}.mrc"
        known = torch.from_numpy(files.read_map(path).density) if path.exists() else None
        made = simulate_image(phantom, number, settings.size, settings.seed, noise=settings.noise, volume=known)
        if known is None:
            files.write_map(path, made.volume.numpy(), None)
        yield number, made.image.numpy(), truth_row(number, made)
