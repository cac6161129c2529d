"""Arguments → a stage."""

import io
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import cyclopts
from cyclopts import App, CycloptsError, Group, Parameter, validators

from .. import __version__
from ..config import (
    ImportSettings,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceSettings,
    SampleSettings,
    SimulateSettings,
    TrainSettings,
)
from ..errors import InputError, NoVolumesError, WorkerError
from ..files import Program, read_toml
from ..rundir.directory import RunDirectory, require_begun, require_network, require_run
from . import refusals
from .mistakes import of_the_system, told

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported, which a stage does

IMAGES = Group("Images", sort_key=1)
SCORE = Group("Learned score (--denoiser network)", sort_key=3)
TRAINING = Group("Training", sort_key=3)
VOLUMES = Group("Volumes", sort_key=2)
WHERE = Group("Where and how", sort_key=0)
OBJECT = Group("A map or an atomic model as the object", sort_key=2)
REALISM = Group("Realistic class averages (--realistic); two numbers are the ends of a range", sort_key=3)

PixelSize = Annotated[
    float | None,
    Parameter(group=IMAGES, help="Å per pixel of the input; needed only where the file does not say.", show_default=False),
]
Output = Annotated[Path, Parameter(alias="-o", group=WHERE)]
Workers = Annotated[
    int | None,
    Parameter(
        group=WHERE,
        validator=validators.Number(gte=1),
        help="Processes to use, each with one thread; if not given, one for each core, as far as memory reaches. "
        "The result does not depend on it.",
        show_default=False,
    ),
]
Force = Annotated[
    bool, Parameter(group=WHERE, negative="", help="Start afresh; the results that are there go when that has begun.")
]
Stack = Annotated[Path, Parameter(name="--stack", group=WHERE)]

