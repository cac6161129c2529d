"""Runs of simulated molecules with truth: how well the predictors of reliability predict the FSC with the truth.

    python benchmarks/reliability.py runs       images, runs and evaluations of all sets                  3.5 h
    python benchmarks/reliability.py calibrate  all sets, and each molecule by the other molecules        2 min

Times are on two cores. --sets gives some sets of molecules.py, without a record. Where results stay: see runs.py.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lids import lids_of_volumes, true_rotations
from machine import Row, shown, write_record
from molecules import SEEN, SETS, STILL, whole_run
from runs import RESULTS, Judged, Truths, beside_consensus, gained, judge, quality, run_seconds
from scipy.optimize import nnls
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from scoretomo import files
from scoretomo.pipeline.images import read_prepared
from scoretomo.pipeline.posed import explained_images
from scoretomo.pipeline.reliability import read_predictors
from scoretomo.reliability.calibration import FLEXIBLE, RELIABILITY, SIDE, Calibration, deviations, level
from scoretomo.rotations import angular_distance
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import SimulationFolder
from scoretomo.rundir.poses import rotations_of

_WRONG = 25  # degrees
_LEVEL = 5.0  # added to log(1.02 − rings), so that it is above 0


class JudgedSet(NamedTuple):
    """A set of images and the run of it."""

    name: str
    data: Path
    run: Judged
    truths: Truths  # of every twentieth image, as far as it has a volume
    correlations: list[float | None]  # of each parameter of the truth with the mode most like it; None without modes


def runs(names: list[str]) -> None:
    """Make the runs of all sets, and judge them."""
    rows: dict[str, list[Row]] = {}
    paths = []
    for name in names:
        each = judged_set(name)
        print(f"{SETS[name].title}: {'; '.join(remarks(each))}")
        for record, row in rows_of(each):
            rows.setdefault(record, []).append(shown(row))
        paths.append(each.run.path)
    for record, measured_rows in rows.items():
        key = ["set"] if record == "volumes-large" else []
        write_record(record, measured_rows, seeds=[0], seconds=run_seconds(paths), key=key)


def judged_set(name: str) -> JudgedSet:
    """Images, run and evaluation of a set."""
    data, path = whole_run(name)
    run = judge(path, data / "truth")
    numbers = sorted({row.image for row in run.rows} & set(range(0, 200, 20)))
    return JudgedSet(name, data, run, beside_consensus(path, data, numbers), true_modes(path, data))


def rows_of(each: JudgedSet) -> Iterator[tuple[str, Row]]:
    """Names of the records that have the set, and its row in each."""
    if each.name in STILL:
        return
    if each.name.startswith("random"):
        yield "random-molecules", random_row(each)
    elif each.name == "box88":
        yield "volumes-large", {**set_row(each), "side / px": 88, "seed": 0}
    else:
        yield "volumes-sets", {**set_row(each), "AUC": each.run.summary.auc}
    if each.name.startswith("realistic"):
        yield "realistic", realistic_row(each)


def set_row(each: JudgedSet) -> Row:
    """The quality of the volumes of a set."""
    images = len(files.read_table(SimulationFolder(each.data).poses))
    described = {"set": SETS[each.name].title, "images": images, "volumes judged": each.run.summary.n}
    return {**described, **quality(each.run, "lowest", "highest"), **gained(each.run)}


def heterogeneity(each: JudgedSet) -> Row:
    """Volumes and consensus of a set beside the same truths, and how many modes there are."""
    return {
        "volumes": statistics.mean(each.truths.volumes),
        "consensus volume": statistics.mean(each.truths.consensus),
        "true modes": len(each.correlations),
        "modes": RunDirectory(each.run.path).landscape.summary.read().modes,
    }


def random_row(each: JudgedSet) -> Row:
    """A random molecule."""
    number, (first, second) = int(each.name.removeprefix("random")), [*each.correlations, None][:2]
    return {
        "molecule": f"{number:02d}",
        "images of it": SEEN[number % 3],
        "verdict": RunDirectory(each.run.path).flexibility.read().verdict,
        **heterogeneity(each),
        "correlation, mode 1": first,
        "correlation, mode 2": second,
    }


def realistic_row(each: JudgedSet) -> Row:
    """Realistic class averages."""
    return {
        "set": SETS[each.name].title,
        "volumes judged": len(each.truths.volumes),
        **heterogeneity(each),
        "best single map": each.run.summary.single_map_mean_fsc,
        "note": "; ".join(remarks(each)),
    }


def remarks(each: JudgedSet) -> Iterator[str]:
    """How like the true parameters the modes are, and how many poses are wrong."""
    if SETS[each.name].molecule == "box":
        first, second = lids_of_volumes(each.run.path, each.data)
        yield f"R² of the lids {first:.2f} and {second:.2f}"
    elif values := [f"{value:.2f}" for value in each.correlations if value is not None]:
        yield f"correlation of the modes with the true angles {' and '.join(values)}"
    if SETS[each.name].asymmetric:
        rows, truth = RunDirectory(each.run.path).poses.read(), files.read_table(SimulationFolder(each.data).poses)
        wrong = wrong_poses(rotations_of(rows), true_rotations(truth[row.image] for row in rows))
        yield f"{wrong} of {len(rows)} averages are more than {_WRONG}° wrong"


def true_modes(run: Path, data: Path) -> list[float | None]:
    """Correlation of each parameter of the truth with the mode that is most like it."""
    truth, rows = files.read_table(SimulationFolder(data).poses), RunDirectory(run).landscape.rows.read()
    places = np.array([row.mode for row in rows])
    correlations = []
    for parameter in list(truth[0])[1 : list(truth[0]).index("rot")]:
        true = np.array([float(truth[row.image][parameter]) for row in rows])
        correlations.append(max((abs(np.corrcoef(true, place)[0, 1]) for place in places.T), default=None))
    return correlations


def wrong_poses(assigned: torch.Tensor, true: torch.Tensor) -> int:
    """How many poses are far from the true ones, in the frame and hand in which that are fewest; (n, 3, 3) each."""
    across = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=assigned.dtype))
    frames = torch.stack([assigned.mT @ true, (across @ assigned @ across).mT @ true])  # where right, all the same
    apart = angular_distance(frames[:, :, None], frames[:, None])  # (2, n, n): all images in the frame of each one
    return int((apart > _WRONG).sum(2).min())


class Measured(NamedTuple):
    """Predictors of the volumes of a set, and their FSC with the truth."""

    apart: np.ndarray  # (n, 3): logarithms of the predictors, minus those of a typical volume
    level: float  # log(1.02 − rings) of a typical image
    wrong: np.ndarray  # (n,): log(1 − FSC), in the shells of images of SIDE pixels


def measured(name: str) -> Measured:
    run = RunDirectory(RESULTS / f"{name}-all")
    explained = explained_images(run)
    means = {row.image: np.mean(row.shell[1 : SIDE // 2 + 1]) for row in run.evaluation.curves.read()}
    numbers = [number for number in means if number in explained]
    predictors = read_predictors(run, read_prepared(run.images), numbers)
    wrong = np.log(1 - np.array([means[number] for number in numbers]))
    return Measured(deviations(predictors), level(predictors), wrong)


def fitted(sets: list[Measured], *, flexible: bool) -> Calibration:
    """Least squares in which every set counts the same, with weights of at least 0.

    Weights of the predictors are fitted within the sets, and from these the level of a molecule between the sets.
    Volumes of a rigid molecule hardly differ: their predictors have no weight.
    """
    rows, aims = [], []
    for each in sets:
        share = 1 / np.sqrt(len(each.wrong))
        rows.append((each.apart - each.apart.mean(0)) * share)
        aims.append((each.wrong - each.wrong.mean()) * share)
    weights = nnls(np.concatenate(rows), np.concatenate(aims))[0] if flexible else np.zeros(3)
    ones, levels = np.ones(len(sets)), np.array([each.level for each in sets])
    typical = np.array([np.mean(each.wrong - each.apart @ weights) for each in sets])
    below, above, rings = nnls(np.column_stack([-ones, ones, levels + _LEVEL]), typical)[0].tolist()
    return Calibration(above - below + rings * _LEVEL, rings, *weights.tolist(), spread=0.0)


def left(each: Measured, calibration: Calibration) -> np.ndarray:
    """log(1 − FSC) minus what is expected of it, (n,)."""
    weights = np.array([calibration.replicates, calibration.fit, calibration.isolation])
    return each.wrong - (calibration.offset + calibration.rings * each.level + each.apart @ weights)


def held_out(sets: dict[str, Measured], *, flexible: bool) -> dict[str, np.ndarray]:
    """Residuals of each set with a calibration on the other molecules."""
    residuals = {}
    for name, each in sets.items():
        others = [other for key, other in sets.items() if SETS[key].molecule != SETS[name].molecule]
        residuals[name] = left(each, fitted(others, flexible=flexible))
    return residuals


def spread(apart: dict[str, np.ndarray]) -> float:
    """Half the width of the 80 % interval for volumes of one more molecule, from the residuals of held-out molecules.

    A molecule may be off as a whole, and its volumes differ from each other. Every molecule counts the same, and as
    they are few, the quantile is that of Student's t.
    """
    squares: dict[str, list[float]] = {}
    for name, each in apart.items():
        squares.setdefault(SETS[name].molecule, []).append(float(np.square(each).mean()))
    return float(student.ppf(0.9, len(squares)) * np.sqrt(np.mean([np.mean(sets) for sets in squares.values()])))


def is_flexible(run: RunDirectory) -> bool:
    """The verdict of a finished run."""
    if not run.evaluation.summary.exists():
        raise SystemExit(f"{run.path} is not finished: python benchmarks/reliability.py runs")
    return run.model.exists()


def calibrate(names: list[str]) -> None:
    """Flexible and rigid molecules have calibrations of their own."""
    begin = time.monotonic()
    flexible = {name: is_flexible(RunDirectory(RESULTS / f"{name}-all")) for name in names}
    for kind in (True, False):
        sets = {name: measured(name) for name in names if flexible[name] is kind}
        print("flexible:" if kind else "rigid:")
        if len({SETS[name].molecule for name in sets}) < 3:
            print("each molecule is judged by the others, and these by each other: name sets of three or more")
            continue
        rows = cross_validate(sets, flexible=kind)
        seconds = time.monotonic() - begin
        write_record(f"reliability-{'flexible' if kind else 'rigid'}", rows, seeds=[0], seconds=seconds)
        if kind:
            write_record("reliability-outliers", [shown(outliers(sets))], seeds=[0], seconds=seconds)


def cross_validate(sets: dict[str, Measured], *, flexible: bool) -> list[Row]:
    """Rows of the record: each molecule by the others, its interval from the residuals of these by each other."""
    apart, pairs, inside, rows = held_out(sets, flexible=flexible), [], [], []
    for name, each in sets.items():
        others = {key: other for key, other in sets.items() if SETS[key].molecule != SETS[name].molecule}
        expected, worst = each.wrong - apart[name], each.wrong >= np.quantile(each.wrong, 0.75)
        inside.append(float(np.mean(np.abs(apart[name]) <= spread(held_out(others, flexible=flexible)))))
        pairs.append(np.column_stack([1 - np.exp(expected), 1 - np.exp(each.wrong)]))
        row = {
            "set": SETS[name].title,
            "volumes": len(each.wrong),
            "expected FSC": pairs[-1][:, 0].mean(),
            "true FSC": pairs[-1][:, 1].mean(),
            "inside / %": 100 * inside[-1],
        }
        ranked = {"AUROC": roc_auc_score(worst, expected)} if flexible else {}  # rigid volumes are expected to be alike
        rows.append(shown(row | ranked))
    print_curve(np.concatenate(pairs))
    print(f"in the 80 % interval, every set counted the same: {np.mean(inside):.0%}")
    print(replace(fitted(list(sets.values()), flexible=flexible), spread=spread(apart)))
    return rows


def print_curve(pairs: np.ndarray) -> None:
    """The calibration curve of expected and true mean FSC, (n, 2)."""
    print("calibration curve, a tenth of all volumes each: expected and true mean FSC")
    for tenth in np.array_split(pairs[np.argsort(pairs[:, 0])], 10):
        print(f"  {tenth[:, 0].mean():.3f}  {tenth[:, 1].mean():.3f}")


def outliers(sets: dict[str, Measured]) -> Row:
    """Volumes more than twice as wrong as the median of their set, and those of unusual images."""
    bad = np.concatenate([each.wrong > np.median(each.wrong) + np.log(2) for each in sets.values()])
    isolation = np.concatenate([each.apart[:, 1:] @ [FLEXIBLE.fit, FLEXIBLE.isolation] for each in sets.values()])
    unusual = isolation > RELIABILITY.unusual
    return {
        "volumes": len(bad),
        "twice as wrong": int(bad.sum()),
        "downgraded": int(unusual.sum()),
        "both": int((unusual & bad).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "calibrate"])
    parser.add_argument("--sets", default=",".join(SETS))
    options = parser.parse_args()
    {"runs": runs, "calibrate": calibrate}[options.what](options.sets.split(","))


if __name__ == "__main__":
    main()
