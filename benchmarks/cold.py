"""Cold starts of Algorithm 1 with the scores that need no training: how good, how far apart seeds are, how long.

    python benchmarks/cold.py box      300 images of 32²; 8 volumes, 3 seeds, both methods       18 min
    python benchmarks/cold.py capsid   200 images of 32²; 8 volumes, one seed                    4 min
    python benchmarks/cold.py betagal  16 real class averages, 3 seeds at 32 px and one at 64    35 min
    python benchmarks/cold.py 60S      47 real class averages at 32 px (no truth)                6 min
    python benchmarks/cold.py box88    300 images of 88², the paper's size; 3 volumes            15 min

Times are on two cores. Real images, and where results stay: see runs.py.
"""

import argparse
import itertools
import resource
import statistics
from pathlib import Path

from machine import Row, shown, write_record
from runs import (
    DATA,
    EIGHT,
    EIGHT_OF_200,
    RESULTS,
    Judged,
    betagal_files,
    gained,
    judged,
    only,
    quality,
    run_seconds,
    scoretomo,
    seconds_a_volume,
    simulated,
)

from scoretomo.rundir.directory import RunDirectory

WAYS = (("paper", "exact"), ("annealed", "exact"), ("annealed", "tangent"))  # method and denoiser
EXACT = ("--method", "annealed", "--denoiser", "exact")


def cold_row(method: str, score: str, seed: int, run: Judged) -> Row:
    """A row of cold starts."""
    described = {"method": method, "score": score, "seed": seed}
    return {**described, **quality(run), "AUC": run.summary.auc, "seconds": seconds_a_volume(run.path)}


def betagal_row(size: int, score: str, seed: int, run: Judged) -> Row:
    """A row of cold starts from β-galactosidase."""
    return {
        "side / px": size,
        "score": score,
        "seed": seed,
        **quality(run),
        "AUC": run.summary.auc,
        "best volume, FSC 0.5 / Å": max(run.rows, key=lambda row: row.mean_fsc).resolution_0_5,
        "seconds": seconds_a_volume(run.path),
    }


def box() -> None:
    data, rows, runs = simulated("box", 300, 32), [], []
    for method, denoiser in WAYS:
        options = (*only(EIGHT), "--method", method, "--denoiser", denoiser)
        same = [
            judged(data / "images.mrcs", data / "truth", f"box32-{method}-{denoiser}-{seed}", *options, "--seed", seed)
            for seed in range(3)
        ]
        rows += [shown(cold_row(method, denoiser, seed, run)) for seed, run in enumerate(same)]
        print(f"best and worst seed of an image are {seeds_apart(same):.2f} apart on average", flush=True)
        runs += [run.path for run in same]
    write_record("cold-box", rows, seeds=range(3), seconds=run_seconds(runs), key=["score"])


def seeds_apart(runs: list[Judged]) -> float:
    """How far the mean FSC of an image's volumes of all seeds are apart, mean over the images."""
    images = zip(*([row.mean_fsc for row in run.rows] for run in runs), strict=True)
    return statistics.mean(max(image) - min(image) for image in images)


def capsid() -> None:
    data, rows, runs = simulated("capsid", 200, 32), [], []
    for method, denoiser in WAYS[1:]:
        options = (*only(EIGHT_OF_200), "--method", method, "--denoiser", denoiser)
        run = judged(data / "images.mrcs", data / "truth", f"capsid32-{denoiser}", *options)
        row = {
            "method": method,
            "score": denoiser,
            "seed": 0,
            **quality(run),
            "AUC": run.summary.auc,
            **gained(run),
            "interpolated truth": run.summary.ceiling_mean_fsc,
        }
        rows.append(shown(row))
        runs.append(run.path)
    write_record("cold-capsid", rows, seeds=[0], seconds=run_seconds(runs))


def betagal(folder: Path) -> None:
    rows, runs = [], []
    for size, seeds in ((32, 3), (64, 1)):
        for (method, denoiser), seed in itertools.product(WAYS[1:], range(seeds)):
            options = ("--size", size, "--seed", seed, "--method", method, "--denoiser", denoiser)
            run = judged(*betagal_files(folder), f"betagal{size}-{denoiser}-{seed}", *options)
            rows.append(shown(betagal_row(size, denoiser, seed, run)))
            runs.append(run.path)
    write_record("cold-betagal", rows, seeds=range(3), seconds=run_seconds(runs), key=["score"])


def other_row(name: str, run: Path, measured: Judged | None) -> Row:
    """A row of other cold starts, of one set."""
    volumes = len(RunDirectory(run).volume_rows.read())
    judgement = quality(measured) if measured else dict.fromkeys(("mean FSC", "worst", "best"))
    single = measured.summary.single_map_mean_fsc if measured else None
    described = {"set": name, "volumes": volumes, "seconds a volume": seconds_a_volume(run)}
    return shown({**described, **judgement, "best single map": single})


def large_subunit(folder: Path) -> None:
    run, stack = RESULTS / "60S", folder / "slicem_60S" / "cavgs_60S_47_96px_4.36A.mrcs"
    scoretomo("run", stack, "--output", run, "--size", 32, *EXACT)
    correlation = statistics.mean(row.anchor_correlation for row in RunDirectory(run).volume_rows.read())
    print(f"views at R = I correlate {correlation:.3f} with their images")
    row = other_row("60S, 47 real averages, 32 px", run, None)
    write_record("cold-others", [row], seeds=[0], seconds=run_seconds([run]), key=["set"])


def box88() -> None:
    data = simulated("box", 300, 88)
    options = (*only([0, 100, 200]), *EXACT, "--workers", 1)
    scoretomo("run", data / "images.mrcs", "--output", RESULTS / "box88-memory", *options, "--steps", 20, "--force")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"three volumes make one batch, so this is on one core; peak memory of the process {memory:.2f} GiB")
    run = judged(data / "images.mrcs", data / "truth", "box88-run", *options[:-2])
    row = other_row("box, 300 × 88²", run.path, run)
    write_record("cold-others", [row], seeds=[0], seconds=run_seconds([run.path]), key=["set"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["box", "capsid", "betagal", "60S", "box88"])
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    match options.which:
        case "box":
            box()
        case "capsid":
            capsid()
        case "betagal":
            betagal(options.data)
        case "60S":
            large_subunit(options.data)
        case "box88":
            box88()


if __name__ == "__main__":
    main()
