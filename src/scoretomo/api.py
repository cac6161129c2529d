"""A run from Python: the options of the command line, by their names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rundir.opened_run import OpenRun


def run(
    stack: str | Path,
    output: str | Path,
    *,
    pixel_size: float | None = None,
    workers: int | None = None,
    force: bool = False,
    **settings: Any,
) -> "OpenRun":
    """What `scoretomo run` does: import class averages, reconstruct a volume for each, write a report. Called again, it continues.

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
    from .pipeline.runner import run_with  # so that importing the package stays quick

    run_with(Path(stack), Path(output), pixel_size, settings, workers=workers, force=force)
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
