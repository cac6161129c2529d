"""The rivals on the same images and by the same judge, and FSC curves as in the paper's Fig. 10.

    bash benchmarks/rivals/install.sh  ASPIRE and CryoDRGN2, once; RELION: apt install relion
    python benchmarks/rivals/table.py  everything, three seeds: hours
    python benchmarks/rivals/table.py --only box betagal --programs relion aspire-sync3n --seeds 1  without a record

What is finished in benchmarks/results/rivals/ is not computed again. Of a program that is not installed or fails the
records keep the rows that they have. All programs run with one thread. The 60S has no truth: its maps are compared with
that of the same program's seed 0. "rigid" is an easy case that shows whether a program is called as it should be: 300
noise-free projections of the β-gal map; "particle" is asymmetric and moves little: 100 projections of a made-up
ribosome with noise of 0.3 σ. Real images: --data, as in benchmarks/runs.py.
"""

import argparse
import itertools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import adapters
import matplotlib
import numpy as np
import torch
from adapters import NotHere, Task

from scoretomo import files
from scoretomo.fourier import resample
from scoretomo.projection import project
from scoretomo.rotations import random_rotations
from scoretomo.rundir.folders import EvaluationFolder
from scoretomo.rundir.rows import EvaluationSummary

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import ROOT, Row, shown, write_record
from runs import COMMAND, DATA, EIGHT, betagal_files, extremes

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = ROOT / "results" / "rivals"


class Program(NamedTuple):
    """A program, as the records name it, and how it is run."""

    title: str
    adapter: Callable[[Task], dict[str, Any]]


def _ours(title: str, method: str, denoiser: str) -> Program:
    return Program(f"scoretomo, {title}", partial(adapters.ours, method=method, denoiser=denoiser))


PROGRAMS = {
    "ensemble": _ours("ensemble", "ensemble", "tangent"),
    "consensus": Program("scoretomo, ensemble, consensus volume", adapters.consensus),
    "annealed-tangent": _ours("annealed, tangent", "annealed", "tangent"),
    "annealed": _ours("annealed, exact", "annealed", "exact"),
    "paper": _ours("paper, exact", "paper", "exact"),
    "annealed-network": _ours("annealed, network", "annealed", "network"),
    "cryodrgn2": Program("CryoDRGN2", adapters.cryodrgn2),
    "relion": Program("RELION", adapters.relion),
    "aspire-sync3n": Program("ASPIRE, 3N synchronisation", adapters.aspire_sync3n),
    "aspire-lud": Program("ASPIRE, least unsquared deviations", adapters.aspire_lud),
    "simple": Program("SIMPLE", adapters.simple),
    "eman2": Program("EMAN2", adapters.eman2),
}
TITLES = {"box": "box", "betagal": "β-gal", "capsid": "capsid", "particle": "particle"}
CONTROLS = {"rigid": "300 noise-free projections of the rigid β-gal map", "60S": "60S, 47 real averages"}


class Data(NamedTuple):
    """Images and how maps made from them are judged."""

    stack: Path
    truth: Path | None  # a folder with a truth for each image, or one map; none: seeds are compared with each other
    numbers: tuple[int, ...]  # of the images whose maps are judged
    pixel_size: float  # Å, made up where nobody knows it
    noise_free: bool = False


class Result(NamedTuple):
    """One program on one data set with one seed."""

    data: str
    program: str
    seed: int
    mean_fsc: float
    auc: float
    single_map: float | None  # mean FSC of the best single map
    wall: float
    cpu: float
    version: str
    note: str


