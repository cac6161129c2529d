"""How a molecule moves: the model of Gaussians, what it learns, and what it must leave alone."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoretomo.compute import one_thread, random_stream
from scoretomo.deformation.model import DeformationModel, model_from_consensus, displacements, evidence, sharpened_model, model_views, model_volumes
from scoretomo.deformation.fit import fit, residual_fractions
from scoretomo.deformation.pose_rescue import rescue_poses
from scoretomo.deformation.principal_modes import Ways, principal_ways
from scoretomo.deformation.ring_weights import filtered, ring_weights
from scoretomo.deformation.schedule import DeformationSettings
from scoretomo.fourier import centred_fft, coordinates, fourier_shell_correlation, low_pass, mean_fsc, resample, shell_index
from scoretomo.images import shift
from scoretomo.projection import project, rotate
from scoretomo.rotations import angular_distance, point_group, random_rotations

SIZE = 16
FITTING = DeformationSettings(side=SIZE, coordinates=1, fields=2, width=24, epochs=120, blur=1.5)


def blobs(*centres: tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blobs, shape (d, d, d)."""
    points = coordinates(SIZE, 3).movedim(0, -1)
    return torch.stack([torch.exp(-(points - torch.tensor(centre)).square().sum(-1) / (2 * 1.2**2)) for centre in centres]).sum(0)


def conformation(amount: float) -> torch.Tensor:
    """A tripod, one foot of which moves along x."""
    return blobs((3.5, -3, 0), (0, 0, 3), (-1.5 + amount, 4, 0))


