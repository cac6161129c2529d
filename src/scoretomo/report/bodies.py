"""Rigid bodies: what each does, its colour on the surface, and arrows along the axes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from ..graphics import colours, densities, surfaces
from ..graphics.bodies import Arrow, Whole, arrow_of, whole_of
from ..images import otsu_level
from ..rundir.bodies import read_body_densities
from ..rundir.results import Run
from ..rundir.rows import AngleRow, BodyRow
from .embedded import SIDE, Embedded, of_bodies, of_map

_FRAME = 320  # pixels of the surface
_LABEL = 1.2  # where the label of an arrow is: its tail is 0, its tip 1


class Body(NamedTuple):
    """A rigid body."""

    row: BodyRow
    colour: str
    copies: int  # of a symmetric molecule
    ends: list[float]  # tail and tip of its arrow, and its label, in box sides (x, y, z); none of the body that rests
    places: list[float]  # the same in the picture (x, y), in percent

    @property
    def axis(self) -> tuple[float | None, float | None, float | None]:
        """Unit vector of its axis."""
        return self.row.axis_x, self.row.axis_y, self.row.axis_z

    @property
    def pivot(self) -> tuple[float | None, float | None, float | None]:
        """A point of its axis."""
        return self.row.pivot_x, self.row.pivot_y, self.row.pivot_z


class Turned(NamedTuple):
    """How far a body has turned in an image."""

    body: int
    angle: float  # degrees from the mean; a length for a body that only slides
    error: float  # standard error
    slides: bool


class BodiesSection(NamedTuple):
    """The section about rigid bodies."""

    bodies: list[Body]
    together: list[list[int]]  # numbers of bodies that share a latent coordinate, where several do
    turned: Mapping[int, list[Turned]]  # by the number of the image
    picture: str
    densities: list[Embedded]  # the surface, and the body of each place


def bodies_section(run: Run, reach: float) -> BodiesSection | None:
    """The section about the rigid bodies of a run; None without them."""
    if run.bodies is None:
        return None
    model = read_body_densities(run.bodies.path, run.imported.s if run.imported else 1.0)
    whole = whole_of(model, SIDE)
    box = run.size * (run.pixel_size or 1.0)
    copies = [1] * len(run.bodies.rows) if model.copies is None else model.copies.of.bincount().tolist()
    shown = zip(run.bodies.rows, copies, model.densities, strict=True)
    return BodiesSection(
        bodies=[_body(row, count, arrow_of(row, density, box), reach) for row, count, density in shown],
        together=_together(run.bodies.rows),
        turned={number: _turned(run.bodies.rows[1:], row) for number, row in run.bodies.angles.items()},
        picture=_picture(whole, len(copies), reach),
        densities=[of_map("bodies", whole.density.numpy(), run.pixel_size), of_bodies(whole.bodies.numpy())],
    )


def _body(row: BodyRow, copies: int, arrow: Arrow | None, reach: float) -> Body:
    ends = torch.stack([*arrow, torch.lerp(*arrow, _LABEL)]) if arrow else torch.empty(0, 3)
    places = 50 + 50 / reach * (ends @ surfaces.oblique_view().T)[:, :2]
    return Body(row, colours.of_body(row.body), copies, ends.flatten().tolist(), places.flatten().tolist())


def _together(rows: list[BodyRow]) -> list[list[int]]:
    modes = sorted({row.mode for row in rows if row.mode is not None})
    groups = [[row.body for row in rows if row.mode == mode] for mode in modes]
    return [group for group in groups if len(group) > 1]


def _turned(moving: list[BodyRow], row: AngleRow) -> list[Turned]:
    columns = zip(moving, row.angle, row.standard_error, strict=True)
    return [Turned(body.body, angle, error, not body.degrees) for body, angle, error in columns]


def _picture(whole: Whole, count: int, reach: float) -> str:
    """The surface of all bodies, each in its colour."""
    values = densities.quantise(whole.density.numpy(), len(whole.density)).values
    paint = surface_colours(count)[whole.bodies.numpy()]
    drawn = surfaces.surface(values, otsu_level(values), reach, _FRAME, paint=np.moveaxis(paint, -1, 0))
    return surfaces.data_uri(drawn, quality=80)


def surface_colours(count: int) -> np.ndarray:
    """Colours of the surfaces of so many bodies, red, green and blue, 0 to 1, shape (count, 3)."""
    return np.array([surfaces.colour_in_light(colours.of_body(number)) for number in range(1, count + 1)])
