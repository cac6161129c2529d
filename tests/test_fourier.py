"""Shells, FSC, resampling and low-pass keep what they promise."""

import pytest
import torch

from scoretomo import fourier


def volume(size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(size: int, periods: tuple[int, int, int]) -> torch.Tensor:
    """cos(2π k·p / d) about index size // 2; periods along x, y, z."""
    k = torch.tensor(periods, dtype=torch.float64)
    position = fourier.coordinates(size, 3, dtype=torch.float64)
    return torch.cos(2 * torch.pi / size * (k[:, None, None, None] * position).sum(0))


@pytest.mark.parametrize("size", [8, 9])
def test_the_origin_of_both_spaces_is_index_half_the_size(size: int) -> None:
    delta = torch.zeros(size, size, size)
    delta[size // 2, size // 2, size // 2] = 1
    spectrum = fourier.centred_fft(delta, 3)
    assert torch.allclose(spectrum, torch.ones_like(spectrum))
    constant = fourier.centred_fft(torch.ones(size, size, size), 3)
    assert constant[size // 2, size // 2, size // 2].real == pytest.approx(size**3)
    assert torch.allclose(fourier.centred_ifft(constant, 3).real, torch.ones(size, size, size), atol=1e-6)


def test_coordinates_name_x_as_the_last_axis() -> None:
    x, y, z = fourier.coordinates(6, 3)
    assert x[0, 0].tolist() == y[0, :, 0].tolist() == z[:, 0, 0].tolist() == [-3, -2, -1, 0, 1, 2]


@pytest.mark.parametrize("size", [12, 13])
def test_shells_number_every_coefficient_by_its_nearest_whole_radius(size: int) -> None:
    shell = fourier.shell_index(size, 3)
    centre = size // 2
    assert shell[centre, centre, centre] == 0
    assert shell[centre, centre, centre + 3] == shell[centre - 3, centre, centre] == 3
    assert int((shell == 1).sum()) == 18  # 6 neighbours at 1 and 12 at √2
    assert torch.equal(shell, shell.transpose(0, 2))


@pytest.mark.parametrize("size", [12, 13])
def test_fsc_of_a_map_with_itself_is_one_and_minus_one_with_its_negative(size: int) -> None:
    curve = fourier.fourier_shell_correlation(volume(size), volume(size))
    assert curve.shape == (size // 2 + 1,)
    assert torch.allclose(curve, torch.ones_like(curve))
    assert torch.allclose(fourier.fourier_shell_correlation(volume(size), -volume(size)), -curve)


def test_fsc_does_not_see_the_scale_and_sees_the_offset_only_in_shell_0() -> None:
    first, second = volume(12, 0), volume(12, 1)
    curve = fourier.fourier_shell_correlation(first, second)
    assert torch.allclose(fourier.fourier_shell_correlation(7 * first, second), curve)
    assert torch.allclose(fourier.fourier_shell_correlation(first + 5, second)[1:], curve[1:])


def test_fsc_is_symmetric_and_broadcasts_over_leading_axes() -> None:
    first, second = torch.stack([volume(10, 0), volume(10, 1)]), volume(10, 2)
    both = fourier.fourier_shell_correlation(first, second)
    assert both.shape == (2, 6)
    assert torch.allclose(both[1], fourier.fourier_shell_correlation(second, first[1]))


def test_fsc_of_independent_noise_is_zero_within_its_error() -> None:
    size = 32
    curve = fourier.fourier_shell_correlation(volume(size, 0), volume(size, 1))
    independent = torch.bincount(fourier.shell_index(size, 3).flatten())[: size // 2 + 1] / 2
    assert (curve[2:].abs() < 4 / independent[2:].sqrt()).all()


def test_fsc_of_signal_in_noise_is_snr_over_snr_plus_one() -> None:
    size, signal = 32, volume(32, 0)
    curve = fourier.fourier_shell_correlation(signal + volume(size, 1), signal + volume(size, 2))
    assert curve[4:].mean() == pytest.approx(0.5, abs=0.02)  # S / (S + N) with S = N


def test_a_shell_empty_in_one_map_has_fsc_0() -> None:
    curve = fourier.fourier_shell_correlation(torch.zeros(8, 8, 8), volume(8).float())
    assert torch.equal(curve, torch.zeros_like(curve))


def test_fsc_shows_the_phase_error_of_a_shift_only_where_it_is() -> None:
    first = wave(16, (2, 0, 0)) + wave(16, (0, 5, 0))
    second = first.roll(4, 2)  # along x: half a period of the first wave
    curve = fourier.fourier_shell_correlation(first, second)
    assert curve[2] == pytest.approx(-1)
    assert curve[5] == pytest.approx(1)


def test_mean_fsc_leaves_out_shell_0() -> None:
    assert float(fourier.mean_fsc(torch.tensor([9.0, 1.0, 0.5, 0.0]))) == pytest.approx(0.5)


@pytest.mark.parametrize("size", [16, 17])
def test_area_under_the_fsc_of_a_perfect_map_is_one_half(size: int) -> None:
    perfect = torch.ones(size // 2 + 1)
    assert fourier.area_under_fsc(perfect, size) == pytest.approx(0.5)
    assert fourier.area_under_fsc(torch.linspace(1, 0, size // 2 + 1), size) == pytest.approx(0.25)


def test_resolution_is_the_first_crossing_between_shells() -> None:
    curve = torch.tensor([1.0, 1.0, 0.8, 0.2, 0.9, 0.9])
    assert fourier.frequency_at(curve, 10, 0.5) == pytest.approx(0.25)


def test_a_curve_that_never_falls_reaches_the_nyquist_frequency() -> None:
    assert fourier.frequency_at(torch.ones(6), 10, 0.5) == 0.5


def test_resolution_of_a_map_without_any_agreement_lies_before_shell_1() -> None:
    assert fourier.frequency_at(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]), 8, 0.5) == pytest.approx(0.5 / 8)


@pytest.mark.parametrize(("old", "new"), [(16, 8), (16, 9), (17, 10), (8, 16), (9, 16), (10, 17)])
def test_resampling_keeps_a_wave_that_both_grids_can_hold(old: int, new: int) -> None:
    found = fourier.resample(wave(old, (2, -1, 3)), new, 3)
    assert torch.allclose(found, wave(new, (2, -1, 3)), atol=1e-10)


@pytest.mark.parametrize(("old", "new"), [(16, 24), (15, 20), (12, 13)])
def test_resampling_up_and_down_again_returns_a_band_limited_map(old: int, new: int) -> None:
    smooth = fourier.resample(fourier.resample(volume(old), old - 4, 3), old, 3)
    assert torch.allclose(fourier.resample(fourier.resample(smooth, new, 3), old, 3), smooth, atol=1e-10)


def test_resampling_keeps_the_mean_and_never_its_input() -> None:
    map_ = volume(12)
    before = map_.clone()
    assert fourier.resample(map_, 8, 3).mean() == pytest.approx(float(map_.mean()))
    fourier.resample(map_, 12, 3).zero_()
    assert torch.equal(map_, before)


@pytest.mark.parametrize(("old", "new"), [(8, 12), (8, 13), (9, 12), (9, 13), (12, 7), (13, 8)])
def test_padding_and_cropping_keep_the_origin(old: int, new: int) -> None:
    map_ = volume(old)
    found = fourier.pad_or_crop(map_, new, 3)
    assert found.shape == (new, new, new)
    assert found[new // 2, new // 2, new // 2] == map_[old // 2, old // 2, old // 2]
    assert found[new // 2 + 2, new // 2, new // 2 - 1] == map_[old // 2 + 2, old // 2, old // 2 - 1]
    if new > old:
        assert torch.equal(fourier.pad_or_crop(found, old, 3), map_)


def test_low_pass_keeps_below_and_removes_above_the_cutoff() -> None:
    found = fourier.low_pass(wave(32, (3, 0, 0)) + wave(32, (0, 12, 0)), 7.0, 3)
    assert torch.allclose(found, wave(32, (3, 0, 0)), atol=1e-6)


def test_transform_at_grid_frequencies_is_the_fft() -> None:
    size = 10
    k = fourier.coordinates(size, 3, dtype=torch.float64).flatten(1).T * (2 * torch.pi / size)
    expected = fourier.centred_fft(volume(size), 3).flatten()
    assert torch.allclose(fourier.transform_at(volume(size)[None], k)[0], expected, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_adjoint_transform_is_the_adjoint(count: int) -> None:
    """Of real arrays, whose transforms are compared by the real inner product."""
    generator = torch.Generator().manual_seed(3)
    points = (torch.rand(50, 3, generator=generator, dtype=torch.float64) * 2 - 1) * torch.pi
    volumes = torch.randn(count, 8, 8, 8, generator=generator, dtype=torch.float64)
    values = torch.randn(count, 50, generator=generator, dtype=torch.complex128)
    transforms = fourier.transform_at(volumes, points)
    left = (transforms.conj() * values).real.sum()
    right = (volumes * fourier.adjoint_transform_at(values, points, 8)).sum()
    assert abs(left - right) < 1e-12 * transforms.norm() * values.norm()


@pytest.mark.parametrize("dims", [2, 3])
def test_adjoint_transform_of_points_is_the_adjoint(dims: int) -> None:
    generator = torch.Generator().manual_seed(4)
    points = (torch.rand(50, dims, generator=generator, dtype=torch.float64) * 2 - 1) * torch.pi
    weights = torch.randn(50, generator=generator, dtype=torch.float64)
    coefficients = torch.randn(3, *[8] * dims, generator=generator, dtype=torch.complex128)
    transform = fourier.transform_of_points(weights, points, 8)
    left = (transform.conj() * coefficients).flatten(1).sum(1)
    right = (weights * fourier.adjoint_transform_of_points(coefficients, points)).sum(1)
    assert float((left - right).abs().max()) < 1e-12 * float(transform.norm() * coefficients.norm())


def test_soft_edge_falls_from_one_to_zero_over_its_width() -> None:
    found = fourier.soft_edge(torch.tensor([0.0, 5.0, 6.0, 7.0, 9.0]), 5.0, 2.0)
    assert torch.allclose(found, torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0]), atol=1e-6)
