"""The ensemble method: one frame, all volumes; how good, how sure, how long.

    python benchmarks/ensemble.py box  300 images of 32², all volumes, their lid angles   about 15 min a seed on 2 cores
    python benchmarks/ensemble.py robust        the same with 10 seeds, 8 volumes each                      about 15 min
    python benchmarks/ensemble.py betagal  16 real class averages: 5 seeds at 32 px, 10 at 64 px, 3 with D2  about 40
    min python benchmarks/ensemble.py 60S       47 real class averages: 10 seeds at 24 and 48 px, no truth      about 20
    min python benchmarks/ensemble.py capsid        200 images of 64², 8 volumes                         about 25 min a
    seed python benchmarks/ensemble.py symmetry  which one is found in box, capsid and β-gal; the capsid with it  about
    12 min python benchmarks/ensemble.py particle  asymmetric, nearly rigid: the consensus against a truth, 3 seeds
    about 15 min python benchmarks/ensemble.py still         300 images of a rigid molecule
    about 40 min python benchmarks/ensemble.py mixture      200 images of the box and 60 of the capsid in one stack
    about 5 min python benchmarks/ensemble.py cost         seconds and memory against side and number of images
    about 60 min python benchmarks/ensemble.py box88  the paper's size: 300 images of 88²; nine volumes of other seeds
    about 180 min python benchmarks/ensemble.py landscape     landscape and report of 300 volumes of 64²
    about 2 min python benchmarks/ensemble.py flexibility  the flexibility test of rigid molecules, and in all runs
    there  about 60 min python benchmarks/ensemble.py match      one match of 300 images with 1,000 directions, both
    ways      a few seconds

Real images: --data, as for benchmarks/cold.py. Results stay in benchmarks/results/; what is finished there is not
computed again.
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from cold import COMMAND, EIGHT, EIGHT_OF_200, RESULTS, ROOT, heading, judge, line, scoretomo, stage_seconds
from molecules import SETS, STILL, whole_run

from scoretomo import files
from scoretomo.alignment import moved_onto
from scoretomo.compute import available_cores
from scoretomo.evaluation import Score, compare
from scoretomo.fourier import fourier_shell_correlation, mean_fsc, resample, resolution_at
from scoretomo.matching import Matcher, directions
from scoretomo.projection import project
from scoretomo.rotations import angular_distance, point_group
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import SimulationFolder
from scoretomo.rundir.poses import rotations_of

_COMPONENTS = 20
CONSENSUS_ONLY = ("--images", 0, "--steps", 20)  # one volume, in few steps: only the consensus is of interest


def scored(path: Path, truth: torch.Tensor) -> Score:
    """A map against a truth of any size."""
    found = files.read_map(path)
    return compare(torch.from_numpy(found.density), resample(truth, len(found.density), 3), found.pixel_size)


def beside_consensus(run: Path, data: Path, numbers: Iterable[int]) -> None:
    """Volumes of some images against their truths, and the consensus against the same ones."""
    found: dict[str, list[float]] = {"volumes": [], "consensus": []}
    for number in numbers:
        truth = torch.from_numpy(files.read_map(SimulationFolder(data).volume(number)).density)
        found["volumes"].append(scored(RunDirectory(run).volume(number), truth).mean_fsc)
        found["consensus"].append(scored(RunDirectory(run).assigned.volume, truth).mean_fsc)
    for name, values in found.items():
        print(
            f"{name}: mean FSC {statistics.mean(values):.3f} ({min(values):.3f} – {max(values):.3f}) to {len(values)} "
            f"truths",
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
        directory = RunDirectory(run)
        truths = [row.mean_fsc for row in directory.evaluation.rows.read()]
        replicates = [row.replicate_fsc for row in directory.volume_rows.read()]
        print(f"mean FSC to the truth and of replicates: correlation {np.corrcoef(truths, replicates)[0, 1]:.2f}")
        first, second, sides = lids(run, data)
        print(
            f"lid angles from {_COMPONENTS} components: R² {first:.3f}, {second:.3f}; found in the other of two "
            f"poses: {sides}"
        )
        first, second, count = modes(run, data)
        print(f"{count} modes; lid angles from the first two: R² {first:.3f}, {second:.3f}", flush=True)


def lids(run: Path, data: Path) -> tuple[float, float, int]:
    """R² of both lid angles, regressed from the volumes' first principal components (mean of the 5 nearest others)."""
    directory = RunDirectory(run)
    numbers = [row.image for row in directory.volume_rows.read() if row.status == "done"]
    volumes = [files.read_map(directory.volume(number)).density for number in numbers]
    angles, swapped = lid_angles(run, data)
    flat = np.stack(volumes).reshape(len(volumes), -1)
    left, values, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return *regressed(left[:, :_COMPONENTS] * values[:_COMPONENTS], angles[numbers]), swapped


def modes(run: Path, data: Path) -> tuple[float, float, int]:
    """The same from the modes of the landscape, and how many there are."""
    rows = RunDirectory(run).landscape.rows.read()
    places = np.array([row.mode[:2] for row in rows])
    angles, _ = lid_angles(run, data)
    return *regressed(places, angles[[row.image for row in rows]]), len(rows[0].mode)


