"""A run from Python: the options of the command line, by their names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from .config import RunRequest
    from .rundir.opened_run import OpenRun

Settings = TypeVar("Settings")


def run(
    stack: str | Path,
    output: str | Path,
    *,
    pixel_size: float | None = None,
    workers: int | None = None,
    force: bool = False,
    **settings: Any,
) -> "OpenRun":
    """What `scoretomo run` does: import class averages, reconstruct a volume for each, write a report.

    Called again with the same arguments, it continues.

    Args:
        stack: class averages, a file that the command takes.
        output: directory of the run.
        pixel_size: Å, where the file has none or a wrong one.
        workers: processes, as many as cores if not given. They import the calling script: keep what it does behind
            ``if __name__ == "__main__":``.
        force: start afresh.
        settings: the options of the command, by their names with underscores: ``size=64, symmetry="D2", images="0-9"``.

    Raises:
        InputError: the file, a setting or the directory will not do.
        NoVolumesError: every descent diverged.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of the workers
    request = _request(Path(stack), Path(output), pixel_size, settings)
    from .pipeline.runner import run_all  # so that importing the package stays quick

    run_all(request, workers=workers, force=force)
    return open_run(output)


def open_run(directory: str | Path) -> "OpenRun":
    """Open a run directory: its images, volumes, poses and landscape as arrays.

    Args:
        directory: what `scoretomo run` wrote; it may be unfinished.

    Raises:
        InputError: it is no run directory.
    """
    from .rundir.opened_run import OpenRun  # so that importing the package stays quick

    return OpenRun(Path(directory))


def _request(stack: Path, output: Path, pixel_size: float | None, settings: Mapping[str, Any]) -> "RunRequest":
    """A request with settings by their names.

    Raises:
        InputError: there is no such setting, or it has no such value.
    """
    from .config import ImportRequest, ImportSettings, ReconstructSettings, RunRequest, TrainSettings, out_of_bounds
    from .errors import InputError

    groups = (ImportSettings, ReconstructSettings, TrainSettings)
    hints = {name: hint for group in groups for name, hint in get_type_hints(group, include_extras=True).items()}
    for name, value in settings.items():
        if name not in hints:
            raise InputError(f"there is no setting {name}: give one of {', '.join(hints)}")
        if expected := _mismatch(value, hints[name]):
            raise InputError(f"{name} is {value!r}: give {expected}")
    importing = _of(ImportSettings, settings)
    volumes = _of(ReconstructSettings, settings)
    training = _of(TrainSettings, settings)
    for name, what in (out_of_bounds(importing) | out_of_bounds(volumes) | out_of_bounds(training)).items():
        raise InputError(f"{name} {what}: correct it")
    return RunRequest(ImportRequest(stack, pixel_size, importing), output, volumes, training)


def _mismatch(value: Any, hint: Any) -> str:
    """What a setting takes, or "" where it takes the value."""
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(kind) is Literal:
        return "" if value in get_args(kind) else ", ".join(map(repr, get_args(kind)))
    kinds = get_args(kind) or (kind,)
    return "" if type(value) in kinds else " or ".join(each.__name__.replace("NoneType", "None") for each in kinds)


def _of(group: type[Settings], settings: Mapping[str, Any]) -> Settings:
    """A group of settings, by their names."""
    return group(**{name: value for name, value in settings.items() if name in get_type_hints(group)})
