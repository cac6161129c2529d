"""How good a learned score is: score/denoising.csv."""

import torch

from .. import files
from ..compute import random_stream
from ..denoisers.denoising_error import denoising_error, wiener_bound
from ..denoisers.exact import ExactScore
from ..images import augment, disc
from ..monitor.progress import progress_bar, word_of
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import telling
from .images import read_prepared
from .train import held_out_numbers, open_network

_LEVELS = 13
_IMAGES = 32  # of each kind: enough for two digits


def measure_score(run: RunDirectory, device: torch.device) -> None:
    """Write the denoising errors of a run's network, of the exact score and of a linear filter at noise levels 0.02 … 20."""
    if run.denoising.exists():
        return
    prepared, network, held_out = read_prepared(run.images), open_network(run, device), held_out_numbers(run)
    mask, background = disc(network.size).to(device), prepared.background
    known = prepared.normalised([number for number in prepared.numbers if number not in held_out]).to(device)
    stream = random_stream(0, "denoising")
    kinds = {"training": known[:: max(1, len(known) // _IMAGES)][:_IMAGES]}
    if held_out:
        kinds["held_out"] = prepared.normalised(held_out[:_IMAGES]).to(device)
    clean = {kind: augment(images, background, mask, stream) for kind, images in kinds.items()}
    noise = {kind: torch.randn(images.shape, generator=stream).to(device) for kind, images in clean.items()}
    exact, rows = ExactScore(known, background, mask), []
    with progress_bar() as bar, telling(run.progress, lambda: word_of(bar)):
        for t in bar.track(torch.logspace(-1.7, 1.3, _LEVELS).tolist(), description="measuring the score"):
            row: dict[str, object] = {"t": round(t, 5)}
            for name, denoise in (("network", network), ("exact", exact)):
                for kind in ("training", "held_out"):
                    there = kind in clean
                    row[f"{name}_{kind}"] = denoising_error(denoise, clean[kind], noise[kind], t, mask) if there else ""
            row["wiener"] = wiener_bound(known, t, mask)
            rows.append(row)
    files.write_table(run.denoising, rows)
