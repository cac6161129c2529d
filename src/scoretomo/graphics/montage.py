"""Many images in one picture, of pixels or of characters."""

from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from rich.console import Console
from rich.text import Text

from . import surfaces

_GAP = 2  # pixels between images of a sheet


def tiles(
    images: Sequence[np.ndarray] | np.ndarray, side: int, scale: surfaces.Scale | None = None
) -> list[np.ndarray]:
    """Images (n, d, d) as 8-bit greys (side, side), on one grey scale, or each on its own if none is given."""
    greys = (surfaces.grey(image, scale or surfaces.common_scale(image)) for image in images)
    return [np.asarray(PIL.Image.fromarray(grey).resize((side, side), PIL.Image.Resampling.BOX)) for grey in greys]


def sheet(
    rows: Sequence[Sequence[np.ndarray] | np.ndarray], side: int, scale: surfaces.Scale | None = None
) -> PIL.Image.Image:
    """Rows of images in one picture, each ``side`` pixels wide, on one grey scale, or each on its own without one."""
    step = side + _GAP
    picture = np.zeros((len(rows) * step, max(map(len, rows)) * step), np.uint8)
    for row, images in enumerate(rows):
        for column, tile in enumerate(tiles(images, side, scale)):
            y, x = row * step, column * step
            picture[y : y + side, x : x + side] = tile
    return PIL.Image.fromarray(picture)


def named_sheet(images: Mapping[str, np.ndarray], side: int) -> PIL.Image.Image:
    """Images by their names, each on its own grey scale and with its name in its lower left corner, about three columns
    to two rows.
    """
    columns = max(1, round((len(images) * 1.5) ** 0.5))
    shown = list(images.values())
    picture = sheet([shown[first : first + columns] for first in range(0, len(shown), columns)], side)
    draw = PIL.ImageDraw.Draw(picture)
    font = PIL.ImageFont.load_default(max(10, side // 8))
    for place, name in enumerate(images):
        row, column = divmod(place, columns)
        corner = (column * (side + _GAP) + 2, row * (side + _GAP) + side - 2)
        left, top, right, bottom = draw.textbbox(corner, name, font=font, anchor="ls")
        draw.rectangle((left - 2, top - 2, right + 1, bottom + 1), fill=0)
        draw.text(corner, name, fill=255, font=font, anchor="ls")
    return picture


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
