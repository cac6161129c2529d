"""Angular harmonics: turns are phases, flips conjugations; all turned images without making any of them."""

import math

import pytest
import torch
from pictures import SIZE, blobs

from scoretomo.fourier import radius
from scoretomo.harmonics import TurnedImages, angular_harmonics, image_of_harmonics


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
        assert (
            angular_harmonics(blobs(5, dtype, flip=True)) - harmonics.conj() * sign
        ).norm() < error * harmonics.norm()


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


def turned_images() -> tuple[TurnedImages, torch.Tensor]:
    """Turned images, and views to compare them with."""
    mask = radius(SIZE, 2) < SIZE / 2
    return TurnedImages(blobs(3, torch.float64) * mask, tolerance=1e-12), blobs(5, torch.float64, turn=1.0)[1:] * mask


def test_products_are_those_with_turned_and_flipped_images():
    images, views = turned_images()
    products = images.products(views)
    for flip in (0, 1):
        for turn in (0, 5, images.turns - 2):
            written_out = blobs(3, torch.float64, 2 * math.pi * turn / images.turns, flip=bool(flip))
            expected = torch.einsum("vyx,nyx->vn", views, written_out)
            assert torch.allclose(
                products[:, :, flip, turn], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
            )


def test_weighted_sums_are_adjoint_of_products():
    images, views = turned_images()
    weights = torch.randn(
        len(views), 3, 2, images.turns, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    left, right = (
        (images.products(views) * weights).sum(),
        (images.image(images.weighted_components(weights)) * views).sum(),
    )
    assert abs(left - right) < 1e-12 * weights.norm() * images.products(views).norm()


def test_sums_of_rows_are_weighted_sums():
    images, views = turned_images()
    weights = torch.rand(
        len(views), 3, 2, images.turns, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    view, image, flip = torch.ones(len(views), 3, 2).nonzero(as_tuple=True)
    rows = images.sums(len(views), view, image, flip, weights[view, image, flip])
    assert torch.allclose(rows, images.image(images.weighted_components(weights)), atol=1e-10)


def test_some_of_the_images_are_compared_as_all_are():
    images, views = turned_images()
    some, all_of_them = images.take(slice(1, 3)).products(views), images.products(views)
    rounding = 1e-13 * float(all_of_them.abs().max())  # of sums in float64, which come in another order
    torch.testing.assert_close(some, all_of_them[:, 1:3], rtol=0, atol=rounding)
