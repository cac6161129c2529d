"""Cold Algorithm 1 with the scores that need no training: how good, how different from seed to seed, how long, how much
memory.

    python benchmarks/cold.py box      300 images of 32²; 8 volumes, 3 seeds, both methods       about 18 min on 2 cores
    python benchmarks/cold.py capsid        200 images of 32²; 8 volumes, one seed                        about 4 min
    python benchmarks/cold.py betagal       16 real class averages, 3 seeds at 32 px and one at 64 px    about 35 min
    python benchmarks/cold.py 60S           47 real class averages at 32 px (no truth)                   about 6 min
    python benchmarks/cold.py box88         300 images of 88², the paper's size; 3 volumes               about 15 min

The real images are public: betagal_class_averages.mrcs of michaelhabeck/bayesian-random-tomography (centre 64 px, 3.54
Å) with betaGal.mrc of nglviewer/ngl, and the 60S averages of marcottelab/SLICEM (all MIT); --data names the folder that
holds them. Results stay in benchmarks/results/; what is finished there is not computed again.
"""

import argparse
import itertools
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from scoretomo import files
from scoretomo.rundir.directory import RunDirectory

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results"
COMMAND = [sys.executable, "-m", "scoretomo.cli"]
WAYS = (("paper", "exact"), ("annealed", "exact"), ("annealed", "tangent"))  # method and denoiser
EXACT = ("--method", "annealed", "--denoiser", "exact")
EIGHT = "0,37,74,111,148,185,222,259"  # of 300 images
EIGHT_OF_200 = ",".join(map(str, range(0, 200, 25)))


def scoretomo(*arguments: object) -> None:
    """Run the command line program; stop where it fails."""
    subprocess.run([*COMMAND, *map(str, arguments)], check=True)


def judged(stack: Path, truth: Path, name: str, *options: object) -> dict[str, float | list[float]]:
    """Run and evaluate."""
    scoretomo("run", stack, "--output", RESULTS / name, *options)
    return judge(RESULTS / name, truth)


def judge(run: Path, truth: Path) -> dict[str, float | list[float]]:
    """Evaluate; mean FSC of all volumes, seconds a volume, and how well the views agree with the images."""
    scoretomo("evaluate", run, "--truth", truth)
    evaluation = RunDirectory(run).evaluation
    summary = {name: value for name, value in files.read_json(evaluation.summary).items() if value is not None}
    return {**summary, "each": [row.mean_fsc for row in evaluation.rows.read()], **_times(run)}


def stage_seconds(run: Path) -> dict[str, float]:
    """Wall-clock seconds of each stage, also where it was interrupted and continued."""
    seconds: dict[str, float] = {}
    for record in files.read_records(RunDirectory(run).log):
        if record["event"] == "stage":
            seconds[record["stage"]] = seconds.get(record["stage"], 0.0) + record["seconds"]
    return seconds


def _times(run: Path) -> dict[str, float]:
    """Seconds a volume, wall clock over all cores used."""
    rows = RunDirectory(run).volume_rows.read()
    correlation = statistics.mean(row.anchor_correlation for row in rows)
    return {"seconds": stage_seconds(run)["volumes"] / len(rows), "anchor": correlation, "volumes": len(rows)}


def line(name: str, seed: int | str, found: dict) -> None:
    """One row of the table."""
    each = found["each"]
    gain = f"{found['conformation_gain']:+.2f}" if "conformation_gain" in found else "    –"
    print(
        f"{name:<18} {seed!s:>4}  {found['mean_fsc']:.3f}  {min(each):.2f} – {max(each):.2f}  "
        f"{found['auc']:.3f}  {gain}  {found['seconds']:6.1f}",
        flush=True,
    )


def heading() -> None:
    print(f"{'data':<18} seed  mean FSC  worst – best    AUC   gain  s a volume")


def box() -> None:
    data = RESULTS / "box32"
    scoretomo("simulate", "box", "--images", 300, "--size", 32, "--seed", 0, "--output", data)
    heading()
    for method, denoiser in WAYS:
        means, volumes = [], []
        for seed in range(3):
            options = ("--images", EIGHT, "--method", method, "--denoiser", denoiser, "--seed", seed)
            found = judged(data / "images.mrcs", data / "truth", f"box32-{method}-{denoiser}-{seed}", *options)
            line(f"box {method} {denoiser}", seed, found)
            means.append(found["mean_fsc"])
            volumes.append(found["each"])
        apart = statistics.mean(max(image) - min(image) for image in zip(*volumes, strict=True))
        print(
            f"{'':<18} all   {statistics.mean(means):.3f} ± {statistics.stdev(means):.3f} over seeds; "
            f"best and worst seed of an image are {apart:.2f} apart on average",
            flush=True,
        )


def capsid() -> None:
    data = RESULTS / "capsid32"
    scoretomo("simulate", "capsid", "--images", 200, "--size", 32, "--seed", 0, "--output", data)
    heading()
    for method, denoiser in WAYS[1:]:
        options = ("--images", EIGHT_OF_200, "--method", method, "--denoiser", denoiser)
        found = judged(data / "images.mrcs", data / "truth", f"capsid32-{denoiser}", *options)
        line(f"capsid {denoiser}", 0, found)
    print(
        f"best single map: mean FSC {found['single_map_mean_fsc']:.3f}, AUC {found['single_map_auc']:.3f}; "
        f"truth after interpolation: {found['ceiling_mean_fsc']:.3f}, {found['ceiling_auc']:.3f}"
    )


def betagal(folder: Path) -> None:
    heading()
    stack, truth = (
        folder / "betagal_relion16" / name for name in ("betagal_cavgs16_64px_3.54A.mrcs", "betaGal_map_64px_3.54A.mrc")
    )
    for size, seeds in ((32, 3), (64, 1)):
        for (method, denoiser), seed in itertools.product(WAYS[1:], range(seeds)):
            options = ("--size", size, "--seed", seed, "--method", method, "--denoiser", denoiser)
            found = judged(stack, truth, f"betagal{size}-{denoiser}-{seed}", *options)
            line(f"β-gal {size} {denoiser}", seed, found)


def large_subunit(folder: Path) -> None:
    scoretomo(
        "run", folder / "slicem_60S" / "cavgs_60S_47_96px_4.36A.mrcs", "--output", RESULTS / "60S", "--size", 32, *EXACT
    )
    found = _times(RESULTS / "60S")
    print(
        f"60S 32 px: {found['volumes']} volumes, {found['seconds']:.1f} s each, views like their images: "
        f"{found['anchor']:.3f}"
    )


def box88() -> None:
    data = RESULTS / "box88"
    scoretomo("simulate", "box", "--images", 300, "--size", 88, "--seed", 0, "--output", data)
    options = ("--images", "0,100,200", *EXACT, "--workers", 1)
    scoretomo("run", data / "images.mrcs", "--output", RESULTS / "box88-memory", *options, "--steps", 20, "--force")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    heading()
    found = judged(data / "images.mrcs", data / "truth", "box88-run", *options[:-2])
    line("box 88", 0, found)
    print(f"three volumes make one batch, so this is on one core; peak memory of the process {memory:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["box", "capsid", "betagal", "60S", "box88"])
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    match arguments.which:
        case "box":
            box()
        case "capsid":
            capsid()
        case "betagal":
            betagal(arguments.data)
        case "60S":
            large_subunit(arguments.data)
        case "box88":
            box88()


if __name__ == "__main__":
    main()
