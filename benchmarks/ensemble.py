"""The ensemble method: one frame, all volumes; how good, how sure, how long.

    python benchmarks/ensemble.py box           300 images of 32², all volumes, their lid angles    about 15 min a seed on 2 cores
    python benchmarks/ensemble.py robust        the same with 10 seeds, 8 volumes each                          about 15 min
    python benchmarks/ensemble.py betagal       16 real class averages: 5 seeds at 32 px, 10 at 64 px, 3 with D2   about 40 min
    python benchmarks/ensemble.py 60S           47 real class averages: 10 seeds at 24 and 48 px, no truth      about 20 min
    python benchmarks/ensemble.py capsid        200 images of 64², 8 volumes                               about 25 min a seed
    python benchmarks/ensemble.py symmetry      which one is found in box, capsid and β-gal; the capsid with it   about 12 min
    python benchmarks/ensemble.py particle      asymmetric, nearly rigid: the consensus against a truth, 3 seeds  about 15 min
    python benchmarks/ensemble.py still         300 images of a molecule that does not move                     about 40 min
    python benchmarks/ensemble.py mixture       200 images of the box and 60 of the capsid in one stack             about 5 min
    python benchmarks/ensemble.py cost          seconds and memory against side and number of images            about 60 min
    python benchmarks/ensemble.py box88         the paper's size: 300 images of 88²; nine volumes of other seeds     about 180 min
    python benchmarks/ensemble.py landscape     what moves in 300 volumes of 64², and the report of it            about 2 min
    python benchmarks/ensemble.py moves         what left-out images say of still molecules, and in all runs there   about 60 min
    python benchmarks/ensemble.py match         one match of 300 images with 1,000 directions, both ways        a few seconds

Real images: --data, as for benchmarks/cold.py. Results stay in benchmarks/results/; what is finished there is not computed again.
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from cold import COMMAND, EIGHT, EIGHT_OF_200, RESULTS, ROOT, heading, judge, line, scoretomo
from molecules import SETS, STILL, whole_run

from scoretomo import files
from scoretomo.alignment import moved_onto
from scoretomo.compute import available_cores
from scoretomo.evaluation import Score, compare
from scoretomo.fourier import fourier_shell_correlation, mean_fsc, resample, resolution_at
from scoretomo.matching import Matcher, directions
from scoretomo.projection import project
from scoretomo.rotations import angular_distance, point_group
from scoretomo.rundir.poses import posed_rotations

_COMPONENTS = 20
_STAGES = ("consensus", "motion", "left out", "reconstructed", "landscape")
CONSENSUS_ONLY = ("--images", 0, "--steps", 20)  # one volume, in few steps: it is the consensus that is asked for


def scored(path: Path, truth: torch.Tensor) -> Score:
    """A map against a truth of any size."""
    found = files.read_map(path)
    return compare(torch.from_numpy(found.density), resample(truth, len(found.density), 3), found.pixel_size)


def beside_consensus(run: Path, data: Path, numbers: Iterable[int]) -> None:
    """Volumes of some images against their truths, and the consensus against the same ones."""
    found: dict[str, list[float]] = {"volumes": [], "consensus": []}
    for number in numbers:
        truth = torch.from_numpy(files.read_map(data / "truth" / f"{number:03d}.mrc").density)
        found["volumes"].append(scored(run / "volumes" / f"{number:03d}.mrc", truth).mean_fsc)
        found["consensus"].append(scored(run / "consensus.mrc", truth).mean_fsc)
    for name, scores in found.items():
        print(
            f"{name}: mean FSC {statistics.mean(scores):.3f} ({min(scores):.3f} – {max(scores):.3f}) to {len(scores)} truths",
            flush=True,
        )


def box(seeds: int) -> None:
    data = RESULTS / "box32"
    scoretomo("simulate", "box", "--images", 300, "--size", 32, "--seed", 0, "--output", data)
    heading()
    for seed in range(seeds):
        run = RESULTS / f"box32-ensemble-{seed}"
        scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed)
        line("box, all 300", seed, judge(run, data / "truth"))
        scores, rows = files.read_table(run / "evaluation" / "scores.csv"), files.read_table(run / "volumes.csv")
        likeness = np.corrcoef([float(row["mean_fsc"]) for row in scores], [float(row["replica_fsc"]) for row in rows])[0, 1]
        print(f"mean FSC to the truth and between replicas: correlation {likeness:.2f}")
        first, second, sides = lids(run, data / "truth" / "truth.csv")
        print(f"lid angles from {_COMPONENTS} components: R² {first:.3f}, {second:.3f}; found in the other of two poses: {sides}")
        first, second, count = motions(run, data / "truth" / "truth.csv")
        print(f"{count} motions; lid angles from the first two: R² {first:.3f}, {second:.3f}", flush=True)


def lids(run: Path, truth: Path) -> tuple[float, float, int]:
    """R² of both lid angles, regressed from the volumes' first principal components (mean of the 5 nearest others)."""
    numbers = [int(row["image"]) for row in files.read_table(run / "volumes.csv") if row["status"] == "done"]
    volumes = [files.read_map(run / "volumes" / f"{number:03d}.mrc").density for number in numbers]
    angles, swapped = lid_angles(run, truth)
    flat = np.stack(volumes).reshape(len(volumes), -1)
    left, values, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return *regressed(left[:, :_COMPONENTS] * values[:_COMPONENTS], angles[numbers]), swapped


