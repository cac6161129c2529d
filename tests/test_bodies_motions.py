"""Rigid motions and twists against scipy and roma, and what users are told of a twist."""

import math

import pytest
import roma
import torch
from scipy.linalg import expm, logm
from torch import Tensor
from torch.nn.functional import normalize

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.motions import (
    adjoint,
    inverse,
    left_jacobian,
    motion_from_twist,
    moved,
    rigid,
    screw_of_twist,
    skew,
    twist_from_motion,
)
from scoretomo.rotations import rotation_from_vector

EXACT = {"rtol": 0.0, "atol": 1e-12}


def twists_of(length: float, *shape: int) -> Tensor:
    """Twists whose turns are so many radians."""
    values = torch.randn(*shape, 6, generator=random_stream(0, "twists"), dtype=torch.float64)
    return torch.cat([normalize(values[..., :3], dim=-1) * length, values[..., 3:]], -1)


def matrix(twist: Tensor) -> Tensor:
    four = torch.zeros(4, 4, dtype=torch.float64)
    four[:3, :3], four[:3, 3] = skew(twist[:3]), twist[3:]
    return four


@pytest.mark.parametrize("length", [0.0, 1e-8, 1e-3, 0.1, 1.0, 3.0])
def test_exponential_and_logarithm_are_those_of_matrices(length):
    for twist in twists_of(length, 4):
        motion = motion_from_twist(twist)
        torch.testing.assert_close(motion, torch.from_numpy(expm(matrix(twist).numpy())), **EXACT)
        torch.testing.assert_close(motion[:3, :3], roma.rotvec_to_rotmat(twist[:3]), **EXACT)
        expected = torch.from_numpy(logm(motion.numpy()).real.copy())
        torch.testing.assert_close(matrix(twist_from_motion(motion)), expected, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("length", [0.0, 1e-12, 1e-7, 1e-4, 0.00999, 0.01001, 1.0, math.pi - 1e-3, math.pi - 1e-7])
def test_logarithm_is_the_inverse_of_the_exponential_near_0_and_near_half_a_turn(length):
    twists = twists_of(length, 3, 2)
    torch.testing.assert_close(twist_from_motion(motion_from_twist(twists)), twists, rtol=0.0, atol=1e-8)


def test_logarithm_of_half_a_turn_is_one_of_its_two_twists():
    twists = twists_of(math.pi, 5)
    back = motion_from_twist(twist_from_motion(motion_from_twist(twists)))
    torch.testing.assert_close(back, motion_from_twist(twists), rtol=0.0, atol=1e-7)


def test_inverse_brings_points_back():
    points = torch.randn(7, 3, generator=random_stream(1), dtype=torch.float64)
    motions = motion_from_twist(twists_of(1.0, 2, 3))
    there = moved(motions, points)
    assert there.shape == (2, 3, 7, 3)
    back = (there - motions[..., None, :3, 3]) @ motions[..., :3, :3]
    torch.testing.assert_close(back, points.expand_as(back), **EXACT)
    torch.testing.assert_close(inverse(motions) @ motions, torch.eye(4).double().expand(2, 3, 4, 4), **EXACT)


def test_adjoint_takes_a_twist_to_another_frame():
    motion, twist = motion_from_twist(twists_of(2.0)), twists_of(0.7, 4)
    expected = motion @ motion_from_twist(twist) @ inverse(motion)
    torch.testing.assert_close(motion_from_twist(twist @ adjoint(motion).mT), expected, **EXACT)


@pytest.mark.parametrize("length", [0.0, 0.5, 3.0])
def test_left_jacobian_is_the_derivative_of_the_exponential(length):
    twist, eps = twists_of(length), 1e-6
    steps = torch.eye(6, dtype=torch.float64) * eps
    ahead = twist_from_motion(motion_from_twist(twist + steps) @ inverse(motion_from_twist(twist)))
    behind = twist_from_motion(motion_from_twist(twist - steps) @ inverse(motion_from_twist(twist)))
    torch.testing.assert_close(left_jacobian(twist), ((ahead - behind) / (2 * eps)).T, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("slide", [0.0, 0.2, -0.3])
def test_screw_has_the_axis_pivot_pitch_and_angle_that_it_was_made_of(slide):
    axis = normalize(torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 1.0]], dtype=torch.float64), dim=1)
    on_axis = torch.tensor([[0.3, -0.2, 0.1], [0.5, 0.0, 0.0]], dtype=torch.float64)
    angle = torch.tensor([0.4, 1.7], dtype=torch.float64)
    turn = rotation_from_vector(angle[:, None] * axis)
    motion = rigid(turn, on_axis - (turn @ on_axis[..., None])[..., 0] + slide * axis)
    centre = on_axis + 0.25 * axis + torch.linalg.cross(axis, on_axis)
    screw = screw_of_twist(twist_from_motion(motion), centre)
    torch.testing.assert_close(screw.axis, axis, **EXACT)
    torch.testing.assert_close(screw.pivot, on_axis + 0.25 * axis, **EXACT)
    torch.testing.assert_close(screw.angle, angle, **EXACT)
    torch.testing.assert_close(screw.slide, torch.full((2,), slide, dtype=torch.float64), **EXACT)
    torch.testing.assert_close(screw.pitch, slide / angle, **EXACT)


def test_slide_has_no_angle_and_passes_through_the_centre():
    centre = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    screw = screw_of_twist(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.3, 0.4], dtype=torch.float64), centre)
    torch.testing.assert_close(screw.axis, torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64), **EXACT)
    assert float(screw.slide) == pytest.approx(0.5)
    assert float(screw.angle) == 0
    assert math.isinf(float(screw.pitch))
    assert torch.equal(screw.pivot, centre)
