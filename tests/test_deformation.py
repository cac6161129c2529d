"""The deformation model: its fit, held-out images, the flexibility test, principal modes, pose rescue, ring weights."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import gaussians

from scoretomo.compute import one_thread, random_stream
from scoretomo.deformation.fit import fit, residual_fractions
from scoretomo.deformation.flexibility import FLEXIBILITY, flexibility_statistic, judge_flexibility
from scoretomo.deformation.model import (
    DeformationModel,
    displacements,
    model_from_consensus,
    model_views,
    model_volumes,
    sharpened_model,
)
from scoretomo.deformation.pose_rescue import rescue_poses
from scoretomo.deformation.principal_modes import MODES, PrincipalModes, principal_modes
from scoretomo.deformation.ring_weights import filtered, ring_weights
from scoretomo.deformation.schedule import DeformationSettings
from scoretomo.fourier import (
    centred_fft,
    coordinates,
    fourier_shell_correlation,
    low_pass,
    mean_fsc,
    resample,
    shell_index,
)
from scoretomo.images import shift
from scoretomo.projection import project, rotate
from scoretomo.rotations import angular_distance, point_group, random_rotations

SIZE = 16
FITTING = DeformationSettings(side=SIZE, latent_dimensions=1, basis_functions=2, width=24, epochs=120, blur=1.5)
OWN = {"turns", "shifts", "latent"}  # what belongs to one image


def conformation(amount: float) -> torch.Tensor:
    """A tripod, one foot of which moves along x."""
    return gaussians((3.5, -3, 0), (0, 0, 3), (-1.5 + amount, 4, 0))


@pytest.fixture(scope="module")
def flexible() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images of the tripod, their rotations, and how far its foot has moved in each."""
    amounts = torch.linspace(-2.5, 2.5, 60)
    rotations = random_rotations(len(amounts), random_stream(1, "poses"))
    images = [project(conformation(float(x)), turn[None])[0] for x, turn in zip(amounts, rotations, strict=True)]
    return torch.stack(images), rotations, amounts


@pytest.fixture(scope="module")
def consensus() -> torch.Tensor:
    return torch.stack([conformation(float(amount)) for amount in torch.linspace(-2.5, 2.5, 11)]).mean(0)


@pytest.fixture(scope="module")
def fitted(flexible, consensus) -> DeformationModel:
    images, rotations, _ = flexible
    model = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"))
    for _ in fit(model, images, FITTING, random_stream(0, "order"), epochs=range(60), of=60):
        pass
    return model


# ---------------------------------------------------------------- fit


@pytest.mark.slow
def test_latent_coordinate_follows_the_displacement_of_the_part(fitted, flexible):
    amounts = flexible[2]
    assert float(torch.corrcoef(torch.stack([fitted.latent.detach()[:, 0], amounts]))[0, 1].abs()) > 0.95


@pytest.mark.slow
def test_volumes_have_the_conformations_of_their_images(fitted, flexible):
    images, rotations, amounts = flexible
    chosen = [0, 20, 40, 59]
    for number, volume in zip(chosen, model_volumes(fitted, chosen, images[chosen]), strict=True):
        right, wrong = (
            float(mean_fsc(fourier_shell_correlation(volume, rotate(conformation(amount), rotations[number]))[:5]))
            for amount in (float(amounts[number]), -float(amounts[number]))
        )
        assert right > 0.9
        assert right > wrong + 0.1 or abs(float(amounts[number])) < 1


@pytest.mark.slow
def test_view_of_a_volume_in_the_pose_of_its_image_is_the_view_of_the_model(fitted, flexible):
    volume = model_volumes(fitted, [7], flexible[0][[7]])[0]
    view = shift(volume.sum(0)[None], fitted.shifts.detach()[[7]] * (SIZE / 2))[0]
    shown = model_views(fitted, SIZE)[7]
    assert float((view * shown).sum() / (view.norm() * shown.norm())) > 0.99


@pytest.mark.slow
def test_displacements_grow_as_the_part_moves_away_from_its_median_place(fitted, flexible, consensus):
    images, rotations, amounts = flexible
    found = displacements(fitted, torch.arange(len(images)))
    assert float(torch.corrcoef(torch.stack([found, amounts.abs()]))[0, 1]) > 0.95
    still = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"), flexible=False)
    rounding = torch.finfo(torch.float32).eps * SIZE / 2  # of a place, which is at most 1 in half sides, in pixels
    assert float(displacements(still, torch.arange(len(images))).max()) <= rounding


