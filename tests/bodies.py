"""Made-up rigid bodies for tests: a bar, and an arm that swings on a hinge and may enter it."""

import torch
from torch import Tensor

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.model import RigidBodies, joined
from scoretomo.deformation.bodies.motions import rigid
from scoretomo.fourier import coordinates
from scoretomo.rotations import random_rotations

HINGE = torch.tensor([0.0, 0.7, 0.0, 0.0, 0.0, 0.1], dtype=torch.float64)


def blob(size: int, centre: tuple[float, ...], width: tuple[float, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """A smooth solid about a centre, both in half sides, of density 1 inside; (size, size, size)."""
    grid = coordinates(size, 3, dtype=dtype).movedim(0, -1) * (2 / size)
    apart = ((grid - torch.tensor(centre, dtype=dtype)) / torch.tensor(width, dtype=dtype)).norm(dim=-1)
    return torch.sigmoid((1 - apart) * 6)


def two_bodies(size: int, images: int, *, dtype: torch.dtype = torch.float32, saturation: float = 0.0) -> RigidBodies:
    """A bar with knobs and an arm, in random poses."""
    generator = random_stream(7, "bodies")
    bar = [blob(size, (-0.1, 0.0, 0.0), (0.5, 0.2, 0.15), dtype), blob(size, (-0.4, 0.3, 0.1), (0.2,) * 3, dtype)]
    arm = [blob(size, (0.4, 0.1, 0.1), (0.3, 0.15, 0.2), dtype), blob(size, (0.5, 0.3, 0.0), (0.15,) * 3, dtype)]
    turns = random_rotations(images, generator, dtype=torch.float64)
    shifts = 0.05 * torch.randn(images, 3, generator=generator, dtype=torch.float64)
    shifts[:, 2] = 0
    latent = torch.randn(images, 1, generator=generator, dtype=torch.float64)
    densities = torch.stack([joined(torch.stack(parts), 1.0) for parts in (bar, arm)])
    twists = torch.stack([torch.zeros(1, 6, dtype=torch.float64), HINGE[None]])
    return RigidBodies(rigid(turns, shifts), latent, twists, densities, torch.ones_like(densities), saturation)
