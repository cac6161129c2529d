"""Runs of simulated molecules with truth: what a volume's own marks say of its quality.

    python benchmarks/reliability.py runs           images, runs and evaluations of all sets            about 3.5 h on 2 cores
    python benchmarks/reliability.py calibrate      what marks say of the truth, on sets it was not learned from

Results stay in benchmarks/results/; what is finished there is not computed again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from cold import RESULTS, scoretomo
from ensemble import beside_consensus, lids
from molecules import SETS, whole_run
from scipy.optimize import nnls
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from scoretomo import files
from scoretomo.pipeline.consensus import explained_images
from scoretomo.pipeline.images import read_prepared
from scoretomo.pipeline.reliability import read_marks
from scoretomo.reliability.calibration import MOVING, ODD, SIDE, Calibration, level, marks_apart
from scoretomo.rotations import angular_distance
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.poses import posed_rotations

_WRONG = 25  # degrees
_LEVEL = 5.0  # added to log(1.02 − rings), so that it is above 0


def runs(names: list[str]) -> None:
    for name in names:
        data, run = whole_run(name)
        if not (run / "evaluation" / "summary.json").exists():
            scoretomo("evaluate", run, "--truth", data / "truth")
        judged = {int(row["image"]) for row in files.read_table(run / "evaluation" / "scores.csv")}
        print(f"{name}, every twentieth image:")
        beside_consensus(run, data, sorted(judged & set(range(0, 200, 20))))
        if SETS[name].molecule == "box":
            first, second, _ = lids(run, data / "truth" / "truth.csv")
            print(f"{name}: lid angles from the volumes: R² {first:.2f}, {second:.2f}", flush=True)
        else:
            true_motions(name, run, data)
        if SETS[name].asymmetric:
            found, true = files.read_table(run / "poses.csv"), files.read_table(data / "truth" / "truth.csv")
            wrong = wrong_poses(posed_rotations(found), posed_rotations([true[int(row["image"])] for row in found]))
            print(f"{name}: {wrong} images stand more than {_WRONG}° wrong", flush=True)


def true_motions(name: str, run: Path, data: Path) -> None:
    """How each parameter of the truth shows in the motion that is most like it."""
    truth, rows = files.read_table(data / "truth" / "truth.csv"), files.read_table(run / "landscape.csv")
    parameters = list(truth[0])[1 : list(truth[0]).index("rot")]
    places = np.array([[float(row[key]) for key in row if key.startswith("motion_")] for row in rows])
    count = places.shape[1]
    for parameter in parameters:
        true = np.array([float(truth[int(row["image"])][parameter]) for row in rows])
        alike = [abs(np.corrcoef(true, place)[0, 1]) for place in places.T]
        best = f"most like motion {np.argmax(alike) + 1}, correlation {max(alike):.2f}" if alike else "not found"
        print(f"{name}: {count} motions; {parameter} is {best}", flush=True)


def wrong_poses(found: torch.Tensor, true: torch.Tensor) -> int:
    """How many poses are far from the true ones, in the frame and hand in which that are fewest; (n, 3, 3) each."""
    across = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=found.dtype))
    frames = torch.stack([found.mT @ true, (across @ found @ across).mT @ true])  # the same for all images, where all are right
    apart = angular_distance(frames[:, :, None], frames[:, None])  # (2, n, n): each image says how the frames stand to each other
    return int((apart > _WRONG).sum(2).min())


class Known(NamedTuple):
    """What is known of the volumes of a set, and their truth."""

    apart: np.ndarray  # (n, 3): logarithms of the marks, minus those of a typical volume
    level: float  # log(1.02 − rings) of a typical image
    wrong: np.ndarray  # (n,): log(1 − FSC), in the shells that are judged


def known(name: str) -> Known:
    run = RunDirectory(RESULTS / f"{name}-all")
    explained = explained_images(run)
    rows = files.read_table(run.evaluation / "fsc.csv")
    scores = {int(row["image"]): np.mean([float(row[f"shell_{k}"]) for k in range(1, SIDE // 2 + 1)]) for row in rows}
    numbers = [number for number in scores if number in explained]
    marks = read_marks(run, read_prepared(run.images), numbers)
    return Known(marks_apart(marks), level(marks), np.log(1 - np.array([scores[number] for number in numbers])))


def fitted(sets: list[Known], *, moving: bool) -> Calibration:
    """Least squares in which every set counts the same and no mark for less than nothing.

    What makes volumes of a molecule differ is learned within the sets, and from that what makes molecules differ between them.
    Volumes of a rigid molecule hardly differ, and marks do not tell how.
    """
    rows, aims = [], []
    for each in sets:
        share = 1 / np.sqrt(len(each.wrong))
        rows.append((each.apart - each.apart.mean(0)) * share)
        aims.append((each.wrong - each.wrong.mean()) * share)
    weights = nnls(np.concatenate(rows), np.concatenate(aims))[0] if moving else np.zeros(3)
    ones, levels = np.ones(len(sets)), np.array([each.level for each in sets])
    typical = np.array([np.mean(each.wrong - each.apart @ weights) for each in sets])
    below, above, rings = nnls(np.column_stack([-ones, ones, levels + _LEVEL]), typical)[0].tolist()
    return Calibration(above - below + rings * _LEVEL, rings, *weights.tolist(), spread=0.0)


def left(each: Known, calibration: Calibration) -> np.ndarray:
    """log(1 − FSC) minus what is expected of it, (n,)."""
    weights = np.array([calibration.replicas, calibration.fit, calibration.isolation])
    return each.wrong - (calibration.offset + calibration.rings * each.level + each.apart @ weights)


def unseen(sets: dict[str, Known], *, moving: bool) -> dict[str, np.ndarray]:
    """What is left of each set by a calibration on the other molecules."""
    found = {}
    for name, each in sets.items():
        others = [other for key, other in sets.items() if SETS[key].molecule != SETS[name].molecule]
        found[name] = left(each, fitted(others, moving=moving))
    return found


def spread(apart: dict[str, np.ndarray]) -> float:
    """Half the width of the 80 % interval for volumes of one more molecule, from what is left of those left out.

    A molecule may be off as a whole, and its volumes differ from each other. Every molecule counts the same, and as they are few,
    the quantile is that of Student's t.
    """
    squares: dict[str, list[float]] = {}
    for name, each in apart.items():
        squares.setdefault(SETS[name].molecule, []).append(float(np.square(each).mean()))
    return float(student.ppf(0.9, len(squares)) * np.sqrt(np.mean([np.mean(sets) for sets in squares.values()])))


def moves(run: Path) -> bool:
    """Whether a finished run took its molecule as moving."""
    if not (run / "evaluation" / "summary.json").exists():
        raise SystemExit(f"{run} is not finished: python benchmarks/reliability.py runs")
    return RunDirectory(run).motion.exists()


def calibrate(names: list[str]) -> None:
    """Sets that were found to move, and those that were taken as rigid: they are judged apart."""
    moving = {name: moves(RESULTS / f"{name}-all") for name in names}
    for kind in (True, False):
        judge_sets({name: known(name) for name in names if moving[name] is kind}, moving=kind)


def judge_sets(sets: dict[str, Known], *, moving: bool) -> None:
    """Each molecule by the others: its expected FSC, and its interval from what these leave of each other."""
    print("found to move:" if moving else "taken as rigid:")
    if len({SETS[name].molecule for name in sets}) < 3:
        print("each molecule is judged by the others, and these by each other: name sets of three or more")
        return
    apart, pairs, inside, marked = unseen(sets, moving=moving), [], [], []
    print("set                 volumes  mean FSC  expected  in the 80 % interval" + "  AUROC of the worst quarter" * moving)
    for name, each in sets.items():
        others = {key: other for key, other in sets.items() if SETS[key].molecule != SETS[name].molecule}
        expected, worst = each.wrong - apart[name], each.wrong >= np.quantile(each.wrong, 0.75)
        inside.append(float(np.mean(np.abs(apart[name]) <= spread(unseen(others, moving=moving)))))
        pairs.append(np.column_stack([1 - np.exp(expected), 1 - np.exp(each.wrong)]))
        means = f"{1 - np.exp(each.wrong).mean():>8.3f}  {1 - np.exp(expected).mean():>8.3f}"
        area = f"{roc_auc_score(worst, expected):>28.3f}" * moving  # volumes of a rigid molecule are expected to be alike
        print(f"{name:<19} {len(each.wrong):>7}  {means}  {inside[-1]:>20.0%}{area}")
        odd = each.apart[:, 1:] @ [MOVING.fit, MOVING.isolation] > ODD
        marked.append(np.column_stack([odd, each.wrong > np.median(each.wrong) + np.log(2)]))
    print("calibration curve, a tenth of all volumes each: expected and found mean FSC")
    both = np.concatenate(pairs)
    for tenth in np.array_split(both[np.argsort(both[:, 0])], 10):
        print(f"  {tenth[:, 0].mean():.3f}  {tenth[:, 1].mean():.3f}")
    odd, bad = np.concatenate(marked).T
    if moving:
        print(f"twice as wrong as the median of their set: {bad.sum()} of {len(bad)}; odd: {odd.sum()}; both: {(odd & bad).sum()}")
    print(f"in the 80 % interval, every set counted the same: {np.mean(inside):.0%}")
    print(replace(fitted(list(sets.values()), moving=moving), spread=spread(apart)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "calibrate"])
    parser.add_argument("--sets", default=",".join(SETS))
    asked = parser.parse_args()
    {"runs": runs, "calibrate": calibrate}[asked.what](asked.sets.split(","))


if __name__ == "__main__":
    main()
