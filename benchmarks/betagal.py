"""Real class averages: β-galactosidase against a map of it, and how far seeds agree; commands of ensemble.py."""

import itertools
from pathlib import Path
from typing import NamedTuple

import torch
from machine import Row, shown, write_record
from runs import CONSENSUS_ONLY, RESULTS, betagal_files, density, extremes, judge, run_seconds, scored, scoretomo

from scoretomo import files
from scoretomo.alignment import moved_onto
from scoretomo.fourier import fourier_shell_correlation, frequency_at, mean_fsc
from scoretomo.rundir.directory import RunDirectory


class Part(NamedTuple):
    """Runs of β-galactosidase with one symmetry at one side."""

    maps: list[Row]
    agreement: list[Row]
    runs: list[Path]


def betagal(seeds: int, folder: Path) -> None:
    parts = [betagal_volumes(folder, group, min(count, seeds)) for group, count in (("C1", 5), ("D2", 3))]
    parts += [betagal_consensus(folder, group, min(count, seeds)) for group, count in (("C1", 10), ("D2", 3))]
    seconds = run_seconds(run for part in parts for run in part.runs)
    maps = [shown(row) for part in parts for row in part.maps]
    agreement = [shown(row) for part in parts for row in part.agreement]
    write_record("betagal", maps, seeds=range(seeds), seconds=seconds)
    write_record("betagal-agreement", agreement, seeds=range(seeds), seconds=seconds)


def betagal_volumes(folder: Path, group: str, seeds: int) -> Part:
    """Volumes, consensus and mean at 32 pixels, and how far the starts agree."""
    stack, truth = betagal_files(folder)
    runs = [RESULTS / f"betagal32-{group}-{seed}" for seed in range(seeds)]
    for seed, run in enumerate(runs):
        scoretomo("run", stack, "--size", 32, "--symmetry", group, "--seed", seed, "--output", run)
    directories, molecule = [RunDirectory(run) for run in runs], density(truth)
    volumes = [judge(run, truth).summary.mean_fsc for run in runs]
    consensus = [scored(run.assigned.volume, molecule).mean_fsc for run in directories]
    means = [scored(run.mean, molecule) for run in directories if run.mean.exists()]  # of a rigid molecule
    described = {"symmetry": group, "side / px": 32}
    maps = {"volumes": volumes, "consensus volume": consensus, "mean of the volumes": [mean.mean_fsc for mean in means]}
    resolutions = [mean.resolution_0_5 for mean in means]
    starts = [fsc for run in directories for fsc in agreeing_starts(run)]
    return Part(
        [{**described, "seeds": seeds, "map": name, **extremes(values)} for name, values in maps.items()],
        [
            agreement_row(described, "starts agree, mean FSC", starts),
            agreement_row(described, "FSC 0.5 with the map, mean of volumes", resolutions, "Å"),
        ],
        runs,
    )


def betagal_consensus(folder: Path, group: str, seeds: int) -> Part:
    """Consensus volumes at 64 pixels, and how far they agree with each other."""
    stack, truth = betagal_files(folder)
    runs = [RESULTS / f"betagal64-{group}-{seed}" for seed in range(seeds)]
    for seed, run in enumerate(runs):
        scoretomo("run", stack, "--symmetry", group, "--seed", seed, "--output", run, *CONSENSUS_ONLY)
    paths = [RunDirectory(run).assigned.volume for run in runs]
    scores, pairs = [scored(path, density(truth)) for path in paths], agreement(paths)
    described = {"symmetry": group, "side / px": 64}
    fsc, resolutions = [score.mean_fsc for score in scores], [score.resolution_0_5 for score in scores]
    return Part(
        [{**described, "seeds": seeds, "map": "consensus volume", **extremes(fsc)}],
        [
            agreement_row(described, "seeds agree, mean FSC of consensus volumes", pairs.fsc),
            agreement_row(described, "FSC 0.5 between seeds", pairs.resolutions, "Å"),
            agreement_row(described, "FSC 0.5 with the map, consensus volume", resolutions, "Å"),
        ],
        runs,
    )


def agreement_row(described: Row, quantity: str, values: list[float], unit: str = "") -> Row:
    """The range of a quantity."""
    return {**described, "quantity": quantity, **extremes(values, "lowest", "highest"), "unit": unit}


def agreeing_starts(run: RunDirectory) -> list[float]:
    """Mean FSC with the best start, of the others that came to the same volume."""
    starts = run.starts.read()
    same = sorted(row.fsc for row in starts if row.agrees)
    print(f"{run.path.name}: {len(same)} of {len(starts)} starts came to the same volume", flush=True)
    return same[:-1]


class Agreement(NamedTuple):
    """How far maps agree, pair by pair."""

    fsc: list[float]  # mean FSC
    resolutions: list[float]  # at FSC 0.5, Å


def agreement(paths: list[Path]) -> Agreement:
    """Compare maps of different seeds."""
    maps, pairs = [files.read_map(path) for path in paths], Agreement([], [])
    for first, second in itertools.combinations([torch.from_numpy(each.density) for each in maps], 2):
        curve = fourier_shell_correlation(moved_onto(first, second), second)
        pairs.fsc.append(float(mean_fsc(curve)))
        pairs.resolutions.append((maps[0].pixel_size or 1.0) / frequency_at(curve, len(first), 0.5))
    return pairs


def large_subunit(seeds: int, folder: Path) -> None:
    stack, rows, runs = folder / "slicem_60S" / "cavgs_60S_47_96px_4.36A.mrcs", [], []
    for size in (24, 48):
        same = [RESULTS / f"60S{size}-ensemble-{seed}" for seed in range(seeds)]
        for seed, run in enumerate(same):
            scoretomo("run", stack, "--size", size, "--recentre", "--seed", seed, "--output", run, *CONSENSUS_ONLY)
        pairs = agreement([RunDirectory(run).assigned.volume for run in same])
        names = "lowest mean FSC between seeds", "highest mean FSC between seeds"
        rows.append(shown({"side / px": size, "seeds": seeds, **extremes(pairs.fsc, *names)}))
        print(f"FSC 0.5 at {min(pairs.resolutions):.1f} – {max(pairs.resolutions):.1f} Å", flush=True)
        runs += same
    write_record("sixty", rows, seeds=range(seeds), seconds=run_seconds(runs))
