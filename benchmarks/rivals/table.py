"""The rivals on the same images and by the same judge: a table, and FSC curves as in the paper's Fig. 10.

    bash benchmarks/rivals/install.sh                     ASPIRE and CryoDRGN2, once; RELION: apt install relion
    python benchmarks/rivals/table.py                     everything, three seeds: hours on 2 cores
    python benchmarks/rivals/table.py --only box betagal --programs relion aspire-sync3n --seeds 1

What is finished in benchmarks/results/rivals/ is not computed again; a program that is not here is a row that says so.
All programs run with one thread. The 60S has no truth: its maps are compared with that of the same program's seed 0.
"rigid" is an easy case that shows whether a program is called as it should be: 300 noise-free projections of the β-gal
map; "particle" is asymmetric and moves little: 100 projections of a made-up ribosome with noise of 0.3 σ. Real images:
--data, as for benchmarks/cold.py.
"""

import argparse
import csv
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "rivals"
PROGRAMS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "ensemble": partial(adapters.ours, method="ensemble", denoiser="tangent"),
    "consensus": adapters.consensus,
    "annealed-tangent": partial(adapters.ours, method="annealed", denoiser="tangent"),
    "annealed": partial(adapters.ours, method="annealed", denoiser="exact"),
    "paper": partial(adapters.ours, method="paper", denoiser="exact"),
    "annealed-network": partial(adapters.ours, method="annealed", denoiser="network"),
    "cryodrgn2": adapters.cryodrgn2,
    "relion": adapters.relion,
    "aspire-sync3n": adapters.aspire_sync3n,
    "aspire-lud": adapters.aspire_lud,
    "simple": adapters.simple,
    "eman2": adapters.eman2,
}
EIGHT = (0, 37, 74, 111, 148, 185, 222, 259)


class Data(NamedTuple):
    """Images and how maps made from them are judged."""

    stack: Path
    truth: Path | None  # a folder with a truth for each image, or one map; none: seeds are compared with each other
    numbers: tuple[int, ...]  # of the images whose maps are judged
    pixel_size: float  # Å, made up where nobody knows it
    noise_free: bool = False


class Row(NamedTuple):
    """One program on one data set with one seed."""

    data: str
    program: str
    seed: int
    mean_fsc: float
    auc: float
    wall: float
    cpu: float
    version: str
    note: str


