"""On a GPU the transforms are those of the CPU. Skipped where there is none, or no cufinufft."""

import pytest
import torch
from torch import Tensor

from scoretomo.compute import best_device
from scoretomo.fourier import adjoint_transform_of_points, transform_of_points
from scoretomo.projection import backproject, project
from scoretomo.rotations import random_rotations

pytestmark = pytest.mark.skipif(best_device().type != "cuda", reason="no GPU")
_EXACT = {torch.float32: 2e-4, torch.float64: 1e-11}


def apart(first: Tensor, second: Tensor) -> float:
    return float((first - second.cpu()).norm() / first.norm())


@pytest.mark.parametrize("dtype", _EXACT)
@pytest.mark.parametrize("count", [1, 3])
def test_views_and_their_adjoint_are_those_of_the_cpu(dtype: torch.dtype, count: int) -> None:
    stream, device = torch.Generator().manual_seed(0), best_device()
    for size, number in ((16, 5), (20, 7), (16, 9)):  # plans are kept: the last one meets the first one's again
        rotations = random_rotations(number, stream, dtype=dtype)
        volumes = torch.randn(count, size, size, size, generator=stream, dtype=dtype)
        images = torch.randn(count, number, size, size, generator=stream, dtype=dtype)
        views, smeared = (
            project(volumes.to(device), rotations.to(device)),
            backproject(images.to(device), rotations.to(device)),
        )
        assert apart(project(volumes, rotations), views) < _EXACT[dtype]
        assert apart(backproject(images, rotations), smeared) < _EXACT[dtype]
        both = (views.cpu() * images).sum(), (volumes * smeared.cpu()).sum()
        assert abs(both[0] - both[1]) < _EXACT[dtype] * views.norm().cpu() * images.norm() / 10


@pytest.mark.parametrize("dtype", _EXACT)
def test_points_are_those_of_the_cpu(dtype: torch.dtype) -> None:
    stream, device = torch.Generator().manual_seed(0), best_device()
    points = torch.rand(500, 2, generator=stream, dtype=dtype) * 6 - 3
    masses = torch.rand(500, generator=stream, dtype=dtype)
    found = transform_of_points(masses, points, 24)
    assert apart(found, transform_of_points(masses.to(device), points.to(device), 24)) < _EXACT[dtype]
    spectra = torch.stack([found, found.conj()])
    back = adjoint_transform_of_points(spectra.to(device), points.to(device))
    assert apart(adjoint_transform_of_points(spectra, points), back) < _EXACT[dtype]
