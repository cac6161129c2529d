"""Densities by conjugate gradients against a dense solution; weights of rings and images."""

from dataclasses import replace

import pytest
import torch
from bodies import two_bodies

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.densities import DensitySettings, fit_densities
from scoretomo.deformation.bodies.overlap import overlap
from scoretomo.deformation.bodies.views import band_of, body_slices
from scoretomo.deformation.bodies.weights import (
    WeightLimits,
    Weights,
    band_residual_fractions,
    equal_weights,
    weights_from_residuals,
)
from scoretomo.fourier import centred_fft, fourier_shell_correlation, shell_index

RIDGE = 0.03


def test_densities_are_the_least_squares_solution():
    size, images, generator = 5, 8, random_stream(0)
    model = two_bodies(size, images, dtype=torch.float64)
    masks = 0.3 + 0.7 * torch.rand(model.masks.shape, generator=generator, dtype=torch.float64)
    model = replace(model, masks=masks, densities=torch.zeros_like(masks))
    band = band_of(torch.randn(images, size, size, generator=generator, dtype=torch.float64), size, 2)
    weights = Weights(torch.tensor([0.5, 2.0, 1.0]).double(), torch.linspace(0.5, 1.5, images).double())
    units = torch.eye(2 * size**3, dtype=torch.float64).reshape(-1, 2, size, size, size)
    columns = zip(masks, units.reshape(2, -1, 2, size, size, size), model.placements(), strict=True)
    seen = torch.cat(
        [body_slices(mask * unit[:, body], place, band.points) for body, (mask, unit, place) in enumerate(columns)]
    )
    scale = (weights.of_points(band) * weights.images[:, None]).sqrt()
    gains = weights.rings[shell_index(size, 3).clamp(max=2)] * weights.images.sum()
    penalties = centred_fft(units, 3) * (RIDGE * gains).sqrt() / size**1.5
    rows = torch.cat([(seen * scale).flatten(1), penalties.flatten(1)], 1)
    aim = torch.cat([(band.data * scale).flatten(), penalties.new_zeros(penalties[0].numel())])
    real_rows, real_aim = torch.view_as_real(rows).flatten(1).T, torch.view_as_real(aim).flatten()[:, None]
    dense = torch.linalg.lstsq(real_rows, real_aim).solution.reshape(masks.shape)
    fit = fit_densities(model, band, band.data, weights, steps=150, ridge=RIDGE)
    torch.testing.assert_close(fit.model.densities, masks * dense, rtol=0.0, atol=1e-5 * float(dense.abs().max()))
    assert fit.residuals[0] == pytest.approx(1.0)
    assert fit.residuals[-1] < 1e-6
    again = fit_densities(
        replace(fit.model, masks=masks.clamp_min(0.1)), band, band.data, weights, steps=0, ridge=RIDGE
    )
    torch.testing.assert_close(again.model.densities, fit.model.densities)


@pytest.mark.parametrize("saturation", [0.0, 1.0])
def test_densities_come_back_from_views_of_their_union(saturation):
    truth = two_bodies(16, 60, saturation=saturation)
    band = band_of(truth.volumes(range(60)).sum(1), 16, 8)
    masks = (truth.densities > 0.05).float()
    model = replace(truth, densities=torch.zeros_like(masks), masks=masks)
    for steps in (10, 10, 10):
        targets = band.data + overlap(model, band)
        model = fit_densities(model, band, targets, equal_weights(band), steps=steps, ridge=1e-4).model
    for fitted, true in zip(model.volumes([0, 9]), truth.volumes([0, 9]), strict=True):
        assert float(fourier_shell_correlation(fitted, true)[1:8].mean()) > 0.97


def test_default_ridge_hardly_matters_where_images_are_exact_and_holds_noise_down():
    truth, generator = two_bodies(16, 60), random_stream(3)
    band = band_of(truth.volumes(range(60)).sum(1), 16, 8)
    empty = replace(truth, densities=torch.zeros_like(truth.densities))
    steps, ridge = DensitySettings.first, DensitySettings.ridge
    fitted = [fit_densities(empty, band, band.data, equal_weights(band), steps=steps, ridge=r) for r in (0.0, ridge)]
    assert float((fitted[0].model.densities - fitted[1].model.densities).norm() / truth.densities.norm()) < 0.05
    noise = band.data + 20 * torch.randn(band.data.shape, generator=generator, dtype=band.data.dtype)
    noisy = [fit_densities(empty, band, noise, equal_weights(band), steps=20, ridge=r) for r in (0.0, 0.3)]
    assert float(noisy[1].model.densities.norm()) < 0.8 * float(noisy[0].model.densities.norm())


# ---------------------------------------------------------------- weights


def test_rings_count_by_the_inverse_of_what_is_left_of_them_and_bad_images_less():
    size, images, generator = 16, 200, random_stream(1)
    data = torch.randn(images, size, size, generator=generator)
    band = band_of(data, size, 6)
    colour = torch.tensor([1.0, 1.0, 2.0, 0.5, 1.0, 3.0, 1.0])[band.ring]
    noise = 0.5 * torch.randn(band.data.shape, generator=generator, dtype=band.data.dtype) * size * colour
    noise[:5] *= 4
    fractions = band_residual_fractions(noise, band, band.weight)
    weights = weights_from_residuals(noise, band, fractions)
    flat = weights.rings[2:] * torch.tensor([1.0, 1.0, 2.0, 0.5, 1.0, 3.0, 1.0])[2:].square()
    assert float(flat.max() / flat.min()) < 1.2
    assert float(weights.rings[band.ring].mean()) == pytest.approx(1.0)
    assert float(weights.images[:5].max()) < 0.4
    assert float(weights.images[5:].median()) == pytest.approx(1.0, rel=0.05)


def test_images_without_residual_leave_finite_weights():
    band = band_of(torch.randn(4, 8, 8, generator=random_stream(2)), 8, 4)
    nothing = torch.zeros_like(band.data)
    weights = weights_from_residuals(nothing, band, band_residual_fractions(nothing, band, band.weight))
    assert weights.rings.isfinite().all()
    assert float(weights.images.max()) <= WeightLimits.most
    assert float(band_residual_fractions(band.data, band, band.weight)[0]) == pytest.approx(1.0)
