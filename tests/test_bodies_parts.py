"""What bodies do in words: axes, angles and masses; views with matter counted once; proposed bodies."""

import math
from dataclasses import replace

import pytest
import torch
from bodies import HINGE, two_bodies

from scoretomo.compute import random_stream, shared_by
from scoretomo.deformation.bodies.fit import BodySettings, Level, Shares, fit_bodies, half_densities
from scoretomo.deformation.bodies.gauss_newton import first_damping, fit_motion
from scoretomo.deformation.bodies.motions import motion_from_twist, moved, rigid
from scoretomo.deformation.bodies.overlap import bodies_views
from scoretomo.deformation.bodies.parts import masses, named_parts
from scoretomo.deformation.bodies.pose_search import search_poses
from scoretomo.deformation.bodies.proposals import Points, propose_bodies
from scoretomo.deformation.bodies.views import band_of
from scoretomo.deformation.bodies.weights import equal_weights, view_residual_fractions
from scoretomo.projection import images_of, project, rotate, spectrum
from scoretomo.rotations import point_group, random_rotations


def test_a_hinge_is_named_by_its_axis_pivot_and_range():
    model = two_bodies(24, 400, dtype=torch.float64)
    (part,) = named_parts(model)
    low, high = model.latent[:, 0].quantile(torch.tensor([0.05, 0.95]).double())
    assert float(part.screw.angle) == pytest.approx(0.7 * float(high - low))
    assert part.screw.axis.tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert float(part.screw.pivot[0]) == pytest.approx(0.1 / 0.7)  # ω × p = −v for a point at rest: v_z = −(ω × p)_z
    still = moved(motion_from_twist(HINGE), part.screw.pivot[None])[0]
    torch.testing.assert_close(still, part.screw.pivot)
    expected = 0.7 * (model.latent[:, 0] - model.latent[:, 0].mean())
    torch.testing.assert_close(part.angles, expected)
    assert part.mass == pytest.approx(float(model.densities[1].sum() / model.densities.sum()))
    assert float(masses(model).sum()) == pytest.approx(1.0)


def test_displacement_is_that_of_the_mass_of_a_body():
    slide = torch.tensor([0.0, 0.0, 0.0, 0.03, 0.0, 0.04], dtype=torch.float64)
    model = two_bodies(16, 50, dtype=torch.float64)
    model = replace(model, twists=torch.stack([torch.zeros_like(slide)[None], slide[None]]))
    (part,) = named_parts(model)
    assert part.displacement == pytest.approx(0.05 * float(model.latent.std(correction=0)))
    assert float(part.screw.angle) == 0


def test_views_of_bodies_are_those_of_their_volumes():
    apart = two_bodies(24, 5, dtype=torch.float64)
    seen = torch.stack([project(volume, torch.eye(3)[None])[0] for volume in apart.volumes(range(5))])
    torch.testing.assert_close(bodies_views(apart), seen, rtol=0, atol=1e-6 * float(seen.abs().max()))
    union = two_bodies(24, 5, saturation=1.0)
    seen = torch.stack([project(volume, torch.eye(3)[None])[0] for volume in union.volumes(range(5))])
    left = (bodies_views(union) - seen).norm() / seen.norm()
    added = (bodies_views(replace(union, saturation=0.0)) - seen).norm() / seen.norm()
    assert float(left) < 0.2 * float(added)


def test_threads_do_not_change_a_fit():
    truth = two_bodies(16, 10, saturation=1.0)
    images = truth.volumes(range(10)).sum(1)
    ends = []
    for threads in (1, 2):
        with shared_by(threads):
            (step,) = fit_bodies(truth, images, [Level(16, 8, rounds=1, steps=1)])
        ends.append(step.model)
    for name in ("densities", "poses", "latent", "twists"):
        assert torch.equal(getattr(ends[0], name), getattr(ends[1], name))


def test_images_of_a_spectrum_have_it():
    images = torch.randn(3, 10, 10, dtype=torch.float64, generator=random_stream(0, "images"))
    inside = images_of(spectrum(images), 10)
    torch.testing.assert_close(spectrum(inside), spectrum(images))
    torch.testing.assert_close(images_of(spectrum(inside), 10), inside)


def test_a_resting_body_is_not_interpolated():
    model = two_bodies(16, 3).in_common_frame()
    still = replace(model, latent=torch.zeros_like(model.latent))
    assert torch.equal(still.volumes([1])[0], model.densities.sum(0))


def test_the_brightness_of_a_view_does_not_count():
    images = torch.randn(4, 12, 12, generator=random_stream(1, "images"))
    band = band_of(images, 12, 6)
    assert float(view_residual_fractions(3.0 * band.data, band).max()) < 1e-6
    noise = band.data + 1j * band.data  # orthogonal to the image, of the same power
    torch.testing.assert_close(view_residual_fractions(noise, band), torch.full((4,), 0.5))


