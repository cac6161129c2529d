"""The network score beside the exact one: volumes, denoising, and the fast network beside the paper's.

    python benchmarks/network.py box    300 images of 32², 8 volumes, 3 seeds with each score    about 25 min on 2 cores
    python benchmarks/network.py box64        300 images of 64², 10 volumes with each score                 about 30 min
    python benchmarks/network.py betagal      16 real class averages at 32 px with each score               about 15 min
    python benchmarks/network.py budget       both networks trained for the same time on 300 images of 32²   about 4 min

Real images, and where results stay: see cold.py.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path

from cold import EIGHT, RESULTS, heading, judge, line, scoretomo

from scoretomo.rundir.directory import RunDirectory

TEN = ",".join(map(str, range(0, 300, 30)))
BUDGET = {"fast": 24_000, "paper": 4_950}  # examples that take the same time


def train(stack: Path, name: str, *options: object) -> Path:
    """Train a network; the run directory, in which there is nothing else."""
    run = RESULTS / f"network-{name}"
    begin = time.monotonic()
    scoretomo("train", stack, "--output", run, *options)
    print(f"{name}: trained, or found trained, in {time.monotonic() - begin:.0f} s")
    return run


def compare(trained: Path, truth: Path, name: str, numbers: str | None, seeds: int) -> None:
    """Reconstruct the same images with both scores, from the same random numbers."""
    heading()
    for denoiser in ("exact", "network"):
        means = []
        for seed in range(seeds):
            run = RESULTS / f"{name}-{denoiser}-{seed}"
            if not run.exists():
                shutil.copytree(trained, run, ignore=shutil.ignore_patterns("report.html", "samples"))
            chosen = () if numbers is None else ("--images", numbers)
            scoretomo("reconstruct", run, "--method", "annealed", "--denoiser", denoiser, "--seed", seed, *chosen)
            found = judge(run, truth)
            line(f"{name} {denoiser}", seed, found)
            means.append(found["mean_fsc"])
        print(f"{'':<18} all   {statistics.mean(means):.3f}")


def denoising(run: Path) -> dict[float, tuple[float, float, float]]:
    """Error of the network on training and on held-out images, and of the exact score, by t."""
    rows = RunDirectory(run).denoising.read()
    return {row.t: (row.network_training, row.network_held_out or 0.0, row.exact_training) for row in rows}


def budget(stack: Path) -> None:
    """The two networks after the same time of training."""
    runs = {
        network: train(stack, f"budget-{network}", "--network", network, "--examples", BUDGET[network])
        for network in BUDGET
    }
    errors = {network: denoising(run) for network, run in runs.items()}
    print(f"{'t':>8}  {'fast':>7}  {'paper':>7}  {'exact':>7}   (root mean square error, training images)")
    for t in errors["fast"]:
        print(f"{t:8.3f}  {errors['fast'][t][0]:7.4f}  {errors['paper'][t][0]:7.4f}  {errors['fast'][t][2]:7.4f}")


def boxes(size: int) -> Path:
    """The moving box; its folder."""
    data = RESULTS / f"box{size}"
    scoretomo("simulate", "box", "--images", 300, "--size", size, "--seed", 0, "--output", data)
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["box", "box64", "betagal", "budget"])
    parser.add_argument("--data", type=Path, default=RESULTS.parents[2] / "shared" / "data")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    match asked.which:
        case "box":
            data = boxes(32)
            compare(train(data / "images.mrcs", "box32"), data / "truth", "box32", EIGHT, 3)
        case "box64":
            data = boxes(64)
            compare(train(data / "images.mrcs", "box64"), data / "truth", "box64", TEN, 1)
        case "betagal":
            folder = asked.data / "betagal_relion16"
            trained = train(
                folder / "betagal_cavgs16_64px_3.54A.mrcs", "betagal32", "--size", 32, "--examples", 120_000
            )
            compare(trained, folder / "betaGal_map_64px_3.54A.mrc", "betagal32", None, 1)
        case "budget":
            budget(boxes(32) / "images.mrcs")


if __name__ == "__main__":
    main()
