"""The exact score against the mixture of Gaussians it stands for, with turned images known in closed form."""

import math

import pytest
import torch
from pictures import SIZE, blobs
from torch import Tensor

from scoretomo.denoisers.exact import ExactScore
from scoretomo.fourier import radius


class Case:
    """Normalised images, their exact score, and the same mixture with every template written out."""

    def __init__(self, dtype: torch.dtype, tolerance: float, **options: float) -> None:
        self.mask = (radius(SIZE, 2) < 0.98 * SIZE / 2).to(dtype)
        images = blobs(5, dtype) * self.mask
        inside = images[:, self.mask > 0]
        self.mean, self.scale = inside.mean(), inside.std()
        self.images = (images - self.mean) / self.scale
        self.score = ExactScore(self.images, float(-self.mean / self.scale), self.mask, tolerance=tolerance, **options)
        turns = [2 * math.pi * turn / self.score.images.turns for turn in range(self.score.images.turns)]
        templates = [blobs(5, torch.float64, turn, flip) for flip in (False, True) for turn in turns]
        self.templates = (torch.cat(templates) * self.mask - self.mean) / self.scale

    def mixture(self, views: Tensor, t: float) -> Tensor:
        squared = ((views[:, None].double() - self.templates) * self.mask).square().sum((2, 3))
        return torch.einsum("vk,kyx->vyx", torch.softmax(-squared / (2 * t**2), 1), self.templates)


@pytest.mark.parametrize("t", [0.3, 1.0, 5.0, 50.0])
@pytest.mark.parametrize(("dtype", "tolerance", "error"), [(torch.float32, 1e-6, 1e-3), (torch.float64, 1e-11, 1e-4)])
def test_denoised_view_is_the_mean_of_the_mixture(dtype, tolerance, error, t):
    case = Case(dtype, tolerance)
    noise = torch.randn(case.images.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    views = case.images + t * noise
    expected = case.mixture(views, t)
    assert (case.score(views, t) - expected).norm() < error * expected.norm()


def test_score_is_the_gradient_of_the_log_density():
    case, t = Case(torch.float64, 1e-11), 2.0
    generator = torch.Generator().manual_seed(0)
    view = case.images[:1] + t * torch.randn(1, SIZE, SIZE, generator=generator, dtype=torch.float64)
    direction = torch.randn(1, SIZE, SIZE, generator=generator, dtype=torch.float64) * case.mask

    def log_density(y: Tensor) -> Tensor:
        squared = ((y - case.templates) * case.mask).square().sum((1, 2))
        return torch.logsumexp(-squared / (2 * t**2), 0)

    step = 1e-4
    difference = (log_density(view + step * direction) - log_density(view - step * direction)) / (2 * step)
    score = ((case.score(view, t) - view) / t**2 * direction).sum()
    assert torch.isclose(score, difference, rtol=1e-4)


def test_a_turned_and_flipped_image_is_denoised_to_itself():
    case = Case(torch.float32, 1e-6)
    angle = 2 * math.pi * 3 / case.score.images.turns
    turned = (blobs(5, torch.float32, angle, flip=True) * case.mask - case.mean) / case.scale
    assert (case.score(turned, 0.3) - turned).norm() < 1e-3 * turned.norm()


def test_tiles_change_nothing():
    whole, tiled = Case(torch.float32, 1e-5), Case(torch.float32, 1e-5, working_memory=1.0)
    views = whole.images + torch.randn(whole.images.shape, generator=torch.Generator().manual_seed(0))
    assert tiled.score.tile == 1
    together, alone = whole.score(views, 0.5), tiled.score(views, 0.5)
    assert (together - alone).norm() < 1e-4 * alone.norm()  # the accuracy of the transform


def test_empty_space_stays_empty():
    case = Case(torch.float32, 1e-5)
    outside = case.score(case.images, 0.5)[:, case.mask == 0]
    assert torch.all(outside == case.score.background)


def test_views_are_not_modified():
    case = Case(torch.float32, 1e-5)
    views = case.images.clone()
    case.score(views, 0.5)
    assert torch.equal(views, case.images)


class TestNearest:
    def test_a_turned_and_flipped_image_is_found_with_its_angle(self):
        case = Case(torch.float64, 1e-11)
        order = torch.tensor([3, 0, 4, 1, 2])
        for turn, flip in ((0.7, False), (-2.2, True), (3.05, False)):
            views = (blobs(5, torch.float64, turn, flip)[order] * case.mask - case.mean) / case.scale
            found = case.score.nearest(views)
            assert found.image.tolist() == order.tolist()
            assert (found.flipped == flip).all()
            off = (found.angle - math.degrees(turn) + 180) % 360 - 180
            assert off.abs().max() < 0.2
            assert (found.template - views).norm() < 0.01 * views.norm()

    def test_tiles_change_nothing(self):
        whole, tiled = (Case(torch.float64, 1e-11, working_memory=size) for size in (1e9, 1.0))
        for one, other in zip(whole.score.nearest(whole.images), tiled.score.nearest(whole.images), strict=True):
            assert torch.allclose(one.double(), other.double())

    def test_an_image_that_does_not_count_is_not_the_nearest(self):
        case = Case(torch.float64, 1e-11)
        own = torch.arange(5)
        assert case.score.nearest(case.images).image.tolist() == own.tolist()
        others = case.score.nearest(case.images, other_than=own)
        assert (others.image != own).all()
        squared = ((case.images[:, None] - case.templates) * case.mask).square().sum((2, 3))
        per_image = squared.reshape(5, -1, 5).amin(1)  # over all turns and flips
        distance = ((others.template - case.images) * case.mask).square().sum((1, 2))
        per_image[own, own] = torch.inf
        assert (distance < 1.01 * per_image.amin(1)).all()
        assert (distance > 0.8 * per_image.amin(1)).all()  # the angle is refined between the turns
