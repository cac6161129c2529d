"""How well a denoiser denoises, against what is known for Gaussian images; and the sample command."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scoretomo import files
from scoretomo.denoisers.denoising_error import denoising_error, wiener_bound
from scoretomo.denoisers.exact import ExactScore
from scoretomo.denoisers.sampling import T_MAX
from scoretomo.fourier import centred_fft, centred_ifft, coordinates, radius
from scoretomo.images import disc
from scoretomo.rundir.directory import RunDirectory

SIZE = 24
Command = Callable[..., tuple[int, str]]


def noise(count: int, seed: int, size: int = SIZE) -> Tensor:
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def amplitude() -> Tensor:
    """Square root of a power spectrum that falls with frequency, on the layout of `centred_fft`, the mean power 1."""
    power = 1 / (1 + (radius(SIZE, 2).round().double() / 3) ** 4)
    return (power / power.mean()).sqrt()


def gaussian_images(count: int, seed: int = 0) -> Tensor:
    """Gaussian images with this spectrum about a round mean."""
    mean = torch.exp(-(radius(SIZE, 2).round().double() ** 2) / 40)
    return mean + centred_ifft(centred_fft(noise(count, seed), 2) * amplitude(), 2).real


@pytest.mark.parametrize("t", [0.05, 0.3, 1.0, 5.0])
def test_the_wiener_filter_reaches_its_bound_on_gaussian_images(t: float) -> None:
    everywhere, power = torch.ones(SIZE, SIZE, dtype=torch.float64), amplitude() ** 2
    mean = torch.exp(-(radius(SIZE, 2).round().double() ** 2) / 40)

    def wiener(views: Tensor, t: float) -> Tensor:
        return mean + centred_ifft(centred_fft(views - mean, 2) * power / (power + t**2), 2).real

    clean = gaussian_images(2000)
    reached = denoising_error(wiener, clean, noise(2000, seed=1), t, everywhere)
    assert reached == pytest.approx(wiener_bound(clean, t, everywhere), rel=0.02)
    exact_bound = float((power * t**2 / (power + t**2)).mean().sqrt())
    assert wiener_bound(clean, t, everywhere) == pytest.approx(exact_bound, rel=0.02)


def test_no_shrinking_denoiser_is_better_than_the_bound_on_gaussian_images() -> None:
    everywhere, clean = torch.ones(SIZE, SIZE, dtype=torch.float64), gaussian_images(500)
    for share in (0.2, 0.5, 0.8):
        error = denoising_error(lambda views, t, share=share: share * views, clean, noise(500, seed=1), 0.5, everywhere)  # type: ignore[misc]
        assert error > 1.1 * wiener_bound(clean, 0.5, everywhere)


def test_the_bound_goes_from_the_noise_to_the_spread_of_the_images() -> None:
    clean, mask = gaussian_images(200), disc(SIZE).double()
    clean = clean * mask
    mean = torch.exp(-(radius(SIZE, 2).round().double() ** 2) / 40)
    spread = float((((clean - mean) * mask).square().sum() / (len(clean) * mask.sum())).sqrt())
    assert wiener_bound(clean, 1e-4, mask) == pytest.approx(1e-4, rel=0.01)
    assert wiener_bound(clean, 1e4, mask) == pytest.approx(spread, rel=0.02)


def test_errors_are_taken_inside_the_mask_only() -> None:
    clean, mask = noise(3, seed=0), disc(SIZE).double()
    wrong_outside = denoising_error(lambda views, t: clean + 7 * (1 - mask), clean, noise(3, seed=1), 0.5, mask)
    wrong_everywhere = denoising_error(lambda views, t: clean + 7, clean, noise(3, seed=1), 0.5, mask)
    assert wrong_outside == pytest.approx(0)
    assert wrong_everywhere == pytest.approx(7)


def test_a_denoiser_that_does_nothing_leaves_the_noise() -> None:
    error = denoising_error(lambda views, t: views, noise(50, seed=0), noise(50, seed=1), 0.3, disc(SIZE).double())
    assert error == pytest.approx(0.3, rel=0.02)


def blobs(count: int, turn: float = 0.0) -> Tensor:
    """Normalised images of blobs, turned where they are, not interpolated."""
    stream = torch.Generator().manual_seed(2)
    centre = (torch.rand(count, 5, 2, generator=stream, dtype=torch.float64) - 0.5) * SIZE * 0.4
    cos, sin = math.cos(turn), math.sin(turn)
    centre = centre @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    away = (
        (coordinates(SIZE, 2, dtype=torch.float64).permute(1, 2, 0)[None, :, :, None] - centre[:, None, None])
        .square()
        .sum(-1)
    )
    return (3 * torch.exp(-away / 8).sum(-1) * disc(SIZE) - 1).float()


@pytest.mark.parametrize("t", [0.02, 0.2])
def test_the_exact_score_beats_the_linear_bound_on_its_own_images_in_its_own_turns(t: float) -> None:
    images, mask = blobs(6), disc(SIZE)
    exact = ExactScore(images, -1.0, mask)
    turned = blobs(6, turn=5 * 2 * math.pi / exact.images.turns)
    assert denoising_error(exact, turned, noise(6, seed=1).float(), t, mask) < 0.7 * wiener_bound(images, t, mask)


def test_the_exact_score_is_off_by_half_a_turn_step_between_its_turns() -> None:
    """So its curve ends in a floor at low noise, and need not be the lowest there."""
    images, mask = blobs(6), disc(SIZE)
    exact = ExactScore(images, -1.0, mask)
    between = blobs(6, turn=5.5 * 2 * math.pi / exact.images.turns)
    low, lower = (denoising_error(exact, between, noise(6, seed=1).float(), t, mask) for t in (0.02, 0.01))
    assert low == pytest.approx(lower, rel=0.05)
    assert low > wiener_bound(images, 0.02, mask)


def test_the_exact_score_denoises_images_it_lacks_worse() -> None:
    """Held out: at low noise it gives the nearest image that it knows, and is worse than doing nothing."""
    images, mask = blobs(6), disc(SIZE)
    exact = ExactScore(images[:5], -1.0, mask)
    assert denoising_error(exact, images[5:], noise(1, seed=1).float(), 0.1, mask) > 0.2


@pytest.fixture
def trained(tmp_path: Path, command: Command) -> Path:
    np.save(tmp_path / "classes.npy", blobs(6)[:, 4:20, 4:20].numpy())
    code, said = command(
        "train", tmp_path / "classes.npy", "--output", tmp_path / "run", "--examples", 32, "--held-out", 1
    )
    assert code == 0, said
    return tmp_path / "run"


@pytest.mark.slow
def test_samples_are_written_once_with_their_nearest_images(
    trained: Path, command: Command, wording: Callable[[object], None]
) -> None:
    settings = ("--samples", 5, "--steps", 4)
    code, said = command("sample", trained, *settings)
    assert code == 0, said
    rows = RunDirectory(trained).samples.rows.read()
    assert [row.sample for row in rows] == list(range(5))
    assert {row.nearest for row in rows} <= {0, 1, 2, 4, 5}  # 3 is held out
    stacks = [files.read_images(trained / "samples" / f"{name}.mrcs").images for name in ("samples", "nearest")]
    prepared = json.loads((trained / "images.json").read_text())
    normalised = [torch.from_numpy((np.array(stack) - prepared["mu"]) / prepared["s"]).float() for stack in stacks]
    inside = disc(16) > 0
    for row, first, second in zip(rows, *normalised, strict=True):
        measured = np.corrcoef(first[inside], second[inside])[0, 1]
        assert row.correlation == pytest.approx(measured, abs=1e-3)
    written = {
        name: (trained / "samples" / name).read_bytes() for name in ("samples.mrcs", "samples.csv", "montage.png")
    }
    code, said = command("sample", trained, *settings)
    assert code == 0
    wording(said)
    assert all((trained / "samples" / name).read_bytes() == content for name, content in written.items())
    code, said = command("sample", trained, "--samples", 2, "--steps", 4)
    assert code == 2
    wording(said)
    assert command("sample", trained, "--samples", 2, "--steps", 4, "--force")[0] == 0
    fewer = np.array(files.read_images(trained / "samples" / "samples.mrcs").images)
    rounding = (
        np.finfo(np.float32).eps * 4 * T_MAX * prepared["s"]
    )  # of what sampling begins with: noise, to four of its widths
    np.testing.assert_allclose(fewer, np.array(stacks[0])[:2], rtol=0, atol=4 * rounding)  # one for each step


@pytest.mark.slow
def test_the_denoising_curve_has_an_error_for_every_denoiser_and_kind(trained: Path) -> None:
    rows = RunDirectory(trained).denoising.read()
    assert len(rows) >= 12
    assert all(value > 0 for row in rows for value in row)
    assert rows[0].exact_training < rows[0].exact_held_out


def test_samples_need_a_network(tmp_path: Path, command: Command, wording: Callable[[object], None]) -> None:
    np.save(tmp_path / "classes.npy", blobs(6)[:, 4:20, 4:20].numpy())
    assert command("import", tmp_path / "classes.npy", "--output", tmp_path / "run" / "images.mrcs")[0] == 0
    code, said = command("sample", tmp_path / "run")
    assert code == 2
    wording(said)
