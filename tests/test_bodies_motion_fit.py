"""Derivatives of views, Gauss–Newton steps against dense ones, and standard errors against known noise."""

from dataclasses import replace

import pytest
import torch
from bodies import two_bodies
from torch import Tensor

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.derivatives import (
    by_image,
    by_twists,
    linearise,
    residuals_of,
    view_derivatives,
)
from scoretomo.deformation.bodies.gauss_newton import (
    Damping,
    StepSettings,
    first_damping,
    fit_motion,
    gauss_newton_step,
)
from scoretomo.deformation.bodies.model import RigidBodies, copies_of_group
from scoretomo.deformation.bodies.motions import inverse, motion_from_twist, twist_from_motion
from scoretomo.deformation.bodies.standard_errors import noise_power, standard_errors
from scoretomo.deformation.bodies.views import Band, band_of, views
from scoretomo.deformation.bodies.weights import Weights, equal_weights
from scoretomo.rotations import point_group

SIZE, IMAGES, EPS = 12, 3, 1e-5


def exact(kind: str = "C1", images: int = IMAGES) -> RigidBodies:
    """Bodies in float64 with two modes, symmetric or not."""
    model = two_bodies(SIZE, images, dtype=torch.float64)
    generator = random_stream(1, "latent")
    model = replace(
        model,
        latent=torch.randn(images, 2, generator=generator, dtype=torch.float64),
        twists=torch.cat([model.twists, 0.3 * torch.randn(2, 1, 6, generator=generator, dtype=torch.float64)], 1)
        * torch.tensor([0.0, 1.0])[:, None, None],
    )
    return model if kind == "C1" else replace(model, copies=copies_of_group(point_group(kind), 2))


