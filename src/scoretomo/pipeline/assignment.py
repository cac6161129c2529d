"""The consensus of a molecule that is taken as rigid, as soft as left-out images ask for.

The best pose of a noisy image is one that suits its noise, too, and a map that fits images in such poses has their noise. Soft
matching weighs all poses and has less of it, but blurs what images without noise show. Which is better is asked of images that
are left out when both are made; both begin with what the consensus of all images shows at 24 pixels. Of a molecule that moves it
is not asked: what its parts do looks like noise as long as no motion is learned.
"""

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..consensus.assignment import FINE, Consensus, anew, best_poses, enlarged, outliers, settle
from ..consensus.symmetry import judge_left_out
from ..matching import choose
from ..monitor.progress import say
from ..monitor.time_estimate import Outlook
from ..rundir.directory import RunDirectory
from .consensus import Shown, read_consensus, read_settled, write_consensus, write_settled
from .images import read_prepared

_TINY = 1e-12
_FOLDS = 5  # one image of so many is left out
_CLEARLY = 0.98  # soft poses are kept where they leave less than this share of what single ones leave,
_SURELY = 4.0  # and the difference is this many times its standard error over the images that are asked


class Asked(NamedTuple):
    """A consensus of most images, with single poses or soft ones, that the others are asked about."""

    directory: Path
    seed: int
    soft: bool

    @property
    def path(self) -> Path:
        """Where their answers are."""
        return RunDirectory(self.directory).asked_about("soft" if self.soft else "single")


def soften(run: RunDirectory, seed: int, outlook: Outlook, *, workers: int | None) -> None:
    """Ask left-out images how soft the poses of a rigid molecule's consensus should be, and write it anew if they want it softer.

    Args:
        run: a run with a consensus.
        seed: of random numbers.
        outlook: of the run.
        workers: processes to use.
    """
    asking = [Asked(run.path, seed, soft) for soft in (False, True)]
    todo = [task for task in asking if not task.path.exists()]
    if todo:
        answers = run_tasks(ask, todo, processes_for(workers))
        _show((done for _, done in answers), len(todo), "single poses or soft ones?", outlook)
    single, soft = (np.array([float(row["unexplained"]) for row in files.read_table(task.path)]) for task in asking)
    better = single - soft
    sure = float(better.mean() / (better.std(ddof=1) / math.sqrt(len(better)) + _TINY))
    softer = bool(soft.mean() < _CLEARLY * single.mean()) and sure > _SURELY
    figures = {"single": single.mean(), "soft": soft.mean(), "standard_errors": sure}
    files.write_table(run.softness, [{name: float(f"{value:.6g}") for name, value in figures.items()} | {"softer": int(softer)}])
    say(
        f"a consensus of single poses leaves {100 * single.mean():.3g} % of left-out images unexplained, one of soft poses "
        f"{100 * soft.mean():.3g} % (better by {sure:.1f} standard errors): "
        f"it {'is made anew with these' if softer else 'stays as it is'}"
    )
    if softer:
        if not run.soft.exists():
            _show(_make_soft(run, seed), 1, "the consensus with soft poses", outlook)
        _write(run)


def _show(work: Iterator[int], consensuses: int, what: str, outlook: Outlook) -> None:
    with outlook.bar("softness") as bar:
        shown = bar.add_task(what, total=consensuses * FINE.iterations)
        for done in work:
            bar.advance(shown, done)


def ask(task: Asked) -> Iterator[int]:
    """Make a consensus of most images, and write what it leaves unexplained of the others; yields each iteration."""
    known = _known(RunDirectory(task.directory))
    order = torch.randperm(len(known.teaching), generator=random_stream(task.seed, "softness", "left out")).to(known.images.device)
    held = torch.arange(len(order), device=order.device) % _FOLDS == 0
    left, taught = known.teaching[order[held]], known.teaching[order[~held]]
    volume = yield from _anew(known, taught, task.seed, soft=task.soft)
    poses = best_poses(volume, known.images[left], known.found.poses.shifts[left])
    answers = zip(left.tolist(), (1 - poses.correlations).tolist(), strict=True)
    files.write_table(task.path, [{"image": known.numbers[place], "unexplained": round(share, 7)} for place, share in answers])


def _make_soft(run: RunDirectory, seed: int) -> Iterator[int]:
    """Make the consensus of all images that it explains, with soft poses, and write it; yields each iteration."""
    known = _known(run)
    volume = yield from _anew(known, known.teaching, seed, soft=True)
    write_settled(run.soft, Consensus(volume, best_poses(volume, known.images, known.found.poses.shifts)))


class _Known(NamedTuple):
    numbers: list[int]  # of the images in the user's stack
    images: Tensor  # empty space 0, (n, d, d)
    found: Consensus  # of all images that it explains
    teaching: Tensor  # places of these
    group: Tensor | None


def _known(run: RunDirectory) -> _Known:
    prepared, device = read_prepared(run.images), best_device()
    consensus = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    found, images = Consensus(consensus.volumes[0], consensus.poses), prepared.images.to(device) / prepared.s
    return _Known(prepared.numbers, images, found, consensus.teaching.nonzero()[:, 0], consensus.group)


def _anew(known: _Known, taught: Tensor, seed: int, *, soft: bool) -> Generator[int, None, Tensor]:
    """Match some images softly once more, from what the consensus shows at low resolution, and settle: the volume."""
    images, found = known.images[taught], known.found._replace(poses=known.found.poses.of(taught))
    for iteration in anew(images, found, random_stream(seed, "softness"), group=known.group, soft=soft):
        last = iteration
        yield 1
    return settle(images, enlarged(last, images.shape[-1]), stays=soft, group=known.group).volume


def _write(run: RunDirectory) -> None:
    """The consensus with soft poses in place of the one before."""
    prepared, device = read_prepared(run.images), best_device()
    before = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    soft, images = read_settled(run.soft, device), prepared.images.to(device) / prepared.s
    odd = before.outliers.clone()
    odd[~before.second] = outliers(soft.poses.of(~before.second))
    left_out = judge_left_out(images[~before.second], soft.poses.of(~before.second), group=before.group)
    found = Consensus(soft.volume, choose(before.second, before.poses, soft.poses))
    (row,) = files.read_table(run.consensus_summary)
    write_consensus(run, prepared, Shown(found, None, odd, before.second, left_out), symmetry=row["symmetry"])
