"""Movable objects as shapes that can be evaluated at any rotated point.

Points are (x, y, z) in units of half the side of the volume, so that the same object serves every size. A shape is a
signed distance (negative inside), a conformation a row of named parameters. The density is the logistic function of
−distance / edge: 1 inside, 0 outside, ½ on the surface.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


def _box_distance(points: Tensor, half: tuple[float, float, float]) -> Tensor:
    """Signed distance to a box about the origin with these half lengths along x, y, z; (…, 3) to (…)."""
    beyond = points.abs() - points.new_tensor(half)
    return beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)


def _segment_distance(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distance to the straight line between two points; (…, 3) to (…)."""
    along, offset = end - start, points - start
    fraction = ((offset @ along) / along.dot(along)).clamp(0, 1)
    return (offset - fraction[..., None] * along).norm(dim=-1)


@dataclass(frozen=True)
class MovingBox:
    """The paper's moving box: four walls and two lids on top, hinged at +x and −x; the lower lids mirror the upper.

    A conformation is (lid_1, lid_2) in degrees: the angle of the lid hinged at +x and of the one at −x. At 0° a lid
    lies flat on the rim; it turns into the box, lies in its wall at 90° and has come through to the outer side at 135°.
    Lengths are in half sides.
    """

    half_lengths: tuple[float, float, float] = (0.45, 0.325, 0.375)  # outer, along x, y, z
    half_wall: float = 0.05625
    largest_angle: float = 135.0  # degrees

    parameters: ClassVar[tuple[str, ...]] = ("lid_1", "lid_2")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw conformations, both angles uniform in [0, largest_angle]; shape (count, 2)."""
        return torch.rand(count, 2, generator=generator, dtype=torch.float64) * self.largest_angle

    def density(self, points: Tensor, conformation: Tensor, edge: float) -> Tensor:
        """Density of one conformation.

        Args:
            points: (x, y, z) in half sides, shape (…, 3).
            conformation: (lid_1, lid_2) in degrees, shape (2,).
            edge: length over which the density falls from 0.5 to 0.27, in half sides.

        Returns:
            Values between 0 and 1, shape (…).
        """
        distance = self._walls(points)
        above = points * points.new_tensor([1, 1, 0]) + points.abs() * points.new_tensor([0, 0, 1])
        for side, angle in zip((1.0, -1.0), conformation.tolist(), strict=True):
            distance = torch.minimum(distance, self._lid(above * points.new_tensor([side, 1, 1]), math.radians(angle)))
        return torch.sigmoid(-distance / edge)

    def _walls(self, points: Tensor) -> Tensor:
        x, y, z = self.half_lengths
        inner = (x - 2 * self.half_wall, y - 2 * self.half_wall, z + 1)
        return torch.maximum(_box_distance(points, self.half_lengths), -_box_distance(points, inner))

    def _lid(self, points: Tensor, angle: float) -> Tensor:
        """The upper lid hinged at +x, in the middle of the wall's rim."""
        x, y, z = self.half_lengths
        hinge = points.new_tensor([x - self.half_wall, 0, z + self.half_wall])
        cosine, sine = math.cos(angle), math.sin(angle)
        shut = points.new_tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        half_length = hinge[0].item() / 2
        centred = (points - hinge) @ shut.T + points.new_tensor([half_length, 0, 0])
        return _box_distance(centred, (half_length, y, self.half_wall))


_GOLDEN = (1 + math.sqrt(5)) / 2
_MIRROR = (-0.5, -_GOLDEN / 2, (_GOLDEN - 1) / 2)  # with x = 0 and y = 0 it generates all mirrors of the icosahedron
_FIVEFOLD = (1 / math.sqrt(_GOLDEN + 2), 0.0, _GOLDEN / math.sqrt(_GOLDEN + 2))
_THREEFOLD = (0.0, (_GOLDEN - 1) / math.sqrt(3), _GOLDEN / math.sqrt(3))


def _icosahedral_fold(points: Tensor) -> Tensor:
    """Reflect points into the chamber between one 5-fold, one 3-fold and one 2-fold axis (z) of the icosahedron.

    The distance from there to a shape in the chamber is the distance to the nearest of the shape's symmetric copies.
    """
    mirror = points.new_tensor(_MIRROR)
    folded = points.abs()
    for _ in range(3):
        folded = (folded - 2 * (folded @ mirror).clamp(max=0)[..., None] * mirror).abs()
    return folded


@dataclass(frozen=True)
class MovingCapsid:
    """The paper's moving capsid: a hollow icosahedral core with five hinged arms around each of its twelve vertices.

    A conformation is one opening parameter: at 0 the arms of a vertex stand side by side along its 5-fold axis,
    at 1 they are splayed over the faces. The object has full icosahedral symmetry at every opening. Lengths are in half
    sides.
    """

    vertex_radius: float = 0.5  # of the core, middle of its shell
    half_shell: float = 0.045
    hinge_offset: float = 0.12  # from the 5-fold axis
    arm_length: float = 0.33
    arm_radius: float = 0.06
    largest_angle: float = 80.0  # degrees between an open arm and the 5-fold axis

    parameters: ClassVar[tuple[str, ...]] = ("opening",)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw conformations, the opening uniform in [0, 1]; shape (count, 1)."""
        return torch.rand(count, 1, generator=generator, dtype=torch.float64)

    def density(self, points: Tensor, conformation: Tensor, edge: float) -> Tensor:
        """Density of one conformation.

        Args:
            points: (x, y, z) in half sides, shape (…, 3).
            conformation: (opening,) between 0 and 1, shape (1,).
            edge: length over which the density falls from 0.5 to 0.27, in half sides.

        Returns:
            Values between 0 and 1, shape (…).
        """
        folded = _icosahedral_fold(points)
        core = (folded @ points.new_tensor(_THREEFOLD) - self._face_radius()).abs() - self.half_shell
        arm = _segment_distance(folded, *self._arm(float(conformation[0]), folded)) - self.arm_radius
        return torch.sigmoid(-torch.minimum(core, arm) / edge)

    def _face_radius(self) -> float:
        return self.vertex_radius * sum(a * b for a, b in zip(_FIVEFOLD, _THREEFOLD, strict=True))

    def _arm(self, opening: float, like: Tensor) -> tuple[Tensor, Tensor]:
        """Hinge and tip of the arm in the chamber; it moves in the mirror plane of the 5-fold and the 3-fold axis."""
        axis, face = like.new_tensor(_FIVEFOLD), like.new_tensor(_THREEFOLD)
        across = torch.nn.functional.normalize(face - axis.dot(face) * axis, dim=0)
        hinge = axis * self.vertex_radius + across * self.hinge_offset
        angle = math.radians(self.largest_angle * opening)
        return hinge, hinge + self.arm_length * (math.cos(angle) * axis + math.sin(angle) * across)
