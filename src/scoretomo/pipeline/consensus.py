"""From prepared images to one volume that explains them all, and the pose of each image in it."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import files
from ..alignment import moved_onto
from ..compute import best_device, processes_for, random_stream, run_tasks
from ..consensus.assignment import (
    COARSE,
    FINE,
    Consensus,
    Iteration,
    average,
    best_poses,
    coarse_level,
    enlarged,
    fine_level,
    leave_gaps,
    other_hand,
    outliers,
    parted,
    settle,
)
from ..consensus.symmetry import LeftOut, judge_left_out, propose, symmetric_start
from ..fourier import fourier_shell_correlation, mean_fsc, resolution_at
from ..images import shift
from ..matching import Poses, choose, coverage
from ..monitor.progress import say, warn
from ..monitor.time_estimate import Outlook
from ..rotations import euler_from_rotations, point_group
from ..rundir.directory import RunDirectory, Stopwatch
from ..rundir.poses import posed_rotations
from .images import PreparedStack, read_prepared

_STARTS = 4  # random blobs: one proves nothing, several that agree do
_FEWEST_SECOND = 12  # images that are asked whether they show one other thing
_SUSPECT = 2.5  # times the median of what is unexplained, from which an image may show something else
_EXPLAINS = 0.6  # a second consensus is believed if left-out images of it keep less than this share of their doubt
_FINE_ENOUGH = 0.5  # Fourier ring correlation with maps of other images, down to which an image agrees with them
_AGREE = 0.8  # mean FSC of two starts from which they count as the same answer
_ALIKE, _SURE = 0.7, 0.9  # from which the mean of starts is better than one of them; from which it is no better any more
FEWEST_TO_MOVE = 24  # images of one consensus from which motion can be learned
_SETTLING = 5  # iterations that settling in detail takes as long as, about


class Start(NamedTuple):
    """One random blob to begin with."""

    directory: Path
    seed: int
    number: int
    symmetry: str
    places: tuple[int, ...] = ()  # of the images in the stack; all if there is none

    @property
    def path(self) -> Path:
        """Where its result is."""
        run = RunDirectory(self.directory)
        return run.second_start(self.number) if self.places else run.start(self.number)

    @property
    def in_detail(self) -> Path:
        """Where it is at full size."""
        return self.path.with_stem(f"{self.path.stem}-in-detail")

    @property
    def name(self) -> str:
        """What is looked for."""
        return "second consensus" if self.places else "consensus"


class Posed(NamedTuple):
    """The consensus of a run, and some images in it; where the stack is a mixture, two of them."""

    volumes: Tensor  # normalised, (1 or 2, d, d, d)
    second: Tensor  # (n,), bool: the image shows the second one
    group: Tensor | None  # rotations under which the first stays the same, (g, 3, 3); None for C1
    poses: Poses
    outliers: Tensor  # (n,), bool: no view explains the image

    @property
    def teaching(self) -> Tensor:
        """Images that are explained by the first consensus, (n,), bool."""
        return ~(self.outliers | self.second)

    def of(self, places: Sequence[int]) -> "Posed":
        """The same with some of the images only."""
        some = list(places)
        return self._replace(second=self.second[some], poses=self.poses.of(some), outliers=self.outliers[some])


class Shown(NamedTuple):
    """What images show: one molecule or, in a mixture, two."""

    found: Consensus  # of the first, with the pose of each image in the one that it shows
    other: Consensus | None  # of the second, if it is still to be written
    odd: Tensor  # (n,), bool: no view explains the image
    second: Tensor  # (n,), bool: it shows the second
    left_out: LeftOut  # what left-out images say of the first


def find_consensus(run: RunDirectory, seed: int, symmetry: str, outlook: Outlook, *, flip: bool, workers: int | None) -> None:
    """Find the consensus of a run, unless it is there: consensus.mrc, and consensus/ with the starts and the poses in it.

    Args:
        run: the run.
        seed: of random numbers.
        symmetry: point group, or auto.
        outlook: of the run.
        flip: write the other hand.
        workers: processes to use.
    """
    if run.consensus_poses.exists() or run.poses.exists():
        return
    clock, prepared, device = Stopwatch(), read_prepared(run.images), best_device()
    images = prepared.images.to(device) / prepared.s
    imposed = "C1" if symmetry == "auto" else symmetry
    first = [Start(run.path, seed, number, imposed) for number in range(_STARTS)]
    tried = _try_starts(first, outlook, workers, device)
    best = _best(tried)
    with outlook.working("comparing the starts"):
        agreements = _compare(run, tried, best)
    group = _group(imposed, device)
    going_on = _going_on(agreements, best) if leave_gaps(len(images), group) else [best]
    detailed = _in_detail([first[number] for number in going_on], outlook, workers, device)
    with outlook.working("settling the poses of the images"):
        found = average(images, detailed, group=group) if len(detailed) > 1 else detailed[0]
        left_out = judge_left_out(images, found.poses, group=group)
        if symmetry == "auto":
            imposed, found, left_out = _best_symmetry(run, images, found, left_out)
    alone = Shown(found, None, outliers(found.poses), torch.zeros_like(found.poses.correlations, dtype=torch.bool), left_out)
    shown = _parted(run, images, alone, _group(imposed, device), seed, outlook, workers)
    if flip:
        shown = shown._replace(found=other_hand(shown.found), other=shown.other and other_hand(shown.other))
    if shown.other:
        files.write_map(run.second_consensus, (shown.other.volume * prepared.s).cpu().numpy(), prepared.pixel_size)
    summary = write_consensus(run, prepared, shown, symmetry=imposed)
    if shown.odd.any():
        which = ", ".join(str(number) for number, is_odd in zip(prepared.numbers, shown.odd.tolist(), strict=True) if is_odd)
        warn(f"no view of the consensus explains image {which}: the others are refined without; look at them in the report")
    run.record("consensus", **summary, seconds=clock.seconds())


def _parted(
    run: RunDirectory, images: Tensor, alone: Shown, group: Tensor | None, seed: int, outlook: Outlook, workers: int | None
) -> Shown:
    """Two consensuses, if the images that the only one explains least show something else."""
    other = _second_consensus(run, images, alone.found, seed, outlook, workers)
    if other is None:
        return alone
    with outlook.working("asking every image which of the two it shows"):
        own, other, second = parted(images, alone.found, other, group=group)
    if int(second.sum()) < _FEWEST_SECOND:
        say(f"only {int(second.sum())} images are explained better by it: it is not kept")
        return alone
    warn(f"{int(second.sum())} images show a second molecule, which is in {run.second_consensus.name}")
    odd = alone.odd.clone()
    odd[~second], odd[second] = outliers(own.poses.of(~second)), outliers(other.poses.of(second))
    left_out = judge_left_out(images[~second], own.poses.of(~second), group=group)
    return Shown(Consensus(own.volume, choose(second, other.poses, own.poses)), other, odd, second, left_out)


def write_consensus(run: RunDirectory, prepared: PreparedStack, shown: Shown, *, symmetry: str) -> dict[str, Any]:
    """Write consensus.mrc, and consensus/ with the poses of all images in it and what is to be said of it, which it returns.

    Args:
        run: the run.
        prepared: its images.
        shown: the consensus, and which images show it.
        symmetry: its point group.
    """
    finest = resolution_at(shown.left_out.rings, prepared.images.shape[-1], _FINE_ENOUGH)
    summary = {
        "symmetry": symmetry,
        "coverage": round(float(shown.found.poses.correlations[~(shown.odd | shown.second)].mean()), 5),
        "left_out_coverage": round(1 - shown.left_out.doubt, 5),
        "left_out_resolution": round((prepared.pixel_size or 1.0) / finest.frequency, 4),
    }
    files.write_table(run.consensus_summary, [summary])
    files.write_map(run.consensus, (shown.found.volume * prepared.s).cpu().numpy(), prepared.pixel_size)
    files.write_table(run.consensus_poses, pose_rows(prepared.numbers, shown.found.poses, shown.odd, shown.second))
    return summary


def _try_starts(starts: Sequence[Start], outlook: Outlook, workers: int | None, device: torch.device) -> list[Consensus]:
    """What random starts lead to at low resolution; those that are there are not made again."""
    tasks = [start for start in starts if not start.path.exists()]
    if tasks:
        files.make_folder(tasks[0].path.parent)
        with outlook.bar("second starts" if tasks[0].places else "starts") as bar:
            shown = bar.add_task(f"{tasks[0].name}: {len(tasks)} random starts", total=len(tasks) * COARSE.iterations)
            for _, done in run_tasks(try_start, tasks, processes_for(workers)):
                bar.advance(shown, done)
    return [read_settled(start.path, device) for start in starts]


def _best(found: Sequence[Consensus]) -> int:
    """Which of them covers its images best."""
    return max(range(len(found)), key=lambda number: coverage(found[number].poses))


def _going_on(agreements: Sequence[float], best: int) -> list[int]:
    """Starts of few images to go on with, the best first: those that are like it, and where they all agree it alone."""
    others = [number for number, agreement in enumerate(agreements) if number != best and agreement >= _ALIKE]
    return [best, *others] if any(agreements[number] < _SURE for number in others) else [best]


def _in_detail(starts: Sequence[Start], outlook: Outlook, workers: int | None, device: torch.device) -> list[Consensus]:
    """What random starts lead to at the size of the images; those that are there are not made again."""
    tasks = [start for start in starts if not start.in_detail.exists()]
    if tasks:
        processes = processes_for(workers)
        outlook.multiply(tasks[0].name, math.ceil(len(tasks) / processes))
        with outlook.bar(tasks[0].name) as bar:
            shown = bar.add_task(f"{tasks[0].name} in detail", total=len(tasks) * (FINE.iterations + _SETTLING))
            for _, done in run_tasks(go_into_detail, tasks, processes):
                bar.advance(shown, done)
    return [read_settled(start.in_detail, device) for start in starts]


def _second_consensus(
    run: RunDirectory, images: Tensor, found: Consensus, seed: int, outlook: Outlook, workers: int | None
) -> Consensus | None:
    """What the images show that are explained least, if it is one other thing: if the map of some of them explains the others."""
    doubts = 1 - found.poses.correlations
    places = (doubts > _SUSPECT * doubts.median()).nonzero()[:, 0]
    if len(places) < _FEWEST_SECOND:
        return None
    tried = [Start(run.path, seed, number, "C1", tuple(places.tolist())) for number in range(_STARTS)]
    best = _best(_try_starts(tried, outlook, workers, images.device))
    (settled,) = _in_detail([tried[best]], outlook, workers, images.device)
    with outlook.working("asking the images that are explained least whether they show one other thing"):
        doubt = judge_left_out(images[places], settled.poses).doubt
    good = ~outliers(settled.poses)
    before = 1 - float(found.poses.correlations[places[good]].mean())
    told = f"a map of their own leaves {100 * doubt:.1f} % of left-out ones unexplained, the consensus {100 * before:.1f} %"
    if doubt >= _EXPLAINS * before or int(good.sum()) < _FEWEST_SECOND:
        say(f"the {len(places)} images explained least do not show a second molecule: {told}")
        return None
    say(f"the {len(places)} images explained least may show a second molecule: {told}")
    return Consensus(settled.volume, best_poses(settled.volume, images, found.poses.shifts))


def try_start(start: Start) -> Iterator[int]:
    """Go from one random blob to a settled volume at low resolution and write it; yields each iteration."""
    images, group = _images_of(start)
    for iteration in coarse_level(images, random_stream(start.seed, start.name, start.number), group=group):
        last = iteration
        yield 1
    settled = settle(images, last, stays=leave_gaps(len(images), group), group=group)
    write_settled(start.path, settled, coarse=last.volume, centring=last.shifts)


def go_into_detail(start: Start) -> Iterator[int]:
    """Go from low resolution to a settled volume of the images' size and write it; yields each iteration."""
    images, group = _images_of(start)
    coarse = _read_coarse(start.path, images.device)
    for iteration in fine_level(images, coarse, random_stream(start.seed, start.name, "fine"), group=group):
        last = iteration
        yield 1
    settled = settle(images, enlarged(last, images.shape[-1]), stays=leave_gaps(len(images), group), group=group)
    write_settled(start.in_detail, settled)
    yield _SETTLING


