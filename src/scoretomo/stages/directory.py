"""A run directory: where each file is, what was asked for, and what has happened."""

import platform
import shutil
import time
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

from .. import __version__, files
from ..compute import available_cores

_ROOMS = ("volumes", "convergence", "evaluation")
_FILES = (
    "config.toml",
    "log.jsonl",
    "images.mrcs",
    "images.csv",
    "images.json",
    "volumes.csv",
    "volumes.star",
    "report.html",
)


class RunDirectory:
    """Paths of a run directory, and its record.

    Args:
        path: the directory; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.log = path / "log.jsonl"
        self.images = path / "images.mrcs"
        self.volumes_table = path / "volumes.csv"
        self.volumes_star = path / "volumes.star"
        self.evaluation = path / "evaluation"
        self.report = path / "report.html"

    def volume(self, number: int) -> Path:
        """Where the volume of an image is, by its number in the user's stack."""
        return self.path / "volumes" / f"{number:03d}.mrc"

    def convergence(self, number: int) -> Path:
        """Where the descent of an image is recorded, step by step."""
        return self.path / "convergence" / f"{number:03d}.csv"

    def settings(self) -> dict[str, Any]:
        """What config.toml asks for, by command; empty if there is none."""
        if not self.config.exists():
            return {}
        try:
            return tomllib.loads(self.config.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise files.InputError(
                f"{self.config} is not the record of a run ({error}): give another --output, or --force to start afresh"
            ) from None

    def enter(self, settings: Mapping[str, Any], *, force: bool) -> None:
        """Begin a run, or go on with it if it was asked for in the same way.

        Raises:
            InputError: the directory holds a run with other settings, or something else than a run.
        """
        asked = _plain(settings)
        if force and self.config.exists():
            self._clear()
        if self.config.exists():
            differences = _differences(self.settings(), asked)
            if differences:
                raise files.InputError(
                    f"{self.path} holds a run with other settings ({'; '.join(differences)}): "
                    "repeat them to continue it, give another --output, or --force to start afresh"
                )
            return
        if self.path.exists() and not self.path.is_dir():
            raise files.InputError(
                f"{self.path} should be a directory for the run but is a file: give another --output"
            )
        if self.path.is_dir() and any(self.path.iterdir()):
            raise files.InputError(
                f"{self.path} should be a new or empty directory but holds other files: give another --output"
            )
        files.write_text(self.config, tomli_w.dumps(asked))
        self.record("start", scoretomo=__version__, machine=_machine())

    def record(self, event: str, **details: Any) -> None:
        """Add a line to log.jsonl."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        files.append_record(self.log, {"time": now, "event": event, **details})

    def _clear(self) -> None:
        """Remove what a run wrote, and nothing else that may lie there."""
        for room in _ROOMS:
            shutil.rmtree(self.path / room, ignore_errors=True)
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)


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
    if not run.config.exists():
        raise files.InputError(f"{path} should be a run directory but has no config.toml: make one with scoretomo run")
    return run


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as TOML can hold them: nested tables, paths as text, nothing unset."""
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            plain[name] = _plain(value)
        elif value is not None:
            plain[name] = str(value) if isinstance(value, Path) else value
    return plain


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two settings, in words."""
    found = []
    for section in sorted({*before, *now}):
        old, new = before.get(section, {}), now.get(section, {})
        found += [
            f"{name.replace('_', '-')} was {old.get(name, 'not set')} and is now {new.get(name, 'not set')}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
    return found


def _machine() -> dict[str, Any]:
    libraries = ("torch", "numpy", "scipy", "finufft")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": available_cores(),
        **{name: version(name) for name in libraries},
    }
