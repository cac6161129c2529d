"""Realistic class averages: what is done to the particles is undone as far as their noise allows, and no further."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoretomo.config import RealismSettings
from scoretomo.fourier import centred_fft, radius, shell_index
from scoretomo.images import correlation, disc
from scoretomo.phantoms import ribosome
from scoretomo.projection import project
from scoretomo.rotations import random_rotations
from scoretomo.simulation import average_class, contrast_transfer, measure

SIZE, PIXEL = 48, 6.0
PERFECT = RealismSettings(
    orientation_scatter=(0.0, 0.0),
    shift_scatter=0.0,
    b_factor=0.0,
    snr=(1e4, 1e4),
    bad_classes=0.0,
    particles=(200, 200),
)


@pytest.fixture(scope="module")
def volume() -> Tensor:
    particle = ribosome(PIXEL, 2 * PIXEL)
    middle = torch.zeros(len(particle.parameters), dtype=torch.float64)
    return particle.volume(SIZE, middle, random_rotations(1, torch.Generator().manual_seed(3))[0])


def view(volume: Tensor) -> Tensor:
    return project(volume, torch.eye(3)[None])[0]


def agreement(first: Tensor, second: Tensor) -> float:
    """Correlation inside the soft edge of the mask."""
    return float(correlation(first[None], second[None], radius(SIZE, 2) < 0.8 * SIZE / 2))


def test_contrast_transfer_is_that_of_the_books() -> None:
    """300 kV, 2 µm: λ = 0.0197 Å, zeros where χ + arcsin A is a multiple of π."""
    k = torch.linspace(0, 0.1, 20001, dtype=torch.float64)
    transfer = contrast_transfer(k, torch.tensor([2.0], dtype=torch.float64))[0]
    assert float(transfer[0]) == pytest.approx(0.1)
    first_zero = float(k[(transfer < 0).nonzero()[0]])
    assert first_zero == pytest.approx(math.sqrt((math.pi - math.asin(0.1)) / (math.pi * 0.01969 * 2e4)), rel=2e-3)
    assert float(transfer.abs().max()) <= 1


@pytest.mark.slow
def test_an_average_of_good_particles_is_the_projection_of_the_truth(volume: Tensor) -> None:
    made = average_class(volume, 0, PIXEL, 0, PERFECT)
    assert made.record["class"] == "good"
    assert agreement(made.image, view(volume)) > 0.995


@pytest.mark.slow
@pytest.mark.parametrize(
    "worse",
    [
        {"snr": (0.002, 0.002)},
        {"orientation_scatter": (12.0, 12.0)},
        {"shift_scatter": 3.0},
        {"b_factor": 3000.0, "snr": (0.05, 0.05)},
        {"particles": (3, 3), "snr": (0.05, 0.05)},
    ],
    ids=lambda worse: next(iter(worse)),
)
def test_every_setting_makes_the_average_worse(worse: dict[str, object], volume: Tensor) -> None:
    made = [average_class(volume, number, PIXEL, 0, replace(PERFECT, **worse)).image for number in range(3)]  # type: ignore[arg-type]
    assert sum(agreement(image, view(volume)) for image in made) / 3 < 0.985


@pytest.mark.slow
def test_class_averages_of_usual_particles_are_a_little_worse_than_projections(volume: Tensor) -> None:
    made = [average_class(volume, number, PIXEL, 0, RealismSettings(bad_classes=0.0)) for number in range(8)]
    likeness = torch.tensor([agreement(average.image, view(volume)) for average in made])
    assert 0.9 < float(likeness.min()) < float(likeness.max()) < 0.999
    counts = [int(str(average.record["particles"])) for average in made]
    assert min(counts) >= 50
    assert max(counts) <= 300
    assert len(set(counts)) > 4


@pytest.mark.slow
def test_an_average_depends_on_its_seed_and_number_alone(volume: Tensor) -> None:
    first = average_class(volume, 5, PIXEL, 1, RealismSettings())
    again = average_class(volume, 5, PIXEL, 1, RealismSettings())
    assert torch.equal(first.image, again.image)
    assert first.record == again.record
    for other in (
        average_class(volume, 6, PIXEL, 1, RealismSettings()),
        average_class(volume, 5, PIXEL, 2, RealismSettings()),
    ):
        assert not torch.equal(first.image, other.image)


@pytest.mark.slow
def test_bad_classes_are_as_many_as_requested(volume: Tensor) -> None:
    small = volume[::3, ::3, ::3].contiguous()
    made = [
        average_class(small, number, 3 * PIXEL, 0, RealismSettings(bad_classes=0.5, particles=(20, 30)))
        for number in range(200)
    ]
    kinds = [str(average.record["class"]) for average in made]
    assert set(kinds) == {"good", "few", "mixed", "off-centre", "empty"}
    assert 70 < sum(kind != "good" for kind in kinds) < 130
    usual = [
        agreement_of_small(average.image, small) for average, kind in zip(made, kinds, strict=True) if kind == "good"
    ]
    wrong = [
        agreement_of_small(average.image, small) for average, kind in zip(made, kinds, strict=True) if kind != "good"
    ]
    assert sum(wrong) / len(wrong) < sum(usual) / len(usual) - 0.1


def agreement_of_small(image: Tensor, volume: Tensor) -> float:
    return float(correlation(image[None], view(volume)[None], disc(len(volume))))


@pytest.mark.slow
def test_outside_the_mask_there_is_nothing(volume: Tensor) -> None:
    image = average_class(volume, 0, PIXEL, 0, RealismSettings()).image
    assert float(image[radius(SIZE, 2) > 0.96 * SIZE / 2].abs().max()) < 1e-6


def test_statistics_are_those_of_the_stack() -> None:
    """A wave has its power in its ring; a dark surround shows in the ring."""
    x = torch.arange(64) - 32
    wave = torch.cos(2 * math.pi * 8 * x / 64).expand(64, 64).contiguous()
    found = measure(torch.stack([wave, 3 * wave]), 0.3)
    assert int(found.power.argmax()) == 8
    ring = shell_index(64, 2) == 8
    assert float(found.power[8]) == pytest.approx(1 / int(ring.sum()), rel=1e-6)
    power = centred_fft(wave.double(), 2).abs().square()
    assert float(found.power[8]) == pytest.approx(float(power[ring].mean() / power.sum()), rel=1e-5)
    surround = torch.where(radius(64, 2) < 20, 1.0, -0.5) + 1e-3 * torch.randn(
        64, 64, generator=torch.Generator().manual_seed(0)
    )
    assert measure(surround[None], 0.3).ring < -0.5