class TruePose(NamedTuple):
    """The true pose of a simulated image."""

    rot: float
    tilt: float
    psi: float


def true_rotations(rows: Iterable[Mapping[str, str]]) -> torch.Tensor:
    """Poses in rows of truth.csv as matrices, (n, 3, 3)."""
    return rotations_of([TruePose(*(float(row[name]) for name in TruePose._fields)) for row in rows])


def lid_angles(run: Path, data: Path) -> tuple[np.ndarray, int]:
    """Both angles of every image (n, 2), in the order in which its volume has the lids; and how many are swapped."""
    truth = files.read_table(SimulationFolder(data).poses)
    angles = np.array([[float(row["lid_1"]), float(row["lid_2"])] for row in truth])
    swapped = other_side(rotations_of(RunDirectory(run).poses.read()), true_rotations(truth))
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

    The box is its own mirror image, y → −y, and a view does not change with z → −z: each image has two poses, equally
    right.
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
        if not RunDirectory(run).evaluation.summary.exists():
            run = RESULTS / f"box32-robust-{seed}"
            scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, "--images", EIGHT)
            scoretomo("evaluate", run, "--truth", data / "truth")
        results = {row.image: row.mean_fsc for row in RunDirectory(run).evaluation.rows.read()}
        eight = [results[int(image)] for image in EIGHT.split(",")]
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
            print(f"their mean: {as_words(scored(RunDirectory(run).mean, known))}", flush=True)
    for group, count in (("C1", seeds), ("D2", min(3, seeds))):
        runs = [RunDirectory(RESULTS / f"betagal64-{group}-{seed}") for seed in range(count)]
        paths = [run.assigned.volume for run in runs]
        for seed, path in enumerate(paths):
            scoretomo("run", stack, "--symmetry", group, "--seed", seed, "--output", runs[seed].path, *CONSENSUS_ONLY)
            print(f"consensus at 64 px, {group}, seed {seed}: {as_words(scored(path, known))}", flush=True)
        agreement([files.read_map(path) for path in paths])


def as_words(score: Score) -> str:
    """A map's agreement with its truth."""
    correlation = score.alignment.correlation
    return f"mean FSC {score.mean_fsc:.3f}, FSC 0.5 at {score.resolution_half:.1f} Å, correlation {correlation:.3f}"


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
            maps.append(files.read_map(RunDirectory(run).assigned.volume))
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
        directory = RunDirectory(run)
        tried = ", ".join(f"{row.symmetry} {100 * row.held_out_residual:.2f} %" for row in directory.symmetries.read())
        symmetry = directory.first.summary.read().symmetry
        print(f"{name}: {symmetry} imposed; residual fraction of held-out images {tried}", flush=True)
    heading()
    for group in ("C1", "I"):
        run = RESULTS / f"capsid32-{group}"
        scoretomo("run", stacks["capsid"], "--symmetry", group, "--images", EIGHT_OF_200, "--output", run)
        line(f"capsid 32 {group}", 0, judge(run, RESULTS / "capsid32" / "truth"))


def particle(seeds: int) -> None:
    """An asymmetric particle that moves little: 100 class averages as of a microscope, and 100 projections with noise
    of 0.3 σ.
    """
    for name in ("realistic", "noise"):
        data = RESULTS / f"particle-{name}"
        SETS[f"particle-{name}"].simulate(data)
        truth = torch.from_numpy(files.read_map(SimulationFolder(data).volume(0)).density)
        for seed in range(seeds):
            run = RESULTS / f"particle-{name}-ensemble-{seed}"
            numbers = ",".join(map(str, range(0, 100, 13)))
            scoretomo("run", data / "images.mrcs", "--recentre", "--seed", seed, "--images", numbers, "--output", run)
            for path in (RunDirectory(run).assigned.volume, RunDirectory(run).mean):
                if path.exists():  # the mean only of a rigid molecule
                    print(f"ribosome, {name}, seed {seed}, {path.stem}: {as_words(scored(path, truth))}", flush=True)


