"""Rotations against scipy, and the conventions of RELION's angles."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import kstest
from torch import Tensor

from scoretomo.rotations import (
    angular_distance,
    euler_from_rotations,
    random_rotations,
    rotation_from_vector,
    rotation_grid,
    rotations_from_euler,
)

POLES = torch.tensor([[30, 0, 50], [-120, 0, 0], [10, 180, 70], [0, 180, -90], [0, 0, 0]], dtype=torch.float64)


def draw(count: int, seed: int = 0) -> Tensor:
    return random_rotations(count, torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_angles(count: int) -> Tensor:
    """(rot, tilt, psi) in degrees away from the poles."""
    uniform = torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return uniform * torch.tensor([360, 178, 360]) + torch.tensor([-180, 1, -180])


def assert_rotations(matrices: Tensor) -> None:
    identity = torch.eye(3, dtype=matrices.dtype).expand_as(matrices)
    torch.testing.assert_close(matrices @ matrices.mT, identity)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(len(matrices), dtype=matrices.dtype))


@pytest.mark.parametrize("matrices", [draw(50), rotation_grid(50), rotations_from_euler(random_angles(50))])
def test_matrices_are_proper_rotations(matrices: Tensor) -> None:
    assert_rotations(matrices)


def test_random_rotations_are_uniform() -> None:
    """The angle of a uniform rotation has the density (1 − cos θ) / π; every column is uniform on the sphere."""
    rotations = draw(4000)
    angles = np.deg2rad(angular_distance(rotations, torch.eye(3, dtype=torch.float64)).numpy())
    assert kstest(angles, lambda theta: (theta - np.sin(theta)) / math.pi).pvalue > 0.01
    for entry in rotations.flatten(1).T:
        assert kstest(entry.numpy(), "uniform", args=(-1, 2)).pvalue > 0.001


def test_random_rotations_follow_the_generator_alone() -> None:
    assert torch.equal(draw(5, seed=3), draw(5, seed=3))
    assert not torch.equal(draw(5, seed=3), draw(5, seed=4))
    torch.testing.assert_close(random_rotations(5, torch.Generator().manual_seed(3)), draw(5, seed=3).float())


@pytest.mark.parametrize("count", [100, 500, 2000])
def test_grid_leaves_no_hole_and_no_cluster(count: int) -> None:
    grid = rotation_grid(count)
    spacing = 360 / math.pi * (math.pi**2 / count) ** (1 / 3)
    between = angular_distance(grid[:, None], grid).fill_diagonal_(180).amin(1)
    to_grid = angular_distance(draw(1000)[:, None], grid).amin(1)
    assert between.min() > 0.6 * spacing
    assert between.max() < 1.05 * spacing
    assert to_grid.max() < spacing


def test_grid_mean_of_the_matrices_vanishes() -> None:
    assert rotation_grid(1000).mean(0).abs().max() < 0.01


def test_euler_angles_are_relions() -> None:
    """RELION's Rz(psi)·Ry(tilt)·Rz(rot) turns a *frame*: the inverse of scipy's intrinsic ZYZ (rot, tilt, psi)."""
    angles = random_angles(50)
    expected = Rotation.from_euler("ZYZ", angles.numpy(), degrees=True).inv().as_matrix()
    np.testing.assert_allclose(rotations_from_euler(angles), expected, atol=1e-12)


def test_euler_matrix_has_relions_entries() -> None:
    """The rows written out: the third one is the viewing direction (sin tilt cos rot, sin tilt sin rot, cos tilt)."""
    angles = random_angles(20)
    rot, tilt, psi = torch.deg2rad(angles).T
    matrices = rotations_from_euler(angles)
    direction = torch.stack([tilt.sin() * rot.cos(), tilt.sin() * rot.sin(), tilt.cos()], 1)
    torch.testing.assert_close(matrices[:, 2], direction)
    torch.testing.assert_close(matrices[:, 0, 2], -tilt.sin() * psi.cos())
    torch.testing.assert_close(matrices[:, 1, 2], tilt.sin() * psi.sin())


def test_euler_angles_come_back() -> None:
    angles = random_angles(200)
    torch.testing.assert_close(euler_from_rotations(rotations_from_euler(angles)), angles, atol=1e-8, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations_come_back_from_their_angles(dtype: torch.dtype) -> None:
    rotations = torch.cat([draw(100), rotations_from_euler(POLES)]).to(dtype)
    again = rotations_from_euler(euler_from_rotations(rotations))
    assert again.dtype == dtype
    torch.testing.assert_close(again, rotations, atol=100 * torch.finfo(dtype).eps, rtol=0)


def test_at_the_poles_psi_is_zero() -> None:
    angles = euler_from_rotations(rotations_from_euler(POLES))
    torch.testing.assert_close(angles[:, 1], POLES[:, 1], atol=1e-5, rtol=0)
    assert (angles[:, 2] == 0).all()


def test_rotation_vector_is_scipys() -> None:
    vectors = torch.randn(30, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    np.testing.assert_allclose(
        rotation_from_vector(vectors), Rotation.from_rotvec(vectors.numpy()).as_matrix(), atol=1e-12
    )


def test_rotation_vector_has_a_derivative_at_zero() -> None:
    """d/dv exp(v) p at v = 0 is the cross product with p."""
    vector, point = torch.zeros(3, dtype=torch.float64), torch.tensor([0.3, -0.5, 0.7], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: rotation_from_vector(v) @ point, vector)
    torch.testing.assert_close(jacobian, torch.linalg.cross(torch.eye(3, dtype=torch.float64), point.expand(3, 3)).T)


def test_angular_distance_is_scipys() -> None:
    first, second = draw(40, seed=5), draw(40, seed=6)
    expected = (Rotation.from_matrix(first.numpy()) * Rotation.from_matrix(second.numpy()).inv()).magnitude()
    np.testing.assert_allclose(angular_distance(first, second), np.rad2deg(expected), atol=1e-6)
    assert angular_distance(first[:, None], second).shape == (40, 40)