def _images_of(start: Start) -> tuple[Tensor, Tensor | None]:
    """The images that are to be explained, empty space 0, and the symmetry."""
    prepared, device = read_prepared(RunDirectory(start.directory).images), best_device()
    images = prepared.images.to(device) / prepared.s
    return images[list(start.places)] if start.places else images, _group(start.symmetry, device)


def write_settled(path: Path, settled: Consensus, **more: Tensor) -> None:
    """Write a volume, the poses of images in it, and more arrays."""
    arrays = {"settled": settled.volume, **settled.poses._asdict(), **more}
    files.write_weights(path, {name: array.cpu().numpy() for name, array in arrays.items()}, {})


def read_consensus(
    run: RunDirectory, prepared: PreparedStack, numbers: Sequence[int], device: torch.device, *, table: Path | None = None
) -> Posed:
    """The consensus of a run and the poses of images by their numbers; the final ones if no other table is given."""
    rows = {int(row["image"]): row for row in files.read_table(table or run.poses)}

    def column(*names: str) -> Tensor:
        return torch.tensor([[float(rows[number][name]) for name in names] for number in numbers], dtype=torch.float64)

    poses = Poses(
        posed_rotations([rows[number] for number in numbers]).float(),
        column("shift_x", "shift_y").float(),
        column("correlation")[:, 0].float(),
    )
    paths = [path for path in (run.consensus, run.second_consensus) if path.exists()]
    volumes = torch.stack([torch.from_numpy(files.read_map(path).density) for path in paths]).to(device) / prepared.s
    (row,) = files.read_table(run.consensus_summary)
    odd = column("outlier")[:, 0].to(device) > 0
    second = torch.tensor([rows[number]["second"] == "1" for number in numbers], device=device)
    return Posed(volumes, second, _group(row["symmetry"], device), Poses(*(values.to(device) for values in poses)), odd)


