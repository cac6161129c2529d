"""The moving objects have the symmetry, the parts and the room that they claim."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import normalize

from scoretomo.phantoms import MovingBox, MovingCapsid

PHANTOMS = [MovingBox(), MovingCapsid()]
SHARP = 1e-4
GOLDEN = (1 + 5**0.5) / 2


def points_in_ball(count: int, radius: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    directions = normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=1)
    return directions * radius * torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1 / 3)


def turn(axis: tuple[float, float, float], degrees: float) -> Tensor:
    unit = normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    return torch.from_numpy(Rotation.from_rotvec(unit.numpy() * math.radians(degrees)).as_matrix())


def values(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: type(phantom).__name__)
def test_every_conformation_fits_inside_the_mask(phantom: MovingBox | MovingCapsid) -> None:
    conformations = phantom.draw(50, torch.Generator().manual_seed(1))
    points = points_in_ball(20000, 1.7)
    outside = points[points.norm(dim=1) > 0.95]
    for conformation in conformations:
        assert phantom.density(outside, conformation, SHARP).max() < 1e-6


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: type(phantom).__name__)
def test_conformations_have_a_column_per_parameter_and_follow_the_generator(phantom: MovingBox | MovingCapsid) -> None:
    first = phantom.draw(7, torch.Generator().manual_seed(1))
    assert first.shape == (7, len(phantom.parameters))
    assert torch.equal(first, phantom.draw(7, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, phantom.draw(7, torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: type(phantom).__name__)
def test_every_parameter_moves_the_object(phantom: MovingBox | MovingCapsid) -> None:
    points, start = points_in_ball(5000), phantom.draw(1, torch.Generator().manual_seed(1))[0]
    for number in range(len(phantom.parameters)):
        moved = start.clone()
        moved[number] *= 0.5
        assert (phantom.density(points, moved, SHARP) - phantom.density(points, start, SHARP)).abs().max() > 0.9


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: type(phantom).__name__)
def test_density_keeps_the_shape_and_type_of_the_points(phantom: MovingBox | MovingCapsid) -> None:
    points = points_in_ball(60).float().reshape(3, 4, 5, 3)
    before = points.clone()
    density = phantom.density(points, phantom.draw(1, torch.Generator().manual_seed(1))[0], 0.02)
    assert density.shape == (3, 4, 5)
    assert density.dtype == torch.float32
    assert torch.equal(points, before)


def test_box_is_hollow_without_top_and_bottom_when_the_lids_stand_open() -> None:
    box, opened = MovingBox(), values(135, 135)
    inside = torch.tensor([[0, 0, 0], [0, 0, 0.37], [0, 0, 0.43], [0, 0, -0.43], [0.3, 0.2, 0.3]], dtype=torch.float64)
    walls = torch.tensor([[0.4, 0, 0], [-0.4, 0.1, 0.2], [0.1, 0.27, -0.3], [0, -0.27, 0]], dtype=torch.float64)
    assert box.density(inside, opened, SHARP).max() < 1e-6
    assert box.density(walls, opened, SHARP).min() > 1 - 1e-6


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_each_lid_turns_by_its_angle_about_its_own_rim(angle: float) -> None:
    box, parked = MovingBox(), 90.0
    rim_x, rim_z = 0.45 - 0.05625, 0.375 + 0.05625
    distances = torch.linspace(0.15, 0.99, 20, dtype=torch.float64) * rim_x
    along = torch.stack(
        [
            rim_x - distances * math.cos(math.radians(angle)),
            torch.zeros(20, dtype=torch.float64),
            rim_z - distances * math.sin(math.radians(angle)),
        ],
        1,
    )
    mirrored = along * torch.tensor([-1, 1, 1])
    assert box.density(along, values(angle, parked), SHARP).min() > 1 - 1e-6
    assert box.density(mirrored, values(parked, angle), SHARP).min() > 1 - 1e-6
    assert box.density(along * torch.tensor([1, 1, -1]), values(angle, parked), SHARP).min() > 1 - 1e-6


def test_lower_lids_mirror_the_upper() -> None:
    box, points, angles = MovingBox(), points_in_ball(20000), values(20, 110)
    below = box.density(points * torch.tensor([1, 1, -1]), angles, 0.02)
    torch.testing.assert_close(below, box.density(points, angles, 0.02), rtol=0, atol=1e-12)


def test_swapping_the_lids_turns_the_box_by_half_a_turn() -> None:
    box, points = MovingBox(), points_in_ball(20000)
    swapped = box.density(points @ turn((0, 0, 1), 180), values(110, 20), 0.02)
    torch.testing.assert_close(swapped, box.density(points, values(20, 110), 0.02), rtol=0, atol=1e-12)


@pytest.mark.parametrize("opening", [0.0, 0.37, 1.0])
@pytest.mark.parametrize(
    ("axis", "degrees"), [((1, 0, GOLDEN), 72), ((1, 1, 1), 120), ((0, 0, 1), 180), ((1, 0, -GOLDEN), 144)], ids=str
)
def test_capsid_is_icosahedral_at_every_opening(
    opening: float, axis: tuple[float, float, float], degrees: float
) -> None:
    capsid, points = MovingCapsid(), points_in_ball(20000)
    turned = capsid.density(points @ turn(axis, degrees), values(opening), 0.02)
    torch.testing.assert_close(turned, capsid.density(points, values(opening), 0.02), rtol=0, atol=1e-10)


def test_capsid_has_no_more_symmetry_than_icosahedral() -> None:
    capsid, points = MovingCapsid(), points_in_ball(20000)
    turned = capsid.density(points @ turn((0, 0, 1), 90), values(0.5), SHARP)
    assert (turned - capsid.density(points, values(0.5), SHARP)).abs().max() > 0.9


def test_capsid_arms_fold_and_splay_around_the_twelve_vertices() -> None:
    capsid = MovingCapsid()
    vertex = normalize(values(1, 0, GOLDEN), dim=0)
    height = capsid.vertex_radius + capsid.arm_length - 0.01
    across = normalize(torch.linalg.cross(values(0, 1, 0), vertex), dim=0)
    ring = torch.stack(
        [
            vertex * height + turn(tuple(vertex.tolist()), angle) @ across * capsid.hinge_offset
            for angle in range(0, 360, 6)
        ]
    )
    closed = capsid.density(ring, values(0), SHARP)
    arms = int(((closed > 0.5) & ~(closed > 0.5).roll(1)).sum())
    assert arms == 5
    assert capsid.density(ring, values(1), SHARP).max() < 1e-6


def test_capsid_core_is_hollow_and_stays_as_it_is() -> None:
    capsid = MovingCapsid()
    core = points_in_ball(20000, 0.42)
    assert capsid.density(points_in_ball(5000, 0.3), values(0.5), SHARP).max() < 1e-6
    torch.testing.assert_close(capsid.density(core, values(0), SHARP), capsid.density(core, values(1), SHARP))
