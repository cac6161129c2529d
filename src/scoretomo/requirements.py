"""Settings against the data: image numbers, sizes, symmetries, by settings, counts and NumPy alone.

They stand here, and not beside the computations, so that a mistake is reported before anything heavy is loaded.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .config import ImportSettings, RealismSettings, ReconstructSettings
from .errors import InputError
from .files import sensible_pixel_size
from .point_groups import point_group_name

SMALLEST = 8  # side of images in pixels


def field_of_view(height: int, width: int, settings: ImportSettings, name: str) -> int:
    """Side of the field of view in pixels of the input.

    Raises:
        InputError: the images are not square, or the sizes in the settings do not fit them.
    """
    if height != width and settings.crop is None:
        raise InputError(
            f"images must be square, got {height}×{width} in {name}: "
            f"crop or pad them first (scoretomo import --crop {min(height, width)})"
        )
    side = min(height, width) if settings.crop is None else settings.crop
    if side < SMALLEST:
        raise InputError(
            f"images of {name} would be {side}×{side}, expected at least {SMALLEST}×{SMALLEST}: give larger ones"
        )
    if settings.size is not None and not SMALLEST <= settings.size <= side:
        raise InputError(
            f"--size should be from {SMALLEST} to {side}, the side of the images in pixels, got {settings.size}: "
            f"give {'one of these' if settings.size < SMALLEST else 'less, as images are never enlarged'}"
        )
    return side


def unusable(image: np.ndarray) -> str:
    """Why an image, (y, x), can't be used, or "" where it can: not finite, or constant."""
    bad = int(np.count_nonzero(~np.isfinite(image)))
    if bad:
        return f"{bad} pixels are not numbers (NaN or infinite)"
    if float(image.max() - image.min()) <= 1e-6 * float(np.abs(image).max()):
        return f"constant ({float(image[0, 0]):.4g} everywhere)"
    return ""


def exclusion_notes(reasons: Sequence[str]) -> list[str]:
    """A sentence for each image that can't be used, 20 at most, by why it can't."""
    notes = [
        f"image {number} excluded: {reason}"
        for number, reason in enumerate(reasons)
        if reason not in ("", "not selected")
    ]
    return notes if len(notes) <= 20 else [*notes[:20], f"{len(notes) - 20} more images excluded: see the table"]


def require_usable(reasons: Sequence[str], name: str) -> None:
    """Refuse a stack of which every image is excluded.

    Args:
        reasons: why each image is excluded, "" where it is not.
        name: what to call the stack.

    Raises:
        InputError: all of them are.
    """
    if all(reasons):
        raise InputError(f"no image of {name} can be used ({exclusion_notes(reasons)[0]}): give other images")


def parse_selection(text: str, count: int) -> list[int]:
    """Image numbers of a selection such as ``0,3,5-9``, sorted, each once.

    Raises:
        InputError: not of this form, or a number that the stack does not have.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) < 10 for end in ends):
            raise InputError(f"image numbers should be given like 0,3,5-9, got {text!r}: correct {part.strip()!r}")
        first, last = int(ends[0]), int(ends[-1])
        if first > last:
            raise InputError(
                f"image numbers should be given like 0,3,5-9, got {part.strip()!r} in {text!r}: turn it round"
            )
        if last >= count:
            raise InputError(f"there is no image {last}, the numbers go from 0 to {count - 1}: correct {text!r}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def require_several(numbers: Sequence[int]) -> None:
    """Refuse to reconstruct from fewer than two usable images: they do not determine the particle along the view.

    Raises:
        InputError: there are none, or one.
    """
    if len(numbers) < 2:
        raise InputError(
            f"a reconstruction needs at least 2 usable images, got {len(numbers)}: "
            "give more class averages (some tens are good)"
        )


def select_numbers(included: Sequence[int], count: int, selection: str | None) -> list[int]:
    """Numbers to reconstruct, in the user's count, without excluded images.

    Args:
        included: numbers of the images that import included.
        count: how many images the user's stack has.
        selection: what the user selected.

    Raises:
        InputError: the selection does not fit, or too few images are included for a reconstruction.
    """
    require_several(included)
    if selection is None:
        return list(included)
    selected = parse_selection(selection, count)
    numbers = [number for number in selected if number in set(included)]
    if not numbers:
        raise InputError(f"--images {selection} should name images that can be used, but import excluded all of them")
    return numbers


def require_sense(settings: ReconstructSettings) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InputError: there is no such symmetry, or no consensus that it could be imposed on.
    """
    if settings.method != "ensemble" and (settings.symmetry.upper(), settings.hand) != ("C1", "default"):
        raise InputError(
            f"--symmetry and --hand are about a consensus, which --method {settings.method} has none of: remove them"
        )
    if settings.symmetry != "auto":
        try:
            point_group_name(settings.symmetry)
        except ValueError as error:
            raise InputError(f"--symmetry: {error}, nor auto: correct it") from None


def require_ranges(settings: RealismSettings) -> None:
    """Refuse ranges of realistic images that are none.

    Raises:
        InputError: one is reversed, begins too low, or is not finite.
    """
    lowest = {"particles": 1, "orientation_scatter": 0, "defocus": 0, "snr": 1e-6}
    for name, least in lowest.items():
        low, high = getattr(settings, name)
        if not least <= low <= high < math.inf:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{flag} should be two numbers, the smaller first and at least {least:g}, "
                f"got {low:g} {high:g}: correct them"
            )
    for name in ("shift_scatter", "b_factor", "bad_classes"):
        if not math.isfinite(getattr(settings, name)):
            raise InputError(
                f"--{name.replace('_', '-')} should be a number, got {getattr(settings, name)}: correct it"
            )


def require_comparable(first: int, second: int) -> None:
    """Refuse to compare maps of different sides where a pixel size is unknown.

    Args:
        first, second: their sides in voxels.

    Raises:
        ValueError: they differ.
    """
    if first != second:
        raise ValueError(
            f"maps of {first} and {second} voxels can't be compared without their pixel sizes: give both in Å per pixel"
        )


_PICTURES = (".png", ".jpg", ".webp")


def require_umap() -> None:
    """Refuse to embed volumes by UMAP where it is not installed.

    Raises:
        InputError: umap-learn is not installed.
    """
    if find_spec("umap") is None:
        raise InputError("--umap needs umap-learn, which is not installed: pip install 'scoretomo[umap]'")


def require_figures() -> None:
    """Refuse to draw figures without the libraries for them.

    Raises:
        InputError: the ``figures`` extra is missing.
    """
    missing = [name for name in ("matplotlib", "av") if find_spec(name) is None]
    if missing:
        raise InputError(f"figures need {' and '.join(missing)}: pip install 'scoretomo[figures]'")


def require_pixel_size(given: float | None) -> None:
    """Refuse a pixel size that no image of a molecule has.

    Raises:
        InputError: it is below 0.01 Å or above 1000 Å.
    """
    if given is not None and sensible_pixel_size(given) is None:
        raise InputError(f"--pixel-size should be Å per pixel between 0.01 and 1000, got {given}: correct it")


def require_picture(montage: Path | None) -> None:
    """Refuse a name for a montage that is not one of a picture.

    Raises:
        InputError: it ends in something else.
    """
    if montage is not None and montage.suffix.lower() not in _PICTURES:
        raise InputError(f"--montage should end in .png, .jpg or .webp, got {montage}: name a picture")
