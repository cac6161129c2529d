"""Runs of the program in benchmarks/results/, and what is read from them; what is finished there is not computed again.

The real images are public: betagal_class_averages.mrcs of michaelhabeck/bayesian-random-tomography (centre 64 px, 3.54
Å) with betaGal.mrc of nglviewer/ngl, and the 60S averages of marcottelab/SLICEM (all MIT); --data is the folder that
holds them.
"""

import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from machine import ROOT, Row

from scoretomo import files
from scoretomo.evaluation import FscComparison, compare
from scoretomo.fourier import resample
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import SimulationFolder
from scoretomo.rundir.rows import EvaluationSummary, FscRow

RESULTS = ROOT / "results"
DATA = ROOT.parent.parent / "shared" / "data"
COMMAND = [sys.executable, "-m", "scoretomo.cli"]
EIGHT = range(0, 260, 37)  # of 300 images
EIGHT_OF_200 = range(0, 200, 25)
CONSENSUS_ONLY = ("--images", 0, "--steps", 20)  # one volume, in few steps: only the consensus is of interest


class Judged(NamedTuple):
    """A run and its FSC results."""

    path: Path
    summary: EvaluationSummary
    rows: list[FscRow]  # one a volume


def scoretomo(*arguments: object) -> None:
    """Run the command line program; stop where it fails."""
    subprocess.run([*COMMAND, *map(str, arguments)], check=True)


def simulated(what: str, count: int, size: int) -> Path:
    """Images of a molecule with truth, in a folder named after it and their side."""
    data = RESULTS / f"{what}{size}"
    scoretomo("simulate", what, "--images", count, "--size", size, "--seed", 0, "--output", data)
    return data


def only(numbers: Iterable[int]) -> tuple[str, str]:
    """The option that makes the volumes of some images."""
    return "--images", ",".join(map(str, numbers))


def betagal_files(data: Path) -> tuple[Path, Path]:
    """The real class averages of β-galactosidase, and a map of it."""
    folder = data / "betagal_relion16"
    return folder / "betagal_cavgs16_64px_3.54A.mrcs", folder / "betaGal_map_64px_3.54A.mrc"


def judged(stack: Path, truth: Path, name: str, *options: object) -> Judged:
    """Run and evaluate."""
    scoretomo("run", stack, "--output", RESULTS / name, *options)
    return judge(RESULTS / name, truth)


def judge(run: Path, truth: Path) -> Judged:
    """Evaluate the volumes of a run."""
    scoretomo("evaluate", run, "--truth", truth)
    return results(run)


def some_truths(data: Path, numbers: Iterable[int]) -> Path:
    """A folder with the truths of some images, and the table of all poses."""
    folder = data.with_name(f"{data.name}-truths")
    files.make_folder(folder)
    all_truths = SimulationFolder(data)
    for path in (all_truths.poses, *(all_truths.volume(number) for number in numbers)):
        shutil.copy(path, folder / path.name)
    return folder


def results(run: Path) -> Judged:
    """The evaluation of a run that was evaluated."""
    evaluation = RunDirectory(run).evaluation
    return Judged(run, evaluation.summary.read(), evaluation.rows.read())


def stage_seconds(run: Path) -> dict[str, float]:
    """Wall-clock seconds of each stage, also where it was interrupted and continued."""
    seconds: dict[str, float] = {}
    for record in files.read_records(RunDirectory(run).log):
        if record["event"] == "stage":
            seconds[record["stage"]] = seconds.get(record["stage"], 0.0) + record["seconds"]
    return seconds


def run_seconds(runs: Iterable[Path]) -> float:
    """Wall-clock seconds of all stages and evaluations of some runs."""
    records = (record for run in runs for record in files.read_records(RunDirectory(run).log))
    return sum(record["seconds"] for record in records if record["event"] in ("stage", "evaluation"))


def seconds_a_volume(run: Path) -> float:
    """Wall clock, over all cores used."""
    return stage_seconds(run)["volumes"] / len(RunDirectory(run).volume_rows.read())


def quality(run: Judged, worst: str = "worst", best: str = "best") -> Row:
    """Mean FSC over all volumes, of the worst one and of the best one."""
    each = [row.mean_fsc for row in run.rows]
    return {"mean FSC": run.summary.mean_fsc, worst: min(each), best: max(each)}


def gained(run: Judged) -> Row:
    """A run beside the best single map."""
    return {
        "best single map": run.summary.single_map_mean_fsc,
        "conformation gain": run.summary.conformation_gain,
    }


def extremes(values: Sequence[float | None], lowest: str = "lowest seed", highest: str = "highest seed") -> Row:
    """Lowest and highest of the values that are there."""
    there = [value for value in values if value is not None]
    return {lowest: min(there, default=None), highest: max(there, default=None)}


def density(path: Path) -> torch.Tensor:
    """The values of a map."""
    return torch.from_numpy(files.read_map(path).density)


def scored(path: Path, truth: torch.Tensor) -> FscComparison:
    """A map against a truth of any size."""
    volume = files.read_map(path)
    return compare(torch.from_numpy(volume.density), resample(truth, len(volume.density), 3), volume.pixel_size)


class Truths(NamedTuple):
    """Mean FSC with the truths of some images."""

    volumes: list[float]  # of each image's own volume
    consensus: list[float]


def beside_consensus(run: Path, data: Path, numbers: Iterable[int]) -> Truths:
    """Volumes of some images against their truths, and the consensus against the same ones."""
    truths = Truths([], [])
    for number in numbers:
        truth = density(SimulationFolder(data).volume(number))
        truths.volumes.append(scored(RunDirectory(run).volume(number), truth).mean_fsc)
        truths.consensus.append(scored(RunDirectory(run).assigned.volume, truth).mean_fsc)
    print(f"mean FSC of the consensus with {len(truths.consensus)} truths: {statistics.mean(truths.consensus):.3f}")
    return truths
