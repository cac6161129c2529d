"""Rigid motions as 4 × 4 matrices, and twists, their logarithms.

A motion takes a point x to R x + t. A twist ξ = (ω, v) is the velocity field ω × x + v; its exponential is a screw: a
turn by |ω| radians about an axis, and a slide along it. A hinge, a slide and a screw are one twist each. Lengths are in
half sides of the box. All functions take any leading dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from ...rotations import vector_from_rotation

_SMALL = 1e-2  # radians, below which the logarithm takes a series: its next term is 1e-14
_STRAIGHT = 1e-3  # radians per half side: with less, a motion is a slide, its axis of turning far outside the box


def rigid(turns: Tensor, translations: Tensor) -> Tensor:
    """Motions of rotations (…, 3, 3) and translations (…, 3), shape (…, 4, 4)."""
    top = torch.cat([turns, translations[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


def inverse(motions: Tensor) -> Tensor:
    """The motions back, shape (…, 4, 4)."""
    back = motions[..., :3, :3].mT
    return rigid(back, -(back @ motions[..., :3, 3:])[..., 0])


def moved(motions: Tensor, points: Tensor) -> Tensor:
    """Where motions (…, 4, 4) take points (p, 3), shape (…, p, 3)."""
    return points @ motions[..., :3, :3].mT + motions[..., None, :3, 3]


def skew(vectors: Tensor) -> Tensor:
    """Matrices of the cross product, skew(a) b = a × b, shape (…, 3) to (…, 3, 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def motion_from_twist(twists: Tensor) -> Tensor:
    """The exponential map, shape (…, 6) to (…, 4, 4)."""
    top = torch.cat([skew(twists[..., :3]), twists[..., 3:, None]], -1)
    return torch.matrix_exp(pad(top, (0, 0, 0, 1)))


def twist_from_motion(motions: Tensor) -> Tensor:
    """The logarithm, with turns of at most π: the inverse of the exponential map; shape (…, 4, 4) to (…, 6).

    v = (1 − W / 2 + (1 − θ/2 · cot(θ/2)) / θ² · W²) t, with W = skew(ω) and θ = |ω|.
    """
    turns = vector_from_rotation(motions[..., :3, :3])
    angle = turns.norm(dim=-1)[..., None, None]
    half = angle.clamp_min(_SMALL) / 2
    series = 1 / 12 + angle.square() / 720 + angle**4 / 30240
    factor = torch.where(angle < _SMALL, series, (1 - half / half.tan()) / (2 * half).square())
    matrix = skew(turns)
    back = torch.eye(3).to(matrix) - matrix / 2 + factor * (matrix @ matrix)
    return torch.cat([turns, (back @ motions[..., :3, 3:])[..., 0]], -1)


def adjoint(motions: Tensor) -> Tensor:
    """Matrices that take twists to another frame, exp(Ad(C) ξ) = C exp(ξ) C⁻¹, shape (…, 4, 4) to (…, 6, 6)."""
    turns = motions[..., :3, :3]
    top = torch.cat([turns, torch.zeros_like(turns)], -1)
    return torch.cat([top, torch.cat([skew(motions[..., :3, 3]) @ turns, turns], -1)], -2)


def left_jacobian(twists: Tensor) -> Tensor:
    """J of exp(ξ + δ) = exp(J δ) exp(ξ) for small δ, shape (…, 6) to (…, 6, 6).

    J = Σ ad(ξ)ⁿ / (n + 1)!, which is a corner of the exponential of the matrix (ad(ξ), 1; 0, 0).
    """
    turn = skew(twists[..., :3])
    top = torch.cat([turn, torch.zeros_like(turn)], -1)
    bracket = torch.cat([top, torch.cat([skew(twists[..., 3:]), turn], -1)], -2)
    one = torch.eye(6).to(bracket).expand_as(bracket)
    return torch.matrix_exp(pad(torch.cat([bracket, one], -1), (0, 0, 0, 6)))[..., :6, 6:]


class Screw(NamedTuple):
    """What a twist does: a turn about an axis, and a slide along it. Of a pure slide, the angle is 0."""

    axis: Tensor  # (…, 3): unit vector; the turn is positive about it
    pivot: Tensor  # (…, 3): the point of the axis that is nearest to a centre, in half sides
    angle: Tensor  # (…): radians, at least 0
    slide: Tensor  # (…): along the axis, in half sides

    @property
    def pitch(self) -> Tensor:
        """Slide for each radian, infinite for a pure slide; shape (…)."""
        return self.slide / self.angle


def screw_of_twist(twists: Tensor, centres: Tensor) -> Screw:
    """Axis, pivot, angle and slide of twists.

    Args:
        twists: shape (…, 6).
        centres: of the mass that moves, in half sides, shape (…, 3): the pivot of a pure slide.
    """
    turns, translations = twists[..., :3], twists[..., 3:]
    angle = turns.norm(dim=-1, keepdim=True)
    straight = angle <= _STRAIGHT * translations.norm(dim=-1, keepdim=True)
    axis = normalize(torch.where(straight, translations, turns), dim=-1)
    nearest = torch.linalg.cross(turns, translations) / angle.square().clamp_min(torch.finfo(angle.dtype).tiny)
    along = ((centres - nearest) * axis).sum(-1, keepdim=True)
    pivot = torch.where(straight, centres, nearest + along * axis)
    slide = (axis * translations).sum(-1)
    return Screw(axis, pivot, torch.where(straight, 0, angle)[..., 0], slide)
