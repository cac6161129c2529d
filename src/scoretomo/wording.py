"""Counts, lists of numbers, lengths and durations, as sentences have them."""

import math
from collections.abc import Sequence

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def counted(number: int, noun: str) -> str:
    """A number of things: 1 volume, 3 volumes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_letters(number: int) -> str:
    """Small numbers as words: no, one, … twelve, 13."""
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def listing(numbers: Sequence[int], most: int = 8) -> str:
    """Numbers in a sentence: 3, 9 and 11; a long list is cut."""
    names = [str(number) for number in numbers]
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return joined(names)


def images(numbers: Sequence[int]) -> str:
    """Images by their numbers, in a sentence: image 3, or images 3, 9 and 11."""
    return f"image{'' if len(numbers) == 1 else 's'} {listing(numbers)}"


def joined(parts: Sequence[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def duration(seconds: float) -> str:
    """Seconds as 48 s, 5 min 20 s or 3 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def length(pixels: float, pixel_size: float | None) -> str:
    """A length in Å, or in pixels without a pixel size."""
    return f"{pixels * pixel_size:.3g} Å" if pixel_size else f"{pixels:g} px"


def signed(value: float, decimals: int) -> str:
    """A number with a minus sign."""
    return f"{value:.{decimals}f}".replace("-", "−")


def vector(values: Sequence[float], decimals: int) -> str:
    """A vector or a place: (1.00, −0.06, −0.02)."""
    return f"({', '.join(signed(value, decimals) for value in values)})"


def degrees(value: float) -> str:
    """An angle: 100° or 4.2°."""
    return f"{value:.0f}°" if value >= 10 else f"{value:.1f}°"


def named_turn(body: int, turn: float | None) -> str:
    """A rigid body, and by how many degrees it turns unless it only slides: 2: 100°."""
    return f"{body}: {degrees(turn)}" if turn else f"{body}"


def with_error(value: float, error: float) -> str:
    """A value and its standard error, of which one digit counts: −39.30 ± 0.06."""
    decimals = -math.floor(math.log10(error)) if error > 0 else 3
    decimals = min(max(decimals, 0), 3)
    return f"{signed(value, decimals)} ± {error:.{decimals}f}"


def resolution(value: float, pixel_size: float | None) -> str:
    """A resolution by the FSC with voxels of a size; ≤ where it stays above its threshold down to two pixels."""
    return f"{'≤ ' if at_nyquist(value, pixel_size) else ''}{value:.3g}"


def at_nyquist(value: float, pixel_size: float | None) -> bool:
    """Whether a resolution is two pixels in effect: finer ones cannot be measured.

    Up to 2.05 pixels lie within the last shell of images of 80 pixels or fewer, where a place is interpolated.
    """
    return value <= 2.05 * (pixel_size or 1.0)
