"""A run for people who program: its images, volumes, poses and landscape as arrays."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import files
from .directory import RunDirectory
from .poses import posed_rotations


class Volumes(Mapping[int, np.ndarray]):
    """Volumes by the number of their image, (d, d, d) with axes (z, y, x); each is read when it is asked for."""

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

    They are in the common frame; where `second`, in that of the other molecule.
    """

    numbers: np.ndarray  # (n,): of the images in the user's stack
    rotations: np.ndarray  # (n, 3, 3), as in docs/conventions.md
    shifts: np.ndarray  # (n, 2): x, y in pixels
    correlations: np.ndarray  # (n,): with the view in this pose
    outliers: np.ndarray  # (n,), bool: no view explains the image
    second: np.ndarray  # (n,), bool: it shows the second molecule of a mixture


class RunLandscape(NamedTuple):
    """Where volumes stand along the motions of the molecule."""

    numbers: np.ndarray  # (n,): of their images
    motions: np.ndarray  # (n, k): mean 0, standard deviation 1 along each
    components: np.ndarray  # (n, c): coordinates of the first principal components
    states: np.ndarray  # (n,): from 1


class RunReliability(NamedTuple):
    """How far each volume can be trusted; what is not known is nan."""

    numbers: np.ndarray  # (n,): of their images
    expected: np.ndarray  # (n,): mean FSC to the truth, down to the resolution that reliability.csv names
    intervals: np.ndarray  # (n, 2): in which four of five truths lie
    words: list[str]  # trust | with care | do not
    reasons: list[str]
    seen: np.ndarray  # (n, k): how much of each motion the image shows, beside an average view; 1 is as much or more


class OpenRun:
    """A run directory; everything is read when it is asked for, and what was not made is empty or None.

    Args:
        path: the run directory.

    Raises:
        InputError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self._run = RunDirectory(path)
        if not self._run.images.exists() or not self._run.images.with_suffix(".csv").exists():
            raise files.InputError(f"{path} is not a run directory: it has no images; give the folder that scoretomo run wrote")
        self.path = path

    @property
    def pixel_size(self) -> float | None:
        """Å, if it is known."""
        size: float | None = files.read_json(self._run.images.with_suffix(".json"))["pixel_size"]
        return size

    @property
    def images(self) -> np.ndarray:
        """The prepared images, (n, d, d) with axes (y, x)."""
        return files.read_images(self._run.images).images

    @property
    def numbers(self) -> np.ndarray:
        """Their numbers in the user's stack, (n,)."""
        rows = files.read_table(self._run.images.with_suffix(".csv"))
        return np.array([int(row["number"]) for row in rows if row["kept"] == "1"])

    @property
    def consensus(self) -> np.ndarray | None:
        """The volume that explains all images, (d, d, d)."""
        return _density(self._run.consensus)

    @property
    def second_consensus(self) -> np.ndarray | None:
        """What the images of the second molecule show, if the stack is a mixture, (d, d, d)."""
        return _density(self._run.second_consensus)

    @property
    def mean(self) -> np.ndarray | None:
        """The mean of the volumes where no motion is known, (d, d, d)."""
        return _density(self._run.mean)

    @property
    def volumes(self) -> Volumes:
        """The finished volumes, by the number of their image, in the frame that its pose is in."""
        numbers = [int(number) for number in self.numbers]
        return Volumes({number: path for number in numbers if (path := self._run.volume(number)).exists()})

    @property
    def poses(self) -> RunPoses | None:
        """Where the images stand."""
        if not self._run.poses.exists():
            return None
        rows = files.read_table(self._run.poses)
        return RunPoses(
            _columns(rows, ("image",))[:, 0].astype(int),
            posed_rotations(rows).numpy(),
            _columns(rows, ("shift_x", "shift_y")),
            _columns(rows, ("correlation",))[:, 0],
            _columns(rows, ("outlier",))[:, 0] > 0,
            _columns(rows, ("second",))[:, 0] > 0,
        )

    @property
    def landscape(self) -> RunLandscape | None:
        """What moves."""
        if not self._run.landscape_table.exists():
            return None
        rows = files.read_table(self._run.landscape_table)
        motions, components = ([name for name in rows[0] if name.startswith(kind)] for kind in ("motion_", "component_"))
        return RunLandscape(
            _columns(rows, ("image",))[:, 0].astype(int),
            _columns(rows, motions),
            _columns(rows, components),
            _columns(rows, ("state",))[:, 0].astype(int),
        )

    @property
    def motion_map(self) -> np.ndarray | None:
        """How far each voxel differs between volumes, beyond chance, as a standard deviation; 64 voxels a side at most."""
        return _density(self._run.landscape / "motion-map.mrc")

    @property
    def series(self) -> dict[str, Volumes]:
        """Volumes from one end of each motion to the other, by its name and the number of the frame.

        The name is motion-1, …, or component-1, … where volumes are too few to count motions.
        """
        summary = self._run.landscape / "summary.json"
        names = [way["name"] for way in files.read_json(summary)["ways"]] if self._run.landscape_table.exists() else []
        return {name: Volumes(dict(enumerate(sorted((self._run.landscape / name).glob("*.mrc"))))) for name in names}

    @property
    def reliability(self) -> RunReliability | None:
        """What to trust."""
        if not self._run.reliability.exists():
            return None
        rows = files.read_table(self._run.reliability)
        return RunReliability(
            _columns(rows, ("image",))[:, 0].astype(int),
            _columns(rows, ("expected_fsc",))[:, 0],
            _columns(rows, ("low", "high")),
            [row["word"] for row in rows],
            [row["reason"] for row in rows],
            _columns(rows, [name for name in rows[0] if name.endswith("_seen")]),
        )


def _density(path: Path) -> np.ndarray | None:
    return files.read_map(path).density if path.exists() else None


def _columns(rows: list[dict[str, str]], names: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.array([[float(row[name] or "nan") for name in names] for row in rows]).reshape(len(rows), len(names))
