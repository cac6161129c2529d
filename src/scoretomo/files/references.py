"""Images named in a table as "number of a stack": where the stacks are, and fetching the images from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .mrc import Header, read_header, read_sections
from .reading import check_memory


class Reference(NamedTuple):
    """One image of a stack."""

    number: int  # 1-based, as RELION counts
    stack: str  # as the table names it


class Fetched(NamedTuple):
    """Images of several stacks, in the order of their references."""

    images: np.ndarray  # (n, y, x) float32
    sources: list[str]
    pixel_sizes: list[float | None]  # of each image, as the stacks' headers say
    notes: list[str]


def locate(stack: str, table: Path) -> Path:
    """Find a stack that a table names relative to the folder of a project, somewhere above the table."""
    folder = table.absolute().parent
    candidates = [parent / stack for parent in (folder, *folder.parents)] + [folder / Path(stack).name]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):
            continue
    raise InputError(
        f"{table} names the stack {stack}, which is not in {folder} nor, by this path, in a folder above it: "
        "copy the stack beside the table"
    )


def fetch(references: Sequence[Reference], table: Path) -> Fetched:
    """Read the images that a table names.

    Raises:
        InputError: a stack is missing or damaged, has no image of that number, or has images of another size.
    """
    if not references:
        raise InputError(f"{table} names no images: check that it is the table you meant")
    headers: dict[str, Header] = {}
    for reference in references:
        if reference.stack not in headers:
            headers[reference.stack] = read_header(locate(reference.stack, table))
        _check_number(reference, headers[reference.stack], table)
    shapes = {header.shape[1:] for header in headers.values()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{rows}×{columns}" for rows, columns in sorted(shapes))
        raise InputError(f"{table} names images of different sizes ({sizes}): give images of one size")
    rows, columns = shapes.pop()
    check_memory(table, len(references) * rows * columns)
    images = np.empty((len(references), rows, columns), np.float32)
    for stack, header in headers.items():
        places = [place for place, reference in enumerate(references) if reference.stack == stack]
        images[places] = read_sections(header, np.array([references[place].number - 1 for place in places]))
    return Fetched(
        images,
        [f"{reference.number:06d}@{headers[reference.stack].path}" for reference in references],
        [headers[reference.stack].pixel_size for reference in references],
        [note for header in headers.values() for note in header.notes],
    )


def _check_number(reference: Reference, header: Header, table: Path) -> None:
    if not 1 <= reference.number <= header.shape[0]:
        raise InputError(
            f"{table} asks for image {reference.number} of {header.path}, which has {header.shape[0]}: "
            "table and stack do not belong together"
        )


def one_pixel_size(sizes: Sequence[float], table: Path) -> float:
    """The pixel size that all images share.

    Raises:
        InputError: they do not.
    """
    if max(sizes) - min(sizes) > 0.01 * min(sizes):
        raise InputError(
            f"{table} has images of different pixel sizes ({min(sizes):.4g} to {max(sizes):.4g} Å): bring them to one first"
        )
    return sizes[0]


def settle_pixel_size(stated: Sequence[float], fetched: Fetched, table: Path) -> tuple[float | None, list[str]]:
    """Pixel size by the table, else by the stacks' headers; where they disagree, the table counts and a note says so."""
    in_headers = [size for size in fetched.pixel_sizes if size is not None]
    if not stated:
        return (one_pixel_size(in_headers, table), []) if in_headers else (None, [])
    size = one_pixel_size(stated, table)
    others = [other for other in in_headers if abs(other - size) > 0.01 * size and other != 1.0]
    if not others:
        return size, []
    return size, [f"pixel size {size:.4g} Å by {table.name}, {others[0]:.4g} Å by the stack's header: the table counts"]
