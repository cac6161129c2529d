"""Matter that would be there twice: what the sum of the bodies' views has and the view of their union has not.

In image i it is Σ_c v_c (1 − Π_{l<c} (1 − s v_l)), all densities in their places. Each term is taken at the voxels of
body c, where the others are interpolated, so that only voxels in an overlap cost anything.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ...fourier import coordinates
from ...projection import images_of
from ..splatting import splat
from .model import RigidBodies
from .motions import inverse
from .views import Band, band_of, views

_EMPTY = 0.03  # of the density of full matter: voxels below do not take part
_NONE = 1e-3  # share of a voxel that is nowhere counted twice
_BLUR = 1.2  # pixels of a grid of twice the side, by which points are blurred so that a mosaic holds many images
_VALUES = 2_000_000  # voxels times images at a time


@torch.no_grad()
def overlap(model: RigidBodies, band: Band, placements: Tensor | None = None) -> Tensor:
    """Coefficients of the matter that the bodies' views count twice.

    Args:
        model: densities and saturation.
        band: which coefficients.
        placements: other ones than the model's, shape (c, n, 4, 4).

    Returns:
        Complex, shape (n, p).
    """
    places = model.placements() if placements is None else placements
    total = torch.zeros(places.shape[1], len(band.points), dtype=band.data.dtype, device=band.data.device)
    if model.saturation == 0 or places.shape[0] == 1:
        return total
    solids = [_Solid(density, model.saturation) for density in model.densities]
    most = max(len(solids[body].points) for body in model.of[1:].tolist())
    for some in torch.arange(len(total), device=total.device).split(max(1, _VALUES // max(1, most))):
        copies = [(solids[body], place[some]) for body, place in zip(model.of.tolist(), places, strict=True)]
        pieces = [_counted_twice(copies[number], copies[:number]) for number in range(1, len(copies))]
        across, masses = (torch.cat(values, 1) for values in zip(*pieces, strict=True))
        if masses.shape[1]:
            total[some] = _coefficients(across, masses, band)
    return total


@torch.no_grad()
def bodies_views(model: RigidBodies) -> Tensor:
    """Views of the molecule in all images, matter counted once, shape (n, d, d)."""
    nothing = model.densities.new_zeros(len(model.poses), model.size, model.size)
    band = band_of(nothing, model.size, model.size / 2)
    return images_of(views(model.bodies(), band.points) - overlap(model, band), model.size)


class _Solid:
    """The voxels of a body that hold matter.

    Args:
        density: shape (d, d, d).
        saturation: s.
    """

    def __init__(self, density: Tensor, saturation: float) -> None:
        self.size = density.shape[-1]
        self.full = (saturation * density).clamp(0, 1)
        inside = (saturation * density).abs() > _EMPTY
        grid = coordinates(self.size, 3, dtype=density.dtype, device=density.device).movedim(0, -1)
        self.points = grid[inside] * (2 / self.size)  # in half sides
        self.values = density[inside]
        corners = self.points if len(self.points) else self.points.new_zeros(1, 3)
        self.centre = (corners.amin(0) + corners.amax(0)) / 2
        self.radius = float((corners - self.centre).norm(dim=1).max())

    def at(self, points: Tensor) -> Tensor:
        """s v at points (b, p, 3) in half sides, clamped to 0 … 1; (b, p)."""
        index = (points * (self.size / 2) + self.size // 2) * (2 / (self.size - 1)) - 1
        return grid_sample(self.full[None, None], index[None, None], align_corners=True)[0, 0, 0]


def _counted_twice(copy: tuple[_Solid, Tensor], earlier: list[tuple[_Solid, Tensor]]) -> tuple[Tensor, Tensor]:
    """Matter of a copy that is in earlier ones as well, v (1 − Π (1 − s v_l)), in images.

    Returns:
        Places (x, y) of voxels in half sides, shape (b, q, 2), and their mass, shape (b, q).
    """
    solid, places = copy
    free = solid.values.new_ones(places.shape[0], len(solid.values))
    for other, where in earlier:
        there = (inverse(where) @ places).to(solid.points)
        centres = solid.centre @ there[:, :3, :3].mT + there[:, :3, 3]
        near = (centres - other.centre).norm(dim=1) < solid.radius + other.radius
        if near.any():
            points = solid.points @ there[near, :3, :3].mT + there[near, None, :3, 3]
            free[near] = free[near] * (1 - other.at(points))
    some = (1 - free).amax(0) > _NONE
    turned = places.to(solid.points)
    across = solid.points[some] @ turned[:, :2, :3].mT + turned[:, None, :2, 3]
    return across, solid.values[some] * (1 - free[:, some])


def _coefficients(across: Tensor, masses: Tensor, band: Band) -> Tensor:
    """Coefficients of points (b, q, 2) in half sides with masses (b, q); shape (b, p)."""
    images = splat(across * band.size, masses, 2 * band.size, _BLUR)
    columns, rows = (band.points[:, :2] * (band.size / (2 * math.pi))).round().long().T
    every = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))[:, rows, columns]
    return every / torch.exp(-0.5 * (band.points.norm(dim=1) * (_BLUR / 2)).square())
