"""The exact score beside the plain matrix product over every turned image: seconds a view, memory, error.

    python benchmarks/score.py  3 min on two cores

The images are views of the moving box. The matrix product uses as many turns as the exact score does, and its turned
images are made by the same band-limited rotation, so the difference is the error of the compression alone. Where the
turned images would take more than 2 GB, only the exact score is measured. Then the errors of the exact and the tangent
score on held-out images.
"""

import math
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from machine import Row, shown, write_record
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


def normalised(images: Tensor, mask: Tensor) -> tuple[Tensor, float, float]:
    """Images of mean 0 and standard deviation 1 inside the mask, their background, and the scale."""
    mean, scale = float(images[:, mask > 0].mean()), float(images[:, mask > 0].std())
    return (images - mean) / scale, -mean / scale, scale


def held_out_errors() -> list[Row]:
    """Rows of the record of denoising errors: 30 held-out images of 300."""
    raw, mask = boxes(300, 32)
    images, background, _ = normalised(raw, mask)
    held_out = torch.arange(300) % 10 == 3
    noise = torch.randn(30, 32, 32, generator=torch.Generator().manual_seed(1)) * mask
    exact, tangent = (kind(images[~held_out], background, mask) for kind in (ExactScore, TangentScore))
    return [
        shown(
            {
                "t": t,
                "exact": denoising_error(exact, images[held_out], noise, t, mask),
                "tangent": denoising_error(tangent, images[held_out], noise, t, mask),
            }
        )
        for t in LEVELS
    ]


def measure(count: int, size: int) -> Row:
    """A row of the record of the exact score; in a process of its own, so that no memory is left over from another."""
    torch.set_num_threads(1)
    raw, mask = boxes(count, size)
    images, background, scale = normalised(raw, mask)
    views = images[:VIEWS] + T * torch.randn(VIEWS, size, size, generator=torch.Generator().manual_seed(0))
    with Peak() as peak:
        start = time.perf_counter()
        score = ExactScore(images, background, mask)
        setup = time.perf_counter() - start
        denoised = score(views, T)
        start = time.perf_counter()
        score(views, T)
        seconds = time.perf_counter() - start
    turns = score.images.turns
    gigabytes = count * 2 * turns * float(mask.sum()) * 4 / 1e9
    row = {
        "images": count,
        "side / px": size,
        "turns": turns,
        "set-up / s": setup,
        "view / ms": 1e3 * seconds / VIEWS,
        "memory / GB": peak.highest,
        "plain view / ms": None,
        "plain memory / GB": gigabytes,
        "difference": None,
    }
    if gigabytes > 2:
        return row
    inside = (views - background)[:, mask > 0]
    seconds, plain = matrix_product(inside, turned(raw / scale, mask, turns))
    error = float(((denoised - background)[:, mask > 0] - plain).norm() / plain.norm())
    return {**row, "plain view / ms": 1e3 * seconds / VIEWS, "difference": error}


def matrix_product(views: Tensor, templates: Tensor) -> tuple[float, Tensor]:
    """Seconds of the second of two calls, and the views (m, pixels) that templates (k, pixels) denoise."""
    half_norm = templates.square().sum(1) / 2
    for _ in range(2):
        start = time.perf_counter()
        denoised = torch.softmax((views @ templates.T - half_norm) / T**2, 1) @ templates
        seconds = time.perf_counter() - start
    return seconds, denoised


def main() -> None:
    begin, rows = time.monotonic(), []
    for case in SIZES:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rows.append(shown(process.submit(measure, *case).result()))
    write_record("exact-score", rows, seeds=None, seconds=time.monotonic() - begin, cores=1)
    torch.set_num_threads(1)
    begin = time.monotonic()
    write_record("denoising", held_out_errors(), seeds=None, seconds=time.monotonic() - begin, cores=1)


if __name__ == "__main__":
    main()
