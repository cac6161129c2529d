"""A run directory: where each file is, and the record of what has happened."""

import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__, files
from ..memory import available_cores
from .pulse import Word, has_locked, let_go, require_alone, tell
from .record import write_settings

_ROOMS = ("consensus", "volumes", "differences", "convergence", "landscape", "figures", "export", "evaluation")
_MAPS = ("consensus.mrc", "consensus-2.mrc", "mean.mrc")
_RESULTS = (
    "consensus/poses.csv",
    "log.jsonl",
    *_MAPS,
    "poses.csv",
    "motion.csv",
    "volumes.csv",
    "volumes.star",
    "landscape.csv",
    "reliability.csv",
    "report.html",
)
DIFFERENCE_SIDE = 64  # pixels of what replicas differ in, at most
IMAGES = ("images.mrcs", "images.csv", "images.json")


class RunDirectory:
    """Paths of a run directory, and its record; the directory need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.log = path / "log.jsonl"
        self.progress = path / "progress.json"
        self.images = path / "images.mrcs"
        self.consensus = path / "consensus.mrc"
        self.second_consensus = path / "consensus-2.mrc"
        self.mean = path / "mean.mrc"
        self.starts = path / "consensus" / "starts.csv"
        self.left_out = path / "consensus" / "left_out.csv"
        self.consensus_summary = path / "consensus" / "summary.csv"
        self.proposals = path / "consensus" / "proposals.csv"
        self.consensus_poses = path / "consensus" / "poses.csv"
        self.moves = path / "consensus" / "moves.csv"
        self.moving_trial = path / "consensus" / "trial-moving.csv"
        self.trial_ways = path / "consensus" / "trial-ways.csv"
        self.still_trial = path / "consensus" / "trial-still.csv"
        self.softness = path / "consensus" / "softness.csv"
        self.soft = path / "consensus" / "soft.safetensors"
        self.motion = path / "consensus" / "motion.safetensors"
        self.coordinates = path / "motion.csv"
        self.poses = path / "poses.csv"
        self.volumes_table = path / "volumes.csv"
        self.volumes_star = path / "volumes.star"
        self.landscape = path / "landscape"
        self.landscape_table = path / "landscape.csv"
        self.reliability = path / "reliability.csv"
        self.figures = path / "figures"
        self.evaluation = path / "evaluation"
        self.report = path / "report.html"
        self.score = path / "score"
        self.weights = self.score / "weights.safetensors"
        self.state = self.score / "state.safetensors"
        self.loss = self.score / "loss.csv"
        self.denoising = self.score / "denoising.csv"
        self.samples = path / "samples"

    def start(self, number: int) -> Path:
        """Where the consensus of a random start is, at low resolution."""
        return self.path / "consensus" / f"start-{number}.safetensors"

    def second_start(self, number: int) -> Path:
        """Where it is of outliers alone."""
        return self.path / "consensus" / f"second-{number}.safetensors"

    def asked_about(self, poses: str) -> Path:
        """Where the answers of left-out images about a consensus of single or of soft poses are."""
        return self.path / "consensus" / f"asked-{poses}.csv"

    def rough_motion(self, level: int) -> Path:
        """Where the motion is as learned from images that are smaller than those of the run."""
        return self.path / "consensus" / f"motion-{level}.safetensors"

    def volume(self, number: int) -> Path:
        """Where the volume of an image is, by its number in the user's stack."""
        return self.path / "volumes" / f"{number:03d}.mrc"

    def difference(self, number: int) -> Path:
        """Where half the difference of the replicas of a volume is."""
        return self.path / "differences" / f"{number:03d}.mrc"

    def convergence(self, number: int) -> Path:
        """Where the descent of an image is recorded, step by step."""
        return self.path / "convergence" / f"{number:03d}.csv"

    def begin(self, settings: Mapping[str, Any], *, keep_images: bool) -> None:
        """Begin a run; results of an earlier one are removed, and nothing else that may lie there.

        The settings are written last: killed before, the directory is as it was or holds an earlier run without results.

        Args:
            settings: what is asked for.
            keep_images: the prepared images are there already and stay, as does a network that has learned from them.
        """
        files.make_folder(self.path)
        self.go_on()
        self.clear(keep_images=keep_images)
        write_settings(self.config, settings)
        self.record("start", scoretomo=__version__, **_machine())

    def go_on(self) -> None:
        """Say to other processes that this one works on the run.

        Raises:
            InputError: another one does.
        """
        require_alone(self.progress)
        tell(self.progress, Word("reading images"))

    def end(self) -> None:
        """Say that nobody works on it any more, because all that was asked for is done."""
        self.progress.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process work on it while this one does.

        Raises:
            InputError: another one does already.
        """
        before = has_locked(self.path)
        require_alone(self.progress)
        try:
            yield
        finally:
            if not before:
                let_go(self.path)

    def clear(self, *, keep_images: bool) -> None:
        """Remove results, and unless the prepared images stay, these and the network that has learned from them."""
        for name in _RESULTS if keep_images else (*IMAGES, *_RESULTS):  # first: they say that something is finished
            (self.path / name).unlink(missing_ok=True)
        for room in _ROOMS if keep_images else (*_ROOMS, self.score.name, self.samples.name):
            shutil.rmtree(self.path / room, ignore_errors=True)

    def require_one_frame(self) -> None:
        """Refuse what is no finished run of the ensemble method.

        Raises:
            InputError: there are no volumes in one frame.
        """
        if not self.volumes_star.exists() or not self.poses.exists():
            raise files.InputError(
                f"{self.path} should hold a finished run of the ensemble method, whose volumes are in one frame: "
                f"scoretomo run STACK --output {self.path}"
            )

    def record(self, event: str, **details: Any) -> None:
        """Add a line to log.jsonl."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        files.append_record(self.log, {"time": now, "event": event, **details})


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Seconds, to a tenth."""
        return round(time.monotonic() - self._start, 1)


def require_run(path: Path) -> RunDirectory:
    """The run directory at a path.

    Raises:
        InputError: there is no run.
    """
    run = RunDirectory(path)
    if not run.config.exists() and not run.weights.exists():
        raise files.InputError(f"{path} should be a run directory but has neither config.toml nor a network: use scoretomo run")
    return run


def require_begun(path: Path) -> RunDirectory:
    """The run directory at a path.

    Raises:
        InputError: no run has begun there.
    """
    run = RunDirectory(path)
    if not run.config.exists() and not (run.score / "train.toml").exists():
        raise files.InputError(
            f"{path} should be the directory of a run, and none has begun there: scoretomo run STACK --output {path}"
        )
    return run


def require_network(run: RunDirectory) -> None:
    """Refuse a run whose network was never trained.

    Raises:
        InputError: there is none.
    """
    if not run.weights.exists():
        raise files.InputError(f"{run.path} has no trained network: train one with scoretomo train STACK --output {run.path}")


def _machine() -> dict[str, Any]:
    libraries = ("torch", "numpy", "scipy", "finufft")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": available_cores(),
        **{name: version(name) for name in libraries},
    }
