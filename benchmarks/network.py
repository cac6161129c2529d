"""The network score beside the exact one: volumes, samples, denoising, and the fast network beside the paper's.

    python benchmarks/network.py box      300 images of 32², 8 volumes, 3 seeds with each score   25 min
    python benchmarks/network.py box64    300 images of 64², 10 volumes with each score           30 min
    python benchmarks/network.py betagal  16 real class averages at 32 px with each score         15 min
    python benchmarks/network.py budget   both networks trained for the same time, 300 × 32²      4 min

Times are on two cores. Real images, and where results stay: see runs.py.
"""

import argparse
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from cold import betagal_row, cold_row
from machine import Row, shown, write_record
from runs import DATA, EIGHT, RESULTS, Judged, betagal_files, judge, only, run_seconds, scoretomo, simulated

from scoretomo import files
from scoretomo.rundir.directory import RunDirectory

TEN = range(0, 300, 30)
EXAMPLES = {"box": 240_000, "β-gal": 120_000}
BUDGET = {"fast": 24_000, "paper": 4_950}  # examples that take the same time


def train(stack: Path, name: str, *options: object) -> Path:
    """Train a network; the run directory, in which there is nothing else."""
    run = RESULTS / f"network-{name}"
    scoretomo("train", stack, "--output", run, *options)
    return run


def both_scores(trained: Path, truth: Path, seeds: int, *options: object) -> Iterator[tuple[str, int, Judged]]:
    """Reconstruct the same images with both scores, from the same random numbers: score, seed, result."""
    for denoiser in ("exact", "network"):
        for seed in range(seeds):
            run = trained.with_name(f"{trained.name}-{denoiser}-{seed}")
            if not run.exists():
                shutil.copytree(trained, run, ignore=shutil.ignore_patterns("report.html", "samples"))
            method = ("--method", "annealed", "--denoiser", denoiser)
            scoretomo("reconstruct", run, *method, "--seed", seed, *options)
            yield denoiser, seed, judge(run, truth)


def samples(name: str, trained: Path) -> None:
    """Samples of a network beside the class averages nearest to them."""
    scoretomo("sample", trained)
    directory = RunDirectory(trained)
    drawn = directory.samples.rows.read()
    row = {
        "set": name,
        "images": len(files.read_images(directory.images).images),
        "examples": EXAMPLES[name],
        "median correlation with the nearest class average": statistics.median(row.correlation for row in drawn),
        "the same between class averages": statistics.median(row.natural_correlation for row in drawn),
        "class averages near a sample": len({row.nearest for row in drawn}),
    }
    write_record("samples", [shown(row)], seeds=[0], seconds=run_seconds([trained]), key=["set"])


def box() -> None:
    data = simulated("box", 300, 32)
    trained = train(data / "images.mrcs", "box32", "--examples", EXAMPLES["box"])
    rows, runs = [], [trained]
    for score, seed, run in both_scores(trained, data / "truth", 3, *only(EIGHT)):
        rows.append(shown(cold_row("annealed", score, seed, run)))
        runs.append(run.path)
    write_record("cold-box", of_network(rows), seeds=range(3), seconds=run_seconds(runs), key=["score"])
    samples("box", trained)


def of_network(rows: list[Row]) -> list[Row]:
    """Rows of the network score; cold.py measures the others, with more seeds."""
    return [row for row in rows if row["score"] == "network"]


def box64() -> None:
    data = simulated("box", 300, 64)
    trained = train(data / "images.mrcs", "box64")
    rows, runs = [], [trained]
    for score, seed, run in both_scores(trained, data / "truth", 1, *only(TEN)):
        rows.append(shown(cold_row("annealed", score, seed, run)))
        runs.append(run.path)
    write_record("cold-box64", rows, seeds=[0], seconds=run_seconds(runs))


def betagal(folder: Path) -> None:
    stack, truth = betagal_files(folder)
    trained = train(stack, "betagal32", "--size", 32, "--examples", EXAMPLES["β-gal"])
    rows, runs = [], [trained]
    for score, seed, run in both_scores(trained, truth, 1):
        rows.append(shown(betagal_row(32, score, seed, run)))
        runs.append(run.path)
    write_record("cold-betagal", of_network(rows), seeds=[0], seconds=run_seconds(runs), key=["score"])
    samples("β-gal", trained)


def budget() -> None:
    """The two networks after the same time of training: error of denoised training images, by noise level."""
    stack = simulated("box", 300, 32) / "images.mrcs"
    runs = {
        network: train(stack, f"budget-{network}", "--network", network, "--examples", count)
        for network, count in BUDGET.items()
    }
    fast, paper = (RunDirectory(run).denoising.read() for run in runs.values())
    rows = [
        shown({"t": a.t, "fast": a.network_training, "paper": b.network_training, "exact score": a.exact_training})
        for a, b in zip(fast, paper, strict=True)
    ]
    write_record("network-budget", rows, seeds=[0], seconds=run_seconds(runs.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["box", "box64", "betagal", "budget"])
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    match options.which:
        case "box":
            box()
        case "box64":
            box64()
        case "betagal":
            betagal(options.data)
        case "budget":
            budget()


if __name__ == "__main__":
    main()
