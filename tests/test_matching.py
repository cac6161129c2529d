"""Poses of images in a volume: found again where they are known, whatever the hand."""

import math

import pytest
import torch

from scoretomo.fourier import coordinates
from scoretomo.matching import Matcher, Poses, directions, mean_correlation, refine
from scoretomo.projection import mirror, project
from scoretomo.rotations import angular_distance, random_rotations

SIZE = 24


def blobs(seed: int = 0) -> torch.Tensor:
    """An asymmetric volume of Gaussian blobs."""
    generator = torch.Generator().manual_seed(seed)
    centres = (torch.rand(8, 3, generator=generator) - 0.5) * 0.5 * SIZE
    points = coordinates(SIZE, 3).permute(1, 2, 3, 0)
    return torch.exp(-(points[..., None, :] - centres).square().sum(-1) / 8).sum(-1)


def moved(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Images moved by (x, y) pixels."""
    frequency = torch.fft.fftfreq(SIZE)
    phase = shifts[:, :1, None] * frequency + shifts[:, 1:, None] * frequency[:, None]
    return torch.fft.ifft2(torch.fft.fft2(images) * torch.exp(-2j * math.pi * phase)).real


def test_directions_cover_half_a_sphere():
    to_z = directions(500)[:, 2]
    assert bool((to_z[:, 2] > 0).all())
    anywhere = random_rotations(1000, torch.Generator().manual_seed(0))[:, 2]
    nearest = (anywhere @ to_z.T).abs().amax(1).clamp(max=1).acos().rad2deg()
    assert float(nearest.max()) < 145 / math.sqrt(500)


def test_directions_turn_as_one():
    turn = random_rotations(1, torch.Generator().manual_seed(1), dtype=torch.float64)[0]
    assert torch.allclose(directions(20, turn=turn), directions(20) @ turn.float(), atol=1e-6)


@pytest.mark.parametrize("hand", ["same", "mirrored"])
def test_match_and_refinement_find_poses_and_shifts(hand):
    generator = torch.Generator().manual_seed(0)
    volume, rotations = blobs(), random_rotations(40, generator)
    shifts = (torch.rand(40, 2, generator=generator) - 0.5) * 1.5
    images = moved(project(volume, rotations), shifts)
    seen = mirror(volume) if hand == "mirrored" else volume
    matched = Matcher(images).match(seen, directions(500))
    poses = refine(seen, images, matched, steps=12)
    assert mean_correlation(matched) > 0.95
    solved = poses.correlations > 0.9999
    assert int(solved.sum()) >= 36  # the best direction of the grid may be a wrong one, where shifts are unknown
    assert torch.allclose(poses.shifts[solved], shifts[solved], atol=0.01)
    if hand == "same":
        assert float(angular_distance(poses.rotations, rotations)[solved].max()) < 0.2


def test_refinement_never_makes_a_pose_worse():
    generator = torch.Generator().manual_seed(0)
    images = project(blobs(), random_rotations(20, generator))
    poor = Poses(random_rotations(20, generator), torch.zeros(20, 2), torch.zeros(20))
    before = refine(blobs(), images, poor, steps=0)
    after = refine(blobs(), images, poor, steps=5)
    assert bool((after.correlations >= before.correlations).all())
    assert mean_correlation(after) > mean_correlation(before)


def test_another_volume_covers_less():
    images = project(blobs(), random_rotations(40, torch.Generator().manual_seed(0)))
    matcher, grid = Matcher(images), directions(300)
    assert mean_correlation(matcher.match(blobs(), grid)) > mean_correlation(matcher.match(blobs(seed=1), grid)) + 0.02


def test_tiles_change_nothing():
    images = project(blobs(), random_rotations(10, torch.Generator().manual_seed(0)))
    whole = Matcher(images).match(blobs(), directions(50))
    tiled = Matcher(images, working_memory=1.0).match(blobs(), directions(50))
    assert torch.allclose(whole.rotations, tiled.rotations, atol=1e-3)
    assert torch.allclose(whole.correlations, tiled.correlations, atol=1e-5)
