"""The fit of rigid bodies from coarse to fine, the density of full matter, and fewer modes."""

import math
from dataclasses import replace

import pytest
import torch
from bodies import HINGE, blob, two_bodies
from torch import Tensor
from torch.nn.functional import max_pool3d, normalize, pad

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.derivatives import residuals_of
from scoretomo.deformation.bodies.fit import (
    BodySettings,
    FitStep,
    Level,
    extended,
    fit_bodies,
    fit_coarse_bodies,
    simplify_bodies,
)
from scoretomo.deformation.bodies.model import RigidBodies
from scoretomo.deformation.bodies.motions import motion_from_twist
from scoretomo.deformation.bodies.saturation import adjusted_saturation
from scoretomo.deformation.bodies.simplify import SimplifySettings, coaxial_modes, main_modes, without_mode
from scoretomo.deformation.bodies.views import Band, band_of
from scoretomo.fourier import fourier_shell_correlation, mean_fsc


def images_of(model: RigidBodies) -> Tensor:
    """Views of the volumes of all images."""
    return model.volumes(range(len(model.poses))).sum(1)


def coarse_steps(start: RigidBodies, images: Tensor, settings: BodySettings) -> list[FitStep]:
    """All rounds of the coarse levels."""
    steps = list(fit_coarse_bodies(start, images, settings))
    return steps + list(simplify_bodies(steps[-1].model, images, settings))


def shaken(truth: RigidBodies, degrees: float) -> RigidBodies:
    """The truth without its densities, its poses, coordinates and twists somewhat off."""
    generator, images = random_stream(3, "shaken"), len(truth.poses)
    turns = normalize(torch.randn(images, 3, generator=generator, dtype=torch.float64), dim=1) * math.radians(degrees)
    shifts = 0.01 * torch.randn(images, 2, generator=generator, dtype=torch.float64)
    masks = max_pool3d((truth.densities[:, None] > 0.3).float(), 5, 1, 2)[:, 0]
    return replace(
        truth,
        poses=motion_from_twist(pad(torch.cat([turns, shifts], 1), (0, 1))) @ truth.poses,
        latent=truth.latent + 0.15 * torch.randn(truth.latent.shape, generator=generator, dtype=torch.float64),
        twists=truth.twists * torch.tensor([1.0, 1.1, 0.9, 1.0, 1.0, 1.2], dtype=torch.float64),
        densities=torch.zeros_like(masks),
        masks=masks,
        saturation=0.0,
    )


@pytest.mark.slow
def test_hinged_molecule_comes_back_from_poses_that_are_off():
    truth = two_bodies(24, 60, saturation=1.0)
    settings = BodySettings(coarse=(Level(24, 9), Level(24, 12)))
    steps = coarse_steps(shaken(truth, 2.0), images_of(truth), settings)
    fitted, some = steps[-1].model, range(0, 60, 5)
    curve = fourier_shell_correlation(fitted.volumes(some), truth.volumes(some))
    assert float(mean_fsc(curve).mean()) > 0.95
    assert float(torch.corrcoef(torch.stack([fitted.latent[:, 0], truth.latent[:, 0]]))[0, 1].square()) > 0.98
    assert [step.round for step in steps[:4]] == [1, 2, 1, 2]  # of the sum, and of the union
    assert [step.level.shells for step in steps[-2:]] == [12, 12]
    assert steps[-1].residual < 1e-3


@pytest.mark.slow
def test_finer_levels_go_on_with_the_same_bodies_on_another_grid():
    truth = two_bodies(24, 40)
    start = replace(shaken(truth, 0.5), densities=truth.densities)
    images = images_of(truth)
    *_, coarse = fit_bodies(start, images, [Level(24, 6, rounds=1, steps=1)])
    *_, fine = fit_bodies(coarse.model, images, [Level(20, 8, rounds=1, steps=1), Level(24, 12)])
    assert fine.model.size == 24
    curves = [
        fourier_shell_correlation(step.model.volumes([0, 7]), truth.volumes([0, 7])).mean(0) for step in (coarse, fine)
    ]
    assert float(curves[1][8:].mean()) > float(curves[0][8:].mean()) + 0.1


@pytest.mark.parametrize("size", [20, 32, 34, 48, 88, 128])
def test_levels_grow_step_by_step_to_all_shells(size):
    settings = BodySettings()
    levels = settings.levels(size)
    radii = [settings.coarse_levels(size)[-1].shells, *(level.shells for level in levels)]
    assert radii[-1] == size // 2
    assert size <= 32 or levels[-1].side == size
    for before, level in zip(radii, levels, strict=False):
        assert before < level.shells <= settings.growth * before + 1
        assert 2 * level.shells <= level.side <= size


# ---------------------------------------------------------------- the density of full matter


