"""The ensemble method: one frame, all volumes; how good, how sure, how long.

    python benchmarks/ensemble.py box          300 images of 32², all volumes, their lid angles           15 min a seed
    python benchmarks/ensemble.py demo         the same with every twelfth volume                         10 min
    python benchmarks/ensemble.py robust       the same with 10 seeds, 8 volumes each                     15 min
    python benchmarks/ensemble.py betagal      16 real class averages: 32 and 64 px, 10 seeds; 3 with D2  40 min
    python benchmarks/ensemble.py 60S          47 real class averages: 10 seeds at 24 and 48 px           20 min
    python benchmarks/ensemble.py capsid       200 images of 64², 8 volumes                               25 min a seed
    python benchmarks/ensemble.py symmetry     of box, capsid and β-gal; the capsid's volumes with it     12 min
    python benchmarks/ensemble.py particle     asymmetric, nearly rigid: the consensus against a truth    15 min
    python benchmarks/ensemble.py still        300 images of a rigid molecule                             40 min
    python benchmarks/ensemble.py mixture      200 images of the box, with 60 of the capsid and alone     10 min
    python benchmarks/ensemble.py cost         seconds and memory against side and number of images       60 min
    python benchmarks/ensemble.py box88        the paper's size: 300 images of 88², nine of them judged   20 min a seed
    python benchmarks/ensemble.py landscape    landscape and report of 300 volumes of 64², after box      2 min
    python benchmarks/ensemble.py flexibility  the flexibility test, in runs of other benchmarks      a second
    python benchmarks/ensemble.py match        one match of 300 images with 1,000 directions, both ways   10 s

Times are on two cores. --seeds gives fewer, without a record. Real images, and where results stay: see runs.py.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from betagal import betagal, large_subunit
from costs import cost, landscape, match
from lids import COMPONENTS, lids_of_modes, lids_of_volumes
from machine import Row, shown, write_record
from molecules import SETS, STILL
from runs import (
    CONSENSUS_ONLY,
    DATA,
    EIGHT,
    EIGHT_OF_200,
    RESULTS,
    Judged,
    betagal_files,
    density,
    extremes,
    gained,
    judge,
    only,
    quality,
    results,
    run_seconds,
    scored,
    scoretomo,
    simulated,
    some_truths,
    stage_seconds,
)

from scoretomo import files
from scoretomo.fourier import fourier_shell_correlation, mean_fsc, resample
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import SimulationFolder


def box(seeds: int) -> None:
    data, rows, lids, runs = simulated("box", 300, 32), [], [], []
    for seed in range(seeds):
        run = RESULTS / f"box32-ensemble-{seed}"
        scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed)
        judged = judge(run, data / "truth")
        described = {"set": "box", "images": 300, "side / px": 32, "volumes judged": judged.summary.n, "seed": seed}
        rows.append(shown({**described, "mean FSC": judged.summary.mean_fsc, **gained(judged)}))
        replicates = [row.replicate_fsc for row in RunDirectory(run).volume_rows.read()]
        correlation = np.corrcoef([row.mean_fsc for row in judged.rows], replicates)[0, 1]
        print(f"mean FSC with the truth and of replicates: correlation {correlation:.2f}")
        lids += [
            shown({"seed": seed, "source": source, "R², lid 1": first, "R², lid 2": second})
            for source, (first, second) in (
                (f"volumes ({COMPONENTS} components)", lids_of_volumes(run, data)),
                ("two modes", lids_of_modes(run, data)),
            )
        ]
        runs.append(run)
    spent = stage_seconds(runs[0])
    stages = [shown({"stage": stage, "seconds": seconds}) for stage, seconds in spent.items()]
    write_record("volumes", rows, seeds=range(seeds), seconds=run_seconds(runs))
    write_record("lids", lids[::2] + lids[1::2], seeds=range(seeds), seconds=run_seconds(runs))
    write_record("stages", stages, seeds=[0], seconds=sum(spent.values()))


def demo() -> None:
    data, run = simulated("box", 300, 32), RESULTS / "box32-demo"
    scoretomo("run", data / "images.mrcs", "--output", run, *only(range(0, 300, 12)))
    judged = judge(run, data / "truth")
    described = {"images": 300, "volumes": judged.summary.n, "AUC": judged.summary.auc}
    row = shown({**described, **quality(judged, "lowest", "highest"), **gained(judged)})
    write_record("volumes-demo", [row], seeds=[0], seconds=run_seconds([run]))


def robust(seeds: int) -> None:
    data, runs = simulated("box", 300, 32), []
    for seed in range(seeds):
        run = RESULTS / f"box32-ensemble-{seed}"  # has them, too
        if not RunDirectory(run).evaluation.summary.exists():
            run = RESULTS / f"box32-robust-{seed}"
            scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, *only(EIGHT))
            scoretomo("evaluate", run, "--truth", data / "truth")
        runs.append(run)
    each, rows = [of_eight(results(run)) for run in runs], []
    for seed, quantities in enumerate(each):
        shown({"seed": seed, **quantities})
    for quantity in each[0]:
        values = [row[quantity] for row in each if row[quantity] is not None]
        described = {"set": "box, 300 × 32²", "quantity": quantity, "seeds counted": len(values)}
        rows.append(shown({**described, **extremes(values)}))
    write_record("volumes-eight", rows, seeds=range(seeds), seconds=run_seconds(runs))


def of_eight(run: Judged) -> Row:
    """Quantities of eight volumes; a run of more of them has a best single map of more truths."""
    rows = [row for row in run.rows if row.image in EIGHT]
    each = [row.mean_fsc for row in rows]
    return {
        "mean FSC": statistics.mean(each),
        "worst volume": min(each),
        "best volume": max(each),
        "AUC": statistics.mean(row.auc for row in rows),
        **(gained(run) if len(run.rows) == len(rows) else dict.fromkeys(gained(run))),
    }


def capsid(seeds: int) -> None:
    data, rows, runs = simulated("capsid", 200, 64), [], []
    for seed in range(seeds):
        run = RESULTS / f"capsid64-ensemble-{seed}"
        scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, *only(EIGHT_OF_200))
        judged = judge(run, data / "truth")
        described = {"set": "capsid", "images": 200, "side / px": 64, "volumes judged": judged.summary.n, "seed": seed}
        rows.append(shown({**described, **quality(judged, "lowest", "highest"), **gained(judged)}))
        runs.append(run)
    write_record("volumes-large", rows, seeds=range(seeds), seconds=run_seconds(runs), key=["set"])


def symmetry(folder: Path) -> None:
    """What --symmetry auto proposes and takes; and volumes of the capsid without and with the symmetry that it has."""
    data = simulated("capsid", 200, 32)
    stacks = {
        "β-gal": ("betagal", betagal_files(folder)[0]),
        "box": ("box", simulated("box", 300, 32) / "images.mrcs"),
        "capsid": ("capsid", data / "images.mrcs"),
    }
    rows, runs = [], []
    for name, (short, stack) in stacks.items():
        run = RESULTS / f"{short}32-auto"
        scoretomo("run", stack, "--size", 32, "--symmetry", "auto", "--output", run, *CONSENSUS_ONLY)
        imposed = RunDirectory(run).first.summary.read().symmetry
        for tried in RunDirectory(run).symmetries.read():
            described = {"set": name, "group": tried.symmetry, "taken": "yes" if tried.symmetry == imposed else ""}
            rows.append(shown({**described, "held-out residual / %": 100 * (1 - tried.held_out_correlation)}))
        runs.append(run)
    for group in ("C1", "I"):
        run = RESULTS / f"capsid32-{group}"
        scoretomo("run", data / "images.mrcs", "--symmetry", group, *only(EIGHT_OF_200), "--output", run)
        judged = judge(run, data / "truth")
        shown({"set": "capsid", "group": group, **quality(judged), **gained(judged)})
    write_record("symmetry", rows, seeds=[0], seconds=run_seconds(runs))


def particle(seeds: int) -> None:
    """An asymmetric particle that moves little: 100 class averages as of a microscope, and 100 projections with noise
    of 0.3 σ.
    """
    for name in ("realistic", "noise"):
        data = RESULTS / f"particle-{name}"
        SETS[f"particle-{name}"].simulate(data)
        runs = [RESULTS / f"particle-{name}-ensemble-{seed}" for seed in range(seeds)]
        for seed, run in enumerate(runs):
            chosen = only(range(0, 100, 13))
            scoretomo("run", data / "images.mrcs", "--recentre", "--seed", seed, *chosen, "--output", run)
        rows = [shown(row) for row in particle_rows(runs, data)]
    write_record("particle", rows, seeds=range(seeds), seconds=run_seconds(runs), key=["map"])


def particle_rows(runs: list[Path], data: Path) -> list[Row]:
    """Maps of a particle, each from the lowest to the highest seed; some are compared with the first truth."""
    directories, truth = [RunDirectory(run) for run in runs], density(SimulationFolder(data).volume(0))
    judged = [judge(run, data / "truth") for run in runs]
    verdicts = ", ".join(sorted({f"verdict {run.flexibility.read().verdict}" for run in directories}))
    maps: dict[str, list[float | None]] = {
        "consensus volume, with --recentre": [scored(run.assigned.volume, truth).mean_fsc for run in directories],
        "mean of eight volumes, with --recentre": [
            scored(run.mean, truth).mean_fsc
            for run in directories
            if run.mean.exists()  # of a rigid molecule
        ],
        "volumes, each with its own truth, with --recentre": [run.summary.mean_fsc for run in judged],
        "best single map": [run.summary.single_map_mean_fsc for run in judged],
    }
    return [
        {"map": name, **extremes(values), "seeds": len(values), "note": verdicts if "consensus" in name else ""}
        for name, values in maps.items()
    ]


def still(seeds: int, folder: Path) -> None:
    """A rigid molecule: verdict of the flexibility test, and variance of its volumes beside that of replicates."""
    data, rows = RESULTS / "still32", []
    files.make_folder(data)
    truth = data / "map.mrc"
    if not truth.exists():
        files.write_map(truth, resample(density(betagal_files(folder)[1]), 32, 3).numpy(), 7.08)
    scoretomo("simulate", truth, "--images", 300, "--size", 32, "--pixel-size", 7.08, "--output", data / "images")
    runs = [RESULTS / f"still32-ensemble-{seed}" for seed in range(seeds)]
    for seed, run in enumerate(runs):
        few = ("--images", 0) if seed else ()
        scoretomo("run", data / "images" / "images.mrcs", "--output", run, "--seed", seed, *few)
        test = RunDirectory(run).flexibility.read()
        residuals = {
            "rigid residual / %": percent(test.rigid_residual),
            "flexible residual / %": percent(test.flexible_residual),
        }
        rows.append(shown({"seed": seed, **residuals, "verdict": test.verdict}))
    print_variance(RunDirectory(runs[0]))
    print(f"mean FSC of its volumes with the map: {judge(runs[0], truth).summary.mean_fsc:.3f}")
    write_record("still", rows, seeds=range(seeds), seconds=run_seconds(runs))


def percent(share: float | None) -> float | None:
    """A share in percent."""
    return None if share is None else 100 * share


def print_variance(run: RunDirectory) -> None:
    """How far the volumes of a rigid molecule differ."""
    rows = run.volume_rows.read()
    volumes = np.stack([files.read_map(run.volume(row.image)).density for row in rows])
    mean = torch.from_numpy(volumes.mean(0))
    curves = [float(mean_fsc(fourier_shell_correlation(torch.from_numpy(volume), mean))) for volume in volumes]
    replicates = np.mean([row.replicate_fsc for row in rows])
    share = float((volumes - volumes.mean(0)).var() / volumes.mean(0).var())
    print(f"volumes with their mean: mean FSC {np.mean(curves):.4f}, worst {min(curves):.4f}")
    print(f"replicates: {replicates:.4f}; variance of the volumes: {100 * share:.3f} % of that of their mean")


def mixture() -> None:
    """Two molecules in one stack, and one alone: how many images of each are in class 2."""
    parts, rows, runs = [], [], []
    for what, count in (("box", 200), ("capsid", 60)):
        data = RESULTS / f"mixture-{what}"
        scoretomo("simulate", what, "--images", count, "--size", 32, "--seed", 0, "--output", data)
        images = files.read_images(data / "images.mrcs").images
        parts.append(images / images.std())
    for name, images in (("mixture", np.concatenate(parts)), ("box alone", parts[0])):
        run = RESULTS / f"{name.replace(' ', '-')}-run"
        stack = run.with_suffix(".mrcs")
        if not stack.exists():
            files.write_images(stack, images, None)
        scoretomo("run", stack, "--output", run, *only(range(0, len(images), 37)))
        class_2 = [row.class_number == 2 for row in RunDirectory(run).poses.read()]
        capsids = class_2[200:]
        row = {
            "stack": name,
            "images of the box": 200,
            "images of the capsid": len(capsids),
            "box images in class 2": sum(class_2[:200]),
            "capsid images in class 2": sum(capsids) if capsids else None,
        }
        rows.append(shown(row))
        runs.append(run)
    write_record("mixture", rows, seeds=[0], seconds=run_seconds(runs))


def box88(seeds: int) -> None:
    """Whole runs at the paper's size, nine volumes of each against their truths. Only seed 0 makes all volumes."""
    data, nine, rows = RESULTS / "cost-300-88", range(0, 300, 37), []
    scoretomo("simulate", "box", "--images", 300, "--size", 88, "--seed", 0, "--output", data)
    truth = some_truths(data, nine)
    runs = [RESULTS / f"cost-300-88-all-{seed}" for seed in range(seeds)]
    for seed, run in enumerate(runs):
        scoretomo("run", data / "images.mrcs", "--output", run, "--seed", seed, *(only(nine) if seed else ()))
        judged = judge(run, truth)
        described = {"set": "box", "images": 300, "side / px": 88, "volumes judged": judged.summary.n, "seed": seed}
        rows.append(shown({**described, **quality(judged, "lowest", "highest"), **gained(judged)}))
    spent = stage_seconds(runs[0])
    stages = [
        shown({"stage": stage, "minutes": seconds / 60, "memory / GiB": None}) for stage, seconds in spent.items()
    ]
    write_record("volumes-large", rows, seeds=range(seeds), seconds=run_seconds(runs), key=["set"])
    write_record("stages-88", stages, seeds=[0], seconds=sum(spent.values()))


