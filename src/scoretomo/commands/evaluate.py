"""Maps against their truths: FSC results, curves, a summary, and every map moved onto its truth."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from .. import files
from ..compute import available_cores, run_tasks
from ..monitor.progress import activity_of, console, print_line, print_warning, progress_bar
from ..pipeline.report import write_report, write_report_to
from ..rundir.directory import EVALUATING, RunDirectory, Stopwatch, entry
from ..rundir.folders import EvaluationFolder
from ..rundir.heartbeat import beating
from ..rundir.rows import Comparison, EvaluationSummary, FscCurveRow
from ..rundir.tables import from_json, to_json
from .comparison import Angles, ComparisonTask, compare_map, on_one_grid, write_single_map
from .comparison_summary import show, summarise
from .pairing import numbered, paired, poses_beside, true_poses
from .requests import require_room, run_to_evaluate


class Evaluation(NamedTuple):
    """Maps to compare with their truths."""

    maps: dict[int, Path]  # by number
    truths: dict[int, Path]
    truth: Path  # the one of all, or the folder of theirs
    poses: dict[int, Angles]
    scale: float | None  # length of a run's voxels, in pixels of the user's images
    heartbeat: Path | None  # progress.json of the run
    workers: int | None

    def task(self, number: int, folder: EvaluationFolder | None, single_map: Path | None) -> ComparisonTask:
        """The comparison of one map, which is moved onto its truth where there is a folder for it."""
        aligned = folder.aligned(f"{number:03d}.mrc") if folder else None
        truth = self.truths.get(number, self.truth)
        return ComparisonTask(number, self.maps[number], truth, aligned, self.poses.get(number), single_map, self.scale)

    @property
    def key(self) -> dict[str, str]:
        """Another one where a map or a truth is another one, or was written anew."""
        truths = [*self.truths.values(), *([poses_beside(self.truth)] if self.poses else [])]
        return {"maps": _fingerprint(self.maps.values()), "truths": _fingerprint(truths)}


def evaluate_maps(maps: Path, truth: Path, output: Path | None, *, workers: int | None) -> None:
    """Compare the volumes of a run, a folder of maps or one map with their truths, and write the results.

    Args:
        maps: the run directory, folder or map.
        truth: a map for all, or a folder of maps with their numbers.
        output: folder for the results; that of the run if not given.
        workers: processes.

    Raises:
        InputError: maps and truths do not belong together, or the folder holds something else.
    """
    run = run_to_evaluate(maps)
    evaluation = _evaluation(run, maps, truth, workers)
    first = evaluation.task(next(iter(evaluation.maps)), None, None)
    on_one_grid(first.path, files.read_map(first.path), files.read_map(first.truth), evaluation.scale)
    folder = output or (run.evaluation.path if run else None)
    if folder is None:
        comparisons = _compare(evaluation, None, {})
        show(comparisons, summarise(comparisons))
    elif run and folder == run.evaluation.path:
        with run.alone():
            _evaluate_run(run, evaluation)
    else:
        with RunDirectory(folder).alone():
            _evaluate_into(folder, evaluation)


def _evaluation(run: RunDirectory | None, maps: Path, truth: Path, workers: int | None) -> Evaluation:
    """Maps and truths by their numbers; maps without a truth are skipped."""
    truths, there = numbered(truth), numbered(run.volume(0).parent if run else maps)
    pairs = paired(there, truths, truth)
    without = [path.name for number, path in there.items() if number not in pairs]
    if without:
        print_warning(f"{len(without)} maps have no truth with their number and are skipped: {', '.join(without[:10])}")
    poses = true_poses(truth, truths) if len(truths) > 1 else {}
    return Evaluation(pairs, truths, truth, poses, _scale(run) if run else None, run.progress if run else None, workers)


def _scale(run: RunDirectory) -> float:
    """Pixels of the user's images to a voxel of the run, for data of unknown pixel size."""
    record = run.import_record.read()
    return record.side / record.size


def _evaluate_run(run: RunDirectory, evaluation: Evaluation) -> None:
    """Compare the volumes of a run; results and the report with them replace earlier ones all together."""
    comparisons = _finished(run.evaluation, evaluation)
    if comparisons:
        show(comparisons, summarise(comparisons))
        write_report(run)
    else:
        _compare_volumes(run, evaluation)
    print_line(f"FSC results, curves and moved maps: {run.evaluation.path}")


