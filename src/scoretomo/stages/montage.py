"""Many images in one picture."""

from collections.abc import Sequence

import numpy as np
import PIL.Image

from ..report import pictures


def tiles(images: Sequence[np.ndarray] | np.ndarray, side: int, scale: pictures.Scale | None = None) -> list[np.ndarray]:
    """Images at one size, on one grey scale, or each on its own if none is given."""
    greys = (pictures.grey(image, scale or pictures.common_scale(image)) for image in images)
    return [np.asarray(PIL.Image.fromarray(grey).resize((side, side), PIL.Image.Resampling.BOX)) for grey in greys]


def in_rows(images: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    """Images in rows, about three columns to two rows, numbers left to right."""
    columns = max(1, round((len(images) * 1.5) ** 0.5))
    return [images[first : first + columns] for first in range(0, len(images), columns)]


def sheet(rows: Sequence[Sequence[np.ndarray] | np.ndarray], side: int, scale: pictures.Scale | None = None) -> PIL.Image.Image:
    """Rows of images in one picture, each ``side`` pixels wide, on one grey scale, or each on its own if none is given."""
    picture = np.zeros((len(rows) * (side + 2), max(map(len, rows)) * (side + 2)), np.uint8)
    for row, images in enumerate(rows):
        for column, tile in enumerate(tiles(images, side, scale)):
            y, x = row * (side + 2), column * (side + 2)
            picture[y : y + side, x : x + side] = tile
    return PIL.Image.fromarray(picture)
