"""Counts, lists of numbers, lengths and durations, as sentences have them."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listing(numbers: Sequence[int], most: int = 8) -> str:
    """Numbers in a sentence: 3, 9 and 11; a long list is cut."""
    names = [str(number) for number in numbers]
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return joined(names)


def images(numbers: Sequence[int]) -> str:
    """Images by their numbers, in a sentence: image 3, or images 3, 9 and 11."""
    return f"image{'' if len(numbers) == 1 else 's'} {listing(numbers)}"


def plain(name: str) -> str:
    """Name of a column of a table, in words."""
    return name.replace("_", " ")


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
    """A length in Å, or in pixels if no pixel size is known."""
    return f"{pixels * pixel_size:.3g} Å" if pixel_size else f"{pixels:g} px"
