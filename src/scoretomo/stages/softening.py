"""The consensus of a molecule that is taken as rigid, as soft as left-out images ask for.

The best pose of a noisy image is one that suits its noise, too, and a map that fits images in such poses has their noise. Soft
matching weighs all poses and has less of it, but blurs what images without noise show. Which is better is asked of images that
are left out when both are made; both begin with what the consensus of all images shows at 24 pixels. Of a molecule that moves it
is not asked: what its parts do looks like noise as long as no motion is learned.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..ensemble.consensus import FINE, Consensus, anew, best_poses, enlarged, outliers, settle
from ..ensemble.symmetry import judge_left_out
from ..matching import choose
from .consensus import read_consensus, read_settled, write_consensus, write_settled
from .directory import RunDirectory
from .importing import read_prepared
from .outlook import Outlook
from .progress import say

_TINY = 1e-12
_FOLDS = 5  # one image of so many is left out
_CLEARLY = 0.98  # soft poses are kept where they leave less than this share of what single ones leave,
_SURELY = 4.0  # and the difference is this many times its standard error over the images that are asked


class Again(NamedTuple):
    """A consensus that is made once more."""

    directory: Path
    seed: int
    soft: bool
    asks: bool  # without some images, which are then asked about it

    @property
    def path(self) -> Path:
        """Where it is, or what left-out images say of it."""
        run, name = RunDirectory(self.directory), "soft" if self.soft else "single"
        return run.softness.with_name(f"asked-{name}.csv") if self.asks else run.soft


def soften(run: RunDirectory, seed: int, outlook: Outlook, *, workers: int | None) -> None:
    """Ask left-out images how soft the poses of a rigid molecule's consensus should be, and write it anew if they want it softer.

    Args:
        run: a run with a consensus.
        seed: of random numbers.
        outlook: of the run.
        workers: processes to use.
    """
    asking = [Again(run.path, seed, soft, asks=True) for soft in (False, True)]
    _make(asking, "single poses or soft ones?", outlook, workers)
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
        _make([Again(run.path, seed, soft=True, asks=False)], "the consensus with soft poses", outlook, workers)
        _write(run)


def _make(tasks: list[Again], what: str, outlook: Outlook, workers: int | None) -> None:
    todo = [task for task in tasks if not task.path.exists()]
    if todo:
        with outlook.bar("softness") as bar:
            shown = bar.add_task(what, total=len(todo) * FINE.iterations)
            for _, done in run_tasks(make_again, todo, processes_for(workers)):
                bar.advance(shown, done)


def make_again(task: Again) -> Iterator[int]:
    """Match the images softly once more, from what the consensus shows at low resolution, and settle; yields each iteration."""
    run, device = RunDirectory(task.directory), best_device()
    prepared = read_prepared(run.images)
    images = prepared.images.to(device) / prepared.s
    consensus = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    found, group = Consensus(consensus.volumes[0], consensus.poses), consensus.group
    places = consensus.teaching.nonzero()[:, 0]
    order = torch.randperm(len(places), generator=random_stream(task.seed, "softness", "left out")).to(places.device)
    held, taught = places[order[::_FOLDS]], places
    if task.asks:
        taught = places[order[torch.arange(len(order), device=order.device) % _FOLDS > 0]]
    stream = random_stream(task.seed, "softness")
    known = Consensus(found.volume, found.poses.of(taught))
    for iteration in anew(images[taught], known, stream, group=group, soft=task.soft):
        last = iteration
        yield 1
    volume = settle(images[taught], enlarged(last, images.shape[-1]), stays=task.soft, group=group).volume
    if task.asks:
        poses = best_poses(volume, images[held], found.poses.shifts[held])
        left = zip(held.tolist(), (1 - poses.correlations).tolist(), strict=True)
        rows = [{"image": prepared.numbers[place], "unexplained": round(share, 7)} for place, share in left]
        files.write_table(task.path, rows)
    else:
        write_settled(task.path, Consensus(volume, best_poses(volume, images, found.poses.shifts)))


def _write(run: RunDirectory) -> None:
    """The consensus with soft poses in place of the one before."""
    prepared, device = read_prepared(run.images), best_device()
    before = read_consensus(run, prepared, prepared.numbers, device, table=run.consensus_poses)
    soft, images = read_settled(run.soft, device), prepared.images.to(device) / prepared.s
    odd = before.outliers.clone()
    odd[~before.second] = outliers(soft.poses.of(~before.second))
    asked = judge_left_out(images[~before.second], soft.poses.of(~before.second), group=before.group)
    found = Consensus(soft.volume, choose(before.second, before.poses, soft.poses))
    (row,) = files.read_table(run.consensus_summary)
    write_consensus(run, prepared, found, odd, before.second, symmetry=row["symmetry"], asked=asked)
