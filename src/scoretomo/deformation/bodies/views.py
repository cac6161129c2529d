"""Views of rigid bodies on the Fourier coefficients of images within some shells, and their exact adjoint.

The view of a body v in the place C = (R, t) has the coefficients F(k) = exp(−i k·s) v̂(Rᵀk), s being t in pixels: the
Fourier slice theorem, by a non-uniform FFT. A body may stand in several copies, of which an image shows the sum.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...compute import each_at_once
from ...fourier import adjoint_transform_at, resample, transform_at
from ...projection import half_plane, spectrum


class Band(NamedTuple):
    """Coefficients of images on the half plane within some shells."""

    size: int  # d, of the images in pixels
    points: Tensor  # (p, 3): (kx, ky, 0) in radians per pixel
    weight: Tensor  # (p,): 2 for a pair of conjugates, 1 for the zero frequency; divided by d²
    ring: Tensor  # (p,): nearest whole radius
    places: Tensor  # (p,): where they stand in the half plane of this size
    data: Tensor  # (n, p) complex

    @property
    def rings(self) -> int:
        """How many, the zero frequency's among them."""
        return int(self.ring.max()) + 1

    def ring_means(self, values: Tensor) -> Tensor:
        """Means of values (…, p) over each ring, shape (…, rings)."""
        sums = values.new_zeros(*values.shape[:-1], self.rings).index_add_(-1, self.ring, values)
        return sums / torch.bincount(self.ring)


class Bodies(NamedTuple):
    """Densities, and the places where they stand in images."""

    densities: Tensor  # (k, d, d, d)
    placements: Tensor  # (c, n, 4, 4): of all copies, translations in half sides
    of: Tensor  # (c,): the body of each copy


def band_of(images: Tensor, size: int, shells: float) -> Band:
    """Coefficients of images of the same field of view and another side.

    Args:
        images: centred, empty space 0, shape (n, e, e), e ≥ size.
        size: d, side of the images that have these coefficients.
        shells: whole radius of the last ring; at most d / 2.
    """
    plane = half_plane(size, images.dtype, images.device)
    radius = plane.points.norm(dim=1) * (size / (2 * math.pi))
    places = (radius < min(shells + 0.5, size / 2)).nonzero()[:, 0]
    smaller = resample(images, size, 2) * (size / images.shape[-1])  # there are fewer voxels along a ray
    ring = radius[places].round().long()
    return Band(size, plane.points[places], plane.weight[places], ring, places, spectrum(smaller)[:, places])


def turns_and_shifts(placements: Tensor, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (…, 3, 3) and shifts (…, 3) in pixels of an image of this side, of the type of another tensor."""
    return placements[..., :3, :3].to(like), (placements[..., :3, 3] * (size / 2)).to(like)


def phases(points: Tensor, shifts: Tensor) -> Tensor:
    """exp(−i k·s) of points (p, 3) and shifts (…, 3), shape (…, p)."""
    angle = -(shifts[..., :2] @ points[:, :2].mT)
    return torch.polar(torch.ones_like(angle), angle)


def body_slices(densities: Tensor, placements: Tensor, points: Tensor) -> Tensor:
    """Coefficients of densities that stand alike, one by one: (b, d, d, d) to (b, …, p), for places (…, 4, 4)."""
    turns, shifts = turns_and_shifts(placements, densities.shape[-1], points)
    values = transform_at(densities, (points @ turns).reshape(-1, 3))
    return values.reshape(len(densities), *placements.shape[:-2], len(points)) * phases(points, shifts)


def views(bodies: Bodies, points: Tensor) -> Tensor:
    """The sum of the bodies' coefficients in every image.

    Args:
        bodies: densities and places.
        points: (kx, ky, 0) in radians per pixel, shape (p, 3).

    Returns:
        Complex, shape (n, p).
    """

    def of_body(number: int) -> Tensor:
        return body_slices(bodies.densities[number][None], bodies.placements[bodies.of == number], points)[0].sum(0)

    total = points.new_zeros(bodies.placements.shape[1], len(points)).to(points.dtype.to_complex())
    return sum(each_at_once(of_body, range(len(bodies.densities))), total)


def adjoint_views(values: Tensor, bodies: Bodies, points: Tensor) -> Tensor:
    """The exact adjoint of `views` as a map of densities: Re ⟨views(v), y⟩ = ⟨v, adjoint(y)⟩.

    Args:
        values: y, complex, shape (n, p).
        bodies: places; of the densities only the shape counts.
        points: shape (p, 3).

    Returns:
        Shape (k, d, d, d).
    """
    size = bodies.densities.shape[-1]

    def of_body(number: int) -> Tensor:
        turns, shifts = turns_and_shifts(bodies.placements[bodies.of == number], size, points)
        smeared = (values * phases(points, shifts).conj()).reshape(1, -1)
        return adjoint_transform_at(smeared, (points @ turns).reshape(-1, 3), size)[0]

    return torch.stack(each_at_once(of_body, range(len(bodies.densities))))
