"""Class averages beside projections of their volumes in random directions: do these resemble class averages?"""

from typing import NamedTuple

import numpy as np
import torch

from ..compute import random_stream
from ..files import read_map
from ..graphics import densities, surfaces
from ..projection import project
from ..rotations import random_rotations
from ..rundir.results import Run

_VOLUMES = 8
_VIEWS = 5
_SIDE = 96  # pixels of a picture


class Row(NamedTuple):
    """A class average and random views of its volume, on one grey scale."""

    number: int
    image: str  # picture
    views: list[str]  # pictures


def random_views(run: Run) -> list[Row]:
    """Rows for up to eight volumes, spread over those that are done; directions depend on the number of the image."""
    done, pixels = run.with_status("done"), {image.number: image.pixels for image in run.images}
    rows = []
    for place in sorted(densities.spread_order(len(done), [])[:_VOLUMES]):
        volume = done[place]
        image = pixels.get(volume.number)
        if volume.path is None or image is None:
            continue
        density = torch.from_numpy(np.ascontiguousarray(read_map(volume.path).density))
        rotations = random_rotations(_VIEWS, random_stream(0, "report", volume.number)).to(density)
        views = project(density, rotations).numpy()
        scale = surfaces.common_scale(image, *views)
        shown = [surfaces.data_uri(surfaces.grey(surfaces.at_most(array, _SIDE), scale)) for array in (image, *views)]
        rows.append(Row(volume.number, shown[0], shown[1:]))
    return rows
