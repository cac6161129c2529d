"""The volume that explains posed images best, against a dense solution."""

import pytest
import torch
from molecules import SIZE, blobs, likeness, stream

from scoretomo.fourier import centred_fft, radius, shell_index
from scoretomo.projection import project, rotate
from scoretomo.reconstruction.least_squares import invert, posed_map
from scoretomo.rotations import point_group, random_rotations


@pytest.mark.parametrize("size", [8, 9])
def test_inversion_is_the_least_squares_solution(size):
    generator = stream()
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
    solution = invert(images * masses[:, None, None], masses, rotations, damping, steps=200)
    assert torch.allclose(solution.flatten()[inside], dense, atol=1e-3 * float(dense.abs().max()))


def test_inversion_with_symmetry_needs_fewer_images():
    volume, rotations, group = blobs("D2"), random_rotations(6, stream()), point_group("D2").float()
    images, damping = project(volume, rotations), torch.full((SIZE // 2 + 1,), 0.01)
    plain = invert(images, torch.ones(6), rotations, damping, steps=30)
    imposed = invert(images, torch.ones(6), rotations, damping, group=group, steps=30)
    assert likeness(imposed, volume) > likeness(plain, volume) + 0.1
    for turn in group[1:]:
        assert likeness(rotate(imposed, turn), imposed) > 0.98


def test_posed_map_has_the_images_as_its_views():
    volume, rotations = blobs(), random_rotations(60, stream())
    assert likeness(posed_map(project(volume, rotations), rotations), volume) > 0.95
