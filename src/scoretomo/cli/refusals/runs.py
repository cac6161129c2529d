"""What the commands refuse that make a run, or a part of one."""

from pathlib import Path

from ... import files
from ...config import ImportRequest, ReconstructSettings, RunRequest
from ...requirements import parse_selection, require_several
from ...rundir.directory import RunDirectory
from ...rundir.inputs import require_same_input
from ...rundir.requests import is_imported, record_of_reconstruction, record_of_run
from ...rundir.settings_file import check_settings
from .headers import check_images


def run(request: RunRequest, *, force: bool) -> None:
    """Refuse what `run_all` would refuse."""
    directory = RunDirectory(request.output)
    files.recover(request.output)
    if not force:
        directory.require_format()
    begun = check_settings(directory.config, record_of_run(request), force=force, beside=(directory.progress.name,))
    if begun and directory.images.exists():
        require_same_input(directory.import_record.path)
    else:
        require_several(check_images(request.images, request.volumes.images))


def import_(request: ImportRequest, output: Path, *, force: bool) -> None:
    """Refuse what `import_stack` would refuse."""
    if not is_imported(request, output, force=force):
        check_images(request)


def train(request: ImportRequest, output: Path, *, force: bool) -> None:
    """Refuse what `train_imported` would refuse of the images."""
    files.recover(output)
    directory = RunDirectory(output)
    own = request.stack.absolute() == directory.images.absolute()
    anew = force and not own and directory.import_record.exists()
    if anew or not is_imported(request, directory.images, force=False):
        require_several(check_images(request))


def reconstruct(directory: Path, volumes: ReconstructSettings, *, force: bool) -> None:
    """Refuse what `reconstruct_only` would refuse."""
    files.recover(directory)
    run = RunDirectory(directory)
    if not force:
        run.require_format()
    check_settings(run.config, record_of_reconstruction(directory, volumes), force=force, beside=None)
    if volumes.images is not None:
        parse_selection(volumes.images, run.import_record.read().image_count)
