"""FSC results are those a microscopist expects, and the conformation gain is 0 and 1 where it should be."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from scoretomo.evaluation import (
    common_grid,
    compare,
    compare_in_place,
    conformation_gain,
    interpolated,
    regrid,
    single_map,
)
from scoretomo.fourier import coordinates, fourier_shell_correlation, mean_fsc, soft_edge
from scoretomo.projection import mirror, rotate
from scoretomo.rotations import random_rotations


def phantom(size: int, seed: int = 0) -> Tensor:
    """24 Gaussians in the inscribed ball, fine enough to reach every shell."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(24, 3, generator=generator, dtype=torch.float64)
    centres = (
        centres / centres.norm(dim=1, keepdim=True) * 0.3 * size * torch.rand(24, 1, generator=generator) ** (1 / 3)
    )
    widths = 0.7 + 1.5 * torch.rand(24, generator=generator, dtype=torch.float64)
    position = coordinates(size, 3, dtype=torch.float64)
    distances = (position - centres[:, :, None, None, None]).square().sum(1)
    return torch.exp(-distances / (2 * widths[:, None, None, None] ** 2)).sum(0).float()


def noise(size: int, seed: int) -> Tensor:
    return torch.randn(size, size, size, generator=torch.Generator().manual_seed(seed))


def test_a_map_against_itself_has_the_highest_fsc() -> None:
    fsc = compare(phantom(24), phantom(24), 3.0)
    assert torch.allclose(fsc.curve[1:], torch.ones(12, dtype=torch.float64), atol=1e-3)
    assert fsc.mean_fsc == pytest.approx(1, abs=1e-3)
    assert fsc.auc == pytest.approx(0.5, abs=1e-3)
    assert fsc.resolution_0_5 == fsc.resolution_0_143 == pytest.approx(6.0)  # Nyquist
    assert fsc.alignment.mirrored is False


@pytest.mark.parametrize("size", [16, 17])
def test_a_delta_shifted_by_whole_voxels_has_fsc_1(size: int) -> None:
    delta = torch.zeros(size, size, size)
    delta[size // 2, size // 2, size // 2] = 1
    fsc = compare(delta.roll((2, -1, 3), (0, 1, 2)), delta)
    assert (fsc.curve > 0.999).all()
    assert fsc.auc == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("size", [32, 33])
def test_a_truth_turned_at_random_and_aligned_back_has_mean_fsc_above_098(size: int) -> None:
    truth = phantom(size)
    rotation = random_rotations(1, torch.Generator().manual_seed(1))[0]
    fsc = compare(rotate(truth, rotation, torch.tensor([0.7, -1.6, 0.3])), truth)
    assert fsc.mean_fsc > 0.98
    assert (fsc.curve > 0.95).all()


def test_the_mirror_image_has_fsc_1_and_is_said_to_be_mirrored() -> None:
    truth = phantom(32)
    fsc = compare(rotate(mirror(truth), random_rotations(1, torch.Generator().manual_seed(2))[0]), truth)
    assert fsc.alignment.mirrored is True
    assert fsc.mean_fsc > 0.98
    assert compare(mirror(truth), truth, hands=False).mean_fsc < 0.7


def test_noise_against_noise_has_no_fsc() -> None:
    fsc = compare(noise(32, 0), noise(32, 1))
    assert abs(fsc.mean_fsc) < 0.15  # the best of many poses agrees a little in the lowest shells
    assert fsc.curve[8:].abs().max() < 0.1


def test_the_map_is_returned_in_the_frame_of_its_truth() -> None:
    truth = phantom(24)
    fsc = compare(rotate(truth, random_rotations(1, torch.Generator().manual_seed(3))[0]), truth)
    assert mean_fsc(fourier_shell_correlation(fsc.moved, truth)) > 0.95


def test_resolution_is_where_the_map_was_cut_in_angstroms_or_pixels() -> None:
    size, cut = 32, 8
    truth = phantom(size)
    shells = coordinates(size, 3).norm(dim=0)
    keep = soft_edge(shells, cut - 0.25, 0.5)
    blurred = torch.fft.ifftn(torch.fft.fftn(truth) * torch.fft.ifftshift(keep)).real
    fsc = compare_in_place(blurred + 1e-3 * noise(size, 4), truth, 2.0)
    assert fsc.resolution_0_5 == pytest.approx(2.0 * size / (cut + 0.5), rel=0.1)
    assert compare_in_place(blurred + 1e-3 * noise(size, 4), truth).resolution_0_5 == pytest.approx(
        fsc.resolution_0_5 / 2
    )


def test_maps_of_another_pixel_size_meet_on_the_coarser_grid_without_stretching() -> None:
    position = coordinates(48, 3)
    fine = torch.exp(-(position - torch.tensor([4.0, -6.0, 2.0])[:, None, None, None]).square().sum(0) / (2 * 4.0**2))
    position = coordinates(30, 3) * 1.7
    coarse = torch.exp(-(position - torch.tensor([4.0, -6.0, 2.0])[:, None, None, None]).square().sum(0) / (2 * 4.0**2))
    pair = common_grid(fine, coarse, 1.0, 1.7)
    assert pair.pixel_size == 1.7
    assert torch.allclose(pair.first, coarse, atol=1e-3)
    assert torch.equal(pair.second, coarse)
    swapped = common_grid(coarse, fine, 1.7, 1.0)
    assert torch.allclose(swapped.second, coarse, atol=1e-3)


def test_maps_of_one_pixel_size_are_padded_or_cropped() -> None:
    pair = common_grid(torch.ones(8, 8, 8), torch.ones(12, 12, 12), 2.0, 2.0)
    assert pair.second.shape == (8, 8, 8)
    assert pair.second.min() == 1
    assert common_grid(torch.ones(8, 8, 8), torch.ones(4, 4, 4), 2.0, 2.0).second.sum() == 64


def test_a_finer_map_with_a_wider_view_does_not_fold_over() -> None:
    wide = torch.zeros(40, 40, 40)
    wide[20, 20, 38] = 1  # outside the 12 × 2 voxels seen by the coarse grid
    assert regrid(wide, 12, 2.0).abs().max() < 1e-3


def test_maps_of_unknown_pixel_size_must_have_the_same_side() -> None:
    assert common_grid(torch.ones(8, 8, 8), torch.ones(8, 8, 8)).pixel_size is None
    assert common_grid(torch.ones(8, 8, 8), torch.ones(8, 8, 8), None, 2.5).pixel_size == 2.5
    with pytest.raises(ValueError, match="8 and 9 voxels"):
        common_grid(torch.ones(8, 8, 8), torch.ones(9, 9, 9), 2.0, None)
    with pytest.raises(ValueError, match="longer"):
        regrid(torch.ones(8, 8, 8), 8, 0.5)


def moving_object(size: int) -> tuple[list[Tensor], Tensor]:
    """Two conformations, each in three poses: a body and a ball that is here or there."""
    position = coordinates(size, 3)
    ends = size * torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.0, 0.3]])
    balls = torch.exp(-(position - ends[:, :, None, None, None]).square().sum(1) / 4) * 8
    rotations = random_rotations(6, torch.Generator().manual_seed(5))
    body = phantom(size, 6)
    return [rotate(body + balls[i % 2], rotation) for i, rotation in enumerate(rotations)], rotations


