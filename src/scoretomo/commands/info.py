"""What is in a stack, a map or a run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .. import files
from ..config import ImportSettings
from ..graphics.montage import in_characters, in_rows, sheet, shows_pictures, tiles
from ..images import prepare
from ..monitor.progress import console, say, warn
from ..pipeline.images import pixel_size_notes, read_prepared
from ..requirements import require_picture, require_pixel_size
from ..rundir.directory import RunDirectory, require_run
from ..rundir.heartbeat import feel, is_locked
from .asked import kind_to_show

_TILE = 96  # pixels of a picture in a montage file
_CELL = 20  # pixels of a picture in the terminal


def show_info(file: Path, montage: Path | None, pixel_size: float | None, settings: ImportSettings) -> None:
    """Say what is in a file or run directory, show it in the terminal, and write a montage if asked for.

    Args:
        file: a stack, a map or a run directory.
        montage: picture to write.
        pixel_size: Å per pixel of a stack.
        settings: how images of a stack would be prepared; if they are the usual ones, images are shown as they are.
    """
    require_picture(montage)
    kind = kind_to_show(file, pixel_size, settings)
    if kind == "run":
        shown = _show_run(file)
    elif kind == "map":
        shown = _show_map(file)
    else:
        shown = _show_stack(file, pixel_size, settings)
    _draw(shown)
    if montage is not None:
        with files.atomic(montage) as temporary:
            sheet(in_rows(shown), _TILE).save(temporary, montage.suffix[1:].upper().replace("JPG", "JPEG"))
        say(f"montage of {len(shown)} pictures: {montage}")


def _show_stack(file: Path, pixel_size: float | None, settings: ImportSettings) -> list[np.ndarray]:
    require_pixel_size(pixel_size)
    read = files.read_images(file)
    known = pixel_size or read.pixel_size
    count, height, width = read.images.shape
    say(f"{file}: {count} images of {height}×{width} pixels, {_pixel_size(known)}")
    _statistics(read.images)
    for note in [*read.notes, *pixel_size_notes(file, read.pixel_size, pixel_size)]:
        warn(note)
    if height != width and settings.crop is None:
        warn(f"images are not square: import them with --crop {min(height, width)}")
        return [np.nan_to_num(image) for image in read.images]
    prepared = prepare(torch.from_numpy(read.images), settings, name=file.name, unused=read.unused)
    for note in prepared.notes:
        warn(note)
    if settings == ImportSettings():
        say(f"{len(prepared.numbers)} of {count} images can be used as they are")
        return [np.nan_to_num(image) for image in read.images]
    side = prepared.images.shape[-1]
    scale = "" if known is None else f", {_pixel_size(known * prepared.pixel_factor)}"
    say(f"{len(prepared.numbers)} of {count} images can be used so, at {side}×{side} pixels{scale}")
    return list(prepared.images.numpy())


def _show_map(file: Path) -> list[np.ndarray]:
    read = files.read_map(file)
    side = len(read.density)
    say(f"{file}: a map of {side}×{side}×{side} voxels, {_pixel_size(read.pixel_size)}")
    _statistics(read.density)
    for note in read.notes:
        warn(note)
    say("projections along z, y, x and central slices:")
    centre = side // 2
    density = read.density
    return [*(density.sum(axis) for axis in range(3)), density[centre], density[:, centre], density[:, :, centre]]


def _show_run(directory: Path) -> list[np.ndarray]:
    run = require_run(directory)
    records = files.read_records(run.log)
    prepared = read_prepared(run.images)
    states = {record["image"]: record["status"] for record in records if record["event"] == "volume"}
    finished = any(record["event"] == "reconstructed" for record in records)
    say(
        f"{directory}: a run of {len(prepared.numbers)} images of {prepared.source_count}, "
        f"{prepared.images.shape[-1]} pixels, {_pixel_size(prepared.pixel_size)}"
    )
    done, diverged = (sum(state == name for state in states.values()) for name in ("done", "diverged"))
    pulse = feel(run.progress)
    going = "finished" if finished else "not finished: run it again to continue"
    if (pulse and pulse.at_work) or is_locked(run.path):
        going = "a process is at work here"
    say(f"{done} volumes done, {diverged} diverged; {going}")
    say(f"report: {run.report}" if run.report.exists() else f"no report yet: scoretomo report {directory}")
    views = _views_of(run, [number for number, state in states.items() if state == "done"])
    return views or list(prepared.images.numpy())


def _views_of(run: RunDirectory, numbers: Sequence[int]) -> list[np.ndarray]:
    """Projections of the first volumes along z."""
    return [files.read_map(run.volume(number)).density.sum(0) for number in sorted(numbers)[:48]]


def _pixel_size(pixel_size: float | None) -> str:
    return "pixel size not stated" if pixel_size is None else f"{pixel_size:.4g} Å/pixel"


def _statistics(values: np.ndarray) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size:
        low, mean, high, spread = (float(f(finite)) for f in (np.min, np.mean, np.max, np.std))
        say(f"values {low:.4g} … {high:.4g}, mean {mean:.4g}, standard deviation {spread:.4g}")


def _draw(images: Sequence[np.ndarray]) -> None:
    """As many images as fit in two rows of the terminal; nothing where it can't show pictures."""
    if not shows_pictures(console):
        return
    columns = max(1, console.width // (_CELL + 1))
    shown = tiles(images[: 2 * columns], _CELL)
    for first in range(0, len(shown), columns):
        for line in in_characters(shown[first : first + columns]):
            console.print(line)
        console.print()
