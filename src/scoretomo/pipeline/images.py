"""Stage images: from the user's file to prepared images, images.mrcs, with images.csv and images.json beside it."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import files
from ..compute import one_thread
from ..config import ImportRequest
from ..images import JUNK, Prepared, prepare
from ..monitor.progress import print_line, print_warning
from ..requirements import require_pixel_size, select_numbers
from ..rundir.directory import RunDirectory
from ..rundir.inputs import remember, require_unchanged
from ..rundir.requests import is_imported, record_of_import
from ..rundir.rows import ImageRow, ImportRecord
from ..rundir.tables import Record, Table
from .job import Job


@dataclass(frozen=True)
class PreparedStack:
    """Images as the descent needs them.

    Attributes:
        images: background 0, masked, in the units of the data, shape (n, d, d).
        numbers: number of each in the user's stack.
        source_count: how many the user's stack has.
        pixel_size: Å per pixel, or None.
        mu, s: the one affine map (x − μ)/s of the stack.
    """

    images: Tensor
    numbers: list[int]
    source_count: int
    pixel_size: float | None
    mu: float
    s: float

    @property
    def background(self) -> float:
        """Value of empty space in normalised images."""
        return -self.mu / self.s

    def normalised(self, numbers: Sequence[int] | None = None) -> Tensor:
        """Images of zero mean and unit variance inside the mask, by number; all if not given."""
        places = range(len(self.numbers)) if numbers is None else [self.numbers.index(number) for number in numbers]
        return (self.images[list(places)] - self.mu) / self.s

    def density_units(self, device: torch.device) -> Tensor:
        """All images, empty space 0, in units of s, as views of a consensus volume are; shape (n, d, d)."""
        return self.images.to(device) / self.s


@dataclass(frozen=True)
class Imported:
    """A stack that has been read and prepared, but not written."""

    prepared: Prepared
    sources: list[str]
    record: ImportRecord


def prepare_images(run: RunDirectory, job: Job) -> None:
    """Prepare the images of a run, and begin it; the results of an earlier one go when that has worked.

    Raises:
        InputError: the images can't be used.
    """
    if job.images is None:
        raise ValueError("the images of a run are prepared from a request")
    imported = read_and_prepare(job.images)
    select_numbers(imported.prepared.numbers, len(imported.sources), job.settings.images)
    run.begin(job.record, lambda folder: write_prepared(folder / run.images.name, imported))


def import_stack(request: ImportRequest, output: Path, *, force: bool) -> None:
    """Read, check, prepare and write class averages, and show what was found."""
    if is_imported(request, output, force=force):
        print_line(f"{output} is finished")
        return
    imported = read_and_prepare(request)
    parts = [output.with_suffix(suffix).name for suffix in (".csv", ".json", ".mrcs")]
    with files.replaced_together(output.parent, output.name, parts) as folder:
        write_prepared(folder / output.name, imported)
    print_line(f"prepared images: {output}, what was done to each: {output.with_suffix('.csv')}")


def read_and_prepare(request: ImportRequest) -> Imported:
    """Read and prepare class averages, and show what was found; nothing is written.

    Raises:
        InputError: the stack cannot be read or used.
    """
    stack = request.stack
    require_pixel_size(request.pixel_size)
    read = files.find_images(stack)
    read_files = remember([stack, *read.files])
    images = torch.from_numpy(read.read())
    require_unchanged(read_files, "wait until nothing writes to it any more")
    with one_thread():  # more threads add up in another order
        prepared = prepare(images, request.settings, name=stack.name, unused=read.unused)
    pixel_size = request.pixel_size or read.pixel_size
    record = ImportRecord(
        source=str(stack.absolute()),
        image_count=len(images),
        size=prepared.images.shape[-1],
        side=prepared.side,
        pixel_size=None if pixel_size is None else pixel_size * prepared.pixel_factor,
        original_size=tuple(images.shape[1:]),
        original_pixel_size=pixel_size,
        mu=prepared.mu,
        s=prepared.s,
        notes=(*read.notes, *pixel_size_notes(stack, read.pixel_size, request.pixel_size), *prepared.notes),
        request=record_of_import(request),
        files=tuple(read_files),
        junk=asdict(JUNK),
    )
    imported = Imported(prepared, read.sources, record)
    _show(stack, imported)
    return imported


def _show(stack: Path, imported: Imported) -> None:
    """Show how many images there are, how many are included, at which size, and what is to be noted."""
    record = imported.record
    sides = "×".join(map(str, record.original_size))
    scale = "" if record.pixel_size is None else f", {record.pixel_size:.4g} Å/pixel"
    print_line(
        f"{stack}: {record.image_count} images of {sides}; {len(imported.prepared.numbers)} used, "
        f"at {record.size}×{record.size}{scale}"
    )
    for note in record.notes:
        print_warning(note)


def write_prepared(output: Path, imported: Imported) -> None:
    """Write the stack, and beside it images.csv and images.json."""
    prepared = imported.prepared
    rows = [ImageRow(source=source, **row) for row, source in zip(prepared.rows, imported.sources, strict=True)]
    Table(output.with_suffix(".csv"), ImageRow).write(rows)
    Record(output.with_suffix(".json"), ImportRecord).write(imported.record)
    files.write_images(output, prepared.images.numpy(), imported.record.pixel_size)


def read_prepared(stack: Path) -> PreparedStack:
    """Read what `write_prepared` wrote.

    Raises:
        InputError: the stack was not made by an import.
    """
    record = stack.with_suffix(".json")
    if not stack.exists() or not record.exists():
        raise files.InputError(
            f"{stack} should be prepared images with {record.name} beside them: make them with scoretomo import"
        )
    properties = Record(record, ImportRecord).read()
    numbers = [row.number for row in Table(stack.with_suffix(".csv"), ImageRow).read() if row.included]
    images = torch.from_numpy(files.read_images(stack).images)
    return PreparedStack(images, numbers, properties.image_count, properties.pixel_size, properties.mu, properties.s)


def fingerprint(prepared: PreparedStack) -> str:
    """A short name of prepared images that changes with them."""
    digest = hashlib.sha256(prepared.images.numpy().tobytes())
    digest.update(repr((prepared.numbers, prepared.mu, prepared.s)).encode())
    return digest.hexdigest()[:12]


def pixel_size_notes(stack: Path, stated: float | None, given: float | None) -> list[str]:
    """Notes on the pixel size that a stack states and the one that was given."""
    if stated is None and given is None:
        return [f"{stack.name} has no pixel size: lengths are in pixels; give --pixel-size if you know it"]
    if stated is not None and given is not None and abs(stated - given) > 0.01 * given:
        return [f"{stack.name} has {stated:.4g} Å/pixel; --pixel-size {given:.4g} is used instead"]
    return []
