"""A run directory: where each file is, and the record of what has happened."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__, files
from ..memory import available_cores
from .folders import ConsensusFolder, EvaluationFolder, LandscapeFolder, SampleFolder
from .heartbeat import Activity, has_locked, require_alone, unlock, write_heartbeat
from .inputs import digest
from .rows import (
    FORMAT,
    AngleRow,
    AssignmentRow,
    AssignmentTest,
    BodiesTest,
    BodyRow,
    ConvergenceRow,
    DenoisingRow,
    FlexibilityTest,
    HeldOutRow,
    ImageRow,
    ImportRecord,
    LatentRow,
    LossRow,
    ModeRow,
    MotionKind,
    PoseRow,
    ProposalRow,
    ReliabilityRow,
    StartRow,
    SupportTest,
    SymmetryRow,
    Verdict,
    VolumeRow,
)
from .settings_file import write_settings
from .tables import Record, Table, from_json

LANDSCAPE_PARTS = ("landscape", "landscape.csv", "reliability.csv", "report.html")  # replaced together, the report last
EVALUATING = ".evaluation.begun"  # what is compared until all is
_FOLDERS = (
    "consensus",
    "flexibility",
    "assignment",
    "deformation",
    "bodies",
    "motion",
    "volumes",
    "differences",
    "convergence",
    "landscape",
    "figures",
    "export",
    "evaluation",
    EVALUATING,
)
_MAPS = ("consensus.mrc", "consensus-2.mrc", "mean.mrc")
_TABLES = (
    "bodies.csv",
    "angles.csv",
    "latent.csv",
    "poses.csv",
    "volumes.csv",
    "volumes.star",
    "landscape.csv",
    "reliability.csv",
    "report.html",
)
IMAGES = ("images.mrcs", "images.csv", "images.json")


class RunDirectory:
    """Paths of a run directory, stage by stage, and its record; the directory need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.log = path / "log.jsonl"
        self.progress = path / "progress.json"

        self.images = path / "images.mrcs"
        self.image_rows = Table(path / "images.csv", ImageRow)
        self.import_record = Record(path / "images.json", ImportRecord)

        self.score = path / "score"
        self.training = self.score / "train.toml"
        self.weights = self.score / "weights.safetensors"
        self.state = self.score / "state.safetensors"
        self.loss = Table(self.score / "loss.csv", LossRow)
        self.denoising = Table(self.score / "denoising.csv", DenoisingRow)
        self.samples = SampleFolder(path / "samples")

        folder = path / "consensus"
        self.starts = Table(folder / "starts.csv", StartRow)
        self.symmetries = Table(folder / "symmetry.csv", SymmetryRow)
        self.first = ConsensusFolder(folder, folder / "consensus.mrc", folder / "consensus-2.mrc")

        folder = path / "flexibility"
        self.rigid_trial = Table(folder / "rigid.csv", HeldOutRow)
        self.flexible_trial = Table(folder / "flexible.csv", HeldOutRow)
        self.trial_modes = Table(folder / "modes.csv", ModeRow)
        self.flexibility = Record(folder / "test.json", FlexibilityTest)

        folder = path / "assignment"
        self.hard_trial = Table(folder / "hard.csv", AssignmentRow)
        self.soft_trial = Table(folder / "soft.csv", AssignmentRow)
        self.assignment = Record(folder / "test.json", AssignmentTest)
        self.soft = folder / "soft.safetensors"
        self.assigned = ConsensusFolder(folder, path / "consensus.mrc", path / "consensus-2.mrc")

        self.coarse_model = path / "deformation" / "model.safetensors"
        self.proposals = Table(path / "bodies" / "proposals.csv", ProposalRow)
        self.bodies_test = Record(path / "bodies" / "test.json", BodiesTest)
        self.coarse_bodies = path / "bodies" / "model.safetensors"
        self.model = path / "motion" / "model.safetensors"
        self.halves = path / "motion" / "halves.safetensors"
        self.body_rows = Table(path / "bodies.csv", BodyRow)
        self.angles = Table(path / "angles.csv", AngleRow)
        self.latent = Table(path / "latent.csv", LatentRow)
        self.poses = Table(path / "poses.csv", PoseRow)

        self.support = Record(path / "support.json", SupportTest)

        self.volume_rows = Table(path / "volumes.csv", VolumeRow)
        self.volumes_star = path / "volumes.star"
        self.mean = path / "mean.mrc"

        self.landscape = LandscapeFolder(path / "landscape", path / "landscape.csv")
        self.reliability = Table(path / "reliability.csv", ReliabilityRow)
        self.report = path / "report.html"

        self.evaluation = EvaluationFolder(path / "evaluation")
        self.figures = path / "figures"

    def export(self, program: str) -> Path:
        """The folder for another program."""
        return self.path / "export" / program

    def start(self, number: int) -> Path:
        """The consensus of a random start, at low resolution."""
        return self.path / "consensus" / f"start-{number}.safetensors"

    def class_2_start(self, number: int) -> Path:
        """The same of the images that the consensus explains least, alone."""
        return self.path / "consensus" / f"class-2-start-{number}.safetensors"

    def finer_model(self, level: int) -> Path:
        """The model of the motion as fitted to larger images than those of the stages before, from level 1."""
        return self.path / "motion" / f"level-{level}.safetensors"

    def proposal(self, number: int) -> Path:
        """Rigid bodies of one tolerance, without densities."""
        return self.path / "bodies" / f"proposal-{number}.safetensors"

    def tried_proposal(self, number: int) -> Path:
        """The same, fitted to some of the images."""
        return self.path / "bodies" / f"tried-{number}.safetensors"

    def volume(self, number: int) -> Path:
        """The volume of an image, by its number in the user's stack."""
        return self.path / "volumes" / f"{number:03d}.mrc"

    def difference(self, number: int) -> Path:
        """Half the difference of the replicates of a volume."""
        return self.path / "differences" / f"{number:03d}.mrc"

    def convergence(self, number: int) -> Table[ConvergenceRow]:
        """The descent of an image, step by step."""
        return Table(self.path / "convergence" / f"{number:03d}.csv", ConvergenceRow)

    def begin(self, settings: Mapping[str, Any], write_images: Callable[[Path], None] | None = None) -> None:
        """Begin a run; the results of an earlier one go when the new one has begun, and nothing else that may be there.

        Args:
            settings: of the run, as config.toml holds them.
            write_images: writes the prepared images to a folder; None if they are there already and stay, as does a
                network that was trained on them.
        """
        files.make_folder(self.path)
        self.claim()
        with files.replaced_together(self.path, "run", self.results(keep_images=write_images is None)) as folder:
            if write_images:
                write_images(folder)
            images = (folder if write_images else self.path) / self.images.name
            write_settings(folder / self.config.name, settings)
            files.append_record(
                folder / self.log.name, entry("start", scoretomo=__version__, format=FORMAT, **_machine())
            )
            files.append_record(folder / self.log.name, entry("images", sha256=digest(images)))

    def require_format(self) -> None:
        """Refuse what another version of the program wrote in another format; a directory without a run is none.

        Raises:
            InputError: the run has another format.
        """
        written = self._format()
        if written is not None and written != FORMAT:
            start = self._start() or {}
            writer = f"scoretomo {start['scoretomo']}" if "scoretomo" in start else "another version of scoretomo"
            raise files.InputError(
                f"{self.path} should be a run of format {FORMAT} but has format {written}, of {writer}: "
                "begin the run afresh, in another directory or with --force"
            )

    def _start(self) -> dict[str, Any] | None:
        """The record of the last beginning; None where there is none."""
        return next((record for record in reversed(self.records()) if record["event"] == "start"), None)

    def _format(self) -> int | None:
        """The format of a run, as its last beginning or else its import recorded it; 1 where neither did, None without
        a run.
        """
        start = self._start()
        path = self.import_record.path
        if start is None and not path.exists():
            return None
        imported = files.read_json(path).get("format", 1) if path.exists() else 1
        return int((start or {}).get("format", imported))

    def require_same_images(self) -> None:
        """Refuse to continue where other images have been imported since.

        Raises:
            InputError: they have.
        """
        begun_with = [record["sha256"] for record in self.records() if record["event"] == "images"]
        if begun_with and begun_with[-1] != digest(self.images):
            raise files.InputError(
                f"{self.images} holds other images than those that {self.path} was begun with: "
                "use another directory, or --force to start afresh"
            )

    def claim(self) -> None:
        """Lock the run for this process, and begin its heartbeat.

        Raises:
            InputError: another one does.
        """
        require_alone(self.progress)
        write_heartbeat(self.progress, Activity("reading images"))

    def end(self) -> None:
        """End the heartbeat: the run is finished."""
        self.progress.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the run while this process works on it.

        Raises:
            InputError: another one does already.
        """
        before = has_locked(self.path)
        require_alone(self.progress)
        try:
            files.recover(self.path)
            yield
        finally:
            if not before:
                unlock(self.path)

    def results(self, *, keep_images: bool) -> list[str]:
        """Names of what a new beginning removes: all results, and the images and what was trained on them unless they
        stay.
        """
        images = () if keep_images else (self.score.name, self.samples.path.name, *reversed(IMAGES))
        return [*images, *_FOLDERS, "support.json", *reversed(_MAPS + _TABLES), self.log.name, self.config.name]

    def with_landscape_in(self, folder: Path) -> "RunDirectory":
        """The same run, but for its landscape and reliability, which are in another folder."""
        run = RunDirectory(self.path)
        run.landscape = LandscapeFolder(folder / "landscape", folder / "landscape.csv")
        run.reliability = Table(folder / "reliability.csv", ReliabilityRow)
        return run

    def with_evaluation_in(self, folder: Path) -> "RunDirectory":
        """The same run, but for its evaluation, which is in another folder."""
        run = RunDirectory(self.path)
        run.evaluation = EvaluationFolder(folder / self.evaluation.path.name)
        return run

    def with_samples_in(self, folder: Path) -> "RunDirectory":
        """The same run, but for its samples, which are in another folder."""
        run = RunDirectory(self.path)
        run.samples = SampleFolder(folder / self.samples.path.name)
        return run

    def require_one_frame(self) -> None:
        """Refuse a directory without a finished run of the ensemble method, once what was completed is in place.

        Raises:
            InputError: there are no volumes in one frame.
        """
        files.recover(self.path)
        self.require_format()
        self.require_same_images()
        if not self.volumes_star.exists() or not self.poses.exists():
            raise files.InputError(
                f"{self.path} should hold a finished run of the ensemble method, whose volumes are in one frame: "
                f"scoretomo run STACK --output {self.path}"
            )

    def records(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl; none where there is no file."""
        return files.read_records(self.log)

    def logged_volumes(self) -> dict[int, VolumeRow]:
        """What log.jsonl holds of each volume, by the number of its image; the last of several records counts."""
        rows = (from_json(VolumeRow, record) for record in self.records() if record["event"] == "volume")
        return {row.image: row for row in rows}

    @property
    def motion(self) -> MotionKind:
        """What the volumes move by."""
        return self.bodies_test.read().motion if self.bodies_test.exists() else "none"

    @property
    def verdict(self) -> Verdict:
        """Of the flexibility test; undetermined before there is one."""
        return self.flexibility.read().verdict if self.flexibility.exists() else "undetermined"

    def record(self, event: str, **details: Any) -> None:
        """Add a line to log.jsonl."""
        files.append_record(self.log, entry(event, **details))


