"""How often the aligner finds a random rotation, shift and hand in noise, and how long it takes.

    OMP_NUM_THREADS=1 python benchmarks/alignment.py [--size 48] [--cases 50]          about 2 min on one core

The map is 14 random Gaussians of differing widths. It is mirrored (every second time), turned at random, shifted by up
to a tenth of the box and covered, as is the target, with white noise of the map's own standard deviation.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from machine import Row, shown, write_record
from torch import Tensor

from scoretomo.alignment import align
from scoretomo.fourier import coordinates
from scoretomo.projection import mirror, rotate
from scoretomo.rotations import angular_distance, random_rotations


class Case(NamedTuple):
    """How far an alignment is from the true one."""

    aligned: bool  # the hand is right, and the errors are below 3° and half a voxel
    angle: float  # degrees
    shift: float  # voxels
    seconds: float  # CPU


def blobs(size: int, generator: torch.Generator) -> Tensor:
    """14 Gaussians in a ball of 0.3 of the box, 3 to 8 % of the box wide."""
    centres = torch.randn(14, 3, generator=generator)
    centres = (
        centres / centres.norm(dim=1, keepdim=True) * 0.3 * size * torch.rand(14, 1, generator=generator) ** (1 / 3)
    )
    widths = size * (0.03 + 0.05 * torch.rand(14, generator=generator))
    position = coordinates(size, 3)
    distances = (position - centres[:, :, None, None, None]).square().sum(1)
    return torch.exp(-distances / (2 * widths[:, None, None, None] ** 2)).sum(0)


def measure(number: int, size: int, noise: float) -> Case:
    """Align a map with a copy that was moved at random."""
    generator = torch.Generator().manual_seed(number)
    clean = blobs(size, generator)
    rotation = random_rotations(1, generator)[0]
    shift = (torch.rand(3, generator=generator) - 0.5) * 0.2 * size
    target = rotate(mirror(clean) if number % 2 else clean, rotation, shift)
    moving, target = (
        values + noise * clean.std() * torch.randn(values.shape, generator=generator) for values in (clean, target)
    )
    start = time.process_time()
    alignment = align(moving, target)
    seconds = time.process_time() - start
    angle, apart = float(angular_distance(alignment.rotation, rotation)), float((alignment.shift - shift).norm())
    hand = alignment.mirrored == bool(number % 2)
    if not (aligned := hand and angle < 3 and apart < 0.5):
        print(
            f"case {number} missed: {angle:.1f}°, {apart:.1f} voxels, {'right' if hand else 'wrong'} hand", flush=True
        )
    return Case(aligned, angle, apart, seconds)


def summary(cases: list[Case]) -> Row:
    """All cases as a row of the record."""
    return {
        "maps": len(cases),
        "aligned": sum(case.aligned for case in cases),
        "largest angle / °": max(case.angle for case in cases),
        "largest shift / voxel": max(case.shift for case in cases),
        "CPU-seconds": statistics.mean(case.seconds for case in cases),
        "slowest": max(case.seconds for case in cases),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Align maps moved at random, in noise.")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--noise", type=float, default=1.0, help="in standard deviations of the map, on both maps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.monotonic()
    row = shown(summary([measure(number, options.size, options.noise) for number in range(options.cases)]))
    write_record("alignment", [row], seeds=None, seconds=time.monotonic() - begin, cores=1)


if __name__ == "__main__":
    main()
