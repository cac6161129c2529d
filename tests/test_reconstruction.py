"""Algorithm 1 against closed forms: the gradient of the Kullback–Leibler divergence, a sphere, stability."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from scoretomo.compute import one_thread
from scoretomo.fourier import radius
from scoretomo.presets import PRESETS
from scoretomo.projection import project
from scoretomo.reconstruction.algorithm import Descent, Step, descent_direction, operator_norm, reconstruct
from scoretomo.rotations import random_rotations

SIZE = 16


def gaussian(size: int, width: float, dims: int) -> Tensor:
    return torch.exp(-radius(size, dims).square() / (2 * width**2))


def run(images: Tensor, denoise, descent: Descent, seed: int = 0, background: float = 0.0) -> Step:
    streams = [torch.Generator().manual_seed(100 * seed + number) for number in range(len(images))]
    views = torch.Generator().manual_seed(seed)
    return list(reconstruct(images, denoise, descent, background=background, views=views, noise=streams))[-1]


def test_descent_direction_is_the_gradient_of_the_divergence():
    """Eq. 5 against finite differences of KL(N(f(V, R), t²I) ‖ p_t), where p_t is a mixture of two images.

    Only the component of the noise along the line between the images matters: Gauss–Hermite quadrature is exact.
    """
    generator = torch.Generator().manual_seed(0)
    size, t = 8, 0.8
    first, second = torch.randn(2, size, size, generator=generator, dtype=torch.float64) * 0.3
    along = (first - second) / (first - second).norm()
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    volume = torch.randn(size, size, size, generator=generator, dtype=torch.float64) * 0.05
    direction = torch.randn(size, size, size, generator=generator, dtype=torch.float64)
    rotations = random_rotations(2, generator, dtype=torch.float64)
    rotations[0] = torch.eye(3)

    def denoise(y: Tensor, t: float) -> Tensor:
        squared = torch.stack([(y - x).square().sum((-2, -1)) for x in (first, second)])
        w = torch.softmax(-squared / (2 * t**2), 0)[..., None, None]
        return w[0] * first + w[1] * second

    def divergence(v: Tensor) -> float:
        view, total = project(v, rotations[1:])[0], 0.0
        for node, weight in zip(nodes, weights, strict=True):
            y = view + t * node * along
            squared = torch.stack([(y - x).square().sum() for x in (first, second)])
            total -= weight * float(torch.logsumexp(-squared / (2 * t**2), 0))
        return total

    gradient = torch.zeros_like(volume)
    for node, weight in zip(nodes, weights, strict=True):
        found = descent_direction(
            volume[None], first[None], denoise, rotations, t, (node * along)[None, None], background=0.0, anchor=0.0
        )
        gradient += weight * found.volumes[0] / t**2
    step = 1e-4
    difference = (divergence(volume + step * direction) - divergence(volume - step * direction)) / (2 * step)
    assert math.isclose(float((gradient * direction).sum()), difference, rel_tol=1e-6)


def test_sphere_is_recovered_from_its_only_image():
    """All views of a sphere are alike, so the descent has one answer."""
    volume = gaussian(SIZE, 2.5, 3)
    image = project(volume, torch.eye(3)[None])
    last = run(image, lambda y, t: image.expand(len(y), -1, -1), Descent(150, (0.5, 0.5), (2, 8)))
    assert (last.volumes[0] - volume).norm() < 0.05 * volume.norm()
    assert last.anchor_residual[0] < 0.02


def test_views_of_an_empty_volume_are_empty_images():
    background = -0.7
    image = torch.full((1, SIZE, SIZE), background)
    seen = []

    def denoise(y: Tensor, t: float) -> Tensor:
        seen.append(y)
        return torch.full_like(y, background)

    last = run(image + gaussian(SIZE, 2, 2), denoise, Descent(1, (1e-6, 1e-6), (3, 3)), background=background)
    assert torch.allclose(seen[0], torch.tensor(background), atol=1e-4)
    assert math.isclose(float(last.view_residual), 0, abs_tol=1e-4)


def test_anchor_holds_the_image():
    image = gaussian(SIZE, 2, 2)[None] * 4
    last = run(image, lambda y, t: torch.zeros_like(y), Descent(100, (1, 1), (2, 2), anchor=20))
    assert last.anchor_residual[0] < 0.1


def test_same_seed_gives_the_same_volume():
    image = gaussian(SIZE, 2, 2)[None]
    descent = Descent(20, (1, 0.5), (2, 5))
    with one_thread():  # as a worker has; threads add up in any order
        first, again, other = (run(image, lambda y, t: y * 0.5, descent, seed).volumes for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_volume_does_not_depend_on_its_batch():
    images = torch.stack([gaussian(SIZE, width, 2) for width in (1.5, 2, 3)])
    descent = Descent(20, (1, 0.5), (2, 5))
    together = run(images, lambda y, t: y * 0.5, descent)
    alone = run(images[:1], lambda y, t: y * 0.5, descent)
    assert torch.allclose(together.volumes[0], alone.volumes[0], atol=1e-5)


def test_diverging_volume_is_held_while_others_go_on():
    images = torch.stack([gaussian(SIZE, 2, 2), gaussian(SIZE, 3, 2)])

    def explode_the_first(y: Tensor, t: float) -> Tensor:
        per_volume = y.reshape(2, -1, SIZE, SIZE)
        return torch.stack([per_volume[0] * 1e3, images[1].expand_as(per_volume[1])]).reshape(y.shape)

    last = run(images, explode_the_first, Descent(60, (0.5, 0.5), (2, 4)))
    assert last.diverged.tolist() == [True, False]
    assert torch.all(last.volumes[0] == 0)
    assert last.anchor_residual[1] < 0.3


@pytest.mark.parametrize(("rate", "stable"), [(1.9, True), (4.0, False)])
def test_rate_of_two_is_the_limit_of_stability(rate, stable):
    """With the anchor alone the operator is fᵀf itself, so the bound on the rate is sharp."""
    image = gaussian(SIZE, 2, 2)[None]
    last = run(image, lambda y, t: y, Descent(200, (1e-6, 1e-6), (1, 1), rate=rate))
    assert bool(last.diverged[0]) is not stable


def test_operator_norm_is_the_largest_gain():
    norm = operator_norm(SIZE)
    assert 0.9 * SIZE < norm < SIZE
    generator = torch.Generator().manual_seed(0)
    ball = (radius(SIZE, 3) < SIZE / 2).float()
    for rotation in random_rotations(5, generator):
        volume = torch.rand(SIZE, SIZE, SIZE, generator=generator) * ball
        gain = project(volume, rotation[None]).square().sum() / volume.square().sum()
        assert gain <= norm * 1.01


def test_schedule_runs_from_first_to_last():
    descent = Descent(11, (1.0, 0.25), (2, 12))
    assert descent.at(0) == (1.0, 2)
    assert descent.at(10) == (0.25, 12)
    assert math.isclose(descent.at(5)[0], 0.5)


def test_paper_preset_is_the_algorithm_of_the_paper():
    paper = PRESETS["paper"]
    assert paper.t[0] == paper.t[1]
    assert paper.anchor == 1
    assert 2 <= paper.views[0] < paper.views[1]
