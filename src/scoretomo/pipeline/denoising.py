"""Denoising error of a network score, of the exact score and of a linear filter: score/denoising.csv."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..compute import random_stream
from ..denoisers.denoising_error import denoising_error, wiener_bound
from ..denoisers.exact import ExactScore
from ..images import augment, disc
from ..monitor.progress import activity_of, progress_bar
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import beating
from ..rundir.rows import DenoisingRow
from .images import read_prepared
from .network import held_out_numbers, open_network

_LEVELS = 13
_IMAGES = 32  # of each kind: enough for two digits


def measure_score(run: RunDirectory, device: torch.device) -> None:
    """Write the denoising errors of a run's network, of the exact score and of a linear filter at noise levels 0.02 …
    20.
    """
    if run.denoising.exists():
        return
    prepared = read_prepared(run.images)
    network = open_network(run, device)
    held_out = held_out_numbers(run)
    mask = disc(network.size).to(device)
    background = prepared.background
    training = prepared.normalised([number for number in prepared.numbers if number not in held_out]).to(device)
    stream = random_stream(0, "denoising")
    kinds = {"training": training[:: max(1, len(training) // _IMAGES)][:_IMAGES]}
    if held_out:
        kinds["held_out"] = prepared.normalised(held_out[:_IMAGES]).to(device)
    clean = {kind: augment(images, background, mask, stream) for kind, images in kinds.items()}
    noise = {kind: torch.randn(images.shape, generator=stream).to(device) for kind, images in clean.items()}

    def error(denoise: Callable[[Tensor, float], Tensor], kind: str, t: float) -> float | None:
        return denoising_error(denoise, clean[kind], noise[kind], t, mask) if kind in clean else None

    exact = ExactScore(training, background, mask)
    rows = []
    with progress_bar() as bar, beating(run.progress, lambda: activity_of(bar)):
        for t in bar.track(torch.logspace(-1.7, 1.3, _LEVELS).tolist(), description="measuring the score"):
            row = DenoisingRow(
                t=t,
                network_training=error(network, "training", t),
                network_held_out=error(network, "held_out", t),
                exact_training=error(exact, "training", t),
                exact_held_out=error(exact, "held_out", t),
                wiener=wiener_bound(training, t, mask),
            )
            rows.append(row)
    run.denoising.write(rows)