def explained_images(run: RunDirectory) -> set[int]:
    """Numbers of the images that the first consensus explains: no outliers, and nothing of a second molecule."""
    return {int(row["image"]) for row in files.read_table(run.poses) if "1" not in (row["outlier"], row["second"])}


def centred_images(prepared: PreparedStack, numbers: Sequence[int], consensus: Posed, device: torch.device) -> Tensor:
    """Normalised images by their numbers, moved to the centre of the consensus, shape (n, d, d)."""
    images = prepared.normalised(numbers).to(device) - prepared.background
    return shift(images, -consensus.poses.shifts) + prepared.background


def _group(symmetry: str, device: torch.device) -> Tensor | None:
    return None if symmetry.upper() == "C1" else point_group(symmetry).to(device, torch.float32)


def _best_symmetry(run: RunDirectory, images: Tensor, found: Consensus, left_out: LeftOut) -> tuple[str, Consensus, LeftOut]:
    """The consensus with the symmetry that leaves least doubt of left-out images, in the frame of the group's axes.

    How this was decided is written.
    """
    rows: list[dict[str, Any]] = [{"symmetry": "C1", "fsc": 1.0, "left_out_doubt": round(left_out.doubt, 5)}]
    name, chosen, best = "C1", found, left_out
    for proposal in propose(found.volume):
        gaps = leave_gaps(len(images), proposal.group)
        tried = settle(images, symmetric_start(found, proposal), stays=gaps, group=proposal.group)
        left_out = judge_left_out(images, tried.poses, group=proposal.group)
        rows.append({"symmetry": proposal.name, "fsc": round(proposal.agreement, 4), "left_out_doubt": round(left_out.doubt, 5)})
        if left_out.doubt <= best.doubt:
            best, name, chosen = left_out, proposal.name, tried
    files.write_table(run.proposals, rows)
    table = "; ".join(f"{row['symmetry']} {100 * row['left_out_doubt']:.2f} %" for row in rows)
    say(f"symmetry: {name}. What maps of other images leave unexplained of an image: {table}")
    return name, chosen, best