@pytest.mark.slow
def test_sharpened_model_moves_as_before_and_is_fitted_to_detail(flexible, consensus):
    _, rotations, amounts = flexible
    places = coordinates(2 * SIZE, 3).movedim(0, -1)

    def detailed(amount: float) -> torch.Tensor:
        feet = torch.tensor([(7.0, -6.0, 0.0), (0.0, 0.0, 6.0), (2 * amount - 3, 8.0, 0.0)])
        return torch.exp(-(places - feet[:, None, None, None]).square().sum(-1) / (2 * 1.2**2)).sum(0)

    images = torch.stack(
        [project(detailed(float(x)), turn[None])[0] for x, turn in zip(amounts, rotations, strict=True)]
    )
    rough = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"))
    for _ in fit(rough, images, FITTING, random_stream(0, "order"), epochs=range(30), of=30):
        pass
    finer = FITTING.finer
    sharp = sharpened_model(rough, 2 * SIZE, finer, random_stream(0, "sharper"))
    before, after = (model_volumes(model, [0, 20], images[[0, 20]]) for model in (rough, sharp))
    assert float(fourier_shell_correlation(before, after)[:, 1:6].min()) > 0.98
    residual = float(residual_fractions(sharp, images, finer, 1.0).mean())
    for _ in fit(sharp, images, finer, random_stream(0, "more"), epochs=range(20), of=20):
        pass
    assert float(residual_fractions(sharp, images, finer, 1.0).mean()) < 0.5 * residual
    truth = rotate(detailed(float(amounts[0])), rotations[0])
    volumes = [model_volumes(model, [0], images[[0]])[0] for model in (rough, sharp)]
    details = [float(fourier_shell_correlation(volume, truth)[9:13].mean()) for volume in volumes]
    assert details[1] > details[0] + 0.2


@pytest.mark.parametrize(
    ("size", "sides"),
    [(24, [32]), (32, [32]), (33, [32, 64]), (64, [32, 64]), (65, [32, 64, 128]), (136, [32, 64, 128])],
)
def test_levels_go_up_to_the_size_of_the_images_and_no_further_than_128(size, sides):
    assert [level.side for level in DeformationSettings().levels(size)] == sides


def after_three_epochs(
    images: torch.Tensor, rotations: torch.Tensor, consensus: torch.Tensor, fitting: DeformationSettings, **options
) -> DeformationModel:
    model = model_from_consensus(consensus, rotations, fitting, random_stream(0, "start"))
    with one_thread():  # as in a run; more threads add up in any order
        for _ in fit(model, images, fitting, random_stream(0, "order"), epochs=range(3), of=120, **options):
            pass
    return model


def changed(first: DeformationModel, second: DeformationModel) -> set[str]:
    """Names of the parameters that differ."""
    other = second.state_dict()
    return {name for name, value in first.state_dict().items() if not torch.equal(value, other[name])}


def test_images_that_are_not_for_training_change_nothing_that_is_shared(flexible, consensus):
    images, rotations, _ = flexible
    before = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"))
    after = after_three_epochs(
        images, rotations, consensus, FITTING, training=torch.zeros(len(images), dtype=torch.bool)
    )
    assert changed(before, after) == OWN


def test_held_out_images_do_not_weigh_the_rings_of_others(flexible, consensus):
    images, rotations, _ = flexible
    weighed, training = replace(FITTING, trial=0.0), torch.arange(len(images)) % 3 > 0
    others = torch.where(
        training[:, None, None], images, torch.randn(images.shape, generator=random_stream(2, "others"))
    )
    first, second = (
        after_three_epochs(stack, rotations, consensus, weighed, training=training) for stack in (images, others)
    )
    assert changed(first, second) == OWN


def test_rings_are_weighed_after_a_trial_and_not_before(flexible, consensus):
    images, rotations, _ = flexible
    plain, within, after = (
        after_three_epochs(images, rotations, consensus, replace(FITTING, trial=trial))
        for trial in (1.0, 3 / 120, 2 / 120)
    )
    assert not changed(plain, within)
    assert "points" in changed(plain, after)


def test_number_of_threads_does_not_change_the_fit(flexible, consensus):
    images, rotations, _ = flexible
    weighed = replace(FITTING, trial=0.0)
    one, two = (after_three_epochs(images, rotations, consensus, weighed, threads=threads) for threads in (1, 2))
    assert not changed(one, two)