def motions(run: Path, truth: Path) -> tuple[float, float, int]:
    """The same from the motions that the landscape found, and how many there are."""
    rows = files.read_table(run / "landscape.csv")
    names = [name for name in rows[0] if name.startswith("motion_")]
    places = np.array([[float(row[name]) for name in names[:2]] for row in rows])
    angles, _ = lid_angles(run, truth)
    return *regressed(places, angles[[int(row["image"]) for row in rows]]), len(names)


def lid_angles(run: Path, truth: Path) -> tuple[np.ndarray, int]:
    """Both angles of every image (n, 2), in the order in which its volume has the lids; and how many are swapped."""
    angles = np.array([[float(row["lid_1"]), float(row["lid_2"])] for row in files.read_table(truth)])
    swapped = other_side(posed_rotations(files.read_table(run / "poses.csv")), posed_rotations(files.read_table(truth)))
    angles[swapped] = angles[swapped, ::-1]
    return angles, int(swapped.sum())


def regressed(places: np.ndarray, angles: np.ndarray) -> tuple[float, float]:
    """R² of angles (n, 2) as means of those at the five nearest other places (n, k)."""
    apart = torch.cdist(torch.from_numpy(places), torch.from_numpy(places)).fill_diagonal_(torch.inf)
    found = angles[apart.topk(5, largest=False).indices.numpy()].mean(1)
    r2 = 1 - ((found - angles) ** 2).sum(0) / ((angles - angles.mean(0)) ** 2).sum(0)
    return float(r2[0]), float(r2[1])


def other_side(found: torch.Tensor, true: torch.Tensor) -> np.ndarray:
    """Which boxes stand turned by half a turn about z or y, so that their lids change places.

    The box is its own mirror image, y → −y, and a view does not change with z → −z: each image has two poses, equally right.
    """
    flat = [torch.diag(torch.tensor(signs, dtype=torch.float64)) for signs in ((1.0, 1.0, -1.0), (1.0, -1.0, 1.0))]
    frames = torch.stack([found.mT @ true, found.mT @ flat[0] @ true @ flat[1]])  # (2, n, 3, 3)
    turns = point_group("D2")
    best: tuple[float, torch.Tensor] | None = None
    for reference in frames[:, :20].flatten(0, 1):
        apart = angular_distance((reference.mT @ frames)[:, :, None], turns)  # (2, n, 4)
        nearest = apart.amin(0)
        if best is None or float(nearest.amin(1).median()) < best[0]:
            best = float(nearest.amin(1).median()), nearest.argmin(1)
    assert best is not None
    swaps = torch.tensor([turn[0, 0] < 0 for turn in turns])  # x → −x
    return swaps[best[1]].numpy()


