"""Stage assignment: the final consensus volume, of a rigid molecule with hard or soft assignment, as held-out images
decide.

Both kinds begin with what the consensus of all images shows at 24 pixels. For a flexible molecule the hard assignment
stays: as long as no motion is modelled, what its parts do looks like noise.
"""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..consensus import Consensus
from ..consensus.cross_validation import ASSIGNMENT, compare_assignments, cross_validate
from ..consensus.hard_assignment import assign_hard, best_poses
from ..consensus.outliers import find_outliers
from ..consensus.soft_assignment import FINE, assign_softly_again, at_size
from ..matching import choose
from ..monitor.progress import print_line
from ..rundir.directory import RunDirectory
from ..rundir.rows import AssignmentRow, AssignmentTest
from ..rundir.tables import Table
from .consensus import read_start, write_start
from .images import read_prepared
from .job import Job
from .posed import Assigned, read_consensus, write_consensus


class Trial(NamedTuple):
    """A consensus volume of most images, with hard or soft assignment, that is compared with the held-out ones."""

    directory: Path
    seed: int
    soft: bool

    @property
    def table(self) -> Table[AssignmentRow]:
        """The correlations of the held-out images."""
        run = RunDirectory(self.directory)
        return run.soft_trial if self.soft else run.hard_trial


class _Data(NamedTuple):
    numbers: list[int]  # of the images in the user's stack
    images: Tensor  # empty space 0, (n, d, d)
    consensus: Consensus  # of all images that it explains
    explained: Tensor  # places of these
    group: Tensor | None


def assign_images(run: RunDirectory, job: Job) -> None:
    """Decide between hard and soft assignment, and write consensus.mrc and assignment/ with the poses in it."""
    if run.verdict != "rigid" or not _soft_is_better(run, job):
        _copy_first(run)
        return
    if not run.soft.exists():
        _show(_assign_all_softly(run, job.settings.seed), 1, "consensus volume with soft assignment", job)
    _write_soft(run)


def _soft_is_better(run: RunDirectory, job: Job) -> bool:
    """Compare both kinds of assignment on held-out images; writes assignment/test.json."""
    trials = [Trial(run.path, job.settings.seed, soft) for soft in (False, True)]
    tasks = [trial for trial in trials if not trial.table.exists()]
    if tasks:
        steps = run_tasks(try_assignment, tasks, processes_for(job.workers))
        _show((done for _, done in steps), len(tasks), "hard or soft assignment?", job)
    hard, soft = (np.array([1 - row.correlation for row in trial.table.read()]) for trial in trials)
    comparison = compare_assignments(hard, soft)
    test = AssignmentTest(
        hard_correlation=1 - comparison.hard_residual,
        soft_correlation=1 - comparison.soft_residual,
        standard_errors=comparison.standard_errors,
        soft=comparison.soft,
    )
    run.assignment.write(test)
    _print_result(test)
    return test.soft


def _print_result(test: AssignmentTest) -> None:
    print_line(
        f"assignment of images to poses: {'soft' if test.soft else 'hard'} (correlation of held-out images "
        f"{test.hard_correlation:.4f} with hard assignment, {test.soft_correlation:.4f} with soft, "
        f"a difference of {test.standard_errors:.1f} standard errors)"
    )


def _show(work: Iterator[int], volumes: int, what: str, job: Job) -> None:
    with job.estimate.bar("assignment") as bar:
        shown = bar.add_task(what, total=volumes * FINE.iterations)
        for done in work:
            bar.advance(shown, done)


def try_assignment(trial: Trial) -> Iterator[int]:
    """Make a consensus volume of most images, and write how well it explains the others; yields each iteration."""
    data = _read(RunDirectory(trial.directory))
    generator = random_stream(trial.seed, "softness", "left out")
    order = torch.randperm(len(data.explained), generator=generator).to(data.images.device)
    held_out = torch.arange(len(order), device=order.device) % ASSIGNMENT.folds == 0
    others = data.explained[order[held_out]]
    training = data.explained[order[~held_out]]
    volume = yield from _assigned_again(data, training, trial.seed, ends_soft=trial.soft)
    poses = best_poses(volume, data.images[others], data.consensus.poses.shifts[others])
    columns = zip(others.tolist(), poses.correlations.tolist(), strict=True)
    trial.table.write([AssignmentRow(data.numbers[place], correlation) for place, correlation in columns])


def _assign_all_softly(run: RunDirectory, seed: int) -> Iterator[int]:
    """Make the consensus volume of all images that it explains, with soft assignment, and write it; yields each
    iteration.
    """
    data = _read(run)
    volume = yield from _assigned_again(data, data.explained, seed, ends_soft=True)
    write_start(run.soft, Consensus(volume, best_poses(volume, data.images, data.consensus.poses.shifts)))


def _read(run: RunDirectory) -> _Data:
    prepared = read_prepared(run.images)
    device = best_device()
    posed = read_consensus(run.first, prepared, prepared.numbers, device)
    consensus = Consensus(posed.volumes[0], posed.poses)
    images = prepared.density_units(device)
    return _Data(prepared.numbers, images, consensus, posed.explained.nonzero()[:, 0], posed.group)


def _assigned_again(data: _Data, training: Tensor, seed: int, *, ends_soft: bool) -> Generator[int, None, Tensor]:
    """Assign some images once more, from what the consensus shows at low resolution: the volume."""
    images = data.images[training]
    consensus = data.consensus._replace(poses=data.consensus.poses.of(training))
    stream = random_stream(seed, "softness")
    for iteration in assign_softly_again(images, consensus, stream, group=data.group, ends_soft=ends_soft):
        last = iteration
        yield 1
    return assign_hard(images, at_size(last, images.shape[-1]), keep_near=ends_soft, group=data.group).volume


def _copy_first(run: RunDirectory) -> None:
    """The consensus volume and its poses as they are."""
    for before, final in ((run.first.class_2, run.assigned.class_2), (run.first.volume, run.assigned.volume)):
        if before.exists():
            _copy(before, final)
    run.assigned.summary.write(run.first.summary.read())
    run.assigned.poses.write(run.first.poses.read())  # last: with them the stage is done


def _copy(path: Path, to: Path) -> None:
    with files.atomic(to) as temporary:
        shutil.copyfile(path, temporary)


def _write_soft(run: RunDirectory) -> None:
    """The consensus volume with soft assignment, and the poses in it."""
    prepared = read_prepared(run.images)
    device = best_device()
    before = read_consensus(run.first, prepared, prepared.numbers, device)
    soft = read_start(run.soft, device)
    in_class_1 = ~before.in_class_2
    poses = soft.poses.of(in_class_1)
    outliers = before.outliers.clone()
    outliers[in_class_1] = find_outliers(poses)
    validation = cross_validate(prepared.density_units(device)[in_class_1], poses, group=before.group)
    consensus = Consensus(soft.volume, choose(before.in_class_2, before.poses, soft.poses))
    if run.first.class_2.exists():
        _copy(run.first.class_2, run.assigned.class_2)
    assigned = Assigned(consensus, None, outliers, before.in_class_2, validation)
    write_consensus(run.assigned, prepared, assigned, symmetry=run.first.summary.read().symmetry)