def test_conformations_have_the_symmetry_of_the_molecule():
    group = point_group("D2").float()
    volume = torch.stack([rotate(gaussians((3.5, 2, 1.5)), turn) for turn in group]).sum(0)
    rotations = random_rotations(30, random_stream(0, "poses"))
    model = model_from_consensus(volume, rotations, FITTING, random_stream(0, "start"), group=group)
    assert len(model.points) < 0.4 * int((volume > 0.12 * volume.max()).sum())
    with torch.no_grad():
        places, masses = model.conformations(torch.tensor([3]))
    for turn in group:
        distances = torch.cdist(places[0] @ turn.T, places[0], compute_mode="donot_use_mm_for_euclid_dist")
        assert float(distances.amin(1).max()) < 1e-5
    assert float(masses.sum()) == pytest.approx(float(model.masses.detach().sum()))


# ---------------------------------------------------------------- flexibility test


@pytest.mark.slow
def test_residual_of_held_out_images_tells_a_flexible_molecule_from_a_rigid_one(flexible, consensus):
    images, rotations, _ = flexible
    rigid = torch.stack([project(conformation(0.0), turn[None])[0] for turn in rotations])
    training = torch.arange(len(images)) % 5 > 0
    trial = replace(FITTING, trial=1 / 3)
    ratios = []
    for stack, mean in ((images, consensus), (rigid, conformation(0.0))):
        residuals = []
        for moves in (True, False):
            model = model_from_consensus(mean, rotations, FITTING, random_stream(0, "start"), flexible=moves)
            for _ in fit(model, stack, trial, random_stream(0, "order"), epochs=range(20), of=60, training=training):
                pass
            residuals.append(float(residual_fractions(model, stack, trial, 19 / 59)[~training].mean()))
        ratios.append(residuals[0] / residuals[1])
    assert ratios[0] < 0.3
    assert ratios[1] > 0.6


@pytest.mark.parametrize(
    ("rigid", "flexible", "moved", "expected"),
    [
        ([0.04, 0.02, 0.03], [0.02, 0.01, 0.015], [0.7, 0.7, 0.7], 0.35),  # half is explained, by 0.7 pixels
        ([0.04] * 10 + [0.9], [0.04] * 10 + [0.01], [0.2] * 10 + [9.0], 0.0),  # one bad image of eleven does not count
        ([0.04] * 6 + [0.10] * 3, [0.04] * 6 + [0.05] * 3, [0.0] * 6 + [2.0] * 3, 1.0),  # a third shows another state
        ([0.04, 0.04, 0.04], [0.05, 0.05, 0.05], [0.5, 0.5, 0.5], 0.0),  # the deformation model explains less
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1], 0.0),  # nothing is left by either
    ],
)
def test_flexibility_statistic_is_the_explained_share_times_the_displacement(rigid, flexible, moved, expected):
    assert flexibility_statistic(rigid, flexible, moved, FLEXIBILITY.quantile) == pytest.approx(expected)


@pytest.mark.parametrize(("factor", "flexible"), [(0.999, False), (1.001, True)])
def test_molecule_is_flexible_above_the_threshold(factor, flexible):
    moved = [2 * FLEXIBILITY.threshold * factor] * 5  # half of the residual is explained
    found = judge_flexibility([0.04] * 5, [0.02] * 5, moved)
    assert found.statistic == pytest.approx(factor * FLEXIBILITY.threshold)
    assert found.flexible is flexible
    assert (found.rigid_residual, found.flexible_residual) == (pytest.approx(0.04), pytest.approx(0.02))
    assert found.displacement == pytest.approx(moved[0])


def test_displacement_of_the_test_is_that_of_one_image_of_five():
    moved = [0.1] * 4 + [0.5, 0.6]  # the quantile 0.8 of six is the fifth
    assert judge_flexibility([0.04] * 6, [0.02] * 6, moved).displacement == pytest.approx(0.5)


# ---------------------------------------------------------------- principal modes


