"""A consensus volume of a run with the images in it, as stages read and write it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .. import files
from ..consensus import Consensus
from ..consensus.cross_validation import CrossValidation
from ..fourier import frequency_at
from ..images import shift
from ..matching import Poses
from ..rotations import euler_from_rotations, point_group
from ..rundir.directory import RunDirectory
from ..rundir.folders import ConsensusFolder
from ..rundir.poses import rotations_of
from ..rundir.rows import ConsensusSummary, PoseRow
from ..rundir.tables import Table
from .images import PreparedStack


@dataclass(frozen=True)
class ResolutionCriteria:
    """How far a consensus volume is resolved; source: the usual threshold of half maps that have all images.

    Attributes:
        resolved: Fourier ring correlation down to which held-out images agree with volumes of other images.
    """

    resolved: float = 0.5


RESOLUTION = ResolutionCriteria()


class Posed(NamedTuple):
    """The consensus volume of a run, and some images in it; where the stack is a mixture, two volumes."""

    volumes: Tensor  # normalised, (1 or 2, d, d, d)
    in_class_2: Tensor  # (n,), bool: the image shows the second volume
    group: Tensor | None  # rotations under which the first stays the same, (g, 3, 3); None for C1
    poses: Poses
    outliers: Tensor  # (n,), bool: no view explains the image

    @property
    def explained(self) -> Tensor:
        """Images that the first volume explains, (n,), bool."""
        return ~(self.outliers | self.in_class_2)

    def of(self, places: Sequence[int]) -> "Posed":
        """The same with some of the images only."""
        some = list(places)
        return self._replace(in_class_2=self.in_class_2[some], poses=self.poses.of(some), outliers=self.outliers[some])


class Assigned(NamedTuple):
    """What a stage found of the consensus: one volume or, of a mixture, two."""

    consensus: Consensus  # the first volume, with the pose of each image in the volume that it shows
    class_2: Tensor | None  # the second volume, (d, d, d)
    outliers: Tensor  # (n,), bool
    in_class_2: Tensor  # (n,), bool
    validation: CrossValidation  # of the first volume


def write_consensus(folder: ConsensusFolder, prepared: PreparedStack, assigned: Assigned, *, symmetry: str) -> None:
    """Write a consensus volume, the poses of all images in it, and a summary.

    Args:
        folder: where.
        prepared: the images.
        assigned: the volume, and which images show it.
        symmetry: its point group.
    """
    frequency = frequency_at(assigned.validation.rings, prepared.images.shape[-1], RESOLUTION.resolved)
    explained = ~(assigned.outliers | assigned.in_class_2)
    files.make_folder(folder.path)
    _write_volume(folder.volume, assigned.consensus.volume, prepared)
    if assigned.class_2 is not None:
        _write_volume(folder.class_2, assigned.class_2, prepared)
    summary = ConsensusSummary(
        symmetry=symmetry,
        correlation=float(assigned.consensus.poses.correlations[explained].mean()),
        held_out_correlation=1 - assigned.validation.residual,
        held_out_resolution=(prepared.pixel_size or 1.0) / frequency,
    )
    folder.summary.write(summary)
    folder.poses.write(pose_rows(prepared.numbers, assigned.consensus.poses, assigned.outliers, assigned.in_class_2))


def _write_volume(path: Path, volume: Tensor, prepared: PreparedStack) -> None:
    files.write_map(path, (volume * prepared.s).cpu().numpy(), prepared.pixel_size)


def read_consensus(
    folder: ConsensusFolder,
    prepared: PreparedStack,
    numbers: Sequence[int],
    device: torch.device,
    *,
    poses: Table[PoseRow] | None = None,
) -> Posed:
    """A consensus volume and the poses of images by their numbers; those of another table, if one is given."""
    rows = {row.image: row for row in (poses or folder.poses).read()}
    some = [rows[number] for number in numbers]
    placed = Poses(
        rotations_of(some).float(),
        torch.tensor([[row.shift_x, row.shift_y] for row in some], dtype=torch.float64).float(),
        torch.tensor([row.correlation for row in some], dtype=torch.float64).float(),
    )
    paths = [path for path in (folder.volume, folder.class_2) if path.exists()]
    return Posed(
        volumes=torch.stack([torch.from_numpy(files.read_map(path).density) for path in paths]).to(device) / prepared.s,
        in_class_2=torch.tensor([row.class_number == 2 for row in some], device=device),
        group=symmetry_group(folder.summary.read().symmetry, device),
        poses=Poses(*(values.to(device) for values in placed)),
        outliers=torch.tensor([row.outlier for row in some], device=device),
    )


def read_final(run: RunDirectory, prepared: PreparedStack, numbers: Sequence[int], device: torch.device) -> Posed:
    """The consensus volume of a run and the final poses of images by their numbers."""
    return read_consensus(run.assigned, prepared, numbers, device, poses=run.poses)


def symmetry_group(symmetry: str, device: torch.device) -> Tensor | None:
    """Rotations of a point group, (g, 3, 3); None for C1."""
    return None if symmetry.upper() == "C1" else point_group(symmetry).to(device, torch.float32)


def explained_images(run: RunDirectory) -> set[int]:
    """Numbers of the images that the first consensus volume explains: no outliers, not of class 2."""
    return {row.image for row in run.poses.read() if not row.outlier and row.class_number == 1}


def centred_images(prepared: PreparedStack, numbers: Sequence[int], consensus: Posed, device: torch.device) -> Tensor:
    """Normalised images by their numbers, moved to the centre of the consensus volume, shape (n, d, d)."""
    images = prepared.normalised(numbers).to(device) - prepared.background
    return shift(images, -consensus.poses.shifts) + prepared.background


def pose_rows(numbers: Sequence[int], poses: Poses, outliers: Tensor, in_class_2: Tensor) -> list[PoseRow]:
    """Rows of a table of poses."""
    angles = euler_from_rotations(poses.rotations.double()).tolist()
    columns = zip(
        numbers,
        angles,
        poses.shifts.tolist(),
        poses.correlations.tolist(),
        outliers.tolist(),
        in_class_2.tolist(),
        strict=True,
    )
    return [
        PoseRow(number, rot, tilt, psi, x, y, correlation, outlier, 1 + is_class_2)
        for number, (rot, tilt, psi), (x, y), correlation, outlier, is_class_2 in columns
    ]
