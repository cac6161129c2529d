"""Many images in one picture, of pixels or of characters."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
from rich.console import Console
from rich.text import Text

from . import surfaces


def tiles(
    images: Sequence[np.ndarray] | np.ndarray, side: int, scale: surfaces.Scale | None = None
) -> list[np.ndarray]:
    """Images (n, d, d) as 8-bit greys (side, side), on one grey scale, or each on its own if none is given."""
    greys = (surfaces.grey(image, scale or surfaces.common_scale(image)) for image in images)
    return [np.asarray(PIL.Image.fromarray(grey).resize((side, side), PIL.Image.Resampling.BOX)) for grey in greys]


def in_rows(images: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    """Images in rows, about three columns to two rows, numbers left to right."""
    columns = max(1, round((len(images) * 1.5) ** 0.5))
    return [images[first : first + columns] for first in range(0, len(images), columns)]


def sheet(
    rows: Sequence[Sequence[np.ndarray] | np.ndarray], side: int, scale: surfaces.Scale | None = None
) -> PIL.Image.Image:
    """Rows of images in one picture, each ``side`` pixels wide, on one grey scale, or each on its own without one."""
    picture = np.zeros((len(rows) * (side + 2), max(map(len, rows)) * (side + 2)), np.uint8)
    for row, images in enumerate(rows):
        for column, tile in enumerate(tiles(images, side, scale)):
            y, x = row * (side + 2), column * (side + 2)
            picture[y : y + side, x : x + side] = tile
    return PIL.Image.fromarray(picture)


def shows_pictures(console: Console) -> bool:
    """Whether a terminal has colours enough for pictures of characters, and the character."""
    coloured = not console.no_color and console.color_system in ("256", "truecolor")
    return console.is_terminal and coloured and console.encoding.startswith("utf")


def in_characters(shown: Sequence[np.ndarray]) -> list[Text]:
    """Lines of grey tiles (side, side) uint8 side by side, of one even side, two pixels to a character."""
    lines = []
    for line in range(0, len(shown[0]), 2):
        text = Text(no_wrap=True)
        for tile in shown:
            for upper, lower in zip(tile[line], tile[line + 1], strict=True):
                text.append("▀", f"rgb({upper},{upper},{upper}) on rgb({lower},{lower},{lower})")
            text.append(" ")
        lines.append(text)
    return lines
