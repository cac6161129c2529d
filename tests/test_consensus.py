"""The ensemble method: least squares against a dense solution, and a consensus from nothing."""

import pytest
import torch

from scoretomo.alignment import align, place
from scoretomo.consensus.soft_assignment import Annealing, random_blob, assign_softly
from scoretomo.fourier import centred_fft, coordinates, fourier_shell_correlation, radius, shell_index
from scoretomo.matching import Matcher, coverage, directions, refine
from scoretomo.projection import project
from scoretomo.reconstruction.least_squares import invert
from scoretomo.rotations import random_rotations


@pytest.mark.parametrize(("size", "steps"), [(8, 200), (9, 200)])
def test_inversion_is_the_least_squares_solution(size, steps):
    generator = torch.Generator().manual_seed(0)
    rotations = random_rotations(6, generator, dtype=torch.float64)
    masses = torch.rand(6, generator=generator, dtype=torch.float64) + 0.5
    images = torch.randn(6, size, size, generator=generator, dtype=torch.float64)
    damping = torch.linspace(0.1, 0.5, size // 2 + 1, dtype=torch.float64)
    inside = (radius(size, 3) < size / 2).flatten().nonzero()[:, 0]
    units = torch.zeros(len(inside), size**3, dtype=torch.float64)
    units[torch.arange(len(inside)), inside] = 1
    units = units.reshape(-1, size, size, size)
    penalty = damping[shell_index(size, 3).clamp(max=size // 2)] / size**2
    views = (project(units, rotations) * masses[:, None, None].sqrt()).flatten(1)
    spectra = (centred_fft(units, 3) * penalty.sqrt()).flatten(1)
    matrix = torch.cat([views, spectra.real, spectra.imag], 1).T
    aim = torch.cat([(images * masses[:, None, None].sqrt()).flatten(), torch.zeros(len(matrix) - 6 * size**2)])
    dense = torch.linalg.lstsq(matrix, aim[:, None]).solution[:, 0]
    found = invert(images * masses[:, None, None], masses, rotations, damping, steps=steps)
    assert torch.allclose(found.flatten()[inside], dense, atol=1e-3 * float(dense.abs().max()))


def asymmetric(size: int) -> torch.Tensor:
    """A volume of Gaussian blobs without any symmetry."""
    generator = torch.Generator().manual_seed(3)
    centres = (torch.rand(14, 3, generator=generator) - 0.5) * 0.55 * size
    points = coordinates(size, 3).permute(1, 2, 3, 0)
    return torch.exp(-(points[..., None, :] - centres).square().sum(-1) / (2 * (0.08 * size) ** 2)).sum(-1)


@pytest.mark.parametrize("seed", [0, 1])
def test_soft_matching_solves_an_asymmetric_particle_from_a_random_blob(seed):
    volume = asymmetric(16)
    images = project(volume, random_rotations(80, torch.Generator().manual_seed(0)))
    matcher, generator = Matcher(images), torch.Generator().manual_seed(seed)
    annealing = Annealing(iterations=30, directions=120, tau=(0.03, 0.002), shells=(0.4, 1.0))
    *_, last = assign_softly(images, random_blob(images, generator), annealing, generator)
    poses = refine(last.volume, images, matcher.match(last.volume, directions(250)))
    assert coverage(poses) > 0.99
    found = align(last.volume, volume)
    assert float(fourier_shell_correlation(place(last.volume, found), volume)[1:5].mean()) > 0.98