def entry(event: str, **details: Any) -> dict[str, Any]:
    """A line of log.jsonl, with the time."""
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **details}


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Seconds, to a tenth."""
        return round(time.monotonic() - self._start, 1)


def require_run(path: Path) -> RunDirectory:
    """The run directory at a path, once what was completed is in place.

    Raises:
        InputError: there is no run.
    """
    files.recover(path)
    run = RunDirectory(path)
    if not run.config.exists() and not run.weights.exists():
        raise files.InputError(
            f"{path} should be a run directory but has neither config.toml nor a network: use scoretomo run"
        )
    run.require_format()
    return run


def require_begun(path: Path) -> RunDirectory:
    """The run directory at a path.

    Raises:
        InputError: no run has begun there.
    """
    run = RunDirectory(path)
    if not run.config.exists() and not run.training.exists():
        raise files.InputError(
            f"{path} should be the directory of a run, and none has begun there: scoretomo run STACK --output {path}"
        )
    run.require_format()
    return run


def require_network(run: RunDirectory) -> None:
    """Refuse a run whose network was never trained, once what was completed is in place.

    Raises:
        InputError: there is none.
    """
    files.recover(run.path)
    if not run.weights.exists():
        raise files.InputError(
            f"{run.path} has no trained network: train one with scoretomo train STACK --output {run.path}"
        )


def _machine() -> dict[str, Any]:
    libraries = ("torch", "numpy", "scipy", "finufft")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": available_cores(),
        **{name: version(name) for name in libraries},
    }