def scoretomo(*arguments: object) -> None:
    """Run the command line program quietly; stop where it fails."""
    subprocess.run([*COMMAND, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def data_set(name: str, folder: Path) -> Data:
    """Make or find the images of a data set."""
    home = RESULTS / "data"
    if name in ("box", "capsid"):
        count = 300 if name == "box" else 200
        scoretomo(
            "simulate", name, "--images", count, "--size", 32, "--seed", 0, "--output", home / name, "--workers", 1
        )
        numbers = tuple(EIGHT) if name == "box" else tuple(number * 2 // 3 for number in EIGHT)
        return Data(home / name / "images.mrcs", home / name / "truth", numbers, 4.0, noise_free=True)
    if name == "particle":
        options = ("--images", 100, "--size", 32, "--noise", 0.3, "--workers", 1)
        scoretomo("simulate", "ribosome", *options, "--output", home / name)
        stack = home / name / "images.mrcs"
        return Data(stack, home / name / "truth" / "000.mrc", (0,), files.read_images(stack).pixel_size or 4.0)
    source, truth = betagal_files(folder)
    if name == "rigid":
        return _rigid(truth, home)
    stack = home / f"{name}.mrcs"
    if name == "60S":
        source = folder / "slicem_60S" / "cavgs_60S_47_96px_4.36A.mrcs"
    scoretomo("import", source, "--output", stack, "--size", 32)
    images = files.read_images(stack)
    pixel_size = images.pixel_size or 4.0
    if name == "60S":
        return Data(stack, None, (0,), pixel_size)
    return Data(stack, truth, tuple(range(len(images.images))), pixel_size)


def _rigid(map_file: Path, home: Path) -> Data:
    """An easy case that every program should solve: 300 noise-free projections of one map from random directions."""
    molecule = files.read_map(map_file)
    small = resample(torch.from_numpy(molecule.density), 32, 3)
    views = project(small, random_rotations(300, torch.Generator().manual_seed(0)))
    stack, truth = home / "rigid.mrcs", home / "rigid.mrc"
    files.make_folder(home)
    pixel_size = float(molecule.pixel_size or 3.54) * len(molecule.density) / 32
    if not stack.exists():
        files.write_map(truth, small.numpy(), pixel_size)
        files.write_images(stack, views.numpy(), pixel_size)
    return Data(stack, truth, (0,), pixel_size, noise_free=True)


def run(name: str, data: Data, program: str, seed: int) -> dict[str, Any]:
    """Run one program, unless that has been done; what it did, with its seconds."""
    home = RESULTS / name / f"{program}-{seed}"
    record = home / "result.json"
    if record.exists():
        return dict(json.loads(record.read_text()))
    shutil.rmtree(home, ignore_errors=True)
    work, maps = home / "work", home / "maps"
    files.make_folder(work)
    task = Task(data.stack.absolute(), data.pixel_size, data.numbers, data.noise_free, seed, work, maps)
    wall, cpu = time.monotonic(), _children()
    done = PROGRAMS[program].adapter(task)
    done |= {"wall": round(time.monotonic() - wall, 1), "cpu": round(_children() - cpu, 1)}
    if done["one_map"]:  # it stands for all images
        for number in set(data.numbers) - {0}:
            shutil.copy(maps / "000.mrc", maps / f"{number:03d}.mrc")
    files.write_text(record, json.dumps(done, indent=1))
    return done


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged(name: str, data: Data, program: str, seed: int) -> EvaluationSummary:
    """Scores of a program's maps by the package's own judge."""
    home = RESULTS / name / f"{program}-{seed}"
    truth = data.truth or RESULTS / name / f"{program}-0" / "maps" / "000.mrc"
    summary = EvaluationFolder(home / "evaluation").summary
    if not summary.exists():
        scoretomo("evaluate", home / "maps", "--truth", truth, "--output", home / "evaluation", "--workers", 1)
    return summary.read()


def measure(names: list[str], programs: list[str], seeds: int, folder: Path) -> list[Result]:
    """All programs on all data, printed as they come; of one that is not here or fails, why."""
    results = []
    for name in names:
        data = data_set(name, folder)
        for program, seed in itertools.product(programs, range(seeds)):
            try:
                done = run(name, data, program, seed)
                if data.truth is None and seed == 0:
                    continue  # what the others are compared with
                results.append(result(name, data, program, seed, done))
                shown(results[-1]._asdict())
            except (NotHere, subprocess.CalledProcessError, ValueError, OSError) as failure:
                print(f"{name}, {program}, seed {seed}: {failure}", flush=True)
    return results


def result(name: str, data: Data, program: str, seed: int, done: dict[str, Any]) -> Result:
    """The maps of a program against their truths; a map that is not there scores 0."""
    summary = judged(name, data, program, seed)
    share = summary.n / len(data.numbers)
    scores = share * summary.mean_fsc, share * summary.auc, summary.single_map_mean_fsc
    return Result(name, program, seed, *scores, done["wall"], done["cpu"], done["version"], done.get("note", ""))


def write_records(results: list[Result], seeds: int) -> None:
    """Write all records that this command measures."""
    parts = {
        "rivals": (program_rows(results), ["data", "program"]),
        "rivals-controls": (control_rows(results), ["data", "program"]),
        "cold-tangent": (tangent_rows(results), ["set"]),
        "particle": (particle_rows(results), ["map"]),
    }
    seconds = sum(each.wall for each in results)
    for name, (rows, key) in parts.items():
        if rows:
            write_record(name, rows, seeds=range(seeds), seconds=seconds, cores=1, key=key)


def by_program(results: list[Result], names: Iterable[str]) -> Iterator[tuple[str, str, list[Result]]]:
    """Data set, program, and results of its seeds."""
    for name, program in dict.fromkeys((each.data, each.program) for each in results if each.data in names):
        yield name, program, [each for each in results if (each.data, each.program) == (name, program)]


def program_rows(results: list[Result]) -> list[Row]:
    """Mean FSC of each program and seed, and of the best single map."""
    rows, singles = [], {}
    for name, program, same in by_program(results, TITLES):
        fsc = {each.seed: each.mean_fsc for each in same}
        columns = {f"seed {seed}": fsc.get(seed) for seed in range(3)}
        cpu = round(statistics.mean(each.cpu for each in same))
        rows.append({"data": TITLES[name], "program": PROGRAMS[program].title, **columns, "CPU-seconds": cpu})
        if same[0].single_map is not None:
            singles[name] = same[0].single_map
    empty = dict.fromkeys(("seed 1", "seed 2", "CPU-seconds"))
    best = [
        {"data": TITLES[name], "program": "best single map", "seed 0": single, **empty}
        for name, single in singles.items()
    ]
    return rows + best


def control_rows(results: list[Result]) -> list[Row]:
    """A case that every program should solve, and agreement of seeds where there is no truth."""
    rows = []
    for name, program, same in by_program(results, CONTROLS):
        described = {"data": CONTROLS[name], "program": PROGRAMS[program].title}
        if name == "rigid":
            rows.append({**described, "quantity": "mean FSC", "value": statistics.mean(each.mean_fsc for each in same)})
            continue
        for each in same:
            quantity = f"mean FSC, seed {each.seed} with seed 0"
            rows.append({**described, "quantity": quantity, "value": each.mean_fsc})
    return rows


def tangent_rows(results: list[Result]) -> list[Row]:
    """Algorithm 1 with the tangent score."""
    described = {"method": "annealed", "score": "tangent"}
    return [
        {"set": TITLES[each.data], **described, "seed": each.seed, "mean FSC": each.mean_fsc}
        for each in results
        if each.program == "annealed-tangent" and each.data in TITLES
    ]


def particle_rows(results: list[Result]) -> list[Row]:
    """Maps of the asymmetric particle by other programs, and the consensus volume as these get the images."""
    rows = []
    for _, program, same in by_program(results, ("particle",)):
        title = "consensus volume, without --recentre" if program == "consensus" else PROGRAMS[program].title
        if not title.startswith("scoretomo"):
            fsc = [each.mean_fsc for each in same]
            rows.append({"map": title, **extremes(fsc), "seeds": len(fsc), "note": same[0].note})
    return rows


def draw(results: list[Result]) -> None:
    """FSC curves of all maps of every program (one colour), and their mean; one panel for each data set."""
    names = list(dict.fromkeys(each.data for each in results))
    if not names:
        return
    figure, panels = plt.subplots(
        1, len(names), figsize=(3.4 * len(names) + 1.4, 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    colours = dict(zip(PROGRAMS, plt.get_cmap("tab20").colors, strict=False))
    for panel, name in zip(panels[0], names, strict=True):
        for _, program, same in by_program(results, (name,)):
            folders = [EvaluationFolder(RESULTS / name / f"{program}-{each.seed}" / "evaluation") for each in same]
            curves = [line.shell for folder in folders for line in folder.curves.read()]
            frequency = np.arange(len(curves[0])) / (2 * (len(curves[0]) - 1))
            panel.plot(frequency, np.transpose(curves), color=colours[program], alpha=0.12, linewidth=0.5)
            panel.plot(frequency, np.mean(curves, 0), color=colours[program], linewidth=2, label=program)
        panel.set(title=name, xlabel="cycles / pixel", xlim=(0, 0.5), ylim=(-0.05, 1.02))
        panel.grid(alpha=0.2)
    panels[0][0].set_ylabel("FSC")
    handles = {
        label: line for panel in panels[0] for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(RESULTS / "curves.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["rigid", "box", "betagal", "capsid", "particle", "60S"])
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    files.make_folder(RESULTS)
    results = measure(options.only, options.programs, options.seeds, options.data)
    draw(results)
    write_records(results, options.seeds)


if __name__ == "__main__":
    main()
