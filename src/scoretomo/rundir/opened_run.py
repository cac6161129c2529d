"""A run for people who program: its images, volumes, poses and landscape as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import files
from .directory import RunDirectory
from .poses import rotations_of


class Volumes(Mapping[int, np.ndarray]):
    """Volumes by the number of their image, (d, d, d) with axes (z, y, x); each is read when it is used."""

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self._paths = dict(paths)

    def __getitem__(self, number: int) -> np.ndarray:
        return files.read_map(self._paths[number]).density

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class RunPoses(NamedTuple):
    """Poses of the images: image = f(V, R) moved by the shift.

    They are in the common frame; those of class 2 in the frame of the second molecule.
    """

    numbers: np.ndarray  # (n,): of the images in the user's stack
    rotations: np.ndarray  # (n, 3, 3), as in docs/reference/conventions.md
    shifts: np.ndarray  # (n, 2): x, y in pixels
    correlations: np.ndarray  # (n,): with the view in this pose
    outliers: np.ndarray  # (n,), bool: no view explains the image
    class_numbers: np.ndarray  # (n,): 1, or 2 where the image shows the second molecule of a mixture


class RunLandscape(NamedTuple):
    """Coordinates of the volumes along the modes of motion and the principal components."""

    numbers: np.ndarray  # (n,): of their images
    modes: np.ndarray  # (n, k): mean 0, standard deviation 1 along each; k = 0 where modes are not counted
    components: np.ndarray  # (n, c): coordinates of the first principal components
    states: np.ndarray  # (n,): from 1


class RunReliability(NamedTuple):
    """Reliability of each volume; nan where a number is unknown."""

    numbers: np.ndarray  # (n,): of their images
    expected_fsc: np.ndarray  # (n,): mean FSC with the truth, down to the resolution in reliability.csv
    intervals: np.ndarray  # (n, 2): 80 % interval of it
    labels: list[str]  # reliable | caution | unreliable
    reasons: list[str]
    observability: np.ndarray  # (n, k): how much of each mode the view shows; 1: as much as an average view, or more


class OpenRun:
    """A run directory; everything is read when it is used, and what was not made is empty or None.

    Args:
        path: the run directory.

    Raises:
        InputError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self._run = RunDirectory(path)
        if not self._run.images.exists() or not self._run.image_rows.exists():
            raise files.InputError(
                f"{path} is not a run directory: it has no images; give the folder that scoretomo run wrote"
            )
        self._run.require_format()
        self.path = path

    @property
    def pixel_size(self) -> float | None:
        """Å; None if it is unknown."""
        return self._run.import_record.read().pixel_size

    @property
    def images(self) -> np.ndarray:
        """The prepared images, (n, d, d) with axes (y, x)."""
        return files.read_images(self._run.images).images

    @property
    def numbers(self) -> np.ndarray:
        """Their numbers in the user's stack, (n,)."""
        return np.array([row.number for row in self._run.image_rows.read() if row.included])

    @property
    def consensus(self) -> np.ndarray | None:
        """The consensus volume, (d, d, d)."""
        return _density(self._run.assigned.volume)

    @property
    def class_2_consensus(self) -> np.ndarray | None:
        """The consensus volume of the second molecule, if the stack is a mixture, (d, d, d)."""
        return _density(self._run.assigned.class_2)

    @property
    def mean(self) -> np.ndarray | None:
        """The mean of the volumes of a run without a deformation model, (d, d, d)."""
        return _density(self._run.mean)

    @property
    def volumes(self) -> Volumes:
        """The finished volumes, by the number of their image, in the frame of its pose."""
        numbers = [int(number) for number in self.numbers]
        return Volumes({number: path for number in numbers if (path := self._run.volume(number)).exists()})

    @property
    def poses(self) -> RunPoses | None:
        """Poses of the images."""
        if not self._run.poses.exists():
            return None
        rows = self._run.poses.read()
        return RunPoses(
            np.array([row.image for row in rows]),
            rotations_of(rows).numpy(),
            np.array([(row.shift_x, row.shift_y) for row in rows]),
            np.array([row.correlation for row in rows]),
            np.array([row.outlier for row in rows]),
            np.array([row.class_number for row in rows]),
        )

    @property
    def landscape(self) -> RunLandscape | None:
        """Where the volumes are in the landscape."""
        if not self._run.landscape.rows.exists():
            return None
        rows = self._run.landscape.rows.read()
        return RunLandscape(
            np.array([row.image for row in rows]),
            _matrix([row.mode for row in rows]),
            _matrix([row.component for row in rows]),
            np.array([row.state for row in rows]),
        )

    @property
    def variability(self) -> np.ndarray | None:
        """Standard deviation of each voxel between the volumes, beyond the noise floor; 64 voxels a side at most."""
        return _density(self._run.landscape.variability)

    @property
    def trajectories(self) -> dict[str, Volumes]:
        """Volumes from one end of each mode to the other, by its name and the number of the frame.

        The names are mode-1, …, or component-1, … where volumes are too few to count modes.
        """
        folder = self._run.landscape
        rows = folder.summary.read().trajectories if folder.rows.exists() else ()
        return {row.name: Volumes(dict(enumerate(folder.frames(row.name)))) for row in rows}

    @property
    def reliability(self) -> RunReliability | None:
        """How far the volumes can be relied on."""
        if not self._run.reliability.exists():
            return None
        rows = self._run.reliability.read()
        return RunReliability(
            np.array([row.image for row in rows]),
            _matrix([(row.expected_fsc,) for row in rows])[:, 0],
            _matrix([(row.low, row.high) for row in rows]),
            [row.label for row in rows],
            [row.reason for row in rows],
            _matrix([row.observability for row in rows]),
        )


def _density(path: Path) -> np.ndarray | None:
    return files.read_map(path).density if path.exists() else None


def _matrix(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    """One row each, (n, k), with nan for None; also of no columns."""
    return np.array(rows, dtype=float).reshape(len(rows), len(rows[0]) if rows else 0)