def _compare_volumes(run: RunDirectory, evaluation: Evaluation) -> None:
    clock, work = Stopwatch(), run.path / EVALUATING
    new = run.with_evaluation_in(work / "new")
    comparisons, summary = _compare_all(evaluation, new.evaluation)
    event = entry("evaluation", truth=str(evaluation.truth.absolute()), seconds=clock.seconds())
    write_report_to(work / "new", new, event)
    name = run.evaluation.path.name
    files.put_in_place(work, [*(f"{name}/{file}" for file in run.evaluation.names), run.report.name])
    files.append_record(run.log, event)
    show(comparisons, summary)


def _evaluate_into(path: Path, evaluation: Evaluation) -> None:
    """Compare maps, and write the results to a folder."""
    folder = EvaluationFolder(path)
    comparisons = _finished(folder, evaluation)
    if not comparisons:
        comparisons, _ = _compare_all(evaluation, EvaluationFolder(path / EVALUATING / "new"))
        files.put_in_place(path / EVALUATING, folder.names)
    show(comparisons, summarise(comparisons))
    print_line(f"FSC results, curves and moved maps: {path}")


def _compare_all(evaluation: Evaluation, folder: EvaluationFolder) -> tuple[list[Comparison], EvaluationSummary]:
    """Compare what an interrupted evaluation has not compared yet, and write everything to a folder."""
    comparisons = _compare(evaluation, folder, _begin(folder, evaluation))
    summary = summarise(comparisons)
    folder.rows.write([comparison.result for comparison in comparisons])
    shells = max(len(comparison.curve) for comparison in comparisons)
    folder.curves.write([_curve_row(comparison, shells) for comparison in comparisons])
    folder.summary.write(summary)
    return comparisons, summary


def _curve_row(comparison: Comparison, shells: int) -> FscCurveRow:
    """The FSC curve of a map; None beyond its last shell."""
    return FscCurveRow(comparison.result.image, (*comparison.curve, *[None] * (shells - len(comparison.curve))))


def _compare(
    evaluation: Evaluation, folder: EvaluationFolder | None, done: Mapping[int, Comparison]
) -> list[Comparison]:
    """Compare every map with its truth.

    Args:
        evaluation: what to compare.
        folder: for the log and for moved maps; None for neither.
        done: what was compared before, by number.
    """
    comparisons, count = dict(done), len(evaluation.maps)
    with TemporaryDirectory() as temporary:
        single = (folder or EvaluationFolder(Path(temporary))).single_map if evaluation.poses else None
        if single:
            with console.status("the best single map"):
                write_single_map(single, evaluation.truths, evaluation.poses)
        tasks = [evaluation.task(number, folder, single) for number in evaluation.maps if number not in done]
        with progress_bar(count=True) as bar, beating(evaluation.heartbeat, lambda: activity_of(bar)):
            shown = bar.add_task(f"comparing {count} maps", total=count, completed=len(done))
            for _, comparison in run_tasks(compare_map, tasks, evaluation.workers or available_cores()):
                comparisons[comparison.result.image] = comparison
                if folder:
                    files.append_record(folder.compared, to_json(comparison))
                bar.advance(shown)
    return [comparisons[number] for number in evaluation.maps]


def _finished(folder: EvaluationFolder, evaluation: Evaluation) -> Sequence[Comparison]:
    """The comparisons of a finished evaluation of the same maps by the same truths; none if there is none.

    Raises:
        InputError: the folder holds something else than an evaluation.
    """
    require_room(folder.path)
    comparisons = _logged(folder, evaluation)
    written = folder.rows.exists() and folder.curves.exists() and folder.summary.exists()
    complete = comparisons.keys() == evaluation.maps.keys() and written
    return [comparisons[number] for number in evaluation.maps] if complete else []


def _begin(folder: EvaluationFolder, evaluation: Evaluation) -> Mapping[int, Comparison]:
    """Comparisons of an interrupted evaluation of the same maps and truths, by number; another one is removed."""
    comparisons = _logged(folder, evaluation)
    if not comparisons:
        shutil.rmtree(folder.path, ignore_errors=True)
    files.make_folder(folder.aligned_maps)
    files.remove_unfinished(folder.path)
    if not comparisons:
        files.append_record(folder.compared, evaluation.key)
    return comparisons


def _logged(folder: EvaluationFolder, evaluation: Evaluation) -> Mapping[int, Comparison]:
    """Comparisons of the same maps and truths, by number, as far as the moved maps are there."""
    records = files.read_records(folder.compared)
    if not records or records[0] != evaluation.key:
        return {}
    comparisons = [from_json(Comparison, record) for record in records[1:]]
    return {each.result.image: each for each in comparisons if folder.aligned(f"{each.result.image:03d}.mrc").exists()}


def _fingerprint(paths: Iterable[Path]) -> str:
    """Changes when a file is added, removed or written anew."""
    states = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr(states).encode()).hexdigest()