app = App(
    name="scoretomo",
    version=__version__,
    help="One 3D volume per 2D class average: see how a molecule moves before the long computations.",
    help_format="markdown",
    default_parameter=Parameter(negative_none="", negative_iterable=""),
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False
app.meta.group_parameters = Group("Settings from a file", sort_key=9)


@app.command(sort_key=0)
def run(
    stack: Stack,
    *,
    output: Output,
    pixel_size: PixelSize = None,
    importing: Annotated[ImportSettings, Parameter(name="*", group=IMAGES)] = ImportSettings(),  # noqa: B008
    volumes: Annotated[ReconstructSettings, Parameter(name="*", group=VOLUMES)] = ReconstructSettings(),  # noqa: B008
    training: Annotated[TrainSettings, Parameter(name="*", group=SCORE)] = TrainSettings(),  # noqa: B008
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Import class averages, reconstruct a volume for each, and write a report.

    Run the same command again to continue after an interruption.

    Parameters
    ----------
    stack
        Class averages: .mrcs, .mrc, .star (RELION), .cs (cryoSPARC), .hdf (EMAN2) or .npy.
    output
        Directory of the run; made if it is not there.
    """
    refusals.run(stack, output, pixel_size, importing, training, volumes, force=force)
    from ..pipeline.runner import run_all

    run_all(stack, output, pixel_size, importing, training, volumes, workers=workers, force=force)


@app.command(name="import", sort_key=1)
def import_(
    stack: Stack,
    *,
    output: Output,
    pixel_size: PixelSize = None,
    importing: Annotated[ImportSettings, Parameter(name="*", group=IMAGES)] = ImportSettings(),  # noqa: B008
    force: Force = False,
) -> None:
    """Read, check and prepare class averages: background to 0, circular mask, size; what is wrong with them is said.

    Parameters
    ----------
    stack
        Class averages: .mrcs, .mrc, .star (RELION), .cs (cryoSPARC), .hdf (EMAN2) or .npy.
    output
        Stack to write (.mrcs); a .csv and a .json of the same name say what was done to each image.
    """
    refusals.import_(stack, output, pixel_size, importing, force=force)
    from ..pipeline.images import import_stack

    import_stack(stack, output, pixel_size, importing, force=force)


@app.command(name="sample", sort_key=2)
def sample_(
    directory: Annotated[Path, Parameter(name="--directory", group=WHERE)],
    *,
    settings: Annotated[SampleSettings, Parameter(name="*", group=IMAGES)] = SampleSettings(),  # noqa: B008
    force: Force = False,
) -> None:
    """Draw new images from the trained network: do they look like class averages, and is it more than a copy of them?

    Parameters
    ----------
    directory
        Run directory with a network from scoretomo train; samples/ is written there, and the report again.
    """
    require_network(RunDirectory(directory))
    from ..commands.sample import sample_only

    sample_only(directory, settings, force=force)


@app.command(sort_key=2)
def reconstruct(
    directory: Annotated[Path, Parameter(name="--directory", group=WHERE)],
    *,
    volumes: Annotated[ReconstructSettings, Parameter(name="*", group=VOLUMES)] = ReconstructSettings(),  # noqa: B008
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Reconstruct a volume for each prepared image, or continue to.

    Parameters
    ----------
    directory
        Directory with images.mrcs from scoretomo import; it becomes the run directory.
    """
    refusals.reconstruct(directory, volumes, force=force)
    from ..pipeline.runner import reconstruct_only

    reconstruct_only(directory, volumes, workers=workers, force=force)


@app.command(sort_key=2)
def train(
    stack: Stack,
    *,
    output: Output,
    pixel_size: PixelSize = None,
    importing: Annotated[ImportSettings, Parameter(name="*", group=IMAGES)] = ImportSettings(),  # noqa: B008
    training: Annotated[TrainSettings, Parameter(name="*", group=TRAINING)] = TrainSettings(),  # noqa: B008
    seed: Annotated[int, Parameter(group=TRAINING, help="Seed of all random numbers.")] = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Train the network score on class averages; start it with torchrun to use several GPUs.

    Run the same command again to continue after an interruption.

    Parameters
    ----------
    stack
        Class averages: .mrcs, .mrc, .star (RELION), .cs (cryoSPARC), .hdf (EMAN2) or .npy.
    output
        Run directory; made if it is not there.
    """
    refusals.train(stack, output, pixel_size, importing, force=force)
    from ..pipeline.runner import end_training, train_imported

    if train_imported(stack, output, pixel_size, importing, training, seed=seed, workers=workers, force=force):
        end_training(output)


@app.command(sort_key=3)
def evaluate(
    maps: Annotated[Path, Parameter(name="--maps", group=WHERE)],
    *,
    truth: Annotated[Path, Parameter(group=WHERE)],
    output: Annotated[Path | None, Parameter(alias="-o", group=WHERE, show_default=False)] = None,
    workers: Workers = None,
) -> None:
    """Judge maps by a truth: align (rotation, shift, hand), then Fourier shell correlation.

    Parameters
    ----------
    maps
        A run directory, a folder of maps, or one map of any program.
    truth
        A folder of maps with the same numbers (truth.csv in it adds the conformation gain), or one map for all.
    output
        Where to write scores and curves; evaluation/ in the run directory if not given. Without either, they are only shown.
    """
    refusals.evaluate(maps, truth, output)
    from ..commands.evaluate import evaluate_maps

    evaluate_maps(maps, truth, output, workers=workers)


@app.command(sort_key=4)
def landscape(
    directory: Annotated[Path, Parameter(name="--directory", group=WHERE)],
    *,
    umap: Annotated[bool, Parameter(group=WHERE, negative="")] = False,
) -> None:
    """See what moves in the volumes of a run: motions, states, maps along each motion.

    Parameters
    ----------
    directory
        Run directory.
    umap
        Also place the volumes in a plane by UMAP (needs the umap extra).
    """
    refusals.landscape(directory, umap=umap)
    from ..pipeline.landscape import landscape_only

    landscape_only(directory, umap=umap)


@app.command(sort_key=4)
def export(
    directory: Annotated[Path, Parameter(name="--directory", group=WHERE)],
    *,
    to: Annotated[Program, Parameter(group=WHERE)],
    output: Annotated[Path | None, Parameter(alias="-o", group=WHERE, show_default=False)] = None,
) -> None:
    """Take a run to another program: poses in its convention, and maps, masks and scripts to go on with.

    Parameters
    ----------
    directory
        Run directory.
    to
        Which program.
    output
        Where to write; export/ in the run directory if not given.
    """
    RunDirectory(directory).require_one_frame()
    from ..commands.export import export_run

    export_run(directory, to, output)


@app.command(sort_key=4)
def figures(
    directory: Annotated[Path, Parameter(name="--directory", group=WHERE)],
    *,
    output: Annotated[Path | None, Parameter(alias="-o", group=WHERE, show_default=False)] = None,
) -> None:
    """Draw movies along each motion and of the consensus turning (MP4, GIF, PNG), and figures for a paper (PDF, SVG).

    Needs the figures extra: pip install 'scoretomo[figures]'.

    Parameters
    ----------
    directory
        Run directory.
    output
        Where to write; figures/ in the run directory if not given.
    """
    refusals.figures(directory)
    from ..commands.figures import draw_figures

    draw_figures(directory, output)


@app.command(sort_key=4)
def report(directory: Annotated[Path, Parameter(name="--directory", group=WHERE)]) -> None:
    """Write report.html of a run: one page that opens offline.

    Parameters
    ----------
    directory
        Run directory.
    """
    require_run(directory)
    from ..pipeline.report import report_run

    report_run(directory)


@app.command(sort_key=4)
def watch(
    directory: Annotated[Path, Parameter(name="--directory", group=WHERE)],
    *,
    live: Annotated[bool, Parameter(group=WHERE, negative="")] = False,
) -> int:
    """See how a run goes on: its stages, the time left, what is known by now, the last volume; Ctrl-C leaves the run alone.

    It ends when the run is finished, and with exit code 1 when its job has stopped before.

    Parameters
    ----------
    directory
        Run directory, of a job that runs anywhere.
    live
        Also serve the report as it grows, to browsers on this machine, until Ctrl-C.
    """
    require_begun(directory)
    from ..monitor.watch import watch_run

    return 0 if watch_run(directory, live=live) else 1


@app.command(sort_key=5)
def simulate(
    object_: Annotated[str, Parameter(name="--object", group=WHERE)],
    *,
    output: Output,
    settings: Annotated[SimulateSettings, Parameter(name="*", group=IMAGES)] = SimulateSettings(),  # noqa: B008
    objects: Annotated[ObjectSettings, Parameter(name="*", group=OBJECT)] = ObjectSettings(),  # noqa: B008
    realism: Annotated[RealismSettings, Parameter(name="*", group=REALISM)] = RealismSettings(),  # noqa: B008
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Simulate class averages of a moving object, with the true volume of each.

    Parameters
    ----------
    object_
        box (two lid angles) or capsid (one opening parameter), the paper's; ribosome or large-subunit, made-up particles with the
        statistics of real ones; a map (.mrc); or an atomic model (.cif, .pdb).
    output
        Directory for images.mrcs and truth/.
    """
    refusals.simulate(object_, output, settings, objects, realism, force=force)
    from ..commands.simulate import Plan, simulate_object

    simulate_object(Plan(object_, settings, objects, realism), output, workers=workers, force=force)


@app.command(sort_key=6)
def reproduce(
    experiment: Annotated[Literal["box", "capsid", "ribosome", "betagal"], Parameter(name="--experiment", group=WHERE)],
    *,
    output: Output,
    settings: Annotated[ReproduceSettings, Parameter(name="*", group=VOLUMES)] = ReproduceSettings(),  # noqa: B008
    stack: Annotated[Path | None, Parameter(group=IMAGES, help="Class averages to use; simulated if not given.")] = None,
    truth: Annotated[Path | None, Parameter(group=IMAGES, help="Map, or folder of maps, to judge the volumes by.")] = None,
    pixel_size: PixelSize = None,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Do one of the paper's experiments: data, learned score, samples, volumes, evaluation, report.

    Run the same command again to continue after an interruption.

    Parameters
    ----------
    experiment
        box and capsid are simulated, each image with its own conformation; ribosome is simulated unless --stack is given; betagal
        needs --stack.
    output
        Directory for data/ and run/.
    """
    refusals.reproduce(experiment, output, settings, stack=stack, truth=truth, pixel_size=pixel_size, force=force)
    from ..commands.reproduce import reproduce_experiment

    reproduce_experiment(
        experiment, output, settings, stack=stack, truth=truth, pixel_size=pixel_size, workers=workers, force=force
    )


@app.command(sort_key=7)
def info(
    file: Annotated[Path, Parameter(name="--file", group=WHERE)],
    *,
    montage: Annotated[Path | None, Parameter(group=WHERE, show_default=False)] = None,
    pixel_size: PixelSize = None,
    importing: Annotated[ImportSettings, Parameter(name="*", group=IMAGES)] = ImportSettings(),  # noqa: B008
) -> None:
    """Say what is in a stack, a map or a run: size, Å/pixel, statistics, pictures, problems.

    With options of an import it says of a stack what that would make of it.

    Parameters
    ----------
    file
        Any file that import reads, a map, or a run directory.
    montage
        Also write all images into one picture (.png).
    """
    refusals.info(file, montage, pixel_size, importing)
    from ..commands.info import show_info

    show_info(file, montage, pixel_size, importing)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[
        Path | None,
        Parameter(help="TOML file with settings, such as config.toml of a run; what is typed here wins.", show_default=False),
    ] = None,
) -> int:
    """Read --config, then run the command."""
    settings = {} if config is None else read_toml(config)
    commands = [name for name in app if not name.startswith("-")]
    unknown = [name for name, value in settings.items() if name not in commands or not isinstance(value, dict)]
    if unknown:
        raise InputError(f"{config} should have a section for each command ({', '.join(commands)}), got {unknown[0]!r}: correct it")
    app.config = cyclopts.config.Dict(settings, source=str(config))
    return int(app(tokens, exit_on_error=False, print_error=False, result_action="return_value") or 0)


def _stop(number: int, _: FrameType | None) -> None:
    """What a batch system asks for is to be stopped as by Ctrl-C."""
    raise KeyboardInterrupt(number)


def _print_what_can_be_printed() -> None:
    """Print a question mark for what a terminal that is not UTF-8 has no letter for, and for bytes of a path that are none."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not closed
            stream.reconfigure(errors="replace")


def main() -> int:
    """Entry point of the command: exit code 2 and one sentence for a user's mistake, 128 and the signal's number when stopped."""
    signal.signal(signal.SIGTERM, _stop)
    _print_what_can_be_printed()
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    try:
        return int(app.meta(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        print(f"scoretomo: {told(error, app)}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"scoretomo: {error}", file=sys.stderr)
        return 2
    except (NoVolumesError, WorkerError) as error:
        print(f"scoretomo: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("scoretomo: out of memory: run the same command again with fewer --workers, or a smaller --size", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"scoretomo: {of_the_system(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("\nscoretomo: stopped; run the same command again to continue", file=sys.stderr)
        return 128 + (stop.args or (signal.SIGINT,))[0]
