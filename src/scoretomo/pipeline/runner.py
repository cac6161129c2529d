"""Import → reconstruct → report in one go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from .. import files
from ..compute import best_device, joined_group, require_one_process
from ..config import ImportSettings, ReconstructSettings, TrainSettings
from ..monitor.progress import say
from ..rundir.asked import asked_of_reconstruction, asked_of_run
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import require_alone
from ..rundir.inputs import require_same_input
from ..rundir.settings_file import check_settings
from .denoising import measure_score
from .images import import_stack, read_and_prepare, write_prepared
from .landscape import landscape_missing, report_landscape, settle_landscape
from .report import report_run
from .train import train_network
from .volumes import reconstruct_run, require_volumes, select_numbers

Settings = TypeVar("Settings")


def run_all(
    stack: Path,
    output: Path,
    pixel_size: float | None,
    importing: ImportSettings,
    training: TrainSettings,
    volumes: ReconstructSettings,
    *,
    workers: int | None,
    force: bool,
) -> None:
    """Everything from a stack to a report; what is finished is not done again."""
    require_one_process()
    run, learns = RunDirectory(output), volumes.denoiser == "network"
    asked = asked_of_run(stack, output, pixel_size, importing, training, volumes)
    with run.alone():
        _begin_or_go_on(run, importing, asked["run"], force=force)
        if learns:
            _learn(run, training, volumes.seed, workers=workers)
        worked = reconstruct_run(run, volumes, workers=workers)
        if worked or not run.report.exists() or landscape_missing(run):
            report_landscape(run)
        else:
            say(f"{output} is finished: {run.report.absolute()}")
        run.end()
        require_volumes(run)


def _begin_or_go_on(run: RunDirectory, importing: ImportSettings, asked: Mapping[str, Any], *, force: bool) -> None:
    """Go on with a run of these settings, or prepare images and begin one in the place of what was there.

    Raises:
        InputError: the images can't be used, or the directory holds something else.
    """
    begun = check_settings(run.config, {"run": asked}, force=force, beside=(run.progress.name,))
    if begun and run.images.exists():
        require_same_input(run.images.with_suffix(".json"))
        run.require_same_images()
        run.go_on()
    else:
        imported = read_and_prepare(asked["stack"], asked["pixel_size"], importing)
        select_numbers(imported.prepared.numbers, len(imported.sources), asked["images"])
        run.begin({"run": asked}, lambda folder: write_prepared(folder / run.images.name, imported))


def run_with(
    stack: Path, output: Path, pixel_size: float | None, settings: Mapping[str, Any], *, workers: int | None, force: bool
) -> None:
    """The same with settings by their names.

    Raises:
        InputError: there is no such setting, or it has no such value.
    """
    hints: dict[str, Any] = {}
    for kind in (ImportSettings, TrainSettings, ReconstructSettings):
        hints |= get_type_hints(kind, include_extras=True)
    for name, value in settings.items():
        if name not in hints:
            raise files.InputError(f"there is no setting {name}: give one of {', '.join(hints)}")
        _check_value(name, value, hints[name])
    importing, training = _those_of(ImportSettings, settings), _those_of(TrainSettings, settings)
    volumes = _those_of(ReconstructSettings, settings)
    run_all(stack, output, pixel_size, importing, training, volumes, workers=workers, force=force)


def _check_value(name: str, value: Any, hint: Any) -> None:
    """Refuse what the command would refuse."""
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if get_origin(kind) is Literal:
        good, kinds = value in get_args(kind), ", ".join(map(repr, get_args(kind)))
    else:
        taken = get_args(kind) or (kind,)
        good, kinds = type(value) in taken, " or ".join(each.__name__.replace("NoneType", "None") for each in taken)
    if not good:
        raise files.InputError(f"{name} is {value!r}: give {kinds}")
    for validator in (validator for extra in extras for validator in extra.validator if value is not None):
        try:
            validator(kind, value)
        except ValueError as error:
            raise files.InputError(f"{name} is {value!r}: {error}") from None


def _those_of(kind: type[Settings], settings: Mapping[str, Any]) -> Settings:
    return kind(**{name: value for name, value in settings.items() if name in get_type_hints(kind)})


def reconstruct_only(directory: Path, volumes: ReconstructSettings, *, workers: int | None, force: bool) -> None:
    """Reconstruct prepared images (images.mrcs of an import) where they are, or continue to."""
    run = RunDirectory(directory)
    with run.alone():
        worked = reconstruct_prepared(directory, volumes, workers=workers, force=force)
        run.end()
        require_volumes(run)
    done = "" if worked else f"{directory} is finished: "
    say(f"{done}volumes are in {directory / 'volumes'}; write a report with: scoretomo report {directory}")


def reconstruct_prepared(directory: Path, volumes: ReconstructSettings, *, workers: int | None, force: bool) -> bool:
    """The same as a part of a job that goes on; returns whether there was anything to do."""
    run, asked = RunDirectory(directory), asked_of_reconstruction(directory, volumes)
    if check_settings(run.config, asked, force=force, beside=None):
        run.require_same_images()
        run.go_on()
    else:
        run.begin(asked)
    worked = reconstruct_run(run, volumes, workers=workers)
    if worked or landscape_missing(run):
        settle_landscape(run)
    return worked


def train_imported(
    stack: Path,
    output: Path,
    pixel_size: float | None,
    importing: ImportSettings,
    settings: TrainSettings,
    *,
    seed: int,
    workers: int | None,
    force: bool,
) -> bool:
    """Import a stack into a run directory, train a network on it, or continue to, and write a report.

    Returns:
        Whether this process is the one of several that speaks for all: `end_training`, where nothing follows.
    """
    run = RunDirectory(output)
    with joined_group() as group:
        if group.rank == 0:
            require_alone(run.progress)
            files.recover(output)
            _import(stack, run, pixel_size, importing, force=force)
            run.go_on()
        group.wait_for_first()
        worked = train_network(run, settings, group, seed=seed, workers=workers, force=force)
    if group.rank > 0:
        return False
    measure_score(run, best_device())
    if worked or not run.report.exists():
        report_run(output)
    return True


def end_training(output: Path) -> None:
    """Say that nobody works on the run any more, and what can be done with its network."""
    RunDirectory(output).end()
    say(f"samples: scoretomo sample {output}; volumes: scoretomo reconstruct {output} --method paper --denoiser network")


def _import(stack: Path, run: RunDirectory, pixel_size: float | None, settings: ImportSettings, *, force: bool) -> None:
    """Import into a run directory; by force, all that came of earlier images goes with them."""
    own = stack.absolute() == run.images.absolute()
    if force and not own and run.images.with_suffix(".json").exists():
        imported = read_and_prepare(stack, pixel_size, settings)
        with files.replaced_together(run.path, "run", run.results(keep_images=False)) as folder:
            write_prepared(folder / run.images.name, imported)
    else:
        import_stack(stack, run.images, pixel_size, settings, force=False)


def _learn(run: RunDirectory, settings: TrainSettings, seed: int, *, workers: int | None) -> None:
    with joined_group() as group:
        train_network(run, settings, group, seed=seed, workers=workers)
    measure_score(run, best_device())
