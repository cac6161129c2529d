"""Stage consensus: from prepared images to one volume that explains them all, and the pose of each image in it."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .. import files
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..consensus import Consensus, Iteration
from ..consensus.cross_validation import CrossValidation, cross_validate
from ..consensus.hard_assignment import assign_hard, average, best_poses, other_hand
from ..consensus.mixture import MIXTURE, MixtureCriteria, separate_classes, shows_second_molecule, suspects
from ..consensus.outliers import find_outliers
from ..consensus.soft_assignment import COARSE, FINE, at_size, coarse_level, fine_level, leave_gaps
from ..consensus.starts import STARTS, agreements, best_start, starts_to_average
from ..consensus.symmetry import propose, symmetric_start
from ..matching import Poses, choose, mean_correlation
from ..monitor.progress import print_line, print_warning
from ..rundir.directory import RunDirectory
from ..rundir.rows import StartRow, SymmetryRow
from ..wording import images as images_named
from .images import read_prepared
from .job import Job
from .posed import Assigned, symmetry_group, write_consensus

_HARD_ASSIGNMENT = 5  # iterations of soft assignment that the hard assignment in detail takes as long as, about


class Start(NamedTuple):
    """One random blob to begin with."""

    directory: Path
    seed: int
    number: int
    symmetry: str
    places: tuple[int, ...] = ()  # of the images in the stack; all if there is none

    @property
    def path(self) -> Path:
        """Its result at low resolution."""
        run = RunDirectory(self.directory)
        return run.class_2_start(self.number) if self.places else run.start(self.number)

    @property
    def in_detail(self) -> Path:
        """Its result at full size."""
        return self.path.with_stem(f"{self.path.stem}-in-detail")

    @property
    def name(self) -> str:
        """Of the volume."""
        return "class 2 consensus" if self.places else "consensus"

    @property
    def stream(self) -> str:
        """Of its random numbers, which depend on this text."""
        return "second consensus" if self.places else "consensus"


def find_consensus(run: RunDirectory, job: Job) -> None:
    """Find the consensus volume of a run: consensus/ with the starts, the volume and the poses in it."""
    prepared = read_prepared(run.images)
    device = best_device()
    images = prepared.density_units(device)
    symmetry = job.settings.symmetry
    imposed = "C1" if symmetry == "auto" else symmetry
    starts = [Start(run.path, job.settings.seed, number, imposed) for number in range(STARTS.count)]
    tried = _try_starts(starts, job, device)
    best = best_start(tried)
    with job.estimate.working("comparing the starts"):
        fsc = _compare(run, tried, best)
    group = symmetry_group(imposed, device)
    chosen = starts_to_average(fsc, best) if leave_gaps(len(images), group) else [best]
    detailed = _in_detail([starts[number] for number in chosen], job, device)
    with job.estimate.working("assigning the images to poses"):
        consensus = average(images, detailed, group=group) if len(detailed) > 1 else detailed[0]
        validation = cross_validate(images, consensus.poses, group=group)
        if symmetry == "auto":
            imposed, consensus, validation = _best_symmetry(run, images, consensus, validation)
    in_class_2 = torch.zeros_like(consensus.poses.correlations, dtype=torch.bool)
    alone = Assigned(consensus, None, find_outliers(consensus.poses), in_class_2, validation)
    assigned = _separated(run, images, alone, symmetry_group(imposed, device), job)
    if job.settings.hand == "flip":
        assigned = in_other_hand(assigned)
    write_consensus(run.first, prepared, assigned, symmetry=imposed)
    _warn_of_outliers(prepared.numbers, assigned)


def _warn_of_outliers(numbers: Sequence[int], assigned: Assigned) -> None:
    outliers = [number for number, is_one in zip(numbers, assigned.outliers.tolist(), strict=True) if is_one]
    if outliers:
        print_warning(
            f"no view of the consensus volume explains {images_named(outliers)}: excluded from the fit; see the report"
        )


def in_other_hand(assigned: Assigned) -> Assigned:
    """The mirror images of both volumes."""
    mirrored = other_hand(assigned.consensus)
    if assigned.class_2 is None:
        return assigned._replace(consensus=mirrored)
    return assigned._replace(consensus=mirrored, class_2=other_hand(Consensus(assigned.class_2, mirrored.poses)).volume)


def _separated(run: RunDirectory, images: Tensor, alone: Assigned, group: Tensor | None, job: Job) -> Assigned:
    """Two consensus volumes, if the images that the only one explains least show another molecule."""
    other = _class_2_consensus(run, images, alone.consensus, job)
    if other is None:
        return alone
    with job.estimate.working("assigning every image to one of two consensus volumes"):
        assigned = assign_classes(images, alone, other, group=group)
    if assigned is None:
        print_line(f"fewer than {MIXTURE.fewest} images are explained better by the volume of class 2: it is dropped")
        return alone
    print_warning(f"{int(assigned.in_class_2.sum())} images are of class 2, whose volume is {run.first.class_2.name}")
    return assigned


def assign_classes(
    images: Tensor,
    alone: Assigned,
    other: Consensus,
    *,
    group: Tensor | None = None,
    criteria: MixtureCriteria = MIXTURE,
) -> Assigned | None:
    """Assign each image of a mixture to the consensus volume that explains it better.

    Args:
        images: empty space 0, shape (n, d, d).
        alone: the consensus volume of all images.
        other: that of class 2, from some of them, with the poses of all.
        group: symmetry of the first, shape (g, 3, 3).
        criteria: of a mixture.

    Returns:
        Both volumes; None if fewer images show class 2 than the criteria demand.
    """
    first, second, in_class_2 = separate_classes(images, alone.consensus, other, group=group, criteria=criteria)
    if int(in_class_2.sum()) < criteria.fewest:
        return None
    outliers = alone.outliers.clone()
    outliers[~in_class_2] = find_outliers(first.poses.of(~in_class_2))
    outliers[in_class_2] = find_outliers(second.poses.of(in_class_2))
    validation = cross_validate(images[~in_class_2], first.poses.of(~in_class_2), group=group)
    consensus = Consensus(first.volume, choose(in_class_2, second.poses, first.poses))
    return Assigned(consensus, second.volume, outliers, in_class_2, validation)


def _class_2_consensus(run: RunDirectory, images: Tensor, consensus: Consensus, job: Job) -> Consensus | None:
    """A consensus volume of the images that are explained least, if it explains held-out ones among them much
    better.
    """
    places = suspects(consensus.poses.correlations)
    if not len(places):
        return None
    starts = [
        Start(run.path, job.settings.seed, number, "C1", tuple(places.tolist())) for number in range(STARTS.count)
    ]
    best = best_start(_try_starts(starts, job, images.device))
    (own,) = _in_detail([starts[best]], job, images.device)
    with job.estimate.working("cross-validating a consensus volume of class 2"):
        residual = cross_validate(images[places], own.poses).residual
    good = ~find_outliers(own.poses)
    before = 1 - float(consensus.poses.correlations[places[good]].mean())
    comparison = (
        f"correlation of held-out images {1 - residual:.4f} with a volume of their own, "
        f"{1 - before:.4f} with the consensus volume"
    )
    if not shows_second_molecule(residual, before, int(good.sum())):
        print_line(f"the {len(places)} images explained least do not show a second molecule ({comparison})")
        return None
    print_line(f"the {len(places)} images explained least may show a second molecule ({comparison})")
    return Consensus(own.volume, best_poses(own.volume, images, consensus.poses.shifts))


def _try_starts(starts: Sequence[Start], job: Job, device: torch.device) -> list[Consensus]:
    """What random starts come to at low resolution; those that are there are not made again."""
    tasks = [start for start in starts if not start.path.exists()]
    if tasks:
        files.make_folder(tasks[0].path.parent)
        with job.estimate.bar("class 2 starts" if tasks[0].places else "starts") as bar:
            shown = bar.add_task(f"{tasks[0].name}: {len(tasks)} random starts", total=len(tasks) * COARSE.iterations)
            for _, done in run_tasks(try_start, tasks, processes_for(job.workers)):
                bar.advance(shown, done)
    return [read_start(start.path, device) for start in starts]


def _in_detail(starts: Sequence[Start], job: Job, device: torch.device) -> list[Consensus]:
    """What random starts come to at the size of the images; those that are there are not made again."""
    tasks = [start for start in starts if not start.in_detail.exists()]
    if tasks:
        processes = processes_for(job.workers)
        job.estimate.multiply(tasks[0].name, math.ceil(len(tasks) / processes))
        with job.estimate.bar(tasks[0].name) as bar:
            shown = bar.add_task(f"{tasks[0].name} in detail", total=len(tasks) * (FINE.iterations + _HARD_ASSIGNMENT))
            for _, done in run_tasks(go_into_detail, tasks, processes):
                bar.advance(shown, done)
    return [read_start(start.in_detail, device) for start in starts]


def try_start(start: Start) -> Iterator[int]:
    """Go from one random blob to a volume at low resolution and write it; yields each iteration."""
    images, group = _images_of(start)
    for iteration in coarse_level(images, random_stream(start.seed, start.stream, start.number), group=group):
        last = iteration
        yield 1
    consensus = assign_hard(images, last, keep_near=leave_gaps(len(images), group), group=group)
    write_start(start.path, consensus, coarse=last.volume, centring=last.shifts)


def go_into_detail(start: Start) -> Iterator[int]:
    """Go from low resolution to a volume of the images' size and write it; yields each iteration."""
    images, group = _images_of(start)
    coarse = _read_coarse(start.path, images.device)
    for iteration in fine_level(images, coarse, random_stream(start.seed, start.stream, "fine"), group=group):
        last = iteration
        yield 1
    gaps = leave_gaps(len(images), group)
    write_start(start.in_detail, assign_hard(images, at_size(last, images.shape[-1]), keep_near=gaps, group=group))
    yield _HARD_ASSIGNMENT


