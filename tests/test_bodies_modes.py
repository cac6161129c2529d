"""Latent coordinates and twists of bodies, from motions that were made of them."""

import pytest
import torch
from torch import Tensor

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.modes import (
    ModeThresholds,
    body_motions,
    displacement_metrics,
    find_modes,
)
from scoretomo.deformation.bodies.motions import inverse, motion_from_twist, moved, rigid
from scoretomo.rotations import random_rotations

IMAGES, POINTS = 60, 400
HINGE = torch.tensor([0.0, 0.8, 0.0, 0.0, 0.0, 0.1], dtype=torch.float64)
SLIDE = torch.tensor([0.0, 0.0, 0.0, 0.2, 0.1, 0.0], dtype=torch.float64)
WEAK = 0.02 * HINGE
MASSES = torch.ones(POINTS, dtype=torch.float64)


def made(*twists: Tensor, together: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Motions of a resting body and of one for each twist; poses, points, memberships, and coordinates (n, twists)."""
    generator = random_stream(0, "made")
    points = torch.rand(POINTS, 3, generator=generator, dtype=torch.float64) - 0.5
    member = torch.nn.functional.one_hot(torch.arange(POINTS) % (1 + len(twists))).T.double()
    amounts = torch.randn(IMAGES, len(twists), generator=generator, dtype=torch.float64)
    amounts = amounts[:, :1].expand_as(amounts).clone() if together else amounts
    amounts[0] = 0  # the reference
    own = torch.stack([amounts[:, number, None] * twist for number, twist in enumerate(twists)])
    poses = rigid(random_rotations(IMAGES, generator, dtype=torch.float64), torch.zeros(IMAGES, 3).double())
    motions = torch.cat([poses[None], poses @ motion_from_twist(own)])
    return motions, poses, points, member, amounts


def test_modes_place_the_bodies_where_they_were():
    motions, poses, points, member, amounts = made(HINGE, SLIDE)
    modes = find_modes(motions, points, MASSES, member)
    placed = modes.poses @ motion_from_twist(torch.einsum("nj,kjx->knx", modes.latent, modes.twists))
    torch.testing.assert_close(placed, motions, rtol=0.0, atol=1e-9)
    assert torch.equal(modes.poses, poses)
    assert float(modes.twists[0].abs().max()) == 0
    assert modes.latent.shape == (IMAGES, 2)
    for number in range(2):
        pair = torch.stack([modes.latent[:, number], amounts[:, number]])
        assert float(torch.corrcoef(pair)[0, 1].abs()) == pytest.approx(1.0)
    torch.testing.assert_close(modes.latent.square().mean(0), torch.ones(2).double())


def test_bodies_that_move_together_share_a_coordinate():
    motions, _, points, member, _ = made(HINGE, -SLIDE, together=True)
    modes = find_modes(motions, points, MASSES, member)
    assert modes.latent.shape == (IMAGES, 1)
    placed = modes.poses @ motion_from_twist(torch.einsum("nj,kjx->knx", modes.latent, modes.twists))
    torch.testing.assert_close(placed, motions, rtol=0.0, atol=1e-9)


def test_bodies_that_hardly_move_join_the_first():
    motions, _, points, member, _ = made(WEAK, SLIDE)
    modes = find_modes(motions, points, MASSES, member)
    torch.testing.assert_close(modes.memberships, torch.stack([member[:2].sum(0), member[2]]))
    rigid_molecule = find_modes(motions[:2], points, MASSES, member[:2])
    assert rigid_molecule.latent.shape == (IMAGES, 0)
    assert rigid_molecule.twists.shape == (1, 0, 6)


def test_body_that_turns_about_its_own_middle_moves_less_than_one_that_swings_about_a_far_axis():
    _, _, points, _, _ = made(SLIDE)
    near = points * 0.1
    own = torch.tensor([0.0, 0.0, 0.3, 0.0, 0.0, 0.0], dtype=torch.float64)
    swing = torch.tensor([0.0, 0.0, 0.3, 0.0, -0.3, 0.0], dtype=torch.float64)  # about x = 1
    metric = displacement_metrics(near, MASSES[None])[0]
    assert float(swing @ metric @ swing) > 30 * float(own @ metric @ own)
    step = (moved(motion_from_twist(1e-4 * swing), near) - near).square().sum(1).mean().sqrt() / 1e-4
    assert float((swing @ metric @ swing).sqrt()) == pytest.approx(float(step), rel=1e-3)


def test_body_with_two_ways_to_move_has_two_coordinates_where_that_is_allowed():
    generator = random_stream(1, "two")
    amounts = torch.randn(IMAGES, 2, generator=generator, dtype=torch.float64)
    amounts[0] = 0
    apart = torch.stack([SLIDE, SLIDE[[0, 1, 2, 4, 3, 5]] * torch.tensor([1.0, 1, 1, 1, -1, 1])])
    still = torch.eye(4, dtype=torch.float64).expand(1, IMAGES, 4, 4)
    motions = torch.cat([still, motion_from_twist(amounts @ apart)[None]])
    points, member = made(SLIDE)[2:4]
    for allowed in (1, 2):
        modes = find_modes(motions, points, MASSES, member, ModeThresholds(per_body=allowed))
        assert modes.latent.shape[1] == allowed
    placed = motion_from_twist(torch.einsum("nj,kjx->knx", modes.latent, modes.twists))
    torch.testing.assert_close(placed, motions, rtol=0.0, atol=1e-9)


def test_motions_of_bodies_start_from_the_reference_image():
    motions, poses, points, member, _ = made(HINGE)
    paths = torch.einsum("kp,knpx->npx", member, moved(inverse(poses) @ motions, points))
    fitted = body_motions(paths, MASSES, member, poses, reference=0)
    torch.testing.assert_close(fitted, motions, rtol=0.0, atol=1e-9)
