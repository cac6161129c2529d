"""Stacks and maps by their headers; small ones also by their values."""

import math
from pathlib import Path

from ... import files
from ...config import ImportRequest
from ...requirements import field_of_view, parse_selection, require_pixel_size, require_usable, unusable

_FEW = 2**22  # pixels or voxels that are read in no time


def check_images(request: ImportRequest, selection: str | None = None) -> list[int]:
    """Refuse images that can't be prepared with these settings.

    Args:
        request: the stack, and how it is to be prepared.
        selection: images to reconstruct, such as 0,3,5-9.

    Returns:
        Numbers of those that can be used; of a large stack, of all images.

    Raises:
        InputError: the file, a setting or the selection will not do.
    """
    stack, settings = request.stack, request.settings
    require_pixel_size(request.pixel_size)
    there = files.find_images(stack)
    count, height, width = there.shape
    field_of_view(height, width, settings, stack.name)
    numbers = list(range(count)) if settings.select is None else parse_selection(settings.select, count)
    if math.prod(there.shape) <= _FEW:
        images = there.read()
        unused = there.unused if settings.select is None else {}
        reasons = [unusable(images[number]) or unused.get(number, "") for number in numbers]
        require_usable(reasons, stack.name)
        numbers = [number for number, reason in zip(numbers, reasons, strict=True) if not reason]
    if selection is not None:
        parse_selection(selection, count)
    return numbers


def check_map(path: Path) -> files.StoredArray:
    """Refuse what is no map.

    Raises:
        InputError: the file will not do.
    """
    there = files.find_map(path)
    if math.prod(there.shape) <= _FEW:
        files.read_map(path)
    return there