def test_images_that_are_held_out_have_no_part_in_densities_and_twists():
    truth = two_bodies(16, 20)
    images = truth.volumes(range(20)).sum(1)
    held_out = torch.arange(20) % 5 == 0
    shares = Shares(~held_out, held_out)
    junk = torch.where(held_out[:, None, None], images.flip(1), images)
    settings = BodySettings(coarse=(Level(16, 8),))
    level = [Level(16, 8, rounds=1, steps=1)]
    ends = []
    for stack in (images, junk):
        *_, last = fit_bodies(truth, stack, level, settings, shares=shares)
        ends.append(last)
    first, second = ends
    gains = float((first.model.densities - second.model.densities).norm() / first.model.densities.norm())
    assert gains < 0.02  # ring weights are by the median over all images
    assert second.residual > 10 * first.residual  # it is that of the held-out ones
    (everything,) = fit_bodies(truth, junk, level, settings)
    changed = (everything.model.densities - first.model.densities).norm() / first.model.densities.norm()
    assert float(changed) > 2 * gains


def test_halves_differ_by_the_noise_of_the_images():
    truth = two_bodies(16, 60)
    images = truth.volumes(range(60)).sum(1)
    shares = Shares.all_of(images)
    differences = []
    for noise in (0.0, 0.5):
        noisy = images + noise * images.std() * torch.randn(images.shape, generator=random_stream(2, "noise"))
        halves = half_densities(truth, noisy, Level(16, 8), shares=shares)
        assert halves.shape == (2, 2, 16, 16, 16)
        differences.append(float((halves[0] - halves[1]).norm() / halves.sum(0).norm()))
    assert differences[0] < 0.1 < differences[1]


def swinging(images: int, *, group: torch.Tensor | None = None) -> Points:
    """Points of a resting ball and of an arm that swings by ± 20° or so."""
    generator = random_stream(4, "points")
    ball = 0.25 * torch.randn(300, 3, generator=generator, dtype=torch.float64)
    arm = torch.tensor([0.6, 0.0, 0.3]) + 0.08 * torch.randn(150, 3, generator=generator, dtype=torch.float64)
    turn = torch.tensor([0.0, 0.0, 0.35, 0.0, 0.0, 0.0], dtype=torch.float64)
    amounts = torch.randn(images, 1, generator=generator, dtype=torch.float64)
    paths = torch.cat([ball.expand(images, -1, 3), moved(motion_from_twist(amounts * turn), arm)], 1)
    paths = paths + 0.002 * torch.randn(paths.shape, generator=generator, dtype=torch.float64)
    turns = random_rotations(images, generator, dtype=torch.float64)
    return Points(paths, torch.ones(450).double(), rigid(turns, torch.zeros(images, 3).double()), group)


def test_every_kind_of_bodies_is_proposed_once():
    proposals = propose_bodies(swinging(40), 16, random_stream(0, "bodies"))
    assert len(proposals) == 1  # all tolerances find the same
    model = proposals[0].model
    assert model.twists.shape == (2, 1, 6)
    (share,) = (model.twists[1, 0, :3].norm() * model.latent[:, 0].std(),)
    assert math.degrees(float(share)) == pytest.approx(20, abs=4)
    assert float(model.densities.abs().max()) == 0


def test_nothing_is_proposed_where_nothing_moves():
    points = swinging(40)
    still = points.paths[:1].expand_as(points.paths)
    assert propose_bodies(points._replace(paths=still), 16, random_stream(0, "bodies")) == []


def test_a_symmetric_molecule_has_a_resting_core_and_copies():
    group = point_group("C3").double()
    proposals = propose_bodies(swinging(40, group=group), 16, random_stream(0, "bodies"))
    model = proposals[0].model
    assert model.of.tolist() == [0, 1, 1, 1]
    core = model.masks[0]
    turned = rotate(core, group[1].to(core))
    assert float((turned - core).norm() / core.norm()) < 0.2
    torch.testing.assert_close(model.poses, swinging(40).poses)


def test_images_in_wrong_poses_are_found_again_and_no_others_are_moved():
    truth = two_bodies(16, 30)
    images = truth.volumes(range(30)).sum(1)
    lost = torch.tensor([3, 11, 20])
    poses = truth.poses.clone()
    poses[lost] = poses[lost - 1]
    wrong = replace(truth, poses=poses)
    every = torch.ones(30, dtype=torch.bool)
    searched = search_poses(wrong, images, 7, every)
    assert searched.moved.nonzero()[:, 0].tolist() == lost.tolist()
    turned = searched.model.poses[lost, :3, :3].mT @ truth.poses[lost, :3, :3]
    angles = torch.arccos(((turned.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)).rad2deg()
    assert float(angles.max()) < 3
    others = ~searched.moved
    assert torch.equal(searched.model.poses[others], truth.poses[others])
    assert torch.equal(searched.model.latent[others], truth.latent[others])
    assert not search_poses(wrong, images, 7, ~searched.moved).moved.any()
    assert not search_poses(truth, images, 7, every).moved.any()


def test_steps_of_the_images_alone_leave_the_twists():
    truth = two_bodies(16, 12)
    images = truth.volumes(range(12)).sum(1)
    band = band_of(images, 16, 8)
    off = replace(truth, latent=truth.latent + 0.1)
    fit = fit_motion(off, band, equal_weights(band), first_damping(off), steps=4, own=True)
    assert torch.equal(fit.model.twists, truth.twists)
    assert float((fit.model.latent - truth.latent).abs().max()) < 0.01
