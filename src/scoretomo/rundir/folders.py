"""Folders of a run with more than one file."""

from pathlib import Path

from .rows import (
    ConsensusSummary,
    EvaluationSummary,
    FscCurveRow,
    FscRow,
    LandscapeRow,
    LandscapeSummary,
    ObservabilityRow,
    PoseRow,
    SampleRow,
    ScreeRow,
    StateRow,
)
from .tables import Record, Table


class ConsensusFolder:
    """A consensus and the poses in it.

    Args:
        path: folder of its tables.
        volume: the consensus volume.
        class_2: where the stack is a mixture, that of the second molecule.
    """

    def __init__(self, path: Path, volume: Path, class_2: Path) -> None:
        self.path = path
        self.volume = volume
        self.class_2 = class_2
        self.poses = Table(path / "poses.csv", PoseRow)
        self.summary = Record(path / "summary.json", ConsensusSummary)


class LandscapeFolder:
    """Heterogeneity of the volumes: a table of them, and a folder of maps.

    Args:
        path: the folder.
        rows: the table.
    """

    def __init__(self, path: Path, rows: Path) -> None:
        self.path = path
        self.rows = Table(rows, LandscapeRow)
        self.summary = Record(path / "summary.json", LandscapeSummary)
        self.scree = Table(path / "scree.csv", ScreeRow)
        self.states = Table(path / "states.csv", StateRow)
        self.observability = Table(path / "observability.csv", ObservabilityRow)
        self.variability = path / "variability.mrc"

    def component(self, number: int) -> Path:
        """Map of a principal component, from 1."""
        return self.path / f"component-{number}.mrc"

    def frame(self, trajectory: str, number: int) -> Path:
        """A volume of a trajectory, from 0."""
        return self.path / trajectory / f"{number:02d}.mrc"

    def frames(self, trajectory: str) -> list[Path]:
        """The volumes of a trajectory that are there, in their order."""
        return sorted((self.path / trajectory).glob("*.mrc"))


class SampleFolder:
    """Images drawn from the network score."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "samples.toml"
        self.images = path / "samples.mrcs"
        self.nearest = path / "nearest.mrcs"
        self.montage = path / "montage.png"
        self.rows = Table(path / "samples.csv", SampleRow)


class EvaluationFolder:
    """Maps against their truths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.compared = path / "progress.jsonl"
        self.rows = Table(path / "fsc.csv", FscRow)
        self.curves = Table(path / "fsc_curves.csv", FscCurveRow)
        self.summary = Record(path / "summary.json", EvaluationSummary)
        self.single_map = path / "single_map.mrc"
        self.aligned_maps = path / "aligned"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what belongs together, those last that show that all is there."""
        tables = (self.curves, self.rows, self.summary)
        paths = (self.aligned_maps, self.single_map, self.compared, *(table.path for table in tables))
        return tuple(path.name for path in paths)

    def aligned(self, name: str) -> Path:
        """A map moved onto its truth."""
        return self.aligned_maps / name


class SimulationFolder:
    """Simulated images with their truths; beside a run, not in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "simulation.toml"
        self.inputs = path / "inputs.json"  # content of the files that the object was read from
        self.images = path / "images.mrcs"
        self.truth = path / "truth"
        self.poses = self.truth / "truth.csv"  # image, conformation, rot, tilt, psi, and more of realistic images

    def volume(self, number: int) -> Path:
        """The true volume of an image, from 0."""
        return self.truth / f"{number:03d}.mrc"

    def volumes(self) -> list[Path]:
        """The true volumes that are there."""
        return sorted(self.truth.glob("[0-9]*.mrc"))


class ExperimentFolder:
    """An experiment of the paper: its images and its run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "experiment.toml"
        self.run = path / "run"
        self.data = SimulationFolder(path / "data")
