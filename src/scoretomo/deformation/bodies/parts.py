"""What the bodies of a model do, in words of a user: which part turns about which axis through which point, and how far
it goes in each image.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...fourier import coordinates
from .model import RigidBodies
from .modes import displacement_metrics
from .motions import Screw, screw_of_twist
from .simplify import main_modes


@dataclass(frozen=True)
class PartSettings:
    """How motions are summed up.

    Attributes:
        range: quantiles of the images, between which a motion goes.
    """

    range: tuple[float, float] = (0.05, 0.95)


class Part(NamedTuple):
    """A body that moves against the first one."""

    mass: float  # share of the whole, with all its copies
    mode: int  # by which it moves most, from 0
    screw: Screw  # its motion over the range of the images, in the common frame
    displacement: float  # of its mass, root mean square over the images, in half sides
    angles: Tensor  # (n,): radians in each image, from the mean


def masses(model: RigidBodies) -> Tensor:
    """Share of the mass of each body, with all its copies, shape (k,)."""
    copies = torch.bincount(model.of, minlength=len(model.twists)).to(model.densities)
    each = model.densities.sum((1, 2, 3)).clamp_min(0) * copies
    return each / each.sum()


def named_parts(model: RigidBodies, settings: PartSettings = PartSettings()) -> list[Part]:
    """All bodies but the first, in their order."""
    shares, modes = masses(model).tolist(), main_modes(model).tolist()
    points = coordinates(model.size, 3).to(model.twists).flatten(1).T * (2 / model.size)
    weights = model.densities.clamp_min(0).flatten(1).to(points)
    metrics = displacement_metrics(points, weights)
    centres = weights @ points / weights.sum(1, keepdim=True).clamp_min(torch.finfo(points.dtype).tiny)
    parts = []
    for body, mode in enumerate(modes, start=1):
        values = model.latent[:, mode]
        low, high = values.quantile(torch.tensor(settings.range).to(values)).tolist()
        twist = model.twists[body, mode]
        screw = screw_of_twist(twist * (high - low), centres[body])
        away = model.body_twists()[body]
        away = away - away.mean(0)
        squares = torch.einsum("na,ab,nb->n", away, metrics[body], away)
        angles = (values - values.mean()) * twist[:3].norm()
        parts.append(Part(shares[body], mode, screw, float(squares.mean().sqrt()), angles))
    return parts
