"""Maps against their truths: scores.csv, fsc.csv, summary.json, and every map moved onto its truth."""

import hashlib
import math
import shutil
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table
from scipy.stats import skew

from .. import files
from ..compute import available_cores, run_tasks
from ..evaluation import Pair, common_grid, compare, conformation_gain, interpolated, single_map
from ..monitor.progress import console, progress_bar, say, warn, word_of
from ..pipeline.report import report_beside, report_run
from ..projection import rotate
from ..report import words
from ..rotations import euler_from_rotations, rotations_from_euler
from ..rundir.directory import EVALUATING, RunDirectory, Stopwatch, entry
from ..rundir.heartbeat import telling
from .asked import COMPARED, require_room, run_to_evaluate, unlike
from .pairing import POSES, numbered, paired, true_poses

_TABLES = ("fsc.csv", "scores.csv", "summary.json")
_WRITTEN = ("aligned", "single_map.mrc", COMPARED, *_TABLES)  # what belongs together
_APART = 0.05  # share by which sizes differ that can't both be right
_SKEWED = 0.5  # of the density of a molecule on an even ground, at least


class Judgement(NamedTuple):
    """A map to compare with a truth."""

    number: int
    path: Path
    truth: Path
    folder: Path | None  # where the moved map goes
    euler: tuple[float, float, float] | None  # pose of a moving object's image, in degrees
    single: Path | None  # the best single map, in the common frame
    scale: float | None  # length of a run's voxels, in pixels of the user's images


class Asked(NamedTuple):
    """What is to be compared, and how."""

    pairs: dict[int, Path]  # maps by number
    truths: dict[int, Path]
    truth: Path  # the one of all, or the folder of theirs
    poses: dict[int, tuple[float, float, float]]
    scale: float | None
    told: Path | None  # progress.json of the run
    workers: int | None

    def task(self, number: int, folder: Path | None, single: Path | None) -> Judgement:
        """The comparison of one map."""
        truth = self.truths.get(number, self.truth)
        return Judgement(number, self.pairs[number], truth, folder, self.poses.get(number), single, self.scale)

    @property
    def key(self) -> dict[str, str]:
        """Another one where a map or a truth is another one, or is written anew."""
        truths = [*self.truths.values(), *([self.truth / POSES] if self.poses else [])]
        return {"maps": _fingerprint(self.pairs.values()), "truths": _fingerprint(truths)}


def evaluate_maps(maps: Path, truth: Path, output: Path | None, *, workers: int | None) -> None:
    """Judge a run, a folder of maps or one map; write what was found where there is a place for it."""
    run = run_to_evaluate(maps)
    truths, found = numbered(truth), numbered(run.path / "volumes" if run else maps)
    pairs = paired(found, truths, truth)
    without = [path.name for number, path in found.items() if number not in pairs]
    if without:
        warn(f"{len(without)} maps have no truth with their number and are left out: {', '.join(without[:10])}")
    folder = output or (run.evaluation if run else None)
    poses = true_poses(truth, truths) if len(truths) > 1 else {}
    asked = Asked(pairs, truths, truth, poses, _scale(run) if run else None, run.progress if run else None, workers)
    first = asked.task(next(iter(pairs)), None, None)
    _on_one_grid(first.path, files.read_map(first.path), files.read_map(first.truth), asked.scale)
    if folder is None:
        records = _compare(asked, None, {})
        _show(records, _summary(records))
    elif run and folder == run.evaluation:
        with run.alone():
            _evaluate_run(run, asked)
    else:
        with RunDirectory(folder).alone():
            _evaluate_into(folder, asked)


def _evaluate_run(run: RunDirectory, asked: Asked) -> None:
    """Judge the volumes of a run; scores and the report that shows them take the places of earlier ones all together."""
    name, clock = run.evaluation.name, Stopwatch()
    finished = _finished(run.evaluation, asked)
    if finished:
        _show(finished, _summary(finished))
        report_run(run.path)
    else:
        work = run.path / EVALUATING
        records = _judge_all(asked, work / "new" / name)
        event = entry("evaluated", truth=str(asked.truth.absolute()), seconds=clock.seconds())
        report_beside(run, work / "new", (name,), event)
        files.put_in_place(work, [*(f"{name}/{file}" for file in _WRITTEN), run.report.name])
        files.append_record(run.log, event)
        _show(records, _summary(records))
    say(f"scores, curves and moved maps: {run.evaluation}")


