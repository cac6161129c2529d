"""The aligner finds rotation, shift and hand from anywhere, in noise, and for maps of every kind."""

import pytest
import torch
from torch import Tensor

from scoretomo.alignment import Alignment, align, place, refine_alignment
from scoretomo.compute import one_thread
from scoretomo.fourier import coordinates, fourier_shell_correlation, low_pass, mean_fsc, radius
from scoretomo.projection import mirror, rotate
from scoretomo.rotations import angular_distance, random_rotations, rotation_from_vector


def blobs(size: int, generator: torch.Generator) -> Tensor:
    """14 Gaussians of differing widths in a ball of 0.3 of the box."""
    centres = torch.randn(14, 3, generator=generator)
    centres = (
        centres / centres.norm(dim=1, keepdim=True) * 0.3 * size * torch.rand(14, 1, generator=generator) ** (1 / 3)
    )
    widths = size * (0.03 + 0.05 * torch.rand(14, generator=generator))
    distances = (coordinates(size, 3) - centres[:, :, None, None, None]).square().sum(1)
    return torch.exp(-distances / (2 * widths[:, None, None, None] ** 2)).sum(0)


def moved_at_random(volume: Tensor, generator: torch.Generator, *, mirrored: bool) -> tuple[Tensor, Alignment]:
    rotation = random_rotations(1, generator)[0]
    shift = (torch.rand(3, generator=generator) - 0.5) * 0.2 * volume.shape[-1]
    truth = Alignment(rotation, shift, mirrored, 1.0)
    return place(volume, truth), truth


