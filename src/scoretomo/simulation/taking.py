"""Random conformation + random pose → image, with its truth.

The object is evaluated on rotated coordinates, never interpolated: truth(p) = density(Rᵀp), centred at index d // 2.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..compute import random_stream
from ..fourier import coordinates
from ..rotations import euler_from_rotations, random_rotations

EDGE = 0.375  # voxels; the density falls from 0.9 to 0.1 within 1.6 voxels


class Movable(Protocol):
    """An object with conformations."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the k numbers in a conformation."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw conformations, shape (count, k)."""


class Phantom(Movable, Protocol):
    """A shape that can be evaluated at any point, such as the moving box."""

    def density(self, points: Tensor, conformation: Tensor, edge: float) -> Tensor:
        """Density of a conformation, (k,), at points, (…, 3) in half sides; shape (…). Its edge is as wide, in half
        sides.
        """


@runtime_checkable
class Specimen(Movable, Protocol):
    """An object that makes its own volumes, such as atoms or a map."""

    def volume(self, size: int, conformation: Tensor, rotation: Tensor) -> Tensor:
        """Density of a conformation, (k,), turned by a matrix, (3, 3), on a grid of this size; (d, d, d)."""


class Simulated(NamedTuple):
    """An image and everything that made it."""

    image: Tensor  # (d, d), axes (y, x): the sum of the volume over z, with noise if asked for
    volume: Tensor  # (d, d, d), axes (z, y, x): the truth in the frame of the image
    rotation: Tensor  # (3, 3): turns the upright object into the frame of the image
    conformation: dict[str, float]  # by name; angles in degrees


def phantom_volume(phantom: Phantom, size: int, conformation: Tensor, rotation: Tensor) -> Tensor:
    """Voxels of a turned object, with an edge about one voxel wide.

    Args:
        phantom: the movable object.
        size: side d in voxels.
        conformation: shape (k,).
        rotation: matrix acting on (x, y, z) columns, shape (3, 3).

    Returns:
        Density, shape (d, d, d), float32; a few planes are worked on at a time.
    """
    points = coordinates(size, 3).movedim(0, -1) * (2 / size)
    turned = (plane @ rotation.to(points) for plane in points.split(max(1, 2**17 // size**2)))
    return torch.cat([phantom.density(part, conformation, EDGE * 2 / size) for part in turned])


def _object_volume(phantom: Phantom | Specimen, size: int, conformation: Tensor, rotation: Tensor) -> Tensor:
    """Voxels of a turned object of any kind, (d, d, d)."""
    if isinstance(phantom, Specimen):
        return phantom.volume(size, conformation, rotation)
    return phantom_volume(phantom, size, conformation, rotation)


def simulate_image(
    phantom: Phantom | Specimen, number: int, size: int, seed: int, *, noise: float = 0.0, volume: Tensor | None = None
) -> Simulated:
    """Take the image with this number: a random conformation from a random direction.

    It depends on the seed and the number alone, not on how many are drawn; its noise has a random stream of its own, so
    that the same seed gives the same objects at any noise.

    Args:
        phantom: the movable object.
        number: of the image.
        size: side d in pixels.
        seed: of all random numbers.
        noise: standard deviation of white noise, relative to that of the noise-free image over all its pixels.
        volume: the truth, if it has been made before, shape (d, d, d); it takes nearly all the time.
    """
    generator = random_stream(seed, "object", number)
    conformation = phantom.draw(1, generator)[0]
    rotation = random_rotations(1, generator)[0]
    if volume is None:
        volume = _object_volume(phantom, size, conformation, rotation)
    image = volume.sum(0)
    if noise > 0:
        image = image + noise * image.std() * torch.randn(size, size, generator=random_stream(seed, "noise", number))
    return Simulated(image, volume, rotation, dict(zip(phantom.parameters, conformation.tolist(), strict=True)))


def simulate(
    phantom: Phantom | Specimen, images: int, size: int, seed: int, *, noise: float = 0.0
) -> Iterator[Simulated]:
    """Take one image after the other, each of another conformation from another direction: see `simulate_image`."""
    for number in range(images):
        yield simulate_image(phantom, number, size, seed, noise=noise)


def truth_row(number: int, simulated: Simulated) -> dict[str, object]:
    """One row of ``truth.csv``: image number, conformation, and RELION's Euler angles of the rotation, in degrees."""
    rot, tilt, psi = euler_from_rotations(simulated.rotation.double()).tolist()
    return {"image": number, **simulated.conformation, "rot": rot, "tilt": tilt, "psi": psi}