def robust(seeds: int) -> None:
    data = RESULTS / "box32"
    scoretomo("simulate", "box", "--images", 300, "--size", 32, "--seed", 0, "--output", data)
    means = []
    for seed in range(seeds):
        run = RESULTS / f"box32-ensemble-{seed}"  # has them, too
        if not (run / "evaluation" / "summary.json").exists():
            run = RESULTS / f"box32-robust-{seed}"
            scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, "--images", EIGHT)
            scoretomo("evaluate", run, "--truth", data / "truth")
        scores = {row["image"]: float(row["mean_fsc"]) for row in files.read_table(run / "evaluation" / "scores.csv")}
        eight = [scores[image] for image in EIGHT.split(",")]
        print(f"seed {seed}: mean FSC {statistics.mean(eight):.3f} ({min(eight):.3f} – {max(eight):.3f})", flush=True)
        means.append(statistics.mean(eight))
    print(f"{seeds} seeds: {min(means):.3f} – {max(means):.3f}, mean {statistics.mean(means):.3f}")


def betagal(seeds: int, folder: Path) -> None:
    folder = folder / "betagal_relion16"
    stack, truth = folder / "betagal_cavgs16_64px_3.54A.mrcs", folder / "betaGal_map_64px_3.54A.mrc"
    known = torch.from_numpy(files.read_map(truth).density)
    heading()
    for group, count in (("C1", min(5, seeds)), ("D2", min(3, seeds))):
        for seed in range(count):
            run = RESULTS / f"betagal32-{group}-{seed}"
            scoretomo("run", stack, "--size", 32, "--symmetry", group, "--seed", seed, "--output", run)
            line(f"β-gal 32 {group}", seed, judge(run, truth))
            print(f"their mean: {as_words(scored(run / 'mean.mrc', known))}", flush=True)
    for group, count in (("C1", seeds), ("D2", min(3, seeds))):
        paths = [RESULTS / f"betagal64-{group}-{seed}" / "consensus.mrc" for seed in range(count)]
        for seed, path in enumerate(paths):
            scoretomo("run", stack, "--symmetry", group, "--seed", seed, "--output", path.parent, *CONSENSUS_ONLY)
            print(f"consensus at 64 px, {group}, seed {seed}: {as_words(scored(path, known))}", flush=True)
        agreement([files.read_map(path) for path in paths])


def as_words(score: Score) -> str:
    """A map's agreement with its truth."""
    return f"mean FSC {score.mean_fsc:.3f}, FSC 0.5 at {score.resolution_half:.1f} Å, correlation {score.alignment.correlation:.3f}"


def agreement(maps: list) -> None:
    """Print how far maps of different seeds agree, pair by pair."""
    values, resolutions = [], []
    for first, second in itertools.combinations([torch.from_numpy(each.density) for each in maps], 2):
        curve = fourier_shell_correlation(moved_onto(first, second), second)
        values.append(float(mean_fsc(curve)))
        resolutions.append(maps[0].pixel_size / resolution_at(curve, len(first), 0.5).frequency)
    print(
        f"{len(maps)} seeds with each other: mean FSC {min(values):.3f} – {max(values):.3f}, "
        f"FSC 0.5 at {min(resolutions):.1f} – {max(resolutions):.1f} Å",
        flush=True,
    )


def large_subunit(seeds: int, folder: Path) -> None:
    stack = folder / "slicem_60S" / "cavgs_60S_47_96px_4.36A.mrcs"
    for size in (24, 48):
        maps = []
        for seed in range(seeds):
            run = RESULTS / f"60S{size}-ensemble-{seed}"
            scoretomo("run", stack, "--size", size, "--recentre", "--seed", seed, "--output", run, *CONSENSUS_ONLY)
            maps.append(files.read_map(run / "consensus.mrc"))
        print(f"60S at {size} px")
        agreement(maps)