def noisy(volume: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    return volume + like.std() * torch.randn(volume.shape, generator=generator)


def agreement(moving: Tensor, target: Tensor, found: Alignment) -> float:
    inside = place(target, Alignment(torch.eye(3), torch.zeros(3), False, 1.0))
    return float(mean_fsc(fourier_shell_correlation(place(moving, found), inside)))


CASES = [*((32, case) for case in range(6)), (48, 6), (48, 7), (33, 8)]


@pytest.mark.parametrize(
    ("size", "case"), [pytest.param(*each, marks=[pytest.mark.slow] if each[1] else []) for each in CASES]
)
def test_rotation_shift_and_hand_are_found_in_noise_as_strong_as_the_map(size: int, case: int) -> None:
    generator = torch.Generator().manual_seed(case)
    clean = blobs(size, generator)
    target, truth = moved_at_random(clean, generator, mirrored=case % 2 == 1)
    found = align(noisy(clean, clean, generator), noisy(target, clean, generator))
    assert found.mirrored is truth.mirrored
    assert angular_distance(found.rotation, truth.rotation) < 3
    assert (found.shift - truth.shift).norm() < 0.5


def test_without_noise_the_answer_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = blobs(32, generator)
    target, truth = moved_at_random(clean, generator, mirrored=True)
    found = align(clean, target)
    assert angular_distance(found.rotation, truth.rotation) < 0.1
    assert (found.shift - truth.shift).norm() < 0.01
    assert found.correlation == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_units_and_background_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    clean = blobs(24, generator)
    target, _ = moved_at_random(clean, generator, mirrored=False)
    first, second = align(clean, target), align(1e-4 * clean - 3e-4, 1e3 * target + 50)
    assert first.mirrored == second.mirrored
    assert angular_distance(first.rotation, second.rotation) < 0.1
    assert (first.shift - second.shift).norm() < 0.01


@pytest.mark.slow
def test_the_same_maps_give_the_same_alignment() -> None:
    generator = torch.Generator().manual_seed(2)
    moving, target = blobs(24, generator), blobs(24, generator)
    with one_thread():  # as a worker has; threads add up in any order
        first, second = align(moving, target), align(moving, target)
    assert torch.equal(first.rotation, second.rotation)
    assert torch.equal(first.shift, second.shift)
    assert first.correlation == second.correlation


@pytest.mark.slow
def test_the_hand_stays_without_a_search_of_both_hands() -> None:
    clean = blobs(24, torch.Generator().manual_seed(3))
    assert align(mirror(clean), clean).mirrored is True
    kept = align(mirror(clean), clean, hands=False)
    assert kept.mirrored is False
    assert kept.correlation < 0.97


def test_a_map_onto_itself_stays() -> None:
    clean = blobs(32, torch.Generator().manual_seed(4))
    found = align(clean, clean)
    assert found.mirrored is False
    assert angular_distance(found.rotation, torch.eye(3)) < 0.1
    assert found.shift.norm() < 0.01


def symmetric(size: int) -> Tensor:
    """A D2 map: four copies of a lopsided set of blobs."""
    one = blobs(size, torch.Generator().manual_seed(5))
    turns = torch.pi * torch.cat([torch.zeros(1, 3), torch.eye(3)])
    return torch.stack([rotate(one, turn) for turn in rotation_from_vector(turns)]).sum(0)


def hollow_box(size: int) -> Tensor:
    """Four walls and a floor, open on top, with soft edges."""
    position = coordinates(size, 3).movedim(0, -1) / size

    def block(low: tuple[float, ...], high: tuple[float, ...]) -> Tensor:
        inside = torch.minimum(position - torch.tensor(low), torch.tensor(high) - position).amin(-1)
        return torch.sigmoid(inside * size * 3)

    return block((-0.27, -0.2, -0.23), (0.27, 0.2, 0.23)) * (1 - block((-0.2, -0.13, -0.16), (0.2, 0.13, 0.4)))


def nearly_spherical(size: int) -> Tensor:
    ball = torch.sigmoid((0.3 * size - radius(size, 3)) * 1.5)
    return ball + 0.1 * blobs(size, torch.Generator().manual_seed(6)) * ball


@pytest.mark.slow
@pytest.mark.parametrize("make", [symmetric, hollow_box, nearly_spherical])
def test_symmetric_hollow_and_nearly_round_maps_come_to_lie_on_themselves(make) -> None:  # type: ignore[no-untyped-def]
    for case in range(2):
        clean = make(24)
        target, truth = moved_at_random(clean, torch.Generator().manual_seed(case), mirrored=case == 1)
        found = align(clean, target)
        assert found.correlation > 0.995
        assert agreement(clean, target, found) > agreement(clean, target, truth) - 0.03


@pytest.mark.slow
def test_a_poor_copy_is_aligned_as_well_as_in_its_true_pose() -> None:
    generator = torch.Generator().manual_seed(7)
    clean = blobs(32, generator)
    wrong = low_pass(torch.randn(clean.shape, generator=generator), 6.0, 3)
    poor = low_pass(clean, 7.0, 3) + wrong / wrong.std() * clean.std()
    target, truth = moved_at_random(clean, generator, mirrored=True)
    found = align(poor, target)
    assert found.mirrored is True
    assert angular_distance(found.rotation, truth.rotation) < 5


def test_refinement_brings_a_rough_alignment_to_the_exact_one() -> None:
    generator = torch.Generator().manual_seed(8)
    clean = blobs(32, generator)
    target, truth = moved_at_random(clean, generator, mirrored=True)
    rough = truth._replace(
        rotation=rotation_from_vector(torch.tensor([0.08, -0.05, 0.07])) @ truth.rotation, shift=truth.shift + 0.8
    )
    found = refine_alignment(clean, target, rough)
    assert found.mirrored is True
    assert angular_distance(found.rotation, truth.rotation) < 0.1
    assert (found.shift - truth.shift).norm() < 0.01


def test_refinement_without_a_start_begins_where_the_maps_are() -> None:
    clean = blobs(32, torch.Generator().manual_seed(9))
    turn = rotation_from_vector(torch.tensor([0.0, 0.1, 0.05]))
    found = refine_alignment(clean, rotate(clean, turn, torch.tensor([0.5, 0.0, -1.0])))
    assert angular_distance(found.rotation, turn) < 0.1


@pytest.mark.parametrize("size", [8, 9])
def test_tiny_maps_can_be_aligned(size: int) -> None:
    generator = torch.Generator().manual_seed(10)
    clean = blobs(size, generator)
    assert align(clean, rotate(clean, random_rotations(1, generator)[0])).correlation > 0.9


def test_maps_that_cannot_be_aligned_are_refused() -> None:
    good = blobs(12, torch.Generator().manual_seed(11))
    with pytest.raises(ValueError, match="12×12×12 and 10×10×10"):
        align(good, torch.rand(10, 10, 10))
    with pytest.raises(ValueError, match="constant"):
        align(torch.zeros(12, 12, 12), good)
    with pytest.raises(ValueError, match="not finite"):
        align(good, good * torch.nan)