def flexibility() -> None:
    """The flexibility test of moving and rigid molecules, in the runs that other benchmarks have made."""
    tested = {f"{name}-all": (images.title, "no" if name in STILL else "yes") for name, images in SETS.items()}
    tested["still32-ensemble-0"] = "β-gal, noise-free", "no"
    tested |= {f"60S48-ensemble-{seed}": (f"60S, real averages, seed {seed}", "unknown") for seed in (0, 1)}
    runs = [RESULTS / name for name in tested if RunDirectory(RESULTS / name).flexibility.exists()]
    rows = []
    for run in runs:
        (title, moves), test = tested[run.name], RunDirectory(run).flexibility.read()
        rows.append(shown({"set": title, "moves": moves, "statistic": test.statistic, "verdict": test.verdict}))
    write_record("flexibility", rows, seeds=None, seconds=run_seconds(runs), key=["set"])


JOBS: dict[str, tuple[Callable[[int, Path], None], int]] = {  # what is done with so many seeds and the real images
    "box": (lambda seeds, _: box(seeds), 3),
    "demo": (lambda *_: demo(), 1),
    "robust": (lambda seeds, _: robust(seeds), 10),
    "betagal": (betagal, 10),
    "60S": (large_subunit, 10),
    "capsid": (lambda seeds, _: capsid(seeds), 3),
    "symmetry": (lambda _, data: symmetry(data), 1),
    "particle": (lambda seeds, _: particle(seeds), 3),
    "still": (still, 3),
    "mixture": (lambda *_: mixture(), 1),
    "cost": (lambda *_: cost(), 1),
    "box88": (lambda seeds, _: box88(seeds), 1),
    "landscape": (lambda *_: landscape(), 1),
    "flexibility": (lambda *_: flexibility(), 1),
    "match": (lambda *_: match(), 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=JOBS)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    torch.set_num_threads(1)
    job, seeds = JOBS[options.what]
    job(options.seeds or seeds, options.data)


if __name__ == "__main__":
    main()