def read_settled(path: Path, device: torch.device) -> Consensus:
    """What was settled at."""
    arrays, _ = files.read_weights(path)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return Consensus(tensors["settled"], Poses(*(tensors[name] for name in Poses._fields)))


def _read_coarse(path: Path, device: torch.device) -> Iteration:
    """The last iteration of a start at low resolution, before it settled."""
    arrays, _ = files.read_weights(path)
    volume, shifts = (torch.from_numpy(arrays[name]).to(device) for name in ("coarse", "centring"))
    return Iteration(volume, shifts)


def _compare(run: RunDirectory, starts: list[Consensus], best: int) -> list[float]:
    """Say, and write, whether the starts came to the same answer: mean FSC of each with the best."""
    reference = starts[best].volume.cpu()
    rows: list[dict[str, Any]] = []
    for number, start in enumerate(starts):
        moved = moved_onto(start.volume.cpu(), reference)
        agreement = 1.0 if number == best else float(mean_fsc(fourier_shell_correlation(moved, reference)))
        row = {"start": number, "coverage": round(coverage(start.poses), 5), "agreement": round(agreement, 4)}
        rows.append({**row, "agrees": int(agreement >= _AGREE)})
    files.write_table(run.starts, rows)
    others = sorted(row["agreement"] for row in rows if row["start"] != best)
    agreeing = sum(row["agrees"] for row in rows) - 1
    values = ", ".join(f"{value:.2f}" for value in others)
    if agreeing == len(others):
        say(f"all {len(starts)} starts came to the same volume: mean FSC with the best {values}")
    else:
        warn(
            f"only {agreeing + 1} of {len(starts)} starts came to the same volume (mean FSC with the best {values}): "
            "the images may be too few, or too different, to be sure of the shape"
        )
    return [row["agreement"] for row in rows]


def pose_rows(numbers: list[int], poses: Poses, odd: Tensor, second: Tensor) -> list[dict[str, Any]]:
    """Rows of poses.csv."""
    angles = euler_from_rotations(poses.rotations.double()).tolist()
    return [
        {
            "image": number,
            **{name: round(value, 4) for name, value in zip(("rot", "tilt", "psi"), angle, strict=True)},
            **{name: round(value, 4) for name, value in zip(("shift_x", "shift_y"), shift, strict=True)},
            "correlation": round(correlation, 5),
            "outlier": int(is_odd),
            "second": int(is_second),
        }
        for number, angle, shift, correlation, is_odd, is_second in zip(
            numbers, angles, poses.shifts.tolist(), poses.correlations.tolist(), odd.tolist(), second.tolist(), strict=True
        )
    ]
