"""Seconds and memory of runs, of the landscape and of a match; commands of ensemble.py."""

import os
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable

import torch
from machine import Row, shown, write_record
from runs import COMMAND, RESULTS, density, only, scoretomo, simulated, stage_seconds

from scoretomo import files
from scoretomo.compute import available_cores
from scoretomo.fourier import resample
from scoretomo.matching import Matcher, directions
from scoretomo.projection import project
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import SimulationFolder


def cost() -> None:
    """Where the time goes, for boxes of several sides and numbers; eight volumes are made, the rest is as for all.

    The memory is of the largest process, and only right where the run is not there yet.
    """
    for count, size in ((100, 32), (300, 32), (1000, 32), (300, 64), (300, 88)):
        data, run = RESULTS / f"cost-{count}-{size}", RESULTS / f"cost-{count}-{size}-run"
        scoretomo("simulate", "box", "--images", count, "--size", size, "--seed", 0, "--output", data)
        numbers = only(count * eighth // 8 for eighth in range(8))
        usage = usage_of("run", data / "images.mrcs", "--output", run, *numbers)
        seconds = stage_seconds(run)
        volume = statistics.mean(row.seconds for row in RunDirectory(run).volume_rows.read())
        names = ("consensus", "flexibility", "deformation", "bodies", "motion", "score support")
        stages = {name: seconds[name] for name in names}
        shown(
            {
                "images": count,
                "side / px": size,
                **stages,
                "core-seconds a volume": volume,
                "all on two cores / min": (sum(stages.values()) + count * volume / 2) / 60,
                "largest process / GiB": usage.ru_maxrss / 2**20,
            }
        )


def usage_of(*arguments: object) -> resource.struct_rusage:
    """Run the command line program; what it used."""
    process = subprocess.Popen([*COMMAND, *map(str, arguments)])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage


def landscape() -> None:
    """Seconds and memory of landscape, reliability and report for a finished run of 300 volumes: those of `box`, made
    larger.
    """
    source, run = RESULTS / "box32-ensemble-0", RESULTS / "box64-landscape"
    if not run.exists():
        shutil.copytree(source, run, ignore=shutil.ignore_patterns("landscape", "evaluation", "report.html"))
        directory = RunDirectory(run)
        numbers = [row.image for row in directory.volume_rows.read()]
        maps = [path for number in numbers for path in (directory.volume(number), directory.difference(number))]
        for path in (directory.assigned.volume, *maps):
            files.write_map(path, resample(density(path), 64, 3).numpy(), None)
        images = torch.from_numpy(files.read_images(directory.images).images)
        files.write_images(directory.images, resample(images, 64, 2).numpy(), None)
    usage = usage_of("landscape", run)
    page = RunDirectory(run).report.stat().st_size / 1e6
    seconds = usage.ru_utime + usage.ru_stime
    shown({"CPU-seconds": seconds, "memory / GiB": usage.ru_maxrss / 2**20, "page / MB": page})


def match() -> None:
    """Seconds of one match on all cores, in two steps and with every direction compared in full."""
    begin = time.monotonic()
    torch.set_num_threads(available_cores())
    data = simulated("box", 300, 32)
    images = torch.from_numpy(files.read_images(data / "images.mrcs").images)
    volume, matcher, grid = density(SimulationFolder(data).volume(0)), Matcher(images), directions(1000)
    seconds, quick = timed(lambda: matcher.match(volume, grid).correlations)
    seconds_in_full, full = timed(
        lambda: torch.cat(
            [part.values.transpose(0, 1).flatten(1).amax(1) for part in matcher.likeness(project(volume, grid))]
        )
    )
    rows = [
        shown(match_row("two steps", seconds, full - quick)),
        shown(match_row("every direction in full", seconds_in_full, full - full)),
    ]
    write_record("matching", rows, seeds=[0], seconds=time.monotonic() - begin)


def timed(work: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Seconds, the median of five after a first call, and the result."""
    result, times = work(), []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def match_row(method: str, seconds: float, loss: torch.Tensor) -> Row:
    """A method, and the correlation that each image loses by it."""
    other = int((loss > 1e-5).sum())
    lost = {"images with another pose": other, "loss of correlation": float(loss.max())}
    return {"method": method, "seconds": seconds, **lost}