def test_the_single_map_of_a_rigid_object_is_the_object() -> None:
    body, rotations = phantom(24), random_rotations(4, torch.Generator().manual_seed(6))
    found = single_map((rotate(body, rotation) for rotation in rotations), rotations)
    assert mean_fsc(fourier_shell_correlation(found, rotate(body, torch.eye(3)))) > 0.99


def test_the_single_map_holds_one_truth_at_a_time() -> None:
    alive: list[int] = []

    def read() -> Iterator[Tensor]:
        for number in range(3):
            alive.append(number)
            yield phantom(12, number)

    found = single_map(read(), random_rotations(3, torch.Generator().manual_seed(7)))
    assert alive == [0, 1, 2]
    assert found.shape == (12, 12, 12)
    with pytest.raises(ValueError, match="truth"):
        single_map([], [])
    with pytest.raises(ValueError, match="argument 2"):
        single_map([phantom(12)], random_rotations(2, torch.Generator().manual_seed(7)))


def test_the_gain_is_0_for_the_single_map_and_1_for_the_interpolated_truth() -> None:
    truths, rotations = moving_object(24)
    rigid = single_map(truths, rotations)

    def fsc(volumes: list[Tensor]) -> float:
        return sum(compare_in_place(volume, truth).mean_fsc for volume, truth in zip(volumes, truths, strict=True)) / 6

    single = fsc([rotate(rigid, rotation) for rotation in rotations])
    ceiling = fsc([interpolated(truth, rotation) for truth, rotation in zip(truths, rotations, strict=True)])
    assert single < 0.95 < ceiling
    assert conformation_gain(single, single, ceiling) == 0
    assert conformation_gain(ceiling, single, ceiling) == 1
    half = fsc([rotate(rigid, rotation) + truth for rotation, truth in zip(rotations, truths, strict=True)])
    assert 0.2 < conformation_gain(half, single, ceiling) < 1


def test_a_map_worse_than_rigid_has_a_negative_gain_and_a_rigid_object_none() -> None:
    assert conformation_gain(0.6, 0.7, 0.9) == pytest.approx(-0.5)
    assert math.isnan(conformation_gain(0.9, 0.9, 0.9))
    assert math.isnan(conformation_gain(0.84, 0.9985, 0.9987))  # a rigid molecule