@pytest.fixture(scope="module")
def moving() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images of the tripod, their poses, and how far its foot has moved in each."""
    amounts = torch.linspace(-2.5, 2.5, 60)
    rotations = random_rotations(len(amounts), random_stream(1, "poses"))
    images = [project(conformation(float(x)), turn[None])[0] for x, turn in zip(amounts, rotations, strict=True)]
    return torch.stack(images), rotations, amounts


@pytest.fixture(scope="module")
def consensus() -> torch.Tensor:
    return torch.stack([conformation(float(amount)) for amount in torch.linspace(-2.5, 2.5, 11)]).mean(0)


@pytest.fixture(scope="module")
def learned(moving, consensus) -> DeformationModel:
    images, rotations, _ = moving
    motion = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"))
    for _ in fit(motion, images, FITTING, random_stream(0, "order"), epochs=range(120), of=120):
        pass
    return motion


def test_the_coordinate_tells_how_far_the_part_has_moved(learned, moving):
    _, _, amounts = moving
    order = torch.corrcoef(torch.stack([learned.coordinates.detach()[:, 0], amounts]))[0, 1].abs()
    assert float(order) > 0.95


def test_volumes_have_the_conformations_of_their_images(learned, moving):
    images, rotations, amounts = moving
    chosen = [0, 20, 40, 59]
    found = model_volumes(learned, chosen, images[chosen])
    for place, volume in zip(chosen, found, strict=True):
        right, wrong = (
            float(mean_fsc(fourier_shell_correlation(volume, rotate(conformation(amount), rotations[place]))[:5]))
            for amount in (float(amounts[place]), -float(amounts[place]))
        )
        assert right > 0.9
        assert right > wrong + 0.1 or abs(float(amounts[place])) < 1


def test_a_volume_seen_from_its_own_image_is_the_view_of_the_model(learned, moving):
    images = moving[0]
    volume = model_volumes(learned, [7], images[[7]])[0]
    view = shift(volume.sum(0)[None], learned.shifts.detach()[[7]] * (SIZE / 2))[0]
    modelled = model_views(learned, SIZE)[7]
    likeness = (view * modelled).sum() / (view.norm() * modelled.norm())
    assert float(likeness) > 0.99


def test_images_in_a_wrong_pose_are_found_among_the_conformations_of_others(learned, moving):
    images, rotations, amounts = moving
    lost = deepcopy(learned)
    wrong = torch.zeros(len(images), dtype=torch.bool)
    wrong[[5, 50]] = True
    with torch.no_grad():
        lost.rotations[wrong] = random_rotations(2, random_stream(9, "wrong"))
        lost.coordinates[wrong] = 0.0
    moved = rescue_poses(lost, images, FITTING, 1.0, asked=torch.ones(len(images), dtype=torch.bool))
    assert moved[wrong].all()
    assert int((moved & ~wrong).sum()) <= 3
    assert float(angular_distance(lost.poses().detach()[wrong], rotations[wrong]).max()) < 12
    order = torch.corrcoef(torch.stack([lost.coordinates.detach()[:, 0], amounts]))[0, 1].abs()
    assert float(order) > 0.95


def test_images_of_another_molecule_are_not_sought(learned, moving):
    images = moving[0].clone()
    images[7] = blobs((6, 6, 0), (-6, -6, 0), (6, -6, 0)).sum(0)  # shows something else
    before = deepcopy(learned.state_dict())
    asked = torch.ones(len(images), dtype=torch.bool)
    asked[7] = False
    kept = deepcopy(learned)
    assert not rescue_poses(kept, images, FITTING, 1.0, asked=asked)[7]
    for name, values in kept.state_dict().items():
        if len(values) == len(images):
            assert torch.equal(values[7], before[name][7])


def test_sharpened_it_moves_as_before_and_learns_details(moving, consensus):
    _, rotations, amounts = moving
    places = coordinates(2 * SIZE, 3).movedim(0, -1)

    def detailed(amount: float) -> torch.Tensor:
        feet = torch.tensor([(7.0, -6.0, 0.0), (0.0, 0.0, 6.0), (2 * amount - 3, 8.0, 0.0)])
        return torch.exp(-(places - feet[:, None, None, None]).square().sum(-1) / (2 * 1.2**2)).sum(0)

    images = torch.stack([project(detailed(float(x)), turn[None])[0] for x, turn in zip(amounts, rotations, strict=True)])
    rough = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"))
    for _ in fit(rough, images, FITTING, random_stream(0, "order"), epochs=range(60), of=60):
        pass
    finer = FITTING.finer
    sharp = sharpened_model(rough, 2 * SIZE, finer, random_stream(0, "sharper"))
    before, after = (model_volumes(model, [0, 20], images[[0, 20]]) for model in (rough, sharp))
    assert float(fourier_shell_correlation(before, after)[:, 1:6].min()) > 0.98
    shown = float(residual_fractions(sharp, images, finer, 1.0).mean())
    for _ in fit(sharp, images, finer, random_stream(0, "more"), epochs=range(20), of=20):
        pass
    assert float(residual_fractions(sharp, images, finer, 1.0).mean()) < 0.5 * shown
    truth = rotate(detailed(float(amounts[0])), rotations[0])
    finds = [model_volumes(model, [0], images[[0]])[0] for model in (rough, sharp)]
    details = [float(fourier_shell_correlation(found, truth)[9:13].mean()) for found in finds]
    assert details[1] > details[0] + 0.2


@pytest.mark.parametrize(
    ("size", "sides"), [(24, [32]), (32, [32]), (33, [32, 64]), (64, [32, 64]), (65, [32, 64, 128]), (136, [32, 64, 128])]
)
def test_levels_go_up_to_the_size_of_the_images_and_no_further_than_128(size, sides):
    assert [level.side for level in DeformationSettings().levels(size)] == sides


def test_left_out_images_tell_a_moving_molecule_from_a_rigid_one(moving, consensus):
    images, rotations, _ = moving
    still = torch.stack([project(conformation(0.0), turn[None])[0] for turn in rotations])
    taught = torch.arange(len(images)) % 5 > 0
    trial = replace(FITTING, trial=1 / 3)
    share = []
    for stack, mean in ((images, consensus), (still, conformation(0.0))):
        left = []
        for moves in (True, False):
            motion = model_from_consensus(mean, rotations, FITTING, random_stream(0, "start"), moves=moves)
            for _ in fit(motion, stack, trial, random_stream(0, "order"), epochs=range(40), of=120, taught=taught):
                pass
            left.append(float(residual_fractions(motion, stack, trial, 39 / 119)[~taught].mean()))
        share.append(left[0] / left[1])
    assert share[0] < 0.3
    assert share[1] > 0.6


def test_left_out_images_tell_a_real_way_to_move_from_those_learned_from_noise(moving, consensus):
    images, rotations, amounts = moving
    noisy = images + 0.3 * images.std() * torch.randn(images.shape, generator=random_stream(5))
    fitting, taught = replace(FITTING, coordinates=3, fields=4), torch.arange(len(noisy)) % 4 > 0
    model = model_from_consensus(consensus, rotations, fitting, random_stream(0, "start"))
    for _ in fit(model, noisy, fitting, random_stream(0, "order"), epochs=range(120), of=120, taught=taught):
        pass
    asked = (~taught).nonzero()[:, 0]
    ways, all_ways = (
        principal_ways(model, noisy, fitting, 1.0, taught=taught, asked=asked, count=count) for count in (3, fitting.basis_functions)
    )
    assert ways.real == [0]
    assert abs(np.corrcoef(ways.distances[:, 0].detach(), amounts)[0, 1]) > 0.9
    spread = ways.distances[taught].square().mean(0)  # in float64, of a matrix of products
    assert bool((spread.diff() <= 1e-12 * spread[0]).all())
    torch.testing.assert_close(all_ways.left[-1], residual_fractions(model, noisy, fitting, 1.0)[asked], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(
    ("left", "real"), [([1.0, 0.5, 0.49, 0.4], [0, 2]), ([1.0, 0.99, 0.98, 0.98], [0]), ([1.0, 1.0, 0.97, 0.97], [1])]
)
def test_a_way_is_real_if_it_explains_left_out_images(left, real):
    assert Ways(torch.zeros(1, 3), torch.tensor(left)[:, None]).real == real


def test_displacements_grow_as_the_part_moves_away_from_the_middle(learned, moving, consensus):
    images, rotations, amounts = moving
    found = displacements(learned, torch.arange(len(images)))
    assert float(torch.corrcoef(torch.stack([found, amounts.abs()]))[0, 1]) > 0.95
    still = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"), moves=False)
    rounding = torch.finfo(torch.float32).eps * SIZE / 2  # of a place, which is at most 1 in half sides, in pixels
    assert float(displacements(still, torch.arange(len(images))).max()) <= rounding


@pytest.mark.parametrize(
    ("still", "moving", "displaced", "expected"),
    [
        ([0.04, 0.02, 0.03], [0.02, 0.01, 0.015], [0.7, 0.7, 0.7], 0.35),  # half is explained, by 0.7 pixels
        ([0.04] * 10 + [0.9], [0.04] * 10 + [0.01], [0.2] * 10 + [9.0], 0.0),  # one bad image of eleven says nothing
        ([0.04] * 6 + [0.10] * 3, [0.04] * 6 + [0.05] * 3, [0.0] * 6 + [2.0] * 3, 1.0),  # a third shows another state
        ([0.04, 0.04, 0.04], [0.05, 0.05, 0.05], [0.5, 0.5, 0.5], 0.0),  # motion explains less
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1], 0.0),  # nothing is left by either
    ],
)
def test_evidence_is_what_motion_explains_times_how_far_it_goes(still, moving, displaced, expected):
    assert evidence(still, moving, displaced) == pytest.approx(expected)


def test_images_that_do_not_teach_change_nothing_that_is_shared(moving, consensus):
    images, rotations, _ = moving
    motion = model_from_consensus(consensus, rotations, FITTING, random_stream(0, "start"))
    before = {name: value.clone() for name, value in motion.state_dict().items()}
    nobody = torch.zeros(len(images), dtype=torch.bool)
    for _ in fit(motion, images, FITTING, random_stream(0, "order"), epochs=range(2), of=120, taught=nobody):
        pass
    changed = {name for name, value in motion.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"turns", "shifts", "coordinates"}


def shared_after(images: torch.Tensor, rotations: torch.Tensor, consensus: torch.Tensor, fitting: DeformationSettings, **options) -> DeformationModel:
    """A model after three passes."""
    motion = model_from_consensus(consensus, rotations, fitting, random_stream(0, "start"))
    with one_thread():  # as in a run; more threads add up in any order
        for _ in fit(motion, images, fitting, random_stream(0, "order"), epochs=range(3), of=120, **options):
            pass
    return motion


def test_what_images_show_that_do_not_teach_does_not_weigh_the_rings_of_others(moving, consensus):
    images, rotations, _ = moving
    weighed, taught = replace(FITTING, trial=0.0), torch.arange(len(images)) % 3 > 0
    others = torch.where(taught[:, None, None], images, torch.randn(images.shape, generator=random_stream(2, "others")))
    first, second = (shared_after(stack, rotations, consensus, weighed, taught=taught).state_dict() for stack in (images, others))
    changed = {name for name, value in first.items() if not torch.equal(value, second[name])}
    assert changed == {"turns", "shifts", "coordinates"}


def test_rings_are_weighed_after_a_trial_and_not_before(moving, consensus):
    images, rotations, _ = moving
    plain, within, after = (
        shared_after(images, rotations, consensus, replace(FITTING, trial=trial)).points.detach()
        for trial in (1.0, 3 / 120, 2 / 120)
    )
    assert torch.equal(plain, within)
    assert not torch.equal(plain, after)


def test_threads_do_not_change_what_is_learned(moving, consensus):
    images, rotations, _ = moving
    weighed = replace(FITTING, trial=0.0)
    one, two = (shared_after(images, rotations, consensus, weighed, threads=threads).state_dict() for threads in (1, 2))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_conformations_keep_the_symmetry():
    group = point_group("D2").float()
    volume = torch.stack([rotate(blobs((3.5, 2, 1.5)), turn) for turn in group]).sum(0)
    motion = model_from_consensus(volume, random_rotations(30, random_stream(0, "poses")), FITTING, random_stream(0, "start"), group=group)
    assert len(motion.points) < 0.4 * int((volume > 0.12 * volume.max()).sum())
    with torch.no_grad():
        places, masses = motion.conformations(torch.tensor([3]))
    for turn in group:
        distances = torch.cdist(places[0] @ turn.T, places[0], compute_mode="donot_use_mm_for_euclid_dist")
        assert float(distances.amin(1).max()) < 1e-5
    assert float(masses.sum()) == pytest.approx(float(motion.masses.detach().sum()))


def test_whitening_makes_finer_rings_as_strong_as_coarse_ones():
    noise = torch.randn(400, 32, 32, generator=random_stream(3, "noise"))
    coloured = low_pass(noise, 6.0, 2, width=8.0)
    ring = shell_index(32, 2)

    def unevenness(images: torch.Tensor) -> float:
        power = centred_fft(images, 2).abs().square().mean(0)
        rings = torch.stack([power[ring == number].mean() for number in range(1, 16)])
        return float(rings.max() / rings.min())

    assert unevenness(coloured) > 20
    assert unevenness(filtered(coloured, ring_weights(coloured))) < 1.2
    assert torch.equal(ring_weights(noise - coloured), torch.ones(17))  # finer rings stronger: none counts less for that
    flat = filtered(noise, ring_weights(noise))
    assert float((flat / flat.std() - noise / noise.std()).abs().max()) < 0.3  # what is white stays what it is


def test_whitening_is_one_filter_of_the_field_of_view_whatever_the_side():
    left = low_pass(torch.randn(50, 32, 32, generator=random_stream(4, "noise")), 8.0, 2, width=8.0)
    gains = ring_weights(left)
    images = low_pass(torch.randn(3, 32, 32, generator=random_stream(5, "images")), 8.0, 2)
    smaller = filtered(resample(images, 24, 2), gains)
    assert torch.allclose(smaller, resample(filtered(images, gains), 24, 2), atol=1e-3 * float(smaller.abs().max()))


@pytest.mark.parametrize("size", [7, 8])
def test_nothing_left_weighs_no_ring_more_than_another(size):
    assert torch.equal(ring_weights(torch.zeros(2, size, size)), torch.ones(size // 2 + 1))