def capsid(seeds: int) -> None:
    data = RESULTS / "capsid64"
    scoretomo("simulate", "capsid", "--images", 200, "--size", 64, "--seed", 0, "--output", data)
    heading()
    for seed in range(seeds):
        run = RESULTS / f"capsid64-ensemble-{seed}"
        scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, "--images", EIGHT_OF_200)
        line("capsid 64", seed, judge(run, data / "truth"))


def symmetry(folder: Path) -> None:
    """What --symmetry auto proposes and takes; and volumes of the capsid without and with the symmetry that it has."""
    stacks = {"betagal": folder / "betagal_relion16" / "betagal_cavgs16_64px_3.54A.mrcs"}
    for name, count in (("box", 300), ("capsid", 200)):
        scoretomo("simulate", name, "--images", count, "--size", 32, "--seed", 0, "--output", RESULTS / f"{name}32")
        stacks[name] = RESULTS / f"{name}32" / "images.mrcs"
    for name, stack in stacks.items():
        run = RESULTS / f"{name}32-auto"
        scoretomo("run", stack, "--size", 32, "--symmetry", "auto", "--output", run, *CONSENSUS_ONLY)
        (taken,) = files.read_table(run / "consensus" / "summary.csv")
        asked = files.read_table(run / "consensus" / "proposals.csv")
        doubts = ", ".join(f"{row['symmetry']} {100 * float(row['left_out_doubt']):.2f} %" for row in asked)
        print(f"{name}: {taken['symmetry']} taken; of left-out images are unexplained {doubts}", flush=True)
    heading()
    for group in ("C1", "I"):
        run = RESULTS / f"capsid32-{group}"
        scoretomo("run", stacks["capsid"], "--symmetry", group, "--images", EIGHT_OF_200, "--output", run)
        line(f"capsid 32 {group}", 0, judge(run, RESULTS / "capsid32" / "truth"))


def particle(seeds: int) -> None:
    """An asymmetric particle that moves little: 100 class averages as of a microscope, and 100 projections with noise of 0.3 σ."""
    for name in ("realistic", "noise"):
        data = RESULTS / f"particle-{name}"
        SETS[f"particle-{name}"].simulate(data)
        truth = torch.from_numpy(files.read_map(data / "truth" / "000.mrc").density)
        for seed in range(seeds):
            run = RESULTS / f"particle-{name}-ensemble-{seed}"
            numbers = ",".join(map(str, range(0, 100, 13)))
            scoretomo("run", data / "images.mrcs", "--recentre", "--seed", seed, "--images", numbers, "--output", run)
            for path in (run / "consensus.mrc", run / "mean.mrc"):
                if path.exists():  # the mean only if it is taken as rigid
                    print(f"ribosome, {name}, seed {seed}, {path.stem}: {as_words(scored(path, truth))}", flush=True)


def still(seeds: int, folder: Path) -> None:
    """A molecule that does not move: what it is taken for; how unlike its volumes are, beside how unlike replicas of one are."""
    data = RESULTS / "still32"
    source = files.read_map(folder / "betagal_relion16" / "betaGal_map_64px_3.54A.mrc")
    files.make_folder(data)
    if not (data / "map.mrc").exists():
        files.write_map(data / "map.mrc", resample(torch.from_numpy(source.density), 32, 3).numpy(), 7.08)
    scoretomo("simulate", data / "map.mrc", "--images", 300, "--size", 32, "--pixel-size", 7.08, "--output", data / "images")
    for seed in range(seeds):
        run = RESULTS / f"still32-ensemble-{seed}"
        scoretomo("run", data / "images" / "images.mrcs", "--output", run, "--seed", seed, *(("--images", 0) if seed else ()))
        (row,) = files.read_table(run / "consensus" / "moves.csv")
        shares = [f"{100 * float(row[name]):.2f} %" for name in ("still", "moving")]
        print(f"still, seed {seed}: one shape leaves {shares[0]}, a moving one {shares[1]}; evidence {row['evidence']}", flush=True)
    run = RESULTS / "still32-ensemble-0"
    volumes = np.stack([files.read_map(path).density for path in sorted((run / "volumes").glob("*.mrc"))])
    mean = torch.from_numpy(volumes.mean(0))
    curves = [float(mean_fsc(fourier_shell_correlation(torch.from_numpy(volume), mean))) for volume in volumes]
    replicas = [float(row["replica_fsc"]) for row in files.read_table(run / "volumes.csv")]
    share = float((volumes - volumes.mean(0)).var() / volumes.mean(0).var())
    print(
        f"300 volumes with their mean: mean FSC {np.mean(curves):.4f} (worst {min(curves):.4f}); replicas {np.mean(replicas):.4f}"
    )
    print(f"variance between volumes: {100 * share:.3f} % of that of their mean")
    heading()
    line("still", 0, judge(run, data / "map.mrc"))


