"""Poses: drawing, gridding, comparing and naming rotations.

A rotation matrix R acts on column vectors (x, y, z) and turns the density: the rotated volume at p is V(Rᵀp).
RELION's Euler matrix A(rot, tilt, psi) is this R.
"""

import math

import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import normalize

from .point_groups import point_group_name


def random_rotations(
    count: int, generator: torch.Generator, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw rotations uniformly from SO(3).

    The draw is made on the generator's device in float64, so that it does not depend on where the matrices go.

    Returns:
        Rotation matrices, shape (count, 3, 3).
    """
    quaternions = torch.randn(count, 4, generator=generator, dtype=torch.float64, device=generator.device)
    return roma.unitquat_to_rotmat(normalize(quaternions, dim=1)).to(device, dtype)


def rotation_grid(count: int) -> Tensor:
    """Spread rotations evenly over SO(3) on a super-Fibonacci spiral (Alexa, CVPR 2022).

    Returns:
        Rotation matrices, shape (count, 3, 3), float64; neighbours are about 360° / π · (π² / count)^(1/3) apart.
    """
    phi, psi = math.sqrt(2.0), 1.533751168755204288118041413
    s = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = torch.sqrt(s / count), torch.sqrt(1 - s / count)
    alpha, beta = 2 * math.pi * s / phi, 2 * math.pi * s / psi
    quaternions = torch.stack([inner * alpha.sin(), inner * alpha.cos(), outer * beta.sin(), outer * beta.cos()], 1)
    return roma.unitquat_to_rotmat(quaternions)


def rotation_from_vector(vectors: Tensor) -> Tensor:
    """Turn by |v| radians about the axis v: the exponential map, differentiable at 0. Shape (..., 3) to (..., 3, 3)."""
    return roma.rotvec_to_rotmat(vectors)


def vector_from_rotation(rotations: Tensor) -> Tensor:
    """Axis times angle in radians of a turn, at most π long: the inverse of the exponential map. Shape (..., 3, 3) to
    (..., 3).
    """
    return roma.rotmat_to_rotvec(rotations)


def rotation_about_z(angle: Tensor) -> Tensor:
    """Turn in the plane of the image by radians, positive from x to y. Shape (...) to (..., 3, 3)."""
    zero = torch.zeros_like(angle)
    return roma.rotvec_to_rotmat(torch.stack([zero, zero, angle], -1))


def rotations_from_euler(angles: Tensor) -> Tensor:
    """Rotation matrices of RELION's Euler angles.

    Args:
        angles: (rot, tilt, psi) in degrees, shape (..., 3).

    Returns:
        RELION's matrix A(rot, tilt, psi), shape (..., 3, 3): the R of f(V, R).
    """
    return roma.euler_to_rotmat("ZYZ", angles, degrees=True).transpose(-1, -2)


def euler_from_rotations(rotations: Tensor) -> Tensor:
    """RELION's Euler angles (rot, tilt, psi) of rotation matrices, in degrees, tilt in [0°, 180°].

    Where tilt is 0° or 180° only the sum or difference of rot and psi is defined: psi is then 0.
    """
    a = rotations.double()
    tilt = torch.rad2deg(torch.atan2(torch.hypot(a[..., 2, 0], a[..., 2, 1]), a[..., 2, 2]))
    rot = torch.rad2deg(torch.atan2(a[..., 2, 1], a[..., 2, 0]))
    psi = torch.rad2deg(torch.atan2(a[..., 1, 2], -a[..., 0, 2]))
    pole = torch.hypot(a[..., 2, 0], a[..., 2, 1]) < 1e-7
    at_pole = torch.rad2deg(torch.atan2(-a[..., 1, 0], a[..., 1, 1]))
    rot = torch.where(pole, at_pole, rot)
    psi = torch.where(pole, torch.zeros_like(psi), psi)
    return torch.stack([rot, tilt, psi], -1).to(rotations.dtype)


def angular_distance(first: Tensor, second: Tensor) -> Tensor:
    """Angle in degrees that turns one rotation into the other; shapes (..., 3, 3) broadcast to (...)."""
    return torch.rad2deg(roma.rotmat_geodesic_distance(first, second))


def point_group(group: str) -> Tensor:
    """Rotations of a point group: C7, D2, T, O or I, its main axis along z and a 2-fold axis of D along x.

    Returns:
        Matrices, (order, 3, 3), float64, the identity first.

    Raises:
        ValueError: there is no such group.
    """
    matrices = torch.from_numpy(Rotation.create_group(point_group_name(group)).as_matrix())
    order = (matrices - torch.eye(3, dtype=matrices.dtype)).flatten(1).norm(dim=1).argsort(stable=True)
    return matrices[order]
