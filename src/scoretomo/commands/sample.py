"""Samples of a learned score, each beside the class average it is nearest to: samples/."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .. import files
from ..compute import available_cores, best_device, random_stream
from ..config import SampleSettings
from ..denoisers.exact import ExactScore
from ..denoisers.sampling import noise_levels, sample
from ..graphics import surfaces
from ..graphics.montage import sheet
from ..images import correlation
from ..monitor.progress import progress_bar, say, word_of
from ..pipeline.denoising import measure_score
from ..pipeline.images import read_prepared
from ..pipeline.report import report_beside, report_run
from ..pipeline.train import held_out_numbers, open_network
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import telling
from ..rundir.settings_file import check_settings, write_settings

_TILE = 96  # pixels of a sample in the montage
_COLUMNS = 9


def sample_only(path: Path, settings: SampleSettings, *, force: bool) -> None:
    """Draw samples of a run's network, and write the report again."""
    run = RunDirectory(path)
    if _is_finished(run, settings, force=force):
        report_run(path)
        return
    with files.replaced_together(path, "samples", (run.samples.name, run.report.name)) as new:
        _draw(run, new / run.samples.name, settings)
        report_beside(run, new, (run.samples.name,), None)
    _say_where(run, settings)
    say(f"report: {run.report.absolute()}")


def sample_run(path: Path, settings: SampleSettings, *, force: bool) -> None:
    """Draw samples of a run's network, find the nearest class average of each, and measure the network."""
    run = RunDirectory(path)
    if not _is_finished(run, settings, force=force):
        with files.replaced_together(path, "samples", (run.samples.name,)) as new:
            _draw(run, new / run.samples.name, settings)
        _say_where(run, settings)


def _is_finished(run: RunDirectory, settings: SampleSettings, *, force: bool) -> bool:
    """Whether these samples are there; says so."""
    files.recover(run.path)
    begun = check_settings(run.samples / "samples.toml", {"sample": asdict(settings)}, force=force, beside=None)
    finished = begun and (run.samples / "samples.csv").exists()
    if finished:
        say(f"{run.samples} is finished")
    return finished


def _say_where(run: RunDirectory, settings: SampleSettings) -> None:
    say(f"{settings.samples} samples, each above its nearest class average: {run.samples / 'montage.png'}")


def _draw(run: RunDirectory, folder: Path, settings: SampleSettings) -> None:
    """Write samples, and what is nearest to them, to a folder."""
    device = best_device()
    network = open_network(run, device)
    write_settings(folder / "samples.toml", {"sample": asdict(settings)})
    torch.set_num_threads(available_cores())
    measure_score(run, device)
    prepared, held_out = read_prepared(run.images), held_out_numbers(run)
    streams = (random_stream(settings.seed, "sample", number) for number in range(settings.samples))
    noise = torch.stack([torch.randn(network.size, network.size, generator=stream) for stream in streams]).to(device)
    with progress_bar() as bar, telling(run.progress, lambda: word_of(bar)):
        shown = bar.add_task(f"drawing {settings.samples} samples", total=settings.steps)
        for step in sample(network, noise, noise_levels(settings.steps)):
            bar.update(shown, completed=step.step)
    drawn = step.images
    numbers = [number for number in prepared.numbers if number not in held_out]
    known = prepared.normalised(numbers).to(device)
    exact = ExactScore(known, prepared.background, network.mask)
    nearest = exact.nearest(drawn)
    others = exact.nearest(known[nearest.image], other_than=nearest.image)
    likeness = correlation(drawn, nearest.template, network.mask).tolist()
    natural = correlation(known[nearest.image], others.template, network.mask).tolist()
    rows = [
        {
            "sample": number,
            "nearest": numbers[int(nearest.image[number])],
            "angle": round(float(nearest.angle[number]), 2),
            "flipped": int(nearest.flipped[number]),
            "correlation": round(likeness[number], 5),
            "natural": round(natural[number], 5),
        }
        for number in range(settings.samples)
    ]
    pairs = [(images * prepared.s + prepared.mu).cpu().numpy() for images in (drawn, nearest.template)]
    for name, images in zip(("samples", "nearest"), pairs, strict=True):
        files.write_images(folder / f"{name}.mrcs", images, prepared.pixel_size)
    bands = [images[first : first + _COLUMNS] for first in range(0, len(drawn), _COLUMNS) for images in pairs]
    with files.atomic(folder / "montage.png") as temporary:
        sheet(bands, _TILE, surfaces.common_scale(np.concatenate(pairs))).save(temporary, "PNG")
    files.write_table(folder / "samples.csv", rows)
