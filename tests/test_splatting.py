"""Gaussians at points as images and volumes."""

import pytest
import torch

from scoretomo.deformation.splatting import density, splat
from scoretomo.fourier import coordinates


@pytest.fixture
def points() -> tuple[torch.Tensor, torch.Tensor]:
    """Places (3, 6, 2) and masses (3, 6) in images of 12."""
    generator = torch.Generator().manual_seed(0)
    return 7 * torch.rand(3, 6, 2, generator=generator, dtype=torch.float64) - 3.5, torch.rand(
        3, 6, generator=generator
    ).double()


def test_derivatives_are_right(points):
    places, masses = (each.requires_grad_() for each in points)
    assert torch.autograd.gradcheck(lambda p, m: splat(p, m, 12, 0.9), (places, masses))


@pytest.mark.parametrize("side", [12, 13])
def test_images_are_sums_of_gaussians(points, side):
    places, masses = points
    pixels = coordinates(side, 2, dtype=torch.float64).movedim(0, -1)
    squares = (pixels - places[:, :, None, None]).square().sum(-1)
    expected = (masses[..., None, None] * torch.exp(-squares / (2 * 1.3**2)) / (2 * torch.pi * 1.3**2)).sum(1)
    assert float((splat(places, masses, side, 1.3) - expected).abs().max()) < 1e-4 * float(expected.max())


def test_points_outside_an_image_are_not_visible_in_another(points):
    places, masses = points
    away = places.clone()
    away[1] += 12
    away.requires_grad_()
    seen = splat(away, masses, 12, 0.9)
    images, before = seen.detach(), splat(places, masses, 12, 0.9)
    torch.testing.assert_close(images[2], before[2], rtol=0, atol=0.01 * float(before[2].max()))
    assert float(images[1].abs().max()) < 0.01 * float(before[1].max())
    seen.square().sum().backward()
    assert away.grad is not None
    assert torch.equal(away.grad[1], torch.zeros_like(places[1]))


def test_the_view_of_a_density_is_the_image_of_its_points(points):
    places, masses = 0.4 * points[0], points[1]
    heights = torch.linspace(-2, 2, 6, dtype=torch.float64)[:, None]
    volume = density(torch.cat([places[0], heights], 1), masses[0], 12, 1.1)
    assert float((volume.sum(0) - splat(places[:1], masses[:1], 12, 1.1)[0]).abs().max()) < 5e-4 * float(
        volume.sum(0).max()
    )
