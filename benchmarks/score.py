"""The exact score beside the plain matrix product over every turned image: seconds a view, memory, error.

    python benchmarks/score.py              about 3 min on 2 cores

The images are views of the moving box. The matrix product uses as many turns as the exact score does, and its turned
images are made by the same band-limited rotation, so the difference is the error of the compression alone. Where the
turned images would take more than 2 GB, only the exact score is measured. Then the errors of the exact and the tangent
score on images that they do not know.
"""

import math
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from scoretomo.denoisers.denoising_error import denoising_error
from scoretomo.denoisers.exact import ExactScore
from scoretomo.denoisers.tangent import TangentScore
from scoretomo.fourier import radius
from scoretomo.harmonics import angular_harmonics, image_of_harmonics
from scoretomo.phantoms import MovingBox
from scoretomo.simulation import simulate

SIZES = ((300, 32), (100, 64), (300, 88), (100, 136))
VIEWS, T = 16, 0.5
LEVELS = (0.2, 0.3, 0.5, 1.0, 2.0)


def resident() -> float:
    """Memory of this process in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e9


class Peak:
    """Largest memory of this process while the block runs, above what it had before; in GB."""

    def __enter__(self) -> "Peak":
        self.start, self.highest, self.running = resident(), 0.0, True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.running:
            self.highest = max(self.highest, resident() - self.start)
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self.running = False
        self.thread.join()


def turned(images: Tensor, mask: Tensor, turns: int) -> Tensor:
    """All images in all turns and both hands, pixels inside the mask: (turns · 2 · n, pixels)."""
    harmonics = angular_harmonics(images)
    order = torch.arange(harmonics.shape[1])
    rows = []
    for turn in range(turns):
        phase = torch.exp(-2j * math.pi * turn / turns * order)[:, None]
        for hand in (harmonics, harmonics.conj() * (1 - 2 * (order % 2))[:, None]):
            rows.append(image_of_harmonics(hand * phase, images.shape[-1])[:, mask > 0])
    return torch.cat(rows)


def boxes(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Views of the moving box, and the mask."""
    mask = (radius(size, 2) < 0.98 * size / 2).float()
    return torch.stack([made.image for made in simulate(MovingBox(), count, size, seed=0)]) * mask, mask


def measure_left_out() -> None:
    """Errors on 30 left-out images of 300."""
    images, mask = boxes(300, 32)
    mean, scale = float(images[:, mask > 0].mean()), float(images[:, mask > 0].std())
    normalised, background = (images - mean) / scale, -mean / scale
    held = torch.arange(300) % 10 == 3
    noise = torch.randn(30, 32, 32, generator=torch.Generator().manual_seed(1)) * mask
    print("error on 30 left-out images of 300, 32², at t = " + ", ".join(map(str, LEVELS)))
    for kind in (ExactScore, TangentScore):
        score = kind(normalised[~held], background, mask)
        errors = [denoising_error(score, normalised[held], noise, t, mask) for t in LEVELS]
        print(f"{kind.__name__}: " + ", ".join(f"{error:.3f}" for error in errors), flush=True)


def measure(count: int, size: int) -> str:
    """One row of the table; measured in a process of its own, so that no memory is left over from another."""
    torch.set_num_threads(1)
    images, mask = boxes(count, size)
    mean, scale = float(images[:, mask > 0].mean()), float(images[:, mask > 0].std())
    normalised, background = (images - mean) / scale, -mean / scale
    noise = torch.randn(VIEWS, size, size, generator=torch.Generator().manual_seed(0))
    views = normalised[:VIEWS] + T * noise
    with Peak() as peak:
        start = time.perf_counter()
        score = ExactScore(normalised, background, mask)
        setup = time.perf_counter() - start
        found = score(views, T)
        start = time.perf_counter()
        score(views, T)
        seconds = (time.perf_counter() - start) / VIEWS
    row = f"{count:>4} × {size:>3}²  {score.images.turns:>5}  {setup:7.2f} s  "
    row += f"{seconds * 1e3:8.2f} ms  {peak.highest:6.2f} GB"
    gigabytes = count * 2 * score.images.turns * float(mask.sum()) * 4 / 1e9
    if gigabytes > 2:
        return f"{row}  {'–':>8}     {gigabytes:6.2f} GB      –"
    templates = turned(images / scale, mask, score.images.turns)
    half_norm = templates.square().sum(1) / 2
    inside = (views - background)[:, mask > 0]
    for _ in range(2):
        start = time.perf_counter()
        plain = torch.softmax((inside @ templates.T - half_norm) / T**2, 1) @ templates
        product = (time.perf_counter() - start) / VIEWS
    error = float(((found - background)[:, mask > 0] - plain).norm() / plain.norm())
    return f"{row}  {product * 1e3:8.2f} ms  {gigabytes:6.2f} GB  {error:.1e}"


def main() -> None:
    print(f"1 thread, {VIEWS} views a call, t = {T}")
    print("    images  turns      setup       a view     memory   product a view   memory    error")
    for case in SIZES:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            print(process.submit(measure, *case).result(), flush=True)
    measure_left_out()


if __name__ == "__main__":
    main()
