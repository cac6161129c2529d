"""Stage landscape: from the volumes of a run to its modes, trajectories and states, landscape.csv and landscape/."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..fourier import low_pass, resample
from ..landscape import (
    COUNTING,
    LANDSCAPE,
    STATES,
    Components,
    Extent,
    FramePath,
    States,
    confirmed_modes,
    count_independent_modes,
    count_modes,
    find_states,
    mode_coordinates,
    motion_extent,
    observability,
    path_along_mode,
    path_between_states,
    principal_components,
    soft_mask,
    umap_embedding,
    variability_map,
)
from ..monitor.progress import print_line
from ..rundir.directory import RunDirectory
from ..rundir.poses import rotations_of
from ..rundir.rows import LandscapeRow, LandscapeSummary, ObservabilityRow, ScreeRow, StateRow, Trajectory, Verdict
from .images import PreparedStack, read_prepared
from .job import Job
from .posed import explained_images
from .replicates import read_replicates, replicate_curve

_FRAMES = 11  # of a trajectory along a mode
_LEGS = 6  # frames from state to state
_WRITTEN = 3  # components at least that are written
_OBSERVED_SIDE = 32  # pixels, at which observability is measured


class _Volumes(NamedTuple):
    """The volumes of one molecule."""

    numbers: list[int]  # of their images
    volumes: Tensor  # (n, d, d, d), at 64 pixels at most
    differences: Tensor  # half the difference of the replicates of each
    pixel_size: float | None  # Å, or pixels of the images where these are larger and the pixel size is unknown


class _Landscape(NamedTuple):
    """The heterogeneity of the volumes."""

    cutoff: int  # shell up to which replicates agree
    components: Components
    verdict: Verdict  # of the flexibility test
    counted: bool  # whether modes could be counted
    coordinates: np.ndarray  # (n, m), along each mode; if they are not counted, along the first components
    states: States
    variability: Tensor  # (d, d, d)
    noise_floor: float  # squared differences of replicates, on average

    @property
    def modes(self) -> int | None:
        """How many there are; None if they were not counted."""
        return self.coordinates.shape[1] if self.counted else None

    @property
    def names(self) -> list[str]:
        """Names of the trajectories."""
        return [f"{'mode' if self.counted else 'component'}-{k + 1}" for k in range(self.coordinates.shape[1])]


def landscape_numbers(run: RunDirectory) -> list[int]:
    """Images whose volumes show the one molecule and have replicates."""
    explained = explained_images(run)
    numbers = [row.image for row in run.volume_rows.read() if row.status == "done"]
    return [number for number in numbers if number in explained and run.difference(number).exists()]


def analyse_volumes(run: RunDirectory, job: Job) -> None:
    """Write landscape.csv and landscape/, and show how many modes there are."""
    with job.estimate.working("landscape of the volumes"):
        write_landscape(run)
    show_modes(run)


def write_landscape(run: RunDirectory, *, umap: bool = False) -> None:
    """Write landscape.csv and landscape/ of a run, if its volumes are enough.

    Args:
        run: the run.
        umap: also place the volumes in a plane by UMAP.
    """
    numbers = landscape_numbers(run)
    if len(numbers) < LANDSCAPE.fewest:
        return
    prepared = read_prepared(run.images)
    read = _read(run, prepared, numbers)
    landscape = _analyse(read, run.verdict, _trial_modes(run))
    extents = _write_maps(run, prepared, read, landscape)
    _write_scree(run, landscape.components)
    _write_summary(run, read, landscape, extents)
    if landscape.counted:
        run.landscape.observability.write(_observability(run, numbers, landscape))
    run.landscape.rows.write(_rows(read, landscape, umap=umap))


def show_modes(run: RunDirectory) -> None:
    """Show how many modes a run has."""
    if not run.landscape.rows.exists():
        return
    modes = run.landscape.summary.read().modes
    if modes is None:
        print_line(f"heterogeneity of the volumes: {run.landscape.rows.path}")
    else:
        print_line(f"{modes or 'no'} mode{'' if modes == 1 else 's'} of motion: {run.landscape.rows.path}")


def _analyse(read: _Volumes, verdict: Verdict, trial_modes: dict[int, tuple[float, ...]]) -> _Landscape:
    """Modes and states of volumes; they are low-passed in place to what their replicates agree in.

    Args:
        read: the volumes.
        verdict: of the flexibility test.
        trial_modes: amplitudes of all images along the modes that held-out images confirm; empty if there are none.
    """
    cutoff = _cutoff(read)
    for stack in (read.volumes, read.differences):
        for each in stack:  # one by one: a whole stack of transforms would take several times the memory
            each.copy_(low_pass(each, cutoff, 3))
    mask = soft_mask(read.volumes)
    components = principal_components(read.volumes, read.differences, mask)
    modes = count_modes(components) if verdict == "flexible" else 0
    counted = _can_count_modes(verdict, len(read.numbers))
    coordinates = mode_coordinates(components, modes)
    if counted and modes and trial_modes:
        own = np.array([trial_modes[number] for number in read.numbers])
        coordinates = confirmed_modes(coordinates, own, count_independent_modes(np.array(list(trial_modes.values()))))
    return _Landscape(
        cutoff=cutoff,
        components=components,
        verdict=verdict,
        counted=counted,
        coordinates=coordinates,
        states=find_states(components, STATES.most_of(len(read.numbers)) if modes else 1),
        variability=variability_map(read.volumes, read.differences) * mask,
        noise_floor=float((read.differences * mask).square().sum((1, 2, 3)).mean()),
    )


def _can_count_modes(verdict: Verdict, volumes: int) -> bool:
    """Whether the number of modes is known: a rigid molecule has none, those of a flexible one take volumes enough."""
    return verdict == "rigid" or (verdict == "flexible" and volumes >= COUNTING.fewest)


def _trial_modes(run: RunDirectory) -> dict[int, tuple[float, ...]]:
    """Amplitudes of each image along the modes that held-out images confirm; empty if there was no flexibility test."""
    return {row.image: row.mode for row in run.trial_modes.read()}


def _read(run: RunDirectory, prepared: PreparedStack, numbers: list[int]) -> _Volumes:
    volumes, differences = map(torch.stack, zip(*(read_replicates(run, number) for number in numbers), strict=True))
    pixel_size = prepared.pixel_size
    ratio = prepared.images.shape[-1] / volumes.shape[-1]
    if ratio > 1:  # a coarser map lies on the others only if its header has its pixel size
        pixel_size = (pixel_size or 1.0) * ratio
    return _Volumes(numbers, volumes, differences, pixel_size)


def _cutoff(read: _Volumes) -> int:
    """The shell up to which replicates agree."""
    pairs = zip(read.volumes, read.differences, strict=True)
    curve = torch.stack([replicate_curve(*pair) for pair in pairs]).mean(0)
    below = (curve[1:] < LANDSCAPE.agree).nonzero()[:, 0]
    return int(below[0]) + 1 if len(below) else len(curve) - 1


def _rows(read: _Volumes, landscape: _Landscape, *, umap: bool) -> list[LandscapeRow]:
    """The place of every volume, rows of landscape.csv."""
    components = landscape.components.coordinates
    written = min(components.shape[1], max(_WRITTEN, len(landscape.names)))
    modes = landscape.coordinates if landscape.counted else np.empty((len(read.numbers), 0))
    plane = _embedding(landscape.components) if umap else np.empty((len(read.numbers), 0))
    return [
        LandscapeRow(
            image=number,
            state=int(landscape.states.members[place]) + 1,
            mode=tuple(modes[place].tolist()),
            component=tuple(components[place, :written].tolist()),
            umap=tuple(plane[place].tolist()),
        )
        for place, number in enumerate(read.numbers)
    ]


def _embedding(components: Components) -> np.ndarray:
    """Places of the volumes in a plane, shape (n, 2).

    Raises:
        InputError: what compiles UMAP has no room for what it has compiled.
    """
    try:
        return umap_embedding(components)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise files.InputError(
            f"--umap needs a folder for compiled code ({what}): set NUMBA_CACHE_DIR to one with space, or remove --umap"
        ) from None


def _observability(run: RunDirectory, numbers: Sequence[int], landscape: _Landscape) -> list[ObservabilityRow]:
    """How much of each mode the image of each volume shows."""
    poses = {row.image: row for row in run.poses.read()}
    rotations = rotations_of([poses[number] for number in numbers]).float()
    components = landscape.components
    side = min(_OBSERVED_SIDE, components.mean.shape[-1])
    small = components._replace(mean=resample(components.mean, side, 3), maps=resample(components.maps, side, 3))
    shares = observability(small, landscape.coordinates, rotations).tolist()
    return [ObservabilityRow(number, tuple(share)) for number, share in zip(numbers, shares, strict=True)]


def _write_scree(run: RunDirectory, components: Components) -> None:
    columns = zip(components.variances.tolist(), components.noise_floor.tolist(), strict=True)
    total = components.total or 1.0
    run.landscape.scree.write(
        [
            ScreeRow(number, variance, variance / total, floor)
            for number, (variance, floor) in enumerate(columns, start=1)
        ]
    )


def _write_summary(run: RunDirectory, read: _Volumes, landscape: _Landscape, extents: Sequence[Extent]) -> None:
    run.landscape.summary.write(
        LandscapeSummary(
            volumes=len(read.numbers),
            modes=landscape.modes,
            trajectories=tuple(
                Trajectory(name, *extent) for name, extent in zip(landscape.names, extents, strict=True)
            ),
            verdict=landscape.verdict,
            significant_components=landscape.components.significant,
            variance=landscape.components.total,
            noise_floor=landscape.noise_floor,
            shells=landscape.cutoff,
            side=read.volumes.shape[-1],
        )
    )


def _write_maps(run: RunDirectory, prepared: PreparedStack, read: _Volumes, landscape: _Landscape) -> list[Extent]:
    """The variability map, the first components, and volumes along modes and between states; returns how far each mode
    goes.
    """
    files.make_folder(run.landscape.path)
    files.write_map(run.landscape.variability, landscape.variability.numpy(), read.pixel_size)
    for number, component in enumerate(landscape.components.maps[:_WRITTEN], start=1):
        files.write_map(run.landscape.component(number), component.numpy(), read.pixel_size)
    extents = []
    for k, name in enumerate(landscape.names):
        path = path_along_mode(landscape.coordinates, k, _FRAMES)
        extents.append(motion_extent(_write_trajectory(run, name, prepared, read, path)))
    _write_states(run, prepared, read, landscape)
    return extents


def _write_states(run: RunDirectory, prepared: PreparedStack, read: _Volumes, landscape: _Landscape) -> None:
    """states.csv, and the volumes of the trajectory that visits all states."""
    states = landscape.states
    tour = path_between_states(landscape.components, states, _LEGS)
    counts = np.bincount(states.members, minlength=len(states.representatives)).tolist()
    rows = [
        StateRow(k + 1, counts[k], read.numbers[place], tour.order.index(k) * _LEGS)
        for k, place in enumerate(states.representatives.tolist())
    ]
    if len(rows) > 1:
        _write_trajectory(run, "states", prepared, read, tour.path)
    run.landscape.states.write(rows)


def _write_trajectory(
    run: RunDirectory, name: str, prepared: PreparedStack, read: _Volumes, path: FramePath
) -> np.ndarray:
    """Write the volumes of a trajectory at their full size, and return them."""
    frames = np.zeros((len(path.places), *(prepared.images.shape[-1],) * 3), dtype=np.float32)
    for place, number in enumerate(read.numbers):
        if path.weights[:, place].max() > 1e-4:
            density = files.read_map(run.volume(number)).density
            for frame in range(len(frames)):
                frames[frame] += np.float32(path.weights[frame, place]) * density
    files.make_folder(run.landscape.frame(name, 0).parent)
    for frame, density in enumerate(frames):
        files.write_map(run.landscape.frame(name, frame), density, prepared.pixel_size)
    return frames
