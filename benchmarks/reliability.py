"""Runs of simulated molecules with truth: how well the predictors of reliability predict the FSC with the truth.

    python benchmarks/reliability.py runs        images, runs and evaluations of all sets         about 3.5 h on 2 cores
    python benchmarks/reliability.py calibrate   the calibration of all sets, and of each molecule by that of the others

Results stay in benchmarks/results/; what is finished there is not computed again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from cold import RESULTS, scoretomo
from ensemble import beside_consensus, lids, true_rotations
from molecules import SETS, whole_run
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


def runs(names: list[str]) -> None:
    for name in names:
        data, run = whole_run(name)
        directory = RunDirectory(run)
        if not directory.evaluation.summary.exists():
            scoretomo("evaluate", run, "--truth", data / "truth")
        compared = {row.image for row in directory.evaluation.rows.read()}
        print(f"{name}, every twentieth image:")
        beside_consensus(run, data, sorted(compared & set(range(0, 200, 20))))
        if SETS[name].molecule == "box":
            first, second, _ = lids(run, data)
            print(f"{name}: lid angles from the volumes: R² {first:.2f}, {second:.2f}", flush=True)
        else:
            true_modes(name, run, data)
        if SETS[name].asymmetric:
            rows, truth = directory.poses.read(), files.read_table(SimulationFolder(data).poses)
            wrong = wrong_poses(rotations_of(rows), true_rotations(truth[row.image] for row in rows))
            print(f"{name}: {wrong} poses are more than {_WRONG}° wrong", flush=True)


def true_modes(name: str, run: Path, data: Path) -> None:
    """Correlation of each parameter of the truth with the mode that is most like it."""
    truth, rows = files.read_table(SimulationFolder(data).poses), RunDirectory(run).landscape.rows.read()
    parameters = list(truth[0])[1 : list(truth[0]).index("rot")]
    places = np.array([row.mode for row in rows])
    count = places.shape[1]
    for parameter in parameters:
        true = np.array([float(truth[row.image][parameter]) for row in rows])
        alike = [abs(np.corrcoef(true, place)[0, 1]) for place in places.T]
        best = f"most like mode {np.argmax(alike) + 1}, correlation {max(alike):.2f}" if alike else "in no mode"
        print(f"{name}: {count} modes; {parameter} is {best}", flush=True)


def wrong_poses(found: torch.Tensor, true: torch.Tensor) -> int:
    """How many poses are far from the true ones, in the frame and hand in which that are fewest; (n, 3, 3) each."""
    across = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=found.dtype))
    frames = torch.stack(
        [found.mT @ true, (across @ found @ across).mT @ true]
    )  # the same for all images, where all are right
    apart = angular_distance(
        frames[:, :, None], frames[:, None]
    )  # (2, n, n): each image says how the frames stand to each other
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
    Volumes of a
    rigid molecule hardly differ: their predictors have no weight.
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
    flexible = {name: is_flexible(RunDirectory(RESULTS / f"{name}-all")) for name in names}
    for kind in (True, False):
        cross_validate({name: measured(name) for name in names if flexible[name] is kind}, flexible=kind)


def cross_validate(sets: dict[str, Measured], *, flexible: bool) -> None:
    """Each molecule by the others: its expected FSC, and its interval from the residuals of these by each other."""
    print("flexible:" if flexible else "rigid:")
    if len({SETS[name].molecule for name in sets}) < 3:
        print("each molecule is predicted by the others, and these by each other: name sets of three or more")
        return
    apart, pairs, inside, marked = held_out(sets, flexible=flexible), [], [], []
    print(
        "set                 volumes  mean FSC  expected  in the 80 % interval"
        + "  AUROC of the worst quarter" * flexible
    )
    for name, each in sets.items():
        others = {key: other for key, other in sets.items() if SETS[key].molecule != SETS[name].molecule}
        expected, worst = each.wrong - apart[name], each.wrong >= np.quantile(each.wrong, 0.75)
        inside.append(float(np.mean(np.abs(apart[name]) <= spread(held_out(others, flexible=flexible)))))
        pairs.append(np.column_stack([1 - np.exp(expected), 1 - np.exp(each.wrong)]))
        means = f"{1 - np.exp(each.wrong).mean():>8.3f}  {1 - np.exp(expected).mean():>8.3f}"
        area = (
            f"{roc_auc_score(worst, expected):>28.3f}" * flexible
        )  # volumes of a rigid molecule are expected to be alike
        print(f"{name:<19} {len(each.wrong):>7}  {means}  {inside[-1]:>20.0%}{area}")
        unusual = each.apart[:, 1:] @ [FLEXIBLE.fit, FLEXIBLE.isolation] > RELIABILITY.unusual
        marked.append(np.column_stack([unusual, each.wrong > np.median(each.wrong) + np.log(2)]))
    print("calibration curve, a tenth of all volumes each: expected and true mean FSC")
    both = np.concatenate(pairs)
    for tenth in np.array_split(both[np.argsort(both[:, 0])], 10):
        print(f"  {tenth[:, 0].mean():.3f}  {tenth[:, 1].mean():.3f}")
    unusual, bad = np.concatenate(marked).T
    if flexible:
        both_kinds = f"unusual: {unusual.sum()}; both: {(unusual & bad).sum()}"
        print(f"twice as wrong as the median of their set: {bad.sum()} of {len(bad)}; {both_kinds}")
    print(f"in the 80 % interval, every set counted the same: {np.mean(inside):.0%}")
    print(replace(fitted(list(sets.values()), flexible=flexible), spread=spread(apart)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "calibrate"])
    parser.add_argument("--sets", default=",".join(SETS))
    asked = parser.parse_args()
    {"runs": runs, "calibrate": calibrate}[asked.what](asked.sets.split(","))


if __name__ == "__main__":
    main()
