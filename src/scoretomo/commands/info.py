"""What is in a stack, a map or a run."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from .. import files
from ..config import ImportRequest, ImportSettings
from ..deformation.flexibility import FLEXIBILITY
from ..graphics.montage import in_characters, named_sheet, shows_pictures, tiles
from ..images import Prepared, prepare, reach
from ..monitor.progress import console, print_line, print_warning
from ..pipeline.images import pixel_size_notes, read_prepared
from ..requirements import SMALLEST, require_picture, require_pixel_size
from ..rundir.directory import RunDirectory, require_run
from ..rundir.heartbeat import is_locked, read_heartbeat
from .requests import kind_to_show

_TILE = 96  # pixels of a picture in a montage file
_CELL = 20  # pixels of a picture in the terminal
_ROOM = 1.5  # times the diameter of the particle: side of a box with room around it; chosen without a benchmark
_ROOMY = 0.75  # of the side: a box that may be cropped to this is far larger than the particle
_MOST = 0.9  # of the images, whose particles are to fit


def show_info(request: ImportRequest, montage: Path | None) -> None:
    """Describe a file or run directory, show it in the terminal, and write a montage.

    Args:
        request: a stack, a map or a run directory, and how the images of a stack would be prepared; with the usual
            settings they are shown as they are.
        montage: picture to write; None for none.
    """
    require_picture(montage)
    kind = kind_to_show(request)
    if kind == "run":
        shown = _show_run(request.stack)
    elif kind == "map":
        shown = _show_map(request.stack)
    else:
        shown = _show_stack(request)
    _draw(list(shown.values()))
    if montage is not None:
        with files.atomic(montage) as temporary:
            named_sheet(shown, _TILE).save(temporary, montage.suffix[1:].upper().replace("JPG", "JPEG"))
        print_line(f"montage of {len(shown)} pictures: {montage}")


def _show_stack(request: ImportRequest) -> dict[str, np.ndarray]:
    """Print what is in it; its images by their numbers."""
    file, settings = request.stack, request.settings
    require_pixel_size(request.pixel_size)
    read = files.read_images(file)
    pixel_size = request.pixel_size or read.pixel_size
    count, height, width = read.images.shape
    print_line(f"{file}: {count} images of {height}×{width} pixels, {_pixel_size(pixel_size)}")
    _statistics(read.images)
    for note in [*read.notes, *pixel_size_notes(file, read.pixel_size, request.pixel_size)]:
        print_warning(note)
    if height != width and settings.crop is None:
        print_warning(f"images are not square: import them with --crop {min(height, width)}")
        return _by_number(range(count), np.nan_to_num(read.images))
    prepared = prepare(torch.from_numpy(read.images), settings, name=file.name, unused=read.unused)
    for note in [*prepared.notes, *_advice(prepared)]:
        print_warning(note)
    if settings == ImportSettings():
        print_line(f"{len(prepared.numbers)} of {count} images can be used as they are")
        return _by_number(range(count), np.nan_to_num(read.images))
    side = prepared.images.shape[-1]
    scale = "" if pixel_size is None else f", {_pixel_size(pixel_size * prepared.pixel_factor)}"
    print_line(f"{len(prepared.numbers)} of {count} images can be used so, at {side}×{side} pixels{scale}")
    return _by_number(prepared.numbers, prepared.images.numpy())


def _advice(prepared: Prepared) -> Iterator[str]:
    """What to do about a box that is far larger than the particle, and about few images."""
    diameter = 2 * float(reach(prepared.images).quantile(_MOST)) * prepared.pixel_factor
    crop = max(2 * math.ceil(_ROOM * diameter / 2), SMALLEST)
    if crop <= _ROOMY * prepared.side:
        yield f"the particle is about {diameter:.0f} of {prepared.side} pixels wide: crop the images with --crop {crop}"
    if len(prepared.numbers) < FLEXIBILITY.fewest:
        yield (
            f"fewer than {FLEXIBILITY.fewest} images can be used: the verdict will be undetermined, so give more "
            "class averages"
        )


def _by_number(numbers: Iterable[int], images: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(map(str, numbers), images, strict=True))


def _show_map(file: Path) -> dict[str, np.ndarray]:
    """Print what is in it; its projections and slices."""
    read = files.read_map(file)
    side = len(read.density)
    print_line(f"{file}: a map of {side}×{side}×{side} voxels, {_pixel_size(read.pixel_size)}")
    _statistics(read.density)
    for note in read.notes:
        print_warning(note)
    print_line("projections along z, y, x and central slices:")
    projections = {f"along {name}": read.density.sum(axis) for axis, name in enumerate("zyx")}
    return projections | {f"{name} = 0": read.density.take(side // 2, axis) for axis, name in enumerate("zyx")}


def _show_run(directory: Path) -> dict[str, np.ndarray]:
    """Print what is in it; projections of its volumes, or its images, by the numbers of the images."""
    run = require_run(directory)
    prepared = read_prepared(run.images)
    status = {number: row.status for number, row in run.logged_volumes().items()}
    print_line(
        f"{directory}: a run of {len(prepared.numbers)} images of {prepared.source_count}, "
        f"{prepared.images.shape[-1]} pixels, {_pixel_size(prepared.pixel_size)}"
    )
    done = [number for number, state in status.items() if state == "done"]
    print_line(f"{len(done)} volumes done, {len(status) - len(done)} diverged; {_progress(run)}")
    print_line(f"report: {run.report}" if run.report.exists() else f"no report yet: scoretomo report {directory}")
    return _views_of(run, done) or _by_number(prepared.numbers, prepared.images.numpy())


def _progress(run: RunDirectory) -> str:
    heartbeat = read_heartbeat(run.progress)
    if (heartbeat and heartbeat.at_work) or is_locked(run.path):
        return "a process is at work here"
    return "finished" if run.volumes_star.exists() else "not finished: run it again to continue"


def _views_of(run: RunDirectory, numbers: Iterable[int]) -> dict[str, np.ndarray]:
    """Projections of the first volumes along z."""
    return {str(number): files.read_map(run.volume(number)).density.sum(0) for number in sorted(numbers)[:48]}


def _pixel_size(pixel_size: float | None) -> str:
    return "pixel size unknown" if pixel_size is None else f"{pixel_size:.4g} Å/pixel"


def _statistics(values: np.ndarray) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size:
        low, mean, high, spread = (float(f(finite)) for f in (np.min, np.mean, np.max, np.std))
        print_line(f"values {low:.4g} … {high:.4g}, mean {mean:.4g}, standard deviation {spread:.4g}")


def _draw(images: Sequence[np.ndarray]) -> None:
    """Draw as many images as fit in two rows of the terminal, if it can show pictures."""
    if not shows_pictures(console):
        return
    columns = max(1, console.width // (_CELL + 1))
    shown = tiles(images[: 2 * columns], _CELL)
    for first in range(0, len(shown), columns):
        for line in in_characters(shown[first : first + columns]):
            console.print(line)
        console.print()