def still(seeds: int, folder: Path) -> None:
    """A rigid molecule: verdict of the flexibility test, and variance of its volumes beside that of replicates."""
    data = RESULTS / "still32"
    source = files.read_map(folder / "betagal_relion16" / "betaGal_map_64px_3.54A.mrc")
    files.make_folder(data)
    if not (data / "map.mrc").exists():
        files.write_map(data / "map.mrc", resample(torch.from_numpy(source.density), 32, 3).numpy(), 7.08)
    scoretomo(
        "simulate", data / "map.mrc", "--images", 300, "--size", 32, "--pixel-size", 7.08, "--output", data / "images"
    )
    for seed in range(seeds):
        run = RESULTS / f"still32-ensemble-{seed}"
        scoretomo(
            "run", data / "images" / "images.mrcs", "--output", run, "--seed", seed, *(("--images", 0) if seed else ())
        )
        print(f"still, seed {seed}: {RunDirectory(run).flexibility.read()}", flush=True)
    run = RESULTS / "still32-ensemble-0"
    rows = RunDirectory(run).volume_rows.read()
    volumes = np.stack([files.read_map(RunDirectory(run).volume(row.image)).density for row in rows])
    mean = torch.from_numpy(volumes.mean(0))
    curves = [float(mean_fsc(fourier_shell_correlation(torch.from_numpy(volume), mean))) for volume in volumes]
    replicates = [row.replicate_fsc for row in rows]
    share = float((volumes - volumes.mean(0)).var() / volumes.mean(0).var())
    print(
        f"300 volumes with their mean: mean FSC {np.mean(curves):.4f} (worst {min(curves):.4f}); replicates "
        f"{np.mean(replicates):.4f}"
    )
    print(f"variance between volumes: {100 * share:.3f} % of that of their mean")
    heading()
    line("still", 0, judge(run, data / "map.mrc"))


def mixture() -> None:
    """Two molecules in one stack: how many images of each are in class 2."""
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
    class_2 = [row.class_number == 2 for row in RunDirectory(run).poses.read()]
    print(f"in class 2: {sum(class_2[:200])} of 200 boxes, {sum(class_2[200:])} of 60 capsids")


def cost() -> None:
    """Where the time goes, for boxes of several sides and numbers; eight volumes are made, the rest is as for all.

    The memory is of the largest process, and only right where the run is not there yet.
    """
    stages = "consensus  flexibility  deformation  score support"
    print(f"images  side  {stages}  core-seconds a volume  all, two cores (est.)  largest process")
    for count, size in ((100, 32), (300, 32), (1000, 32), (300, 64), (300, 88)):
        data, run = RESULTS / f"cost-{count}-{size}", RESULTS / f"cost-{count}-{size}-run"
        scoretomo("simulate", "box", "--images", count, "--size", size, "--seed", 0, "--output", data)
        numbers = ",".join(str(count * eighth // 8) for eighth in range(8))
        process = subprocess.Popen([*COMMAND, "run", data / "images.mrcs", "--output", run, "--images", numbers])
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        spent = stage_seconds(run)
        names = ("consensus", "flexibility", "deformation", "score support")
        volume = statistics.mean(row.seconds for row in RunDirectory(run).volume_rows.read())
        minutes = (sum(spent[name] for name in names) + count * volume / 2) / 60
        stages = "  ".join(f"{spent[name]:>{len(name) - 2}.0f} s" for name in names)
        print(
            f"{count:>6}  {size:>4}  {stages}  {volume:>21.2f}  {minutes:>18.1f} min  "
            f"{usage.ru_maxrss / 2**20:>11.2f} GiB",
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
        spent = sum(stage_seconds(run).values())
        print(f"seed {seed}, {'nine' if seed else 'all'} volumes: all stages {spent / 60:.0f} min", flush=True)
        for numbers in (nine,) if seed else (range(0, 300, 10), nine):
            beside_consensus(run, data, numbers)


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
            files.write_map(path, resample(torch.from_numpy(files.read_map(path).density), 64, 3).numpy(), None)
        images = torch.from_numpy(files.read_images(directory.images).images)
        files.write_images(directory.images, resample(images, 64, 2).numpy(), None)
    process = subprocess.Popen([*COMMAND, "landscape", run])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    size = RunDirectory(run).report.stat().st_size / 1e6
    print(
        f"{usage.ru_utime + usage.ru_stime:.0f} CPU-seconds, {usage.ru_maxrss / 2**20:.1f} GiB, a page of {size:.1f} MB"
    )


def flexibility() -> None:
    """The flexibility test in the runs of all benchmarks: of flexible molecules, and of rigid ones."""
    for name in STILL:
        whole_run(name)
    print("run                               rigid residual  flexible residual  displacement     statistic  verdict")
    for run in map(RunDirectory, sorted(RESULTS.iterdir())):
        test = run.flexibility.read() if run.flexibility.exists() else None
        if test and test.rigid_residual is not None:
            shares = f"{100 * test.rigid_residual:>12.2f} %  {100 * test.flexible_residual:>15.2f} %"
            print(
                f"{run.path.name:<32}  {shares}  {test.displacement:>9.2f} px  {test.statistic:>12.3f}  {test.verdict}"
            )


def match() -> None:
    """Seconds of one match on all cores, in two steps and with every direction compared in full."""
    torch.set_num_threads(available_cores())
    data = RESULTS / "box32"
    scoretomo("simulate", "box", "--images", 300, "--size", 32, "--seed", 0, "--output", data)
    images = torch.from_numpy(files.read_images(data / "images.mrcs").images)
    volume = torch.from_numpy(files.read_map(SimulationFolder(data).volume(0)).density)
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
    print(
        f"another pose for {int((lost > 1e-5).sum())} of {len(lost)} images, at most {float(lost.max()):.4f} less "
        f"correlated"
    )


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
    "flexibility": lambda _: flexibility(),
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