def scoretomo(*arguments: object) -> None:
    """Run the command line program quietly; stop where it fails."""
    subprocess.run([sys.executable, "-m", "scoretomo.cli", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def data_set(name: str, folder: Path) -> Data:
    """Make or find the images of a data set."""
    home = RESULTS / "data"
    if name in ("box", "capsid"):
        count = 300 if name == "box" else 200
        scoretomo(
            "simulate", name, "--images", count, "--size", 32, "--seed", 0, "--output", home / name, "--workers", 1
        )
        numbers = EIGHT if name == "box" else tuple(number * 2 // 3 for number in EIGHT)
        return Data(home / name / "images.mrcs", home / name / "truth", numbers, 4.0, noise_free=True)
    if name == "particle":
        options = ("--images", 100, "--size", 32, "--noise", 0.3, "--workers", 1)
        scoretomo("simulate", "ribosome", *options, "--output", home / name)
        stack = home / name / "images.mrcs"
        return Data(stack, home / name / "truth" / "000.mrc", (0,), files.read_images(stack).pixel_size or 4.0)
    betagal = folder / "betagal_relion16"
    if name == "60S":
        source, truth, numbers = folder / "slicem_60S" / "cavgs_60S_47_96px_4.36A.mrcs", None, (0,)
    else:
        source, truth, numbers = (
            betagal / "betagal_cavgs16_64px_3.54A.mrcs",
            betagal / "betaGal_map_64px_3.54A.mrc",
            (0,),
        )
    if name == "rigid":
        return _rigid(betagal / "betaGal_map_64px_3.54A.mrc", home)
    stack = home / f"{name}.mrcs"
    scoretomo("import", source, "--output", stack, "--size", 32)
    images = files.read_images(stack)
    return Data(
        stack, truth, tuple(range(len(images.images))) if name == "betagal" else numbers, images.pixel_size or 4.0
    )


def _rigid(map_file: Path, home: Path) -> Data:
    """An easy case that every program should solve: 300 noise-free projections of one map from random directions."""
    known = files.read_map(map_file)
    small = resample(torch.from_numpy(known.density), 32, 3)
    views = project(small, random_rotations(300, torch.Generator().manual_seed(0)))
    stack, truth = home / "rigid.mrcs", home / "rigid.mrc"
    files.make_folder(home)
    pixel_size = float(known.pixel_size or 3.54) * len(known.density) / 32
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
    done = PROGRAMS[program](task)
    done |= {"wall": round(time.monotonic() - wall, 1), "cpu": round(_children() - cpu, 1)}
    if done["one_map"]:  # it stands for all images
        for number in set(data.numbers) - {0}:
            shutil.copy(maps / "000.mrc", maps / f"{number:03d}.mrc")
    files.write_text(record, json.dumps(done, indent=1))
    return done


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged(name: str, data: Data, program: str, seed: int) -> dict[str, Any]:
    """Scores of a program's maps by the package's own judge."""
    home = RESULTS / name / f"{program}-{seed}"
    truth = data.truth or RESULTS / name / f"{program}-0" / "maps" / "000.mrc"
    summary = EvaluationFolder(home / "evaluation").summary
    if not summary.exists():
        scoretomo("evaluate", home / "maps", "--truth", truth, "--output", home / "evaluation", "--workers", 1)
    return dict(json.loads(summary.read_text()))


def table(names: list[str], programs: list[str], seeds: int, folder: Path) -> list[Row]:
    """All rows, printed as they come."""
    rows = []
    for name in names:
        data = data_set(name, folder)
        for program in programs:
            for seed in range(seeds):
                try:
                    done = run(name, data, program, seed)
                    if data.truth is None and seed == 0:
                        continue  # what the others are compared with
                    found = judged(name, data, program, seed)
                except NotHere as missing:
                    rows.append(_without_scores(name, program, seed, f"not here ({missing})"))
                    break
                except subprocess.CalledProcessError as failed:
                    rows.append(_without_scores(name, program, seed, f"failed with exit code {failed.returncode}"))
                    continue
                except (ValueError, OSError) as failed:
                    rows.append(_without_scores(name, program, seed, f"left no maps ({failed})"))
                    continue
                share = found["n"] / len(data.numbers)  # a map that is not there scores 0
                scores = share * found["mean_fsc"], share * found["auc"]
                rows.append(Row(name, program, seed, *scores, done["wall"], done["cpu"], done["version"], ""))
                print(" ".join(map(str, rows[-1])), flush=True)
    return rows


def _without_scores(name: str, program: str, seed: int, note: str) -> Row:
    return Row(name, program, seed, np.nan, np.nan, 0, 0, "", note)


def write_tables(rows: list[Row]) -> None:
    """table.csv with every run, table.md with means over seeds."""
    with open(RESULTS / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    lines = [
        "| data | program | version | mean FSC of each seed | mean | AUC | CPU s a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, program in dict.fromkeys((row.data, row.program) for row in rows):
        mine = [row for row in rows if (row.data, row.program) == (name, program)]
        good = [row for row in mine if not row.note]
        if not good:
            lines.append(f"| {name} | {program} | | {mine[0].note} | | | |")
            continue
        each = ", ".join(f"{row.mean_fsc:.3f}" for row in good)
        fsc, auc, cpu = (statistics.mean(getattr(row, field) for row in good) for field in ("mean_fsc", "auc", "cpu"))
        lines.append(f"| {name} | {program} | {good[0].version} | {each} | {fsc:.3f} | {auc:.3f} | {cpu:.0f} |")
    (RESULTS / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def draw(rows: list[Row]) -> None:
    """Mean FSC of every program (seed 0 … in one colour) and the curves of its single maps, one panel for each data
    set.
    """
    names = list(dict.fromkeys(row.data for row in rows if not row.note))
    if not names:
        return
    figure, panels = plt.subplots(
        1, len(names), figsize=(3.4 * len(names) + 1.4, 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    colours = dict(zip(PROGRAMS, plt.get_cmap("tab20").colors, strict=False))
    for panel, name in zip(panels[0], names, strict=True):
        for program in dict.fromkeys(row.program for row in rows if row.data == name and not row.note):
            curves = []
            for row in rows:
                if (row.data, row.program) == (name, program) and not row.note:
                    folder = EvaluationFolder(RESULTS / name / f"{program}-{row.seed}" / "evaluation")
                    curves += [line.shell for line in folder.curves.read()]
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
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    asked = parser.parse_args()
    files.make_folder(RESULTS)
    rows = table(asked.only, asked.programs, asked.seeds, asked.data)
    write_tables(rows)
    draw(rows)


if __name__ == "__main__":
    main()