def band_like(model: RigidBodies, noise: float, seed: int = 2) -> Band:
    """What images of the model are, with noise of this standard deviation a pixel."""
    dtype = model.densities.dtype
    images = torch.randn(len(model.poses), model.size, model.size, generator=random_stream(seed), dtype=dtype)
    band = band_of(noise * images, model.size, model.size // 2)
    return band._replace(data=band.data + views(model.bodies(), band.points))


def stepped(model: RigidBodies, steps: Tensor) -> RigidBodies:
    """The model moved by all unknowns: 5 + j of each image, and then the twists."""
    n, j = model.latent.shape
    own, shared = steps[: n * (5 + j)].reshape(n, -1), steps[n * (5 + j) :].reshape(-1, j, 6)
    return replace(
        model,
        poses=motion_from_twist(torch.nn.functional.pad(own[:, :5], (0, 1))) @ model.poses,
        latent=model.latent + own[:, 5:],
        twists=torch.cat([model.twists[:1], model.twists[1:] + shared]),
    )


def dense_jacobian(model: RigidBodies, band: Band) -> Tensor:
    """Central differences of all views by all unknowns, (n, p, unknowns)."""
    n, j = model.latent.shape
    unit = EPS * torch.eye(n * (5 + j) + 6 * j * (len(model.twists) - 1), dtype=torch.float64)

    def seen(steps: Tensor) -> Tensor:
        return views(stepped(model, steps).bodies(), band.points)

    return torch.stack([(seen(step) - seen(-step)) / (2 * EPS) for step in unit], -1)


@pytest.mark.parametrize("kind", ["C1", "C2"])
def test_derivatives_are_those_of_the_views(kind):
    model = exact(kind)
    band = band_like(model, 0.0)
    dense = dense_jacobian(model, band)
    seen, columns = view_derivatives(model.bodies(), band.points)
    torch.testing.assert_close(seen, band.data, rtol=0.0, atol=1e-9)
    own = columns.mT @ by_image(model).to(columns)
    theirs = columns.mT @ by_twists(model).to(columns)
    for number in range(IMAGES):
        some = slice(7 * number, 7 * number + 7)
        torch.testing.assert_close(dense[number, :, some], own[number], rtol=0.0, atol=1e-6 * float(own.abs().max()))
    torch.testing.assert_close(dense[..., 7 * IMAGES :], theirs, rtol=0.0, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("kind", ["C1", "C2"])
def test_step_is_the_dense_gauss_newton_step(kind):
    model = exact(kind)
    band = band_like(stepped(model, torch.full((7 * IMAGES + 12,), 0.01, dtype=torch.float64)), 0.1)
    rings = torch.linspace(0.5, 2.0, band.rings, dtype=torch.float64)
    importance = torch.linspace(0.5, 1.5, IMAGES, dtype=torch.float64)
    weight = Weights(rings, importance).of_points(band)
    jacobian, damping = dense_jacobian(model, band), torch.tensor([0.01, 0.1, 0.5], dtype=torch.float64)
    scaled = (
        torch.view_as_real(jacobian * (importance[:, None] * weight).sqrt()[..., None]).transpose(2, 3).flatten(0, 2)
    )
    rest = residuals_of(model, band) * (importance[:, None] * weight).sqrt()
    matrix = scaled.T @ scaled
    own = matrix.diagonal()[: 7 * IMAGES]
    matrix[range(7 * IMAGES), range(7 * IMAGES)] += damping.repeat_interleave(7) * own
    step = torch.linalg.solve(matrix, scaled.T @ torch.view_as_real(rest).flatten())
    free = StepSettings(floor=0.0, shared_floor=0.0, turn=10.0, latent=100.0)
    new = gauss_newton_step(model, linearise(model, band, weight), importance, Damping(damping, 0.0), free)
    expected = stepped(model, step)
    for name in ("poses", "latent", "twists"):
        torch.testing.assert_close(getattr(new, name), getattr(expected, name), rtol=0.0, atol=1e-6)


def test_steps_bring_poses_coordinates_and_twists_back():
    truth, generator = two_bodies(20, 40, saturation=1.0), random_stream(3)
    band = band_of(truth.volumes(range(40)).sum(1), 20, 9)
    shaken = 0.03 * torch.randn(40, 5, generator=generator, dtype=torch.float64)
    start = replace(
        truth,
        poses=motion_from_twist(torch.nn.functional.pad(shaken, (0, 1))) @ truth.poses,
        latent=truth.latent + 0.1 * torch.randn(40, 1, generator=generator, dtype=torch.float64),
        twists=truth.twists * 1.1,
    )
    fit = fit_motion(start, band, equal_weights(band), first_damping(start), steps=6)
    before, after = (error(model, truth) for model in (start, fit.model))
    assert float(after.median()) < 0.1 * float(before.median())
    assert float(fit.linearised.fractions.median()) < 1e-3
    assert float(fit.model.twists[0].abs().max()) == 0


def error(model: RigidBodies, truth: RigidBodies) -> Tensor:
    """Turns in radians that bring each body to its true place, (k, n)."""
    return twist_from_motion(inverse(truth.placements()) @ model.placements())[..., :3].norm(dim=2)


def test_image_that_becomes_worse_goes_back_and_is_damped_more():
    truth = two_bodies(16, 12)
    band = band_of(truth.volumes(range(12)).sum(1), 16, 7)
    lost = torch.tensor([0.0, 0.0, 2.5, 0.0, 0.0, 0.0], dtype=torch.float64)
    poses = truth.poses.clone()
    poses[3] = motion_from_twist(lost) @ poses[3]
    start, damping = replace(truth, poses=poses), first_damping(truth)
    weight = equal_weights(band).of_points(band)
    before = linearise(start, band, weight).fractions
    fit = fit_motion(start, band, equal_weights(band), damping, steps=3)
    assert bool((fit.linearised.fractions <= before).all())
    assert float(fit.damping.images.max()) <= StepSettings.high
    still = fit_motion(truth, band, equal_weights(band), damping, steps=0)
    assert torch.equal(still.model.poses, truth.poses)


def test_standard_errors_are_the_spread_of_repeated_fits():
    copies, generator = 150, random_stream(5)
    one = two_bodies(16, 2)
    which = torch.zeros(copies, dtype=torch.long)
    spread = torch.linspace(0.8, 1.2, copies, dtype=torch.float64)[torch.randperm(copies, generator=generator), None]
    truth = replace(one.of_images(which), latent=spread)
    band = band_like(truth, 0.1, seed=6)
    fit = fit_motion(truth, band, equal_weights(band), first_damping(truth), steps=4)
    errors = standard_errors(fit.model, band)
    moved = twist_from_motion(fit.model.poses @ inverse(truth.poses))[:, :5]
    assert (errors.turns.shape, errors.shifts.shape, errors.latent.shape) == ((copies, 3), (copies, 2), (copies, 1))
    for seen, expected in (
        (moved[:, :3], errors.turns),
        (moved[:, 3:], errors.shifts),
        (fit.model.latent - truth.latent, errors.latent),
    ):
        torch.testing.assert_close((seen - seen.mean(0)).square().mean(0).sqrt(), expected.mean(0), rtol=0.25, atol=0.0)


def test_noise_power_is_that_of_each_image_and_ring():
    generator = random_stream(7)
    strength = torch.linspace(0.5, 2.0, 60)[:, None, None]
    noise = strength * torch.randn(60, 16, 16, generator=generator)
    band = band_of(noise, 16, 7)
    power = noise_power(band.data, band)
    expected = strength[:, :, 0].square() * 16**2
    assert float((power[:, 2:].mean(1) / expected[:, 0]).median()) == pytest.approx(1.0, rel=0.1)
    assert float(power[:, 2:].mean(0).std() / power[:, 2:].mean()) < 0.15


def test_a_coordinate_that_changes_nothing_is_not_known():
    model = two_bodies(16, 6)
    idle = replace(
        model,
        latent=torch.cat([model.latent, torch.ones_like(model.latent)], 1),
        twists=torch.cat([model.twists, torch.zeros_like(model.twists)], 1),
    )
    images = model.volumes(range(6)).sum(1)
    noisy = images + 0.1 * torch.randn(images.shape, generator=random_stream(3, "noise"))
    errors = standard_errors(idle, band_of(noisy, 16, 8)).latent
    assert float(errors[:, 0].max()) < 1
    assert float(errors[:, 1].min()) > 1e6
