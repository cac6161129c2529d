"""Samples of the network score, each beside the class average nearest to it: samples/."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .. import files
from ..compute import available_cores, best_device, random_stream
from ..config import SampleSettings
from ..denoisers.exact import ExactScore
from ..denoisers.network import NetworkScore
from ..denoisers.sampling import noise_levels, sample
from ..graphics import surfaces
from ..graphics.montage import sheet
from ..images import correlation
from ..monitor.progress import activity_of, print_line, progress_bar
from ..pipeline.denoising import measure_score
from ..pipeline.images import read_prepared
from ..pipeline.network import held_out_numbers, open_network
from ..pipeline.report import write_report, write_report_to
from ..rundir.directory import RunDirectory
from ..rundir.folders import SampleFolder
from ..rundir.heartbeat import beating
from ..rundir.rows import SampleRow
from ..rundir.settings_file import check_settings, write_settings

_TILE = 96  # pixels of a sample in the montage
_COLUMNS = 9


def sample_only(path: Path, settings: SampleSettings, *, force: bool) -> None:
    """Draw samples of a run's network, and write the report again."""
    run = RunDirectory(path)
    if _is_finished(run, settings, force=force):
        write_report(run)
        return
    with files.replaced_together(path, "samples", (run.samples.path.name, run.report.name)) as new:
        drawn = run.with_samples_in(new)
        _draw(run, drawn.samples, settings)
        write_report_to(new, drawn)
    _show_place(run, settings)
    print_line(f"report: {run.report.absolute()}")


def sample_run(path: Path, settings: SampleSettings, *, force: bool) -> None:
    """Draw samples of a run's network, find the nearest class average of each, and measure the network."""
    run = RunDirectory(path)
    if not _is_finished(run, settings, force=force):
        with files.replaced_together(path, "samples", (run.samples.path.name,)) as new:
            _draw(run, run.with_samples_in(new).samples, settings)
        _show_place(run, settings)


def _is_finished(run: RunDirectory, settings: SampleSettings, *, force: bool) -> bool:
    """Whether these samples are there; then this is printed."""
    files.recover(run.path)
    begun = check_settings(run.samples.config, {"sample": asdict(settings)}, force=force, beside=None)
    finished = begun and run.samples.rows.exists()
    if finished:
        print_line(f"{run.samples.path} is finished")
    return finished


def _show_place(run: RunDirectory, settings: SampleSettings) -> None:
    print_line(f"{settings.samples} samples, each above its nearest class average: {run.samples.montage}")


def _draw(run: RunDirectory, folder: SampleFolder, settings: SampleSettings) -> None:
    """Write samples, and the class averages nearest to them, to a folder."""
    device = best_device()
    network = open_network(run, device)
    write_settings(folder.config, {"sample": asdict(settings)})
    torch.set_num_threads(available_cores())
    measure_score(run, device)
    prepared, held_out = read_prepared(run.images), held_out_numbers(run)
    drawn = _samples(run, network, settings, device)
    numbers = [number for number in prepared.numbers if number not in held_out]
    training = prepared.normalised(numbers).to(device)
    exact = ExactScore(training, prepared.background, network.mask)
    nearest = exact.nearest(drawn)
    others = exact.nearest(training[nearest.image], other_than=nearest.image)
    correlations = correlation(drawn, nearest.template, network.mask).tolist()
    natural = correlation(training[nearest.image], others.template, network.mask).tolist()
    rows = [
        SampleRow(
            sample=number,
            nearest=numbers[int(nearest.image[number])],
            angle=float(nearest.angle[number]),
            flipped=bool(nearest.flipped[number]),
            correlation=correlations[number],
            natural_correlation=natural[number],
        )
        for number in range(settings.samples)
    ]
    pair = [(images * prepared.s + prepared.mu).cpu().numpy() for images in (drawn, nearest.template)]
    for path, images in zip((folder.images, folder.nearest), pair, strict=True):
        files.write_images(path, images, prepared.pixel_size)
    _write_montage(folder.montage, pair)
    folder.rows.write(rows)


def _samples(run: RunDirectory, network: NetworkScore, settings: SampleSettings, device: torch.device) -> torch.Tensor:
    """Images drawn from a network score, (n, d, d), normalised."""
    streams = (random_stream(settings.seed, "sample", number) for number in range(settings.samples))
    noise = torch.stack([torch.randn(network.size, network.size, generator=stream) for stream in streams]).to(device)
    with progress_bar() as bar, beating(run.progress, lambda: activity_of(bar)):
        shown = bar.add_task(f"drawing {settings.samples} samples", total=settings.steps)
        for step in sample(network, noise, noise_levels(settings.steps)):
            bar.update(shown, completed=step.step)
    return step.images


def _write_montage(path: Path, pair: Sequence[np.ndarray]) -> None:
    """Samples in rows, below each row the class averages nearest to them."""
    firsts = range(0, len(pair[0]), _COLUMNS)
    bands = [images[first : first + _COLUMNS] for first in firsts for images in pair]
    with files.atomic(path) as temporary:
        sheet(bands, _TILE, surfaces.common_scale(np.concatenate(pair))).save(temporary, "PNG")
