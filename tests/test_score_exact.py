"""The exact score against the mixture of Gaussians it stands for, with turned images known in closed form."""

import math

import pytest
import torch
from torch import Tensor

from scoretomo.fourier import coordinates, radius
from scoretomo.score.exact import ExactScore, angular_harmonics, image_of_harmonics

SIZE = 24


def blobs(count: int, dtype: torch.dtype, turn: float = 0.0, flip: bool = False, size: int = SIZE) -> Tensor:
    """Images of Gaussian blobs, flipped (x → −x) and then turned by an angle: evaluated where they are, not interpolated."""
    generator = torch.Generator().manual_seed(1)
    centre = (torch.rand(count, 6, 2, generator=generator, dtype=torch.float64) - 0.5) * size * 0.3
    width = torch.rand(count, 6, generator=generator, dtype=torch.float64) * size / 32 + size / 18
    height = torch.rand(count, 6, generator=generator, dtype=torch.float64)
    if flip:
        centre = centre * torch.tensor([-1, 1])
    c, s = math.cos(turn), math.sin(turn)
    centre = centre @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    pixels = coordinates(size, 2, dtype=torch.float64).permute(1, 2, 0)
    squared = (pixels[None, :, :, None] - centre[:, None, None]).square().sum(-1)
    return (height[:, None, None] * torch.exp(-squared / 2 / width[:, None, None] ** 2)).sum(-1).to(dtype)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 3e-5)])
class TestHarmonics:
    def test_norm_is_kept(self, dtype, error):
        images = blobs(5, dtype)
        power = angular_harmonics(images).abs().square().sum(2)
        norm = 2 * power.sum(1) - power[:, 0]
        assert torch.allclose(norm, images.square().sum((1, 2)), rtol=error)

    def test_image_comes_back(self, dtype, error):
        images = blobs(5, dtype)
        assert (image_of_harmonics(angular_harmonics(images), SIZE) - images).norm() < error * images.norm()

    def test_turning_is_a_phase(self, dtype, error):
        harmonics = angular_harmonics(blobs(5, dtype))
        phase = torch.exp(-0.7j * torch.arange(harmonics.shape[1]))[:, None]
        assert (angular_harmonics(blobs(5, dtype, turn=0.7)) - harmonics * phase).norm() < error * harmonics.norm()

    def test_flipping_is_a_conjugation(self, dtype, error):
        harmonics = angular_harmonics(blobs(5, dtype))
        sign = 1 - 2 * (torch.arange(harmonics.shape[1]) % 2)[:, None]
        assert (angular_harmonics(blobs(5, dtype, flip=True)) - harmonics.conj() * sign).norm() < error * harmonics.norm()


@pytest.mark.parametrize("size", [16, 17])
def test_harmonics_and_image_are_adjoint(size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, size, size, generator=generator, dtype=torch.float64)
    harmonics = angular_harmonics(images)
    other = torch.view_as_complex(torch.randn(*harmonics.shape, 2, generator=generator, dtype=torch.float64))
    twice = torch.full((harmonics.shape[1], 1), 2.0, dtype=torch.float64)
    twice[0] = 1
    left = (twice * (harmonics * other.conj()).real).sum()
    right = (images * image_of_harmonics(other, size)).sum()
    assert abs(left - right) < 1e-12 * harmonics.norm() * other.norm()


class Case:
    """Normalised images, their exact score, and the same mixture with every template written out."""

    def __init__(self, dtype: torch.dtype, tolerance: float, **options: float) -> None:
        self.mask = (radius(SIZE, 2) < 0.98 * SIZE / 2).to(dtype)
        images = blobs(5, dtype) * self.mask
        inside = images[:, self.mask > 0]
        self.mean, self.scale = inside.mean(), inside.std()
        self.images = (images - self.mean) / self.scale
        self.score = ExactScore(self.images, float(-self.mean / self.scale), self.mask, tolerance=tolerance, **options)
        turns = [2 * math.pi * turn / self.score.turns for turn in range(self.score.turns)]
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


def test_turned_and_flipped_images_are_known():
    case = Case(torch.float32, 1e-6)
    angle = 2 * math.pi * 3 / case.score.turns
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

    def test_an_image_that_does_not_count_is_not_found(self):
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
