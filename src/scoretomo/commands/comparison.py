"""A map against its truth, and the best single map against it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .. import files
from ..evaluation import FscComparison, Pair, common_grid, compare, compare_in_place, interpolated, single_map
from ..projection import rotate
from ..rotations import euler_from_rotations, rotations_from_euler
from ..rundir.rows import Agreement, Comparison, FscRow
from ..rundir.tables import from_json, to_json
from .comparison_remarks import remarks
from .requests import unlike

Angles = tuple[float, float, float]  # rot, tilt, psi in degrees


class ComparisonTask(NamedTuple):
    """A map to compare with a truth."""

    number: int
    path: Path
    truth: Path
    aligned: Path | None  # file for the map moved onto its truth
    pose: Angles | None  # of a moving object's image
    single_map: Path | None  # the best single map, in the common frame
    scale: float | None  # length of a run's voxels, in pixels of the user's images


def compare_map(task: ComparisonTask) -> Iterator[Comparison]:
    """Compare one map with its truth, and write it moved onto that."""
    volume, true = files.read_map(task.path), files.read_map(task.truth)
    pair = on_one_grid(task.path, volume, true, task.scale)
    fsc = compare(pair.first, pair.second, pair.pixel_size)
    if task.aligned:
        files.write_map(task.aligned, fsc.moved.numpy(), pair.pixel_size)
    single, ceiling = _bounds(task, volume, true, pair) if task.pose and task.single_map else (None, None)
    comparison = Comparison(
        result=_result(task, fsc),
        curve=tuple(fsc.curve.tolist()),
        pixel_size=pair.pixel_size,
        size=pair.second.shape[-1],
        remarks=tuple(remarks(task.path, volume, task.truth, true)),
        single_map=single,
        ceiling=ceiling,
    )
    yield from_json(Comparison, to_json(comparison))  # as it is read where an interrupted evaluation goes on


def _result(task: ComparisonTask, fsc: FscComparison) -> FscRow:
    rot, tilt, psi = euler_from_rotations(fsc.alignment.rotation.double()).tolist()
    shift_x, shift_y, shift_z = fsc.alignment.shift.tolist()
    return FscRow(
        image=task.number,
        truth=str(task.truth.absolute()),
        hand="mirrored" if fsc.alignment.mirrored else "same",
        mean_fsc=fsc.mean_fsc,
        auc=fsc.auc,
        resolution_0_5=fsc.resolution_0_5,
        resolution_0_143=fsc.resolution_0_143,
        rot=rot,
        tilt=tilt,
        psi=psi,
        shift_x=shift_x,
        shift_y=shift_y,
        shift_z=shift_z,
    )


def _bounds(task: ComparisonTask, volume: files.Map, true: files.Map, pair: Pair) -> tuple[Agreement, Agreement]:
    """How well the best single map, and the truth after interpolation, agree with the truth, in the pose of the
    image.
    """
    assert task.single_map
    rotation = rotations_from_euler(torch.tensor(task.pose, dtype=torch.float64))
    truth, single = torch.from_numpy(true.density), torch.from_numpy(files.read_map(task.single_map).density)
    rigid, ceiling = (
        on_one_grid(task.path, volume, true._replace(density=each.numpy()), task.scale).second
        for each in (rotate(single, rotation), interpolated(truth, rotation))
    )
    of_single = compare(rigid, pair.second)
    of_ceiling = compare_in_place(ceiling, pair.second)
    return Agreement(of_single.mean_fsc, of_single.auc), Agreement(of_ceiling.mean_fsc, of_ceiling.auc)


def on_one_grid(path: Path, volume: files.Map, true: files.Map, scale: float | None) -> Pair:
    """A map and its truth on the coarser one's grid.

    Args:
        path: of the map.
        volume, true: the two.
        scale: length of the map's voxels, in voxels of the truth, where neither has a pixel size.

    Raises:
        InputError: their sides differ and their pixel sizes are unknown.
    """
    first, second = torch.from_numpy(volume.density), torch.from_numpy(true.density)
    try:
        if volume.pixel_size is None and true.pixel_size is None and scale is not None:
            return common_grid(first, second, scale, 1.0)._replace(pixel_size=None)
        return common_grid(first, second, volume.pixel_size, true.pixel_size)
    except ValueError as error:
        raise unlike(path, error) from None


def write_single_map(path: Path, truths: Mapping[int, Path], poses: Mapping[int, Angles]) -> None:
    """Write the best single map of a moving object, in the common frame.

    Args:
        path: to write, unless it is there.
        truths: of the images, by number.
        poses: of the images, by number.

    Raises:
        InputError: the truths differ in size.
    """
    if not path.exists():
        rotations = (rotations_from_euler(torch.tensor(poses[number], dtype=torch.float64)) for number in truths)
        volumes = (torch.from_numpy(density) for density in _of_one_size(truths.values()))
        files.write_map(path, single_map(volumes, rotations).numpy(), None)


def _of_one_size(truths: Iterable[Path]) -> Iterator[np.ndarray]:
    """Densities of the truths, one at a time."""
    side = 0
    for path in truths:
        density = files.read_map(path).density
        if side and len(density) != side:
            raise files.InputError(
                f"truths should all have one size, got {side} and {len(density)} voxels in {path}: resample them"
            )
        side = len(density)
        yield density