def mixture() -> None:
    """Two molecules in one stack: how many images of each are told to be of the second."""
    parts = []
    for what, count in (("box", 200), ("capsid", 60)):
        data = RESULTS / f"mixture-{what}"
        scoretomo("simulate", what, "--images", count, "--size", 32, "--seed", 0, "--output", data)
        images = files.read_images(data / "images.mrcs").images
        parts.append(images / images.std())
    stack, run = RESULTS / "mixture.mrcs", RESULTS / "mixture-run"
    if not stack.exists():
        files.write_images(stack, np.concatenate(parts), None)
    scoretomo("run", stack, "--output", run, "--images", "0,50,100,150,200,220,240,259")
    second = [row["second"] == "1" for row in files.read_table(run / "poses.csv")]
    print(f"of the second molecule: {sum(second[:200])} of 200 boxes, {sum(second[200:])} of 60 capsids")


def cost() -> None:
    """Where the time goes, for boxes of several sides and numbers; eight volumes are made, the rest is as for all.

    The memory is of the largest process, and only right where the run is not there yet.
    """
    print("images  side  consensus  motion  left out  core-seconds a volume  all, two cores (est.)  largest process")
    for count, size in ((100, 32), (300, 32), (1000, 32), (300, 64), (300, 88)):
        data, run = RESULTS / f"cost-{count}-{size}", RESULTS / f"cost-{count}-{size}-run"
        scoretomo("simulate", "box", "--images", count, "--size", size, "--seed", 0, "--output", data)
        numbers = ",".join(str(count * eighth // 8) for eighth in range(8))
        process = subprocess.Popen([*COMMAND, "run", data / "images.mrcs", "--output", run, "--images", numbers])
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        records = [record for record in files.read_records(run / "log.jsonl") if "seconds" in record]
        spent = {name: sum(r["seconds"] for r in records if r["event"] == name) for name in ("consensus", "motion", "left out")}
        volume = statistics.mean(float(row["seconds"]) for row in files.read_table(run / "volumes.csv"))
        minutes = (sum(spent.values()) + count * volume / 2) / 60
        print(
            f"{count:>6}  {size:>4}  {spent['consensus']:>7.0f} s  {spent['motion']:>4.0f} s  {spent['left out']:>6.0f} s  "
            f"{volume:>20.2f}  {minutes:>17.1f} min  {usage.ru_maxrss / 2**20:>10.2f} GiB",
            flush=True,
        )


def box88(seeds: int) -> None:
    """Whole runs at the paper's size; volumes and the consensus against the truth. Only seed 0 makes all volumes."""
    data = RESULTS / "cost-300-88"
    scoretomo("simulate", "box", "--images", 300, "--size", 88, "--seed", 0, "--output", data)
    for seed in range(seeds):
        run, nine = RESULTS / f"cost-300-88-all-{seed}", range(0, 300, 37)
        some = ("--images", ",".join(map(str, nine))) if seed else ()
        scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, *some)
        spent = sum(record.get("seconds", 0.0) for record in files.read_records(run / "log.jsonl") if record["event"] in _STAGES)
        print(f"seed {seed}, {'nine' if seed else 'all'} volumes: all stages {spent / 60:.0f} min", flush=True)
        for numbers in (nine,) if seed else (range(0, 300, 10), nine):
            beside_consensus(run, data, numbers)


def landscape() -> None:
    """Seconds and memory of landscape, reliability and report for a finished run of 300 volumes: those of `box`, made larger."""
    source, run = RESULTS / "box32-ensemble-0", RESULTS / "box64-landscape"
    if not run.exists():
        shutil.copytree(source, run, ignore=shutil.ignore_patterns("landscape", "evaluation", "report.html"))
        for path in (run / "consensus.mrc", *(run / "volumes").glob("*.mrc"), *(run / "differences").glob("*.mrc")):
            files.write_map(path, resample(torch.from_numpy(files.read_map(path).density), 64, 3).numpy(), None)
        images = torch.from_numpy(files.read_images(run / "images.mrcs").images)
        files.write_images(run / "images.mrcs", resample(images, 64, 2).numpy(), None)
    process = subprocess.Popen([*COMMAND, "landscape", run])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    size = (run / "report.html").stat().st_size / 1e6
    print(f"{usage.ru_utime + usage.ru_stime:.0f} CPU-seconds, {usage.ru_maxrss / 2**20:.1f} GiB, a page of {size:.1f} MB")


def moves() -> None:
    """Evidence of motion in the runs of all benchmarks: of molecules that move, and of those that do not."""
    for name in STILL:
        whole_run(name)
    print("run                               one shape leaves  a moving one   displacement       evidence  it")
    for path in sorted(RESULTS.glob("*/consensus/moves.csv")):
        (row,) = files.read_table(path)
        shares = f"{100 * float(row['still']):>14.2f} %  {100 * float(row['moving']):>10.2f} %"
        distances = f"{float(row['displacement']):>10.2f} px  {float(row['evidence']):>10.3f} px"
        print(f"{path.parents[1].name:<32}  {shares}  {distances}  {'moves' if row['moves'] == '1' else 'is rigid'}")


def match() -> None:
    """Seconds of one match on all cores, in two steps and with every direction compared in full."""
    torch.set_num_threads(available_cores())
    data = RESULTS / "box32"
    scoretomo("simulate", "box", "--images", 300, "--size", 32, "--seed", 0, "--output", data)
    images = torch.from_numpy(files.read_images(data / "images.mrcs").images)
    volume = torch.from_numpy(files.read_map(data / "truth" / "000.mrc").density)
    matcher, grid = Matcher(images), directions(1000)
    ways = {
        "two steps": lambda: matcher.match(volume, grid).correlations,
        "all in full": lambda: torch.cat(
            [part.values.transpose(0, 1).flatten(1).amax(1) for part in matcher.likeness(project(volume, grid))]
        ),
    }
    found = {}
    for name, way in ways.items():
        way()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            found[name] = way()
            times.append(time.perf_counter() - start)
        print(f"{name}: {statistics.median(times):.2f} s (median of five)")
    lost = found["all in full"] - found["two steps"]
    print(f"another pose for {int((lost > 1e-5).sum())} of {len(lost)} images, at most {float(lost.max()):.4f} less correlated")


JOBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "box": lambda asked: box(asked.seeds or 3),
    "robust": lambda asked: robust(asked.seeds or 10),
    "betagal": lambda asked: betagal(asked.seeds or 10, asked.data),
    "60S": lambda asked: large_subunit(asked.seeds or 10, asked.data),
    "capsid": lambda asked: capsid(asked.seeds or 3),
    "symmetry": lambda asked: symmetry(asked.data),
    "particle": lambda asked: particle(asked.seeds or 3),
    "still": lambda asked: still(asked.seeds or 3, asked.data),
    "mixture": lambda _: mixture(),
    "cost": lambda _: cost(),
    "box88": lambda asked: box88(asked.seeds or 3),
    "landscape": lambda _: landscape(),
    "moves": lambda _: moves(),
    "match": lambda _: match(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=JOBS)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    JOBS[asked.what](asked)


if __name__ == "__main__":
    main()
