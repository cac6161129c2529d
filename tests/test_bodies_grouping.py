"""The rigid bodies among points, from made-up paths: a hinge, a slide, a screw, and none."""

import math

import pytest
import torch
from torch import Tensor

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.grouping import (
    BodyCriteria,
    Growth,
    criteria_for,
    fit_rigid,
    group_points,
    local_misfit,
)
from scoretomo.deformation.bodies.motions import motion_from_twist, moved, rigid
from scoretomo.rotations import random_rotations

TWISTS = {
    "hinge": (0.0, 0.6, 0.0, 0.0, 0.0, 0.06),
    "slide": (0.0, 0.0, 0.0, 0.25, 0.1, 0.0),
    "screw": (0.0, 0.0, 0.5, 0.0, 0.0, 0.2),
}
IMAGES, POINTS = 40, 500


def shape() -> Tensor:
    """Points of a bar along x, in half sides."""
    generator = random_stream(1, "points")
    return (torch.rand(POINTS, 3, generator=generator, dtype=torch.float64) - 0.5) * torch.tensor([1.2, 0.4, 0.4])


def paths_of(kind: str, noise: float) -> tuple[Tensor, Tensor]:
    """Paths in which the points of x > 0.1 move by a twist, and which points these are."""
    points, generator = shape(), random_stream(2, "noise")
    amounts = torch.linspace(-1, 1, IMAGES, dtype=torch.float64)
    part = points[:, 0] > 0.1
    away = moved(motion_from_twist(amounts[:, None] * torch.tensor(TWISTS[kind], dtype=torch.float64)), points)
    paths = torch.where(part[:, None], away, points)
    return paths + noise * torch.randn(paths.shape, generator=generator, dtype=torch.float64), part


def grouped(paths: Tensor, criteria: BodyCriteria | None = None) -> Growth:
    masses = torch.ones(paths.shape[1], dtype=paths.dtype)
    criteria = criteria or criteria_for(paths, masses, random_stream(3, "seeds"))
    *_, last = group_points(paths, masses, random_stream(4, "bodies"), criteria, reference=IMAGES // 2)
    return last


@pytest.mark.parametrize("kind", TWISTS)
@pytest.mark.parametrize("noise", [0.0, 0.003, 0.006])
def test_grouping_recovers_two_bodies(kind, noise):
    paths, part = paths_of(kind, noise)
    last = grouped(paths)
    assert last.bodies == len(last.memberships) == 2
    assert last.grouped > 0.97
    assert float((last.memberships.argmax(0).bool() == part).double().mean()) > 0.97
    assert float(last.memberships[0].sum()) > float(last.memberships[1].sum())


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.006])
def test_rigid_molecule_is_one_body_wherever_it_turns(noise):
    generator = random_stream(5, "turns")
    turns = random_rotations(IMAGES, generator, dtype=torch.float64)
    shifts = torch.randn(IMAGES, 3, generator=generator, dtype=torch.float64) * 0.1
    paths = moved(rigid(turns, shifts), shape())
    last = grouped(paths + noise * torch.randn(paths.shape, generator=generator, dtype=torch.float64))
    assert last.bodies == 1
    assert last.grouped > 0.99


def test_deviation_from_a_rigid_motion_is_that_of_the_points_one_by_one():
    paths, part = paths_of("screw", 0.01)
    weights = torch.stack([part, ~part, torch.ones_like(part)]).double()
    fit = fit_rigid(paths, weights, iterations=1)
    for motions, deviations, weight in zip(*fit, weights, strict=True):
        back = (paths - motions[:, None, :3, 3]) @ motions[:, :3, :3]
        expected = (back - back.mean(0)).square().sum(2).mean(0).sqrt()
        torch.testing.assert_close(deviations, expected, rtol=1e-9, atol=1e-9)
        perturbed = motion_from_twist(torch.full((6,), 0.01, dtype=torch.float64)) @ motions
        shapes = paths[0].expand_as(paths)
        costs = [((moved(each, shapes[0]) - paths).square().sum(2) @ weight).sum() for each in (motions, perturbed)]
        assert costs[0] < costs[1]


def test_misfit_is_the_noise_of_the_paths():
    misfit = [local_misfit(paths_of("hinge", noise)[0], torch.ones(POINTS).double(), random_stream(0), BodyCriteria())
              for noise in (0.004, 0.02)]  # fmt: skip
    for value, noise in zip(misfit, (0.004, 0.02), strict=True):
        assert value == pytest.approx(noise * math.sqrt(3), rel=0.25)


def test_same_random_stream_gives_the_same_bodies():
    paths, _ = paths_of("hinge", 0.003)
    assert torch.equal(grouped(paths).memberships, grouped(paths).memberships)


def test_points_that_all_move_apart_are_one_body():
    paths = torch.randn(IMAGES, 60, 3, generator=random_stream(6), dtype=torch.float64)
    assert grouped(paths, BodyCriteria(tolerance=1e-3, unite=1e-3)).bodies == 1


def test_bodies_that_move_alike_are_united_and_small_ones_are_left_out():
    paths, part = paths_of("slide", 0.001)
    loose = BodyCriteria(tolerance=0.03, unite=1.0)
    assert grouped(paths, loose).bodies == 1
    heavy = BodyCriteria(least=float(part.double().mean()) + 0.1)
    assert grouped(paths, heavy).bodies == 1


def test_points_without_mass_have_no_part_in_the_bodies():
    paths, part = paths_of("hinge", 0.0)
    masses = torch.ones(POINTS, dtype=paths.dtype)
    massless = shape()[:, 0] < -0.2  # neighbours of one another
    masses[massless] = 0.0
    criteria = criteria_for(paths[:, ~massless], masses[~massless], random_stream(3, "seeds"))
    *_, last = group_points(paths, masses, random_stream(4, "bodies"), criteria, reference=IMAGES // 2)
    assert len(last.memberships) == 2
    heaviest = last.memberships.argmax(0) == 0  # now the part that moves
    assert float((heaviest == part)[~massless].double().mean()) > 0.97
