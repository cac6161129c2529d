"""Rigid bodies: densities that stand in image i at C_ik = P_i exp(Σ_j a_ij ξ_kj).

P is the pose of an image, a are its latent coordinates, ξ the twist of a body and a mode: a hinge, a slide or a screw
is one twist. The first body rests at the pose. A symmetric molecule has each other body in several copies, at
P_i g exp(Σ_j a_ij ξ_kj), with one density and one twist.

Bodies may pass through each other in the model, as a lid goes into a wall that it is hung on. Matter there counts once:
of densities v_k the molecule is the union (1 − Π_k (1 − s v_k)) / s, where 1 / s is the density of full matter; where
s = 0, it is their sum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from torch import Tensor

from ...fourier import coordinates, low_pass, resample
from ...projection import rotate
from .motions import motion_from_twist, rigid
from .views import Bodies

_BRIGHT = 0.3  # of the highest density: what is above is matter
_FULL = 0.9  # quantile of the density of matter that is full
_DENSE = 0.25  # of the density of full matter: what is above, blurred by two voxels, is inside a mask
_EDGE = 0.5  # voxels, over which a mask falls from 1 to 0


class Copies(NamedTuple):
    """Copies of the bodies of a symmetric molecule."""

    of: Tensor  # (c,): the body of each copy
    places: Tensor  # (c, 4, 4): of each copy in the common frame


@dataclass(frozen=True)
class RigidBodies:
    """The model.

    Attributes:
        poses: P, float64, shape (n, 4, 4); translations in half sides.
        latent: a, float64, shape (n, j).
        twists: ξ, float64, shape (k, j, 6); 0 of the first body.
        densities: v in the pose P = 1 at a = 0, shape (k, d, d, d).
        masks: where they may be, from 0 to 1, shape (k, d, d, d).
        saturation: s, one over the density of full matter; 0 where densities add up.
        copies: of a symmetric molecule; without them each body stands once.
    """

    poses: Tensor
    latent: Tensor
    twists: Tensor
    densities: Tensor
    masks: Tensor
    saturation: float = 0.0
    copies: Copies | None = None

    @property
    def size(self) -> int:
        """d."""
        return self.densities.shape[-1]

    @property
    def of(self) -> Tensor:
        """The body of each copy, shape (c,)."""
        return torch.arange(len(self.twists), device=self.twists.device) if self.copies is None else self.copies.of

    def frames(self) -> Tensor:
        """P g, where copies stand while nothing moves, shape (c, n, 4, 4)."""
        if self.copies is None:
            return self.poses.expand(len(self.twists), -1, 4, 4)
        return self.poses @ self.copies.places[:, None]

    def body_twists(self) -> Tensor:
        """Σ_j a_ij ξ_kj, shape (k, n, 6)."""
        return torch.einsum("nj,kjx->knx", self.latent, self.twists)

    def placements(self) -> Tensor:
        """Where all copies stand in all images, shape (c, n, 4, 4)."""
        return self.frames() @ motion_from_twist(self.body_twists())[self.of]

    def of_images(self, some: Tensor | Sequence[int] | slice) -> "RigidBodies":
        """The same of some images only."""
        return replace(self, poses=self.poses[some], latent=self.latent[some])

    def bodies(self) -> Bodies:
        """What views are made of."""
        return Bodies(self.densities, self.placements(), self.of)

    def in_common_frame(self) -> "RigidBodies":
        """The same with the pose P = 1 in all images."""
        return replace(self, poses=torch.eye(4).to(self.poses).expand_as(self.poses))

    def volumes(self, images: Sequence[int]) -> Tensor:
        """Volumes of some images in their own frames, shape (b, d, d, d)."""
        return torch.stack([joined(self._moved(number), self.saturation) for number in images])

    def _moved(self, image: int) -> Tensor:
        """Densities of all copies where they stand in an image, (c, d, d, d)."""
        placements = self.of_images([image]).placements()[:, 0]
        shifts = placements[:, :3, 3] * (self.size / 2)
        each = zip(self.of.tolist(), placements[:, :3, :3], shifts, strict=True)
        return torch.stack([_moved(self.densities[body], turn, shift) for body, turn, shift in each])


def _moved(density: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """A density (d, d, d) that is turned and shifted; what rests is not interpolated."""
    rests = bool((turn == torch.eye(3).to(turn)).all() and (shift == 0).all())
    return density if rests else rotate(density, turn, shift)


def joined(densities: Tensor, saturation: float) -> Tensor:
    """The union of densities (k, …), or their sum where nothing saturates."""
    if saturation == 0:
        return densities.sum(0)
    return (1 - (1 - saturation * densities).prod(0)) / saturation


def copies_of_group(group: Tensor, bodies: int) -> Copies:
    """The first body once, and each other one in a copy for every rotation of a point group (g, 3, 3)."""
    order = len(group)
    still = torch.eye(4, dtype=torch.float64, device=group.device)[None]
    places = rigid(group.double(), group.new_zeros(order, 3).double())
    of = torch.arange(1, bodies, device=group.device).repeat_interleave(order)
    return Copies(torch.cat([of.new_zeros(1), of]), torch.cat([still, places.repeat(bodies - 1, 1, 1)]))


def full_density(densities: Tensor) -> float:
    """The density of full matter, as a body has it where no other is."""
    bright = densities[densities >= _BRIGHT * densities.max()]
    return float(bright.kthvalue(math.ceil(_FULL * len(bright))).values)


def masks_around_points(points: Tensor, memberships: Tensor, size: int, reach: float) -> Tensor:
    """Soft neighbourhoods of the points of each body.

    Args:
        points: places in half sides, shape (p, 3).
        memberships: of the points in each body, shape (k, p).
        size: d.
        reach: of a mask beyond its points, in half sides.

    Returns:
        Shape (k, d, d, d).
    """
    grid = (coordinates(size, 3).flatten(1).T * (2 / size)).numpy()
    trees = [cKDTree(points[member > 0.25].cpu().numpy()) for member in memberships]
    apart = torch.stack([torch.from_numpy(tree.query(grid)[0]) for tree in trees])
    soft = torch.sigmoid((reach - apart) * (size / 2 / _EDGE))
    return soft.reshape(-1, size, size, size).to(points.device, torch.float32)


def masks_around_densities(densities: Tensor, level: float, reach: float) -> Tensor:
    """Soft neighbourhoods of what is dense.

    Args:
        densities: shape (k, d, d, d).
        level: from which a density is matter.
        reach: of a mask beyond it, in voxels.
    """
    blurred = low_pass(densities, densities.shape[-1] / 4, 3)
    apart = [torch.from_numpy(distance_transform_edt((each < level).cpu().numpy())) for each in blurred]
    return torch.sigmoid((reach - torch.stack(apart)) / _EDGE).to(densities)


def regridded(model: RigidBodies, size: int, reach: float) -> RigidBodies:
    """The model on another grid, with masks around its densities.

    Args:
        model: the model.
        size: new side in voxels.
        reach: of masks beyond what is dense, in voxels of the new grid.
    """
    densities = resample(model.densities, size, 3)
    masks = masks_around_densities(densities, _DENSE * full_density(densities), reach)
    return replace(model, densities=densities * masks, masks=masks)