def _evaluate_into(folder: Path, asked: Asked) -> None:
    """Judge maps, and write what was found to a folder."""
    records = _finished(folder, asked)
    if not records:
        records = _judge_all(asked, folder / EVALUATING / "new")
        files.put_in_place(folder / EVALUATING, _WRITTEN)
    _show(records, _summary(records))
    say(f"scores, curves and moved maps: {folder}")


def _judge_all(asked: Asked, folder: Path) -> list[dict[str, Any]]:
    """Compare what an interrupted evaluation has not compared yet, and write everything to a folder."""
    records = _compare(asked, folder, _begin(folder, asked))
    _write(folder, records, _summary(records))
    return records


def _compare(asked: Asked, folder: Path | None, done: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare every map with its truth, and log that in a folder if there is one.

    Args:
        asked: what to compare.
        folder: for the log and for moved maps.
        done: what was compared before, by number.
    """
    records, count = dict(done), len(asked.pairs)
    with TemporaryDirectory() as temporary:
        single = _single_map(folder or Path(temporary), asked.truths, asked.poses) if asked.poses else None
        tasks = [asked.task(number, folder, single) for number in asked.pairs if number not in done]
        with progress_bar(count=True) as bar, telling(asked.told, lambda: word_of(bar)):
            shown = bar.add_task(f"comparing {count} maps", total=count, completed=len(done))
            for _, record in run_tasks(judge, tasks, asked.workers or available_cores()):
                records[record["row"]["image"]] = record
                if folder:
                    files.append_record(folder / COMPARED, record)
                bar.advance(shown)
    return [records[number] for number in asked.pairs]


def judge(task: Judgement) -> Iterator[dict[str, Any]]:
    """Compare one map with its truth; yields its row of scores.csv, its curve, and scores of single map and ceiling."""
    found, true = files.read_map(task.path), files.read_map(task.truth)
    pair = _on_one_grid(task.path, found, true, task.scale)
    score = compare(pair.first, pair.second, pair.pixel_size)
    if task.folder:
        files.write_map(task.folder / "aligned" / f"{task.number:03d}.mrc", score.moved.numpy(), pair.pixel_size)
    rot, tilt, psi = euler_from_rotations(score.alignment.rotation.double()).tolist()
    x, y, z = score.alignment.shift.tolist()
    row = {
        "image": task.number,
        "truth": str(task.truth.absolute()),
        "hand": "mirrored" if score.alignment.mirrored else "same",
        "mean_fsc": round(score.mean_fsc, 5),
        "auc": round(score.auc, 5),
        "resolution_0.5": round(score.resolution_half, 3),
        "resolution_0.143": round(score.resolution_0143, 3),
        **{name: round(value, 3) for name, value in zip(("rot", "tilt", "psi"), (rot, tilt, psi), strict=True)},
        **{name: round(value, 3) for name, value in zip(("shift_x", "shift_y", "shift_z"), (x, y, z), strict=True)},
    }
    record: dict[str, Any] = {
        "row": row,
        "curve": [round(value, 5) for value in score.curve.tolist()],
        "pixel_size": pair.pixel_size,
        "size": pair.second.shape[-1],
        "notes": list(_notes(task, found, true)),
    }
    if task.euler and task.single:
        rotation = rotations_from_euler(torch.tensor(task.euler, dtype=torch.float64))
        truth, single = torch.from_numpy(true.density), torch.from_numpy(files.read_map(task.single).density)
        rigid, ceiling = (
            _on_one_grid(task.path, found, true._replace(density=volume.numpy()), task.scale).second
            for volume in (rotate(single, rotation), interpolated(truth, rotation))
        )
        scores = compare(rigid, pair.second), compare(ceiling, pair.second, near=True)
        record |= {name: [of.mean_fsc, of.auc] for name, of in zip(("single_map", "ceiling"), scores, strict=True)}
    yield record


def _notes(task: Judgement, found: files.Map, true: files.Map) -> Iterator[tuple[str, str]]:
    """What is odd about a map, its truth, or both together: a sentence, and the same of any map."""
    for kind, path, read in (("map", task.path, found), ("truth", task.truth, true)):
        for note in read.notes:
            yield f"{kind}: {note}", f"{kind}: {note.replace(path.name, '')}"
    if found.pixel_size and true.pixel_size:
        sizes = found.pixel_size, true.pixel_size
        boxes = len(found.density) * sizes[0], len(true.density) * sizes[1]
        if all(max(pair) > (1 + _APART) * min(pair) for pair in (sizes, boxes)):
            yield (
                f"{task.path.name} has voxels of {sizes[0]:.4g} Å in a box of {boxes[0]:.4g} Å, its truth {task.truth.name} of "
                f"{sizes[1]:.4g} Å in one of {boxes[1]:.4g} Å: if one is wrong, so are all scores; correct the header",
                "voxels",
            )
    first, second = (float(skew(read.density, axis=None)) for read in (found, true))
    if min(abs(first), abs(second)) > _SKEWED and first * second < 0:
        dark, bright = (task.path, task.truth) if first < 0 else (task.truth, task.path)
        yield f"{dark} is dark on bright, unlike {bright}: multiply one of them by −1, or scores mean nothing", "contrast"


def _scale(run: RunDirectory) -> float | None:
    """Pixels of the user's images to a voxel of the run; for data whose pixel size nobody knows."""
    properties = files.read_json(run.images.with_suffix(".json"))
    return properties["side"] / properties["size"]


def _on_one_grid(path: Path, found: files.Map, true: files.Map, scale: float | None) -> Pair:
    """A map and its truth on the coarser one's grid.

    Raises:
        InputError: their sides differ and their pixel sizes are unknown.
    """
    first, second = torch.from_numpy(found.density), torch.from_numpy(true.density)
    try:
        if found.pixel_size is None and true.pixel_size is None and scale is not None:
            return common_grid(first, second, scale, 1.0)._replace(pixel_size=None)
        return common_grid(first, second, found.pixel_size, true.pixel_size)
    except ValueError as error:
        raise unlike(path, error) from None


def _finished(folder: Path, asked: Asked) -> list[dict[str, Any]] | None:
    """What a finished evaluation of the same maps by the same truths has found; None if there is none.

    Raises:
        InputError: the folder holds something else than an evaluation.
    """
    require_room(folder)
    records = _logged(folder, asked)
    complete = records.keys() == asked.pairs.keys() and all((folder / name).exists() for name in _TABLES)
    return [records[number] for number in asked.pairs] if complete else None


def _begin(folder: Path, asked: Asked) -> dict[int, dict[str, Any]]:
    """What an interrupted evaluation of the same maps by the same truths has done, by number; another one is removed."""
    records = _logged(folder, asked)
    if not records:
        shutil.rmtree(folder, ignore_errors=True)
    files.make_folder(folder / "aligned")
    files.remove_unfinished(folder)
    if not records:
        files.append_record(folder / COMPARED, asked.key)
    return records


def _logged(folder: Path, asked: Asked) -> dict[int, dict[str, Any]]:
    """What has been compared of the same maps and truths, by number, as far as the moved maps are there."""
    records = files.read_records(folder / COMPARED)
    if not records or records[0] != asked.key:
        return {}
    found = {record["row"]["image"]: record for record in records[1:]}
    return {number: record for number, record in found.items() if (folder / "aligned" / f"{number:03d}.mrc").exists()}


def _fingerprint(paths: Iterable[Path]) -> str:
    """Changes when a file is added, taken away or written anew."""
    states = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _single_map(folder: Path, truths: dict[int, Path], poses: dict[int, tuple[float, float, float]]) -> Path:
    """The best single map, made once."""
    path = folder / "single_map.mrc"
    if not path.exists():
        rotations = (rotations_from_euler(torch.tensor(poses[number], dtype=torch.float64)) for number in truths)
        volumes = (torch.from_numpy(density) for density in _of_one_size(truths))
        with console.status("the best single map"):
            files.write_map(path, single_map(volumes, rotations).numpy(), None)
    return path


def _of_one_size(truths: dict[int, Path]) -> Iterator[np.ndarray]:
    """Densities of the truths, one at a time."""
    side = 0
    for path in truths.values():
        density = files.read_map(path).density
        if side and len(density) != side:
            raise files.InputError(
                f"truths should all have one size, got {side} and {len(density)} voxels in {path}: resample them"
            )
        side = len(density)
        yield density


def _told_once(records: Sequence[dict[str, Any]]) -> list[str]:
    """The notes of all comparisons, of those that are alike the first, with how many more there are."""
    alike: dict[str, dict[str, None]] = {}
    for record in records:
        for sentence, general in record.get("notes", []):
            alike.setdefault(general, {})[sentence] = None
    said = [(next(iter(sentences)), len(sentences) - 1) for sentences in alike.values()]
    return [f"{sentence} (and {more} more)" if more else sentence for sentence, more in said]


def _summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = records[0]
    means = {name: statistics.mean(record["row"][name] for record in records) for name in ("mean_fsc", "auc")}
    summary: dict[str, Any] = {
        "n": len(records),
        **means,
        "unit": "Å" if first["pixel_size"] else "px",
        "size": first["size"],
        "pixel_size": first["pixel_size"],
        "notes": _told_once(records),
    }
    if all("single_map" in record for record in records):
        for place, name in enumerate(("mean_fsc", "auc")):
            single, ceiling = (statistics.mean(record[kind][place] for record in records) for kind in ("single_map", "ceiling"))
            gain = conformation_gain(means[name], single, ceiling)
            summary |= {f"single_map_{name}": single, f"ceiling_{name}": ceiling}
            if not math.isnan(gain):
                summary["conformation_gain" if name == "mean_fsc" else "conformation_gain_auc"] = gain
    if len({len(record["curve"]) for record in records}) == 1:
        summary["mean_curve"] = [statistics.mean(values) for values in zip(*(record["curve"] for record in records), strict=True)]
    return summary


def _write(folder: Path, records: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    files.write_table(folder / "scores.csv", [record["row"] for record in records])
    shells = max(len(record["curve"]) for record in records)
    curves = [
        {
            "image": record["row"]["image"],
            **{f"shell_{shell}": record["curve"][shell] if shell < len(record["curve"]) else "" for shell in range(shells)},
        }
        for record in records
    ]
    files.write_table(folder / "fsc.csv", curves)
    files.write_json(folder / "summary.json", summary)


def _show(records: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    for note in summary["notes"]:
        warn(note)
    unit = summary["unit"]
    table = Table(box=None, header_style="bold")
    for heading in ("map", "mean FSC", "AUC", f"FSC 0.5 ({unit})", f"FSC 0.143 ({unit})", "hand"):
        table.add_column(heading, justify="right")
    for record in records[:20]:
        row = record["row"]
        table.add_row(
            str(row["image"]),
            f"{row['mean_fsc']:.3f}",
            f"{row['auc']:.3f}",
            words.resolution(row["resolution_0.5"], summary["pixel_size"]),
            words.resolution(row["resolution_0.143"], summary["pixel_size"]),
            row["hand"],
        )
    console.print(table)
    if len(records) > 20:
        console.print(f"and {len(records) - 20} more in scores.csv")
    if len(records) > 1:
        console.print(f"mean of {len(records)}: mean FSC {summary['mean_fsc']:.3f}, AUC {summary['auc']:.3f}")
    if len({record["row"]["hand"] for record in records}) > 1:
        console.print(
            "the hand differs: of maps in one frame, one that differs alone may be wrong, unless the object is its own mirror image"
        )
    if "conformation_gain" in summary:
        console.print(
            f"best single map {summary['single_map_mean_fsc']:.3f}, truth after interpolation {summary['ceiling_mean_fsc']:.3f}: "
            f"conformation gain {summary['conformation_gain']:+.2f} (0 is one rigid map, 1 is perfect)"
        )
