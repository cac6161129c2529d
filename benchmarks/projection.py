"""Fourier slices (the package's back end) against rotating grid sampling: time, and error against closed forms.

    OMP_NUM_THREADS=2 python benchmarks/projection.py [--sizes 32 64 88 136] [--views 16 64] [--device cpu]  3 min

The volume is 16 Gaussian blobs of 1.5 to 3 voxels width at every size: detail close to what the voxels can hold. Their
views have a closed form. The error is ‖views − truth‖ / ‖truth‖; the mismatch of the adjoint is that of the two scalar
products.
"""

import argparse
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from machine import Row, processor, shown, write_record
from torch import Tensor
from torch.nn.functional import grid_sample

from scoretomo.fourier import coordinates
from scoretomo.projection import backproject, project
from scoretomo.rotations import random_rotations


class Blobs(NamedTuple):
    """Gaussians about index d // 2, lengths in voxels."""

    centres: Tensor  # (b, 3), (x, y, z)
    widths: Tensor  # (b,)
    heights: Tensor  # (b,)


def draw_blobs(size: int, generator: torch.Generator) -> Blobs:
    """16 blobs that stay inside the box in every pose."""
    directions = torch.nn.functional.normalize(torch.randn(16, 3, generator=generator), dim=1)
    distances = (size / 2 - 12) * torch.rand(16, 1, generator=generator) ** (1 / 3)
    return Blobs(
        directions * distances,
        1.5 + 1.5 * torch.rand(16, generator=generator),
        0.5 + torch.rand(16, generator=generator),
    )


def gaussians(blobs: Blobs, size: int, dims: int) -> Tensor:
    """Voxels (dims 3), or the integral along z (dims 2), of Gaussian blobs."""
    grid = coordinates(size, dims, device=blobs.centres.device)
    total = torch.zeros_like(grid[0])
    for centre, width, height in zip(*blobs, strict=True):
        distance = (grid - centre[:dims].reshape(-1, *[1] * dims)).square().sum(0)
        total += height * (math.sqrt(2 * math.pi) * width) ** (3 - dims) * torch.exp(-distance / (2 * width**2))
    return total


def sampling_grid(rotation: Tensor, size: int) -> Tensor:
    """Where the voxels of the turned volume come from, in the units of grid_sample; (1, d, d, d, 3)."""
    points = coordinates(size, 3, device=rotation.device).flatten(1).T @ rotation + size // 2
    return (points * (2 / (size - 1)) - 1).reshape(1, size, size, size, 3)


def sampled_views(volume: Tensor, rotations: Tensor) -> Tensor:
    """Turn the voxel grid, interpolate between eight voxels, add up along z."""
    grids = (sampling_grid(rotation, volume.shape[-1]) for rotation in rotations)
    return torch.stack([grid_sample(volume[None, None], grid, align_corners=True)[0, 0].sum(0) for grid in grids])


def sampled_backprojection(views: Tensor, rotations: Tensor) -> Tensor:
    """Exact adjoint of `sampled_views`: every pixel is spread over eight voxels at every depth."""
    size = views.shape[-1]
    like = views.new_zeros(1, 1, size, size, size)
    total = torch.zeros_like(like)
    for view, rotation in zip(views, rotations, strict=True):
        smeared, grid = view.expand(1, 1, size, size, size).contiguous(), sampling_grid(rotation, size)
        total += torch.ops.aten.grid_sampler_3d_backward(smeared, like, grid, 0, 0, True, [True, False])[0]
    return total[0, 0]


Operator = Callable[[Tensor, Tensor], Tensor]
BACK_ENDS: dict[str, tuple[Operator, Operator]] = {
    "slice": (project, backproject),
    "grid": (sampled_views, sampled_backprojection),
}


def timed(operator: Operator, values: Tensor, rotations: Tensor) -> tuple[float, Tensor]:
    """Seconds of the fastest of up to five calls (no more are begun after the first second), and the result."""
    seconds: list[float] = []
    while len(seconds) < 5 and sum(seconds) < 1:
        start = time.perf_counter()
        result = operator(values, rotations)
        if values.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def measure(size: int, count: int, device: torch.device) -> Row:
    """A row of the record: both back ends on the same volume and poses."""
    generator = torch.Generator().manual_seed(size)
    blobs = Blobs(*(part.to(device) for part in draw_blobs(size, generator)))
    rotations = random_rotations(count, generator, device=device)
    volume = gaussians(blobs, size, 3)
    truth = torch.stack([gaussians(blobs._replace(centres=blobs.centres @ turn.T), size, 2) for turn in rotations])
    row: Row = {"side / px": size, "views": count}
    for name, (forward, adjoint) in BACK_ENDS.items():
        ahead, views = timed(forward, volume, rotations)
        back, spread = timed(adjoint, truth, rotations)
        error = float((views - truth).norm() / truth.norm())
        mismatch = 1 - float((views.double() * truth).sum() / (spread.double() * volume).sum())
        print(f"{name}: mismatch of the adjoint {abs(mismatch):.1e}")
        row |= {f"{name}, forward / s": ahead, f"{name}, adjoint / s": back, f"{name}, error": error}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and errors of f(V, R) and its adjoint.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 88, 136])
    parser.add_argument("--views", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    machine = torch.cuda.get_device_name(options.device) if options.device.type == "cuda" else processor()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32")
    begin = time.monotonic()
    rows = [shown(measure(size, count, options.device)) for size in options.sizes for count in options.views]
    write_record("projection", rows, seeds=None, seconds=time.monotonic() - begin, cores=torch.get_num_threads())


if __name__ == "__main__":
    main()