@pytest.mark.slow
def test_held_out_images_confirm_the_true_mode_and_none_that_fits_noise(flexible, consensus):
    images, rotations, amounts = flexible
    noisy = images + 0.3 * images.std() * torch.randn(images.shape, generator=random_stream(5))
    fitting, training = replace(FITTING, latent_dimensions=3, basis_functions=4), torch.arange(len(noisy)) % 4 > 0
    model = model_from_consensus(consensus, rotations, fitting, random_stream(0, "start"))
    for _ in fit(model, noisy, fitting, random_stream(0, "order"), epochs=range(60), of=60, training=training):
        pass
    held_out = (~training).nonzero()[:, 0]
    modes, all_modes = (
        principal_modes(model, noisy, fitting, 1.0, training=training, held_out=held_out, count=count)
        for count in (3, fitting.basis_functions)
    )
    assert modes.confirmed() == [0]
    assert abs(np.corrcoef(modes.amplitudes[:, 0].detach(), amounts)[0, 1]) > 0.9
    spread = modes.amplitudes[training].square().mean(0)  # in float64, of a matrix of products
    assert bool((spread.diff() <= 1e-12 * spread[0]).all())
    own = residual_fractions(model, noisy, fitting, 1.0)[held_out]
    torch.testing.assert_close(all_modes.residuals[-1], own, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(
    ("residuals", "confirmed"),
    [
        ([1.0, 0.5, 0.49, 0.4], [0, 2]),
        ([1.0, 0.99, 0.98, 0.98], [0]),  # none explains enough: the one that explains most
        ([1.0, 1.0, 0.97, 0.97], [1]),
        ([1.2, 1.0 + MODES.explained + 1e-4, 1.0, 1.0], [0, 1]),  # shares are of what all modes together leave
        ([1.2, 1.0 + MODES.explained - 1e-4, 1.0, 1.0], [0]),
    ],
)
def test_mode_is_confirmed_if_it_explains_enough_of_held_out_images(residuals, confirmed):
    assert PrincipalModes(torch.zeros(1, 3), torch.tensor(residuals)[:, None]).confirmed() == confirmed


# ---------------------------------------------------------------- pose rescue


@pytest.mark.slow
def test_images_in_a_wrong_pose_are_rescued_among_the_conformations_of_others(fitted, flexible):
    images, rotations, amounts = flexible
    lost = deepcopy(fitted)
    wrong = torch.zeros(len(images), dtype=torch.bool)
    wrong[[5, 50]] = True
    with torch.no_grad():
        lost.rotations[wrong] = random_rotations(2, random_stream(9, "wrong"))
        lost.latent[wrong] = 0.0
    moved = rescue_poses(lost, images, FITTING, 1.0, some=torch.ones(len(images), dtype=torch.bool))
    assert moved[wrong].all()
    assert int((moved & ~wrong).sum()) <= 3
    assert float(angular_distance(lost.poses().detach()[wrong], rotations[wrong]).max()) < 12
    assert float(torch.corrcoef(torch.stack([lost.latent.detach()[:, 0], amounts]))[0, 1].abs()) > 0.95


@pytest.mark.slow
def test_images_of_another_molecule_are_not_rescued(fitted, flexible):
    images = flexible[0].clone()
    images[7] = gaussians((6, 6, 0), (-6, -6, 0), (6, -6, 0)).sum(0)  # shows something else
    before = deepcopy(fitted.state_dict())
    some = torch.ones(len(images), dtype=torch.bool)
    some[7] = False
    model = deepcopy(fitted)
    assert not rescue_poses(model, images, FITTING, 1.0, some=some)[7]
    for name, values in model.state_dict().items():
        if len(values) == len(images):
            assert torch.equal(values[7], before[name][7])


# ---------------------------------------------------------------- ring weights


def test_ring_weights_make_finer_rings_as_strong_as_coarse_ones():
    noise = torch.randn(400, 32, 32, generator=random_stream(3, "noise"))
    coloured = low_pass(noise, 6.0, 2, width=8.0)
    ring = shell_index(32, 2)

    def unevenness(images: torch.Tensor) -> float:
        power = centred_fft(images, 2).abs().square().mean(0)
        rings = torch.stack([power[ring == number].mean() for number in range(1, 16)])
        return float(rings.max() / rings.min())

    assert unevenness(coloured) > 20
    assert unevenness(filtered(coloured, ring_weights(coloured))) < 1.2
    assert torch.equal(
        ring_weights(noise - coloured), torch.ones(17)
    )  # finer rings stronger: none counts less for that
    flat = filtered(noise, ring_weights(noise))
    assert float((flat / flat.std() - noise / noise.std()).abs().max()) < 0.3  # white noise stays as it is


def test_ring_weights_are_one_filter_of_the_field_of_view_whatever_the_side():
    residuals = low_pass(torch.randn(50, 32, 32, generator=random_stream(4, "noise")), 8.0, 2, width=8.0)
    gains = ring_weights(residuals)
    images = low_pass(torch.randn(3, 32, 32, generator=random_stream(5, "images")), 8.0, 2)
    smaller = filtered(resample(images, 24, 2), gains)
    assert torch.allclose(smaller, resample(filtered(images, gains), 24, 2), atol=1e-3 * float(smaller.abs().max()))


@pytest.mark.parametrize("size", [7, 8])
def test_residuals_of_zero_weigh_all_rings_alike(size):
    assert torch.equal(ring_weights(torch.zeros(2, size, size)), torch.ones(size // 2 + 1))
