"""From the volumes of a run to what moves: landscape.csv and landscape/."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..compute import one_thread
from ..fourier import low_pass, resample
from ..landscape import (
    FEWEST,
    Components,
    States,
    Travel,
    Way,
    confirmed,
    dimensions,
    independent_ways,
    motion_map,
    principal_components,
    seen_motions,
    soft_mask,
    states,
    travel,
    umap_embedding,
    unrolled,
    way_along,
    way_between,
)
from ..monitor.progress import say, working
from ..requirements import require_umap
from ..rundir.directory import LANDSCAPE, RunDirectory, Stopwatch, entry
from ..rundir.poses import posed_rotations
from .consensus import explained_images
from .images import PreparedStack, read_prepared
from .reliability import agreement, read_replicas, settle_reliability
from .report import report_beside

_FEWEST = 3  # volumes that have a landscape
_AGREE = 0.5  # FSC of replicas up to which shells are used
_STATES, _IN_EACH = 6, 10  # groups at most, and as many volumes for one group
_FRAMES = 11  # of a way along a motion
_LEGS = 6  # frames from state to state
_WRITTEN = 3  # components at least that are written
_SEEN_SIDE = 32  # pixels, at which it is asked what views show


class Read(NamedTuple):
    """What is known of the volumes of one molecule."""

    numbers: list[int]  # of their images
    volumes: Tensor  # (n, d, d, d), at 64 pixels at most
    differences: Tensor  # half the difference of the replicas of each
    pixel_size: float | None  # Å, or pixels of the images where these are larger and nobody knows


class Seen(NamedTuple):
    """What moves in the volumes."""

    cutoff: int  # shell up to which replicas agree
    components: Components
    moves: bool | None  # whether the molecule moves by what left-out images say; None if there were too few to ask
    counted: bool  # whether it is known how many motions there are
    coordinates: np.ndarray  # (n, m), along each motion; if they are not counted, along the first components
    groups: States
    spread: Tensor  # the motion map, (d, d, d)
    chance: float  # squared differences of replicas, on average

    @property
    def motions(self) -> int | None:
        """How many there are; None if that is not known."""
        return self.coordinates.shape[1] if self.counted else None

    @property
    def ways(self) -> list[str]:
        """Names of what volumes are written along."""
        return [f"{'motion' if self.counted else 'component'}-{k + 1}" for k in range(self.coordinates.shape[1])]


class Found(NamedTuple):
    """What came of looking for what moves, once it is written."""

    event: dict[str, Any]  # for log.jsonl
    shown: dict[int, list[float]]  # how much of each motion the image of each volume shows, by its number


def landscape_only(directory: Path, *, umap: bool) -> None:
    """Find what moves in the volumes of a run, again, and write its report.

    Raises:
        InputError: there is no run with volumes in one frame, or umap-learn is asked for and not installed.
    """
    run = RunDirectory(directory)
    run.require_one_frame()
    numbers = _numbers(run)
    if len(numbers) < _FEWEST:
        raise files.InputError(
            f"{directory} has {len(numbers)} volumes of one molecule, expected {_FEWEST} or more: make more of them"
        )
    if umap:
        require_umap()
    with run.alone(), one_thread():  # as in the run
        report_landscape(run, umap=umap)


def report_landscape(run: RunDirectory, *, umap: bool = False) -> None:
    """Write landscape.csv and landscape/, reliability.csv and the report, which take the places of earlier ones all together."""
    with files.replaced_together(run.path, "landscape", LANDSCAPE) as new:
        found = _settle(run, new, umap=umap)
        report_beside(run, new, LANDSCAPE[:3], found and found.event)
    _tell(run, found)
    say(f"report: {run.report.absolute()}")


def settle_landscape(run: RunDirectory) -> None:
    """The same without the report; an earlier report goes."""
    with files.replaced_together(run.path, "landscape", LANDSCAPE) as new:
        found = _settle(run, new, umap=False)
    _tell(run, found)


def _settle(run: RunDirectory, new: Path, *, umap: bool) -> Found | None:
    """Write to a folder what there is to write: of three volumes or more in one frame what moves, of any how far to trust them."""
    if not run.poses.exists() or not run.volumes_table.exists():
        return None
    numbers = _numbers(run)
    prepared, written = read_prepared(run.images), run.with_landscape_in(new)
    found = _look(written, prepared, numbers, umap=umap) if len(numbers) >= _FEWEST else None
    settle_reliability(written, prepared, found.shown if found else {})
    return found


def _tell(run: RunDirectory, found: Found | None) -> None:
    """Record and say what was found, which is in its place now."""
    if found is None:
        return
    files.append_record(run.log, found.event)
    motions = found.event["motions"]
    if motions is None:
        say(f"how the volumes differ: {run.landscape_table}")
    else:
        say(f"{motions or 'no'} motion{'' if motions == 1 else 's'}: {run.landscape_table}")


def landscape_missing(run: RunDirectory) -> bool:
    """Whether a run has volumes in one frame and what they tell is not written: it was stopped."""
    return run.poses.exists() and run.volumes_table.exists() and not run.reliability.exists()


def _look(run: RunDirectory, prepared: PreparedStack, numbers: list[int], *, umap: bool) -> Found:
    """Find what moves, and write it."""
    clock = Stopwatch()
    with working("looking for what moves", run.progress):
        read = _read(run, prepared, numbers)
        seen = _find(read, _moves(run), _real_ways(run))
        ways = _write_maps(run, prepared, read, seen)
        rows = _write_tables(run, read, seen, umap=umap)
        shown = _shown(run, numbers, seen) if seen.counted else {}
    summary = {
        "volumes": len(numbers),
        "motions": seen.motions,
        "ways": [
            {"name": name, "distance": round(way.distance, 2), "replaced": round(way.replaced, 4)}
            for name, way in zip(seen.ways, ways, strict=True)
        ],
        "moves": seen.moves,
        "clear_components": seen.components.clear,
        "variance": seen.components.total,
        "chance": seen.chance,
        "shells": seen.cutoff,
        "side": read.volumes.shape[-1],
    }
    files.write_json(run.landscape / "summary.json", summary)
    files.write_table(run.landscape_table, rows)
    return Found(entry("landscape", motions=seen.motions, seconds=clock.seconds()), shown)


def _find(read: Read, moves: bool | None, ways: dict[int, list[float]]) -> Seen:
    """What moves in volumes, and how far by left-out images; they are low-passed in place to what their replicas agree in."""
    cutoff = _supported(read)
    for stack in (read.volumes, read.differences):
        for each in stack:  # one by one: a whole stack of transforms would take several times the memory
            each.copy_(low_pass(each, cutoff, 3))
    mask = soft_mask(read.volumes)
    found = principal_components(read.volumes, read.differences, mask)
    motions = dimensions(found) if moves else 0
    counted = moves is False or (bool(moves) and len(read.numbers) >= FEWEST)
    coordinates = unrolled(found, motions)
    if counted and motions and ways:
        own = np.array([ways[number] for number in read.numbers])
        coordinates = confirmed(coordinates, own, independent_ways(np.array(list(ways.values()))))
    return Seen(
        cutoff=cutoff,
        components=found,
        moves=moves,
        counted=counted,
        coordinates=coordinates,
        groups=states(found, max(1, min(_STATES, len(read.numbers) // _IN_EACH)) if motions else 1),
        spread=motion_map(read.volumes, read.differences) * mask,
        chance=float((read.differences * mask).square().sum((1, 2, 3)).mean()),
    )


def _shown(run: RunDirectory, numbers: list[int], seen: Seen) -> dict[int, list[float]]:
    """How much of each motion the image of each volume shows."""
    poses = {int(row["image"]): row for row in files.read_table(run.poses)}
    rotations = posed_rotations([poses[number] for number in numbers]).float()
    found = seen.components
    side = min(_SEEN_SIDE, found.mean.shape[-1])
    small = found._replace(mean=resample(found.mean, side, 3), maps=resample(found.maps, side, 3))
    return dict(zip(numbers, seen_motions(small, seen.coordinates, rotations).tolist(), strict=True))


def _moves(run: RunDirectory) -> bool | None:
    """Whether the molecule moves by what left-out images say; None if there were too few to ask.

    Volumes of a rigid molecule differ by more than chance, too, because each has what its own image has wrong.
    """
    return files.read_table(run.moves)[0]["moves"] == "1" if run.moves.exists() else None


def _real_ways(run: RunDirectory) -> dict[int, list[float]]:
    """How far each image has moved in the ways that left-out images confirm; empty if that is not known."""
    rows = files.read_table(run.trial_ways) if run.trial_ways.exists() else []
    return {int(row["image"]): [float(row[name]) for name in row if name != "image"] for row in rows}


def _numbers(run: RunDirectory) -> list[int]:
    """Images whose volumes show the one molecule and what it does, and whose replicas are known."""
    explained = explained_images(run)
    numbers = [int(row["image"]) for row in files.read_table(run.volumes_table) if row["status"] == "done"]
    return [number for number in numbers if number in explained and run.difference(number).exists()]


def _read(run: RunDirectory, prepared: PreparedStack, numbers: list[int]) -> Read:
    volumes, differences = map(torch.stack, zip(*(read_replicas(run, number) for number in numbers), strict=True))
    pixel_size, ratio = prepared.pixel_size, prepared.images.shape[-1] / volumes.shape[-1]
    if ratio > 1:  # a coarser map lies on the others only if it says how much coarser it is
        pixel_size = (pixel_size or 1.0) * ratio
    return Read(numbers, volumes, differences, pixel_size)


def _supported(read: Read) -> int:
    """The shell up to which replicas agree."""
    curve = torch.stack([agreement(*pair) for pair in zip(read.volumes, read.differences, strict=True)]).mean(0)
    below = (curve[1:] < _AGREE).nonzero()[:, 0]
    return int(below[0]) + 1 if len(below) else len(curve) - 1


def _write_tables(run: RunDirectory, read: Read, seen: Seen, *, umap: bool) -> list[dict[str, Any]]:
    """scree.csv: variances; returns the place of every volume, rows of landscape.csv."""
    found = seen.components
    written = min(found.coordinates.shape[1], max(_WRITTEN, len(seen.ways)))
    rows: list[dict[str, Any]] = []
    for place, number in enumerate(read.numbers):
        motions = {f"motion_{k + 1}": round(float(value), 5) for k, value in enumerate(seen.coordinates[place]) if seen.counted}
        components = {f"component_{k + 1}": float(f"{value:.6g}") for k, value in enumerate(found.coordinates[place, :written])}
        rows.append({"image": number, "state": int(seen.groups.members[place]) + 1, **motions, **components})
    if umap:
        for row, at in zip(rows, _embedding(found), strict=True):
            row |= {f"umap_{k + 1}": round(float(value), 4) for k, value in enumerate(at)}
    scree = [
        {"component": k + 1, "variance": f"{value:.6g}", "share": round(value / (found.total or 1.0), 5), "chance": f"{chance:.6g}"}
        for k, (value, chance) in enumerate(zip(found.variances.tolist(), found.chance.tolist(), strict=True))
    ]
    files.write_table(run.landscape / "scree.csv", scree)
    return rows


def _embedding(found: Components) -> np.ndarray:
    """Places of the volumes in a plane, shape (n, 2).

    Raises:
        InputError: what compiles UMAP has no room for what it has compiled.
    """
    try:
        return umap_embedding(found)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise files.InputError(
            f"--umap needs a folder for compiled code ({what}): set NUMBA_CACHE_DIR to one with space, or leave --umap out"
        ) from None


def _write_maps(run: RunDirectory, prepared: PreparedStack, read: Read, seen: Seen) -> list[Travel]:
    """The map of what moves, the first components, and volumes along each motion and between states; returns how far motions go."""
    files.make_folder(run.landscape)
    files.write_map(run.landscape / "motion-map.mrc", seen.spread.numpy(), read.pixel_size)
    for k, component in enumerate(seen.components.maps[:_WRITTEN]):
        files.write_map(run.landscape / f"component-{k + 1}.mrc", component.numpy(), read.pixel_size)
    ways = []
    for k, name in enumerate(seen.ways):
        ways.append(travel(_write_way(run, name, prepared, read, way_along(seen.coordinates, k, _FRAMES))))
    _write_states(run, prepared, read, seen)
    return ways


def _write_states(run: RunDirectory, prepared: PreparedStack, read: Read, seen: Seen) -> None:
    """states.csv: who stands for whom; and the volumes on the way that visits them all."""
    groups = seen.groups
    tour = way_between(seen.components, groups, _LEGS)
    counts = np.bincount(groups.members, minlength=len(groups.representatives))
    rows = [
        {"state": k + 1, "volumes": int(counts[k]), "representative": read.numbers[place], "frame": tour.order.index(k) * _LEGS}
        for k, place in enumerate(groups.representatives.tolist())
    ]
    if len(rows) > 1:
        _write_way(run, "states", prepared, read, tour.way)
    files.write_table(run.landscape / "states.csv", rows)


def _write_way(run: RunDirectory, name: str, prepared: PreparedStack, read: Read, way: Way) -> np.ndarray:
    """Write a series of volumes at their full size, and return it."""
    frames = np.zeros((len(way.places), *(prepared.images.shape[-1],) * 3), dtype=np.float32)
    for place, number in enumerate(read.numbers):
        if way.weights[:, place].max() > 1e-4:
            density = files.read_map(run.volume(number)).density
            for frame in range(len(frames)):
                frames[frame] += np.float32(way.weights[frame, place]) * density
    files.make_folder(run.landscape / name)
    for frame, density in enumerate(frames):
        files.write_map(run.landscape / name / f"{frame:02d}.mrc", density, prepared.pixel_size)
    return frames
