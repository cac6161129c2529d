"""Lid angles of the moving box, read off its volumes and off the modes of its landscape; and true poses."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from scoretomo import files
from scoretomo.rotations import angular_distance, point_group
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import SimulationFolder
from scoretomo.rundir.poses import rotations_of

COMPONENTS = 20


class TruePose(NamedTuple):
    """The true pose of a simulated image."""

    rot: float
    tilt: float
    psi: float


def lids_of_volumes(run: Path, data: Path) -> tuple[float, float]:
    """R² of both lid angles, regressed from the volumes' first principal components (mean of the 5 nearest others)."""
    directory = RunDirectory(run)
    numbers = [row.image for row in directory.volume_rows.read() if row.status == "done"]
    volumes = [files.read_map(directory.volume(number)).density for number in numbers]
    flat = np.stack(volumes).reshape(len(volumes), -1)
    left, values, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return regressed(left[:, :COMPONENTS] * values[:COMPONENTS], lid_angles(run, data)[numbers])


def lids_of_modes(run: Path, data: Path) -> tuple[float, float]:
    """The same from the first two modes of the landscape."""
    rows = RunDirectory(run).landscape.rows.read()
    places = np.array([row.mode[:2] for row in rows])
    return regressed(places, lid_angles(run, data)[[row.image for row in rows]])


def true_rotations(rows: Iterable[Mapping[str, str]]) -> torch.Tensor:
    """Poses in rows of truth.csv as matrices, (n, 3, 3)."""
    return rotations_of([TruePose(*(float(row[name]) for name in TruePose._fields)) for row in rows])


def lid_angles(run: Path, data: Path) -> np.ndarray:
    """Both angles of every image (n, 2), in the order in which its volume has the lids."""
    truth = files.read_table(SimulationFolder(data).poses)
    angles = np.array([[float(row["lid_1"]), float(row["lid_2"])] for row in truth])
    swapped = other_side(rotations_of(RunDirectory(run).poses.read()), true_rotations(truth))
    angles[swapped] = angles[swapped, ::-1]
    return angles


def regressed(places: np.ndarray, angles: np.ndarray) -> tuple[float, float]:
    """R² of angles (n, 2) as means of those at the five nearest other places (n, k)."""
    apart = torch.cdist(torch.from_numpy(places), torch.from_numpy(places)).fill_diagonal_(torch.inf)
    predicted = angles[apart.topk(5, largest=False).indices.numpy()].mean(1)
    r2 = 1 - ((predicted - angles) ** 2).sum(0) / ((angles - angles.mean(0)) ** 2).sum(0)
    return float(r2[0]), float(r2[1])


def other_side(assigned: torch.Tensor, true: torch.Tensor) -> np.ndarray:
    """Which boxes stand turned by half a turn about z or y, so that their lids change places; of poses (n, 3, 3).

    The box is its own mirror image, y → −y, and a view does not change with z → −z: each image has two poses, equally
    right.
    """
    flat = [torch.diag(torch.tensor(signs, dtype=torch.float64)) for signs in ((1.0, 1.0, -1.0), (1.0, -1.0, 1.0))]
    frames = torch.stack([assigned.mT @ true, assigned.mT @ flat[0] @ true @ flat[1]])  # (2, n, 3, 3)
    turns = point_group("D2")
    best: tuple[float, torch.Tensor] | None = None
    for reference in frames[:, :20].flatten(0, 1):
        apart = angular_distance((reference.mT @ frames)[:, :, None], turns)  # (2, n, 4)
        nearest = apart.amin(0)
        if best is None or float(nearest.amin(1).median()) < best[0]:
            best = float(nearest.amin(1).median()), nearest.argmin(1)
    assert best is not None
    swaps = torch.tensor([turn[0, 0] < 0 for turn in turns])  # x → −x
    return swaps[best[1]].numpy()
