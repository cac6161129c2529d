"""Images named in a table as "number of a stack": where the stacks are, and fetching the images from them."""

import math
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .likeness import kind_of
from .mrc import Header, all_sections, read_header, read_sections
from .reading import check_memory, doubts, legible


class Reference(NamedTuple):
    """One image of a stack."""

    number: int | None  # 1-based, as RELION counts; None: the file is one image
    stack: str  # as the table names it


class Named(NamedTuple):
    """Images of several stacks, in the order of their references, which are not read yet."""

    shape: tuple[int, int, int]  # images, rows, columns
    sources: list[str]
    pixel_sizes: list[float | None]  # of each image, as the stacks' headers say
    notes: list[str]
    files: list[Path]  # their stacks
    read: Callable[[], np.ndarray]  # (n, y, x) float32


def locate(stack: str, table: Path) -> Path:
    """Find a stack that a table names relative to the folder of a project.

    That folder is somewhere above the table, by the path that was given or by the one that symbolic links lead to,
    or is the working folder or above it. A stack that was copied beside the table is found by its name alone.
    """
    working = _working_folder()
    beside = [(working / table).parent, table.absolute().parent, table.resolve().parent]
    above = [folder for start in (*beside, working) for folder in (start, *start.parents)]
    candidates = [folder / stack for folder in above] + [folder / Path(stack).name for folder in beside]
    for candidate in dict.fromkeys(candidates):
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):
            continue
    raise InputError(
        f"{table} names the stack {stack}, which is not in {beside[0]} nor, by this path, in a folder above it "
        "or in the working folder: copy the stack beside the table"
    )


def _working_folder() -> Path:
    """The working folder as the shell names it, which keeps symbolic links, or as the system does."""
    named = os.environ.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, os.curdir):
            return Path(named)
    except OSError:
        pass
    return Path.cwd()


def find_named(references: Sequence[Reference], table: Path) -> Named:
    """Find the images that a table names, by the headers of their stacks.

    Raises:
        InputError: a stack is missing or damaged, has no image of that number, or has images of another size.
    """
    if not references:
        raise InputError(f"{table} names no images: check that it is the table you meant")
    headers: dict[str, Header] = {}
    for reference in references:
        if reference.stack not in headers:
            headers[reference.stack] = header = read_header(locate(reference.stack, table))
            if header.shape[0] > 1 and kind_of(header.path.suffix.lower(), all_sections(header)) == "map":
                sides = "×".join(map(str, header.shape))
                raise InputError(
                    f"{table} names the map {header.path} ({sides}), expected images: give a table of class averages"
                )
        _check_number(reference, headers[reference.stack], table)
    shapes = {header.shape[1:] for header in headers.values()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{rows}×{columns}" for rows, columns in sorted(shapes))
        raise InputError(f"{table} names images of different sizes ({sizes}): give images of one size")
    rows, columns = shapes.pop()
    shape = len(references), rows, columns
    check_memory(table, math.prod(shape))

    def read() -> np.ndarray:
        images = np.empty(shape, np.float32)
        for stack, header in headers.items():
            places = [place for place, reference in enumerate(references) if reference.stack == stack]
            images[places] = read_sections(header, np.array([(references[place].number or 1) - 1 for place in places]))
        return images

    return Named(
        shape,
        [legible(f"{reference.number or 1:06d}@{headers[reference.stack].path}") for reference in references],
        [headers[reference.stack].pixel_size for reference in references],
        [legible(note) for header in headers.values() for note in header.notes],
        [header.path for header in headers.values()],
        read,
    )


def _check_number(reference: Reference, header: Header, table: Path) -> None:
    if reference.number is None:
        _check_single(header, table)
    elif not 1 <= reference.number <= header.shape[0]:
        raise InputError(
            f"{table} asks for image {reference.number} of {header.path}, which has {header.shape[0]}: "
            "table and stack do not belong together"
        )


def _check_single(header: Header, table: Path) -> None:
    """Refuse a file of many sections that is named without the number of one: a map, or a stack."""
    if header.shape[0] == 1:
        return
    raise InputError(
        f"{table} names {header.path}, which has {header.shape[0]} images, without a number, expected 000001@…: add it"
    )


def one_pixel_size(sizes: Sequence[float], table: Path) -> float:
    """The pixel size that all images share.

    Raises:
        InputError: they do not.
    """
    if max(sizes) - min(sizes) > 0.01 * min(sizes):
        raise InputError(
            f"{table} has images of different pixel sizes ({min(sizes):.4g} to {max(sizes):.4g} Å): bring them to "
            "one first"
        )
    return sizes[0]


def agreed_pixel_size(
    stated: Sequence[float], named: Named, table: Path, *, sides: Collection[int] = ()
) -> tuple[float | None, list[str]]:
    """Pixel size by the table, else by the stacks' headers, and notes: where they disagree the table counts.

    Args:
        stated: pixel sizes in Å that the table gives.
        named: its images.
        table: its path.
        sides: of the images in pixels, as the table gives them.
    """
    in_headers = [size for size in named.pixel_sizes if size is not None]
    if not stated:
        size = one_pixel_size(in_headers, table) if in_headers else None
        return size, doubts(named.files[0], size)
    size = one_pixel_size(stated, table)
    notes = []
    others = [other for other in in_headers if abs(other - size) > 0.01 * size and other != 1.0]
    if others:
        notes.append(
            f"pixel size {size:.4g} Å by {table.name}, {others[0]:.4g} Å by the stack's header: the table counts"
        )
    if size == 1.0:
        notes.append(f"{table.name} gives a pixel size of 1 Å, which often means unknown: check it")
    side = max(named.shape[1:])
    wrong = sorted(set(sides) - {side})
    if wrong:
        notes.append(
            f"{table.name} is of images of {wrong[0]} pixels, the stack has images of {side}: "
            f"the pixel size {size:.4g} Å may be that of images before binning"
        )
    return size, notes
