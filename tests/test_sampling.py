"""Samples against data whose probability-flow ODE has a known solution."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from scoretomo.compute import random_stream
from scoretomo.denoisers.sampling import T_MAX, T_MIN, noise_levels, sample

SIGMA, MEAN = 0.7, 0.3


def gaussian(x: Tensor, t: float) -> Tensor:
    """The denoiser of white Gaussian images: the posterior mean."""
    return MEAN + (x - MEAN) * SIGMA**2 / (SIGMA**2 + t**2)


def noise(count: int, size: int = 8) -> Tensor:
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def solution(start: Tensor, t: float) -> Tensor:
    """x(t) of the ODE of Gaussian data, from x(T)."""
    return MEAN + (start - MEAN) * math.sqrt((SIGMA**2 + t**2) / (SIGMA**2 + T_MAX**2))


def test_noise_levels_are_those_of_karras() -> None:
    levels = noise_levels(18)
    assert levels[0] == pytest.approx(80)
    assert levels[-1] == pytest.approx(0.002)
    expected = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7  # their Eq. 5, i = 5 of N = 18
    assert levels[5] == pytest.approx(expected)
    assert levels == sorted(levels, reverse=True)


def test_every_step_is_on_the_curve_that_gaussian_data_has() -> None:
    start = noise(3)
    for step in list(sample(gaussian, start, noise_levels(256)))[:-1]:
        expected = solution(start * T_MAX, step.t)
        assert (step.images - expected).norm() < 2e-3 * expected.norm()


def test_error_falls_with_the_square_of_the_number_of_steps() -> None:
    start = noise(3)

    def error(count: int) -> float:
        *_, before, _ = sample(gaussian, start, noise_levels(count + 1))
        return float((before.images - solution(start * T_MAX, T_MIN)).norm())

    coarse, middle, fine = error(40), error(80), error(160)
    assert math.log2(coarse / middle) == pytest.approx(2, abs=0.3)
    assert math.log2(middle / fine) == pytest.approx(2, abs=0.3)


def test_samples_of_gaussian_data_have_its_mean_and_spread() -> None:
    *_, last = sample(gaussian, noise(400), noise_levels(64))
    assert float(last.images.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(last.images.std()) == pytest.approx(SIGMA, rel=0.02)


def test_samples_of_a_mixture_are_its_images_in_their_proportions() -> None:
    images = torch.stack([torch.full((4, 4), -1.0), torch.full((4, 4), 2.0)]).double()
    shares = torch.tensor([0.3, 0.7], dtype=torch.float64)

    def mixture(x: Tensor, t: float) -> Tensor:
        squared = (x[:, None] - images).square().sum((2, 3))
        return torch.einsum("vk,kyx->vyx", torch.softmax(-squared / (2 * t**2) + shares.log(), 1), images)

    *_, last = sample(mixture, noise(500, size=4), noise_levels(32))
    distance = (last.images[:, None] - images).abs().amax((2, 3))
    assert float(distance.amin(1).max()) < 1e-3
    assert float((distance.argmin(1) == 1).double().mean()) == pytest.approx(0.7, abs=0.06)


def test_a_sample_does_not_depend_on_how_many_are_drawn() -> None:
    def drawn(count: int) -> Tensor:
        streams = (random_stream(0, "sample", number) for number in range(count))
        start = torch.stack([torch.randn(6, 6, generator=stream) for stream in streams])
        *_, last = sample(gaussian, start, noise_levels(8))
        return last.images

    assert torch.equal(
        drawn(9)[:4], drawn(4)
    )  # exactly: each number comes from its own by sums, products and quotients alone


def test_each_step_calls_the_denoiser_twice_and_the_last_one_denoises() -> None:
    asked: list[float] = []

    def watched(x: Tensor, t: float) -> Tensor:
        asked.append(t)
        return gaussian(x, t)

    levels = noise_levels(5)
    *_, before, last = sample(watched, noise(1), levels)
    assert asked == [t for pair in pairwise(levels) for t in pair] + [levels[-1]]
    assert (last.t, last.step) == (0.0, 5)
    assert torch.equal(last.images, gaussian(before.images, levels[-1]))


def test_noise_is_not_modified() -> None:
    start = noise(2)
    kept = start.clone()
    list(sample(gaussian, start, noise_levels(4)))
    assert torch.equal(start, kept)
