"""A density map as an object: turned at Fourier frequencies, which is exact for what is band-limited."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import coordinates, radius, resample, soft_edge
from ..phantoms import Motion, draw_between
from ..projection import rotate

_EDGE = 0.06  # of the side: where the map fades out, so that nothing that turns is cut by a corner of its box


@dataclass(frozen=True)
class MovingMap:
    """A map with parts that move: its density is the sum of that of the parts and of the rest."""

    parts: Tensor  # the rest, then the part of each motion, (1 + motions, d, d, d)
    pixel_size: float  # Å
    motions: tuple[Motion, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the numbers in a conformation."""
        return tuple(motion.name for motion in self.motions)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw conformations, every motion uniform in its range; shape (count, k)."""
        return draw_between([(motion.low, motion.high) for motion in self.motions], count, generator)

    def volume(self, size: int, conformation: Tensor, rotation: Tensor) -> Tensor:
        """Density of a turned conformation on a grid of this size and the same field of view; (d, d, d)."""
        density = rotate(self.parts[0], rotation)
        for part, motion, amount in zip(self.parts[1:], self.motions, conformation.tolist(), strict=True):
            turn, offset = (tensor.to(rotation) for tensor in motion.rigid(amount))
            density = density + rotate(part, rotation @ turn, rotation @ offset / self.pixel_size)
        return resample(density, size, 3)


def isolated(density: Tensor) -> Tensor:
    """A map, (d, d, d), with empty space at 0 and its corners empty: faded out towards the sphere that every rotation
    keeps.
    """
    size = density.shape[-1]
    distance = radius(size, 3)
    fade = soft_edge(distance, (0.5 - _EDGE) * size, _EDGE * size)
    return (density - density[distance > 0.5 * size].median()) * fade


def voxel_places(density: Tensor, pixel_size: float) -> tuple[Tensor, Tensor]:
    """Where a map is bright: places (n, 3) in Å about the middle of the box, float64, and which voxels they are, (d, d,
    d) bool.
    """
    brightest = density.flatten().topk(max(1, density.numel() // 1000)).values
    bright = density > 0.3 * brightest.min()
    return (coordinates(density.shape[-1], 3)[:, bright].T * pixel_size).double(), bright