def band_with(model: RigidBodies) -> Band:
    return band_of(images_of(model), model.size, model.size // 2 - 1)


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_saturation_goes_where_the_images_say_so(wrong):
    truth = two_bodies(20, 30, saturation=1.0)
    band, model = band_with(truth), replace(truth, saturation=wrong)
    values = [wrong]
    for _ in range(4):
        model = adjusted_saturation(model, band, band.weight)
        values.append(model.saturation)
    assert abs(values[1] - 1) < abs(wrong - 1)
    assert values[-1] == pytest.approx(1.0, abs=0.05)


def test_saturation_stays_where_nothing_overlaps_and_where_densities_add_up():
    far = torch.stack([blob(20, (-0.5, 0, 0), (0.2,) * 3), blob(20, (0.5, 0, 0), (0.2,) * 3)])
    truth = two_bodies(20, 30)
    still = replace(truth, densities=far, latent=torch.zeros_like(truth.latent), saturation=0.9)
    noise = torch.randn(30, 20, 20, generator=random_stream(5))
    band = band_of(images_of(still) + noise, 20, 9)
    assert adjusted_saturation(still, band, band.weight).saturation == 0.9
    assert adjusted_saturation(replace(still, saturation=0.0), band, band.weight).saturation == 0


# ---------------------------------------------------------------- fewer modes


def split_hinge(size: int, images: int) -> tuple[RigidBodies, RigidBodies]:
    """A hinged arm; and the same with one mode for angles below 0, of a body of no matter, and one for those above."""
    truth = two_bodies(size, images)
    nothing = torch.zeros_like(truth.densities[:1])
    twists = torch.zeros(3, 2, 6, dtype=torch.float64)
    twists[1, 0], twists[2, 1] = HINGE, HINGE
    halves = torch.cat([truth.latent.clamp_max(0), truth.latent.clamp_min(0)], 1)
    densities = torch.cat([truth.densities[:1], nothing, truth.densities[1:]])
    return truth, replace(truth, latent=halves, twists=twists, densities=densities, masks=torch.ones_like(densities))


def test_modes_that_share_an_axis_are_recognised():
    split = split_hinge(12, 20)[1]
    assert coaxial_modes(split) == [(0, 1), (1, 0)]
    assert main_modes(split).tolist() == [0, 1]
    twists = split.twists.clone()
    twists[2, 1] = HINGE[[1, 0, 2, 3, 4, 5]]
    assert coaxial_modes(replace(split, twists=twists)) == []
    assert coaxial_modes(two_bodies(12, 20)) == []
    rigid_molecule = replace(split, latent=split.latent[:, :0], twists=split.twists[:1, :0])
    assert coaxial_modes(rigid_molecule) == []


def test_mode_that_stays_reaches_over_both_ranges():
    truth, split = split_hinge(16, 30)
    band = band_of(images_of(truth), 16, 6)
    fewer = without_mode(split, band, band.weight, 0, 1, SimplifySettings(trials=41))
    assert fewer.twists.shape == (2, 1, 6)
    assert fewer.densities.shape == truth.densities.shape
    assert float((fewer.latent - truth.latent).abs().median()) < 0.1
    before, after = (residuals_of(model, band).abs().square().sum() for model in (split, fewer))
    assert float(after) < 0.5 * float(before)


@pytest.mark.slow
def test_coarse_fit_ends_with_one_mode_for_a_hinge_that_was_split():
    truth, split = split_hinge(16, 40)
    masks = max_pool3d((truth.densities[:, None] > 0.2).float(), 5, 1, 2)[:, 0][[0, 1, 1]]
    start = replace(split, densities=torch.zeros_like(masks), masks=masks)
    settings = BodySettings(coarse=(Level(16, 7, rounds=1),), simplify=SimplifySettings(trials=16))
    last = coarse_steps(start, images_of(truth), settings)[-1]
    assert last.model.latent.shape == (40, 1)
    assert float(torch.corrcoef(torch.stack([last.model.latent[:, 0], truth.latent[:, 0]]))[0, 1].square()) > 0.9


def test_bodies_of_some_images_have_coordinates_for_all():
    truth, split = split_hinge(16, 40)
    some = torch.arange(0, 40, 2)
    others = torch.arange(1, 40, 2)
    fitted = truth.of_images(some)
    whole = extended(fitted, some, split)
    torch.testing.assert_close(whole.of_images(some).latent, fitted.latent)
    torch.testing.assert_close(whole.of_images(others).poses, split.of_images(others).poses)
    pair = torch.stack([whole.latent[others, 0], truth.latent[others, 0]])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.95


def test_rigid_molecule_is_one_body_with_better_poses():
    truth = two_bodies(16, 30)
    still = torch.zeros(1, 0, 6, dtype=torch.float64)
    truth = replace(truth, latent=truth.latent[:, :0], twists=still, densities=truth.densities.sum(0, keepdim=True))
    start = replace(truth, poses=shaken(two_bodies(16, 30), 2.0).poses, masks=torch.ones_like(truth.densities))
    settings = BodySettings(coarse=(Level(16, 7),))
    *_, last = fit_coarse_bodies(
        replace(start, densities=torch.zeros_like(truth.densities)), images_of(truth), settings
    )
    curve = fourier_shell_correlation(last.model.volumes([0, 9]), truth.volumes([0, 9]))
    assert float(curve[:, 1:7].mean()) > 0.98
    assert last.model.twists.shape == (1, 0, 6)
    assert last.residual < 1e-3