def _images_of(start: Start) -> tuple[Tensor, Tensor | None]:
    """The images that are to be explained, empty space 0, and the symmetry."""
    device = best_device()
    images = read_prepared(RunDirectory(start.directory).images).density_units(device)
    return images[list(start.places)] if start.places else images, symmetry_group(start.symmetry, device)


def write_start(path: Path, consensus: Consensus, **more: Tensor) -> None:
    """Write a volume, the poses of images in it, and more arrays."""
    arrays = {"volume": consensus.volume, **consensus.poses._asdict(), **more}
    files.write_weights(path, {name: array.cpu().numpy() for name, array in arrays.items()}, {})


def read_start(path: Path, device: torch.device) -> Consensus:
    """The volume and the poses that `write_start` wrote."""
    arrays, _ = files.read_weights(path)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return Consensus(tensors["volume"], Poses(*(tensors[name] for name in Poses._fields)))


def _read_coarse(path: Path, device: torch.device) -> Iteration:
    """The last iteration of soft assignment at low resolution."""
    arrays, _ = files.read_weights(path)
    volume, shifts = (torch.from_numpy(arrays[name]).to(device) for name in ("coarse", "centring"))
    return Iteration(volume, shifts)


def _best_symmetry(
    run: RunDirectory, images: Tensor, consensus: Consensus, validation: CrossValidation
) -> tuple[str, Consensus, CrossValidation]:
    """The consensus with the symmetry that explains held-out images best, in the frame of the group's axes; writes all
    tried.
    """
    rows = [SymmetryRow("C1", 1.0, 1 - validation.residual)]
    name = "C1"
    chosen = consensus
    best = validation
    for proposal in propose(consensus.volume):
        gaps = leave_gaps(len(images), proposal.group)
        tried = assign_hard(images, symmetric_start(consensus, proposal), keep_near=gaps, group=proposal.group)
        validation = cross_validate(images, tried.poses, group=proposal.group)
        rows.append(SymmetryRow(proposal.name, proposal.agreement, 1 - validation.residual))
        if validation.residual <= best.residual:  # of two that explain them as well, the larger group
            name = proposal.name
            chosen = tried
            best = validation
    run.symmetries.write(rows)
    table = "; ".join(f"{row.symmetry} {row.held_out_correlation:.4f}" for row in rows)
    print_line(f"symmetry: {name} (correlation of held-out images: {table})")
    return name, chosen, best


def _compare(run: RunDirectory, starts: Sequence[Consensus], best: int) -> list[float]:
    """Write and show whether the starts came to the same volume: mean FSC of each with the best."""
    fsc = agreements(starts, best)
    rows = [
        StartRow(number, mean_correlation(start.poses), value, value >= STARTS.same_volume)
        for number, (start, value) in enumerate(zip(starts, fsc, strict=True))
    ]
    run.starts.write(rows)
    others = [row for row in rows if row.start != best]
    agreeing = sum(row.agrees for row in others)
    values = ", ".join(f"{row.fsc:.2f}" for row in sorted(others, key=lambda row: row.fsc))
    if agreeing == len(others):
        print_line(f"all {len(starts)} starts came to the same volume: mean FSC with the best {values}")
    else:
        print_warning(
            f"only {agreeing + 1} of {len(starts)} starts came to the same volume (mean FSC with the best {values}): "
            "the images may be too few, or too different, to determine the shape"
        )
    return fsc
