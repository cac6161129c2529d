"""How often the aligner finds a random rotation, shift and hand in noise, and how long it takes.

    OMP_NUM_THREADS=1 python benchmarks/alignment.py [--size 48] [--cases 50]

The map is 14 random Gaussians of differing widths. It is mirrored (every second time), turned at random, shifted by up
to a tenth of the box and covered, as is the target, with white noise of the map's own standard deviation.
"""

import argparse
import time

import torch

from scoretomo.alignment import align
from scoretomo.fourier import coordinates
from scoretomo.projection import mirror, rotate
from scoretomo.rotations import angular_distance, random_rotations


def blobs(size: int, generator: torch.Generator) -> torch.Tensor:
    """14 Gaussians in a ball of 0.3 of the box, 3 to 8 % of the box wide."""
    centres = torch.randn(14, 3, generator=generator)
    centres = (
        centres / centres.norm(dim=1, keepdim=True) * 0.3 * size * torch.rand(14, 1, generator=generator) ** (1 / 3)
    )
    widths = size * (0.03 + 0.05 * torch.rand(14, generator=generator))
    position = coordinates(size, 3)
    distances = (position - centres[:, :, None, None, None]).square().sum(1)
    return torch.exp(-distances / (2 * widths[:, None, None, None] ** 2)).sum(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Align maps moved at random, in noise.")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--noise", type=float, default=1.0, help="in standard deviations of the map, on both maps")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found, angles, shifts, seconds = 0, [], [], []
    for case in range(args.cases):
        generator = torch.Generator().manual_seed(case)
        clean = blobs(args.size, generator)
        rotation = random_rotations(1, generator)[0]
        shift = (torch.rand(3, generator=generator) - 0.5) * 0.2 * args.size
        target = rotate(mirror(clean) if case % 2 else clean, rotation, shift)
        moving, target = (
            values + args.noise * clean.std() * torch.randn(values.shape, generator=generator)
            for values in (clean, target)
        )
        start = time.process_time()
        answer = align(moving, target)
        seconds.append(time.process_time() - start)
        angles.append(float(angular_distance(answer.rotation, rotation)))
        shifts.append(float((answer.shift - shift).norm()))
        right = answer.mirrored == bool(case % 2) and angles[-1] < 3 and shifts[-1] < 0.5
        found += right
        if not right:
            hand = "mirrored" if answer.mirrored else "same hand"
            print(f"case {case} missed: {angles[-1]:.1f}°, {shifts[-1]:.1f} voxels, {hand}")
    print("size  found  worst angle  worst shift  CPU seconds (mean, worst)")
    print(
        f"{args.size:4}  {found:2}/{args.cases:2}  {max(angles):10.2f}°  {max(shifts):8.2f} px  "
        f"{sum(seconds) / len(seconds):.2f}, {max(seconds):.2f}"
    )


if __name__ == "__main__":
    main()
