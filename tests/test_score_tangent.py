"""The tangent score: a family of images is known between its samples, however it is turned and flipped."""

import math

import pytest
import torch
from pictures import SIZE, blobs

from scoretomo.denoisers.exact import ExactScore
from scoretomo.denoisers.tangent import TangentScore
from scoretomo.fourier import radius

MASK = (radius(SIZE, 2) < 0.98 * SIZE / 2).float()


def family(places: torch.Tensor, **options: float | bool) -> torch.Tensor:
    """Images that vary along two directions: one picture plus multiples of two others, about unit variance."""
    base, first, second = blobs(3, torch.float32, **options) * MASK
    return 3 * (base + places[:, :1, None] * 0.3 * first + places[:, 1:, None] * 0.3 * second)


def places(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))


def error(images: torch.Tensor, truth: torch.Tensor) -> float:
    return float((images - truth)[:, MASK > 0].square().mean().sqrt())


@pytest.mark.parametrize("t", [0.2, 0.5, 1.0])
def test_images_between_the_samples_are_denoised_better_than_by_the_exact_score(t):
    samples, truth = family(places(60, 0)), family(places(40, 1), turn=2.0, flip=True)
    noisy = truth + t * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    tangent, exact = TangentScore(samples, 0.0, MASK), ExactScore(samples, 0.0, MASK)
    assert error(tangent(noisy, t), truth) < 0.8 * error(exact(noisy, t), truth)


def test_low_noise_is_removed_as_by_the_best_linear_filter():
    t, truth = 0.3, family(places(40, 1))
    noisy = truth + t * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    found = TangentScore(family(places(60, 0)), 0.0, MASK)(noisy, t)
    spread = family(torch.eye(2)) - family(torch.zeros(1, 2))
    directions = torch.linalg.qr(spread.flatten(1).T)[0]
    centre = family(torch.zeros(1, 2))
    covariance = directions.T @ spread.flatten(1).T @ spread.flatten(1) @ directions
    along = (noisy - centre).flatten(1) @ directions
    filtered = along @ torch.linalg.solve(covariance + t**2 * torch.eye(2), covariance)
    best = (filtered @ directions.T).reshape(truth.shape) + centre
    assert error(found, truth) < 2 * error(best, truth)
    assert error(found, truth) < 0.25 * t


def test_turned_and_flipped_views_give_turned_and_flipped_answers():
    score = TangentScore(family(places(30, 0)), 0.0, MASK)
    somewhere = places(10, 1)
    straight, turned = score(family(somewhere), 0.3), score(family(somewhere, turn=1.1, flip=True), 0.3)
    truth, turned_truth = family(somewhere), family(somewhere, turn=1.1, flip=True)
    assert abs(error(straight, truth) - error(turned, turned_truth)) < 0.1 * error(straight, truth) + 1e-3


def test_own_images_stay():
    samples = family(places(30, 0))
    assert error(TangentScore(samples, 0.0, MASK)(samples, 0.05), samples) < 0.02


def test_empty_space_is_background():
    background = -0.4
    samples = family(places(30, 0)) * MASK + background
    clean = TangentScore(samples, background, MASK)(samples + 0.3, 0.3)
    assert bool((clean[:, MASK == 0] == background).all())


def test_tiles_change_nothing():
    samples = family(places(20, 0))
    whole, tiled = TangentScore(samples, 0.0, MASK), TangentScore(samples, 0.0, MASK, working_memory=1.0)
    noisy = samples + 0.5 * torch.randn(samples.shape, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(whole(noisy, 0.5), tiled(noisy, 0.5), atol=1e-3)


@pytest.mark.parametrize("count", [2, 3])
def test_few_images_are_enough_to_be_defined(count):
    samples = family(places(count, 0))
    assert bool(TangentScore(samples, 0.0, MASK)(samples, math.e).isfinite().all())
