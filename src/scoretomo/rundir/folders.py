"""Folders of a run with more than one file."""

from pathlib import Path

from .rows import ConsensusSummary, FscCurveRow, FscRow, LandscapeRow, LandscapeSummary, PoseRow, SampleRow, ScreeRow, StateRow
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
        self.summary = path / "summary.json"
        self.single_map = path / "single_map.mrc"

    def aligned(self, name: str) -> Path:
        """A map moved onto its truth."""
        return self.path / "aligned" / name
