"""Arguments → a request → the work."""

import os
import signal
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from .. import __version__
from ..config import (
    ImportRequest,
    ImportSettings,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceRequest,
    ReproduceSettings,
    RunRequest,
    SampleSettings,
    SimulateSettings,
    TrainSettings,
)
from ..files import Program
from ..monitor.progress import PipeConsole
from ..rundir.directory import RunDirectory, require_begun, require_network, require_run
from . import refusals
from .options import (
    IMAGES,
    TRAINING,
    WHERE,
    Directory,
    Force,
    Importing,
    MaybeOutput,
    Objects,
    Output,
    PixelSize,
    Realism,
    Reproducing,
    Sampling,
    Simulating,
    Stack,
    Training,
    TrainingAlone,
    Volumes,
    Workers,
)

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported, which the work does

app = App(
    name="scoretomo",
    version=__version__,
    help="One 3D volume per 2D class average: see how a molecule moves before the long computations.",
    help_format="markdown",
    console=PipeConsole(),
    default_parameter=Parameter(negative_none="", negative_iterable=""),
    suppress_keyboard_interrupt=False,
)


@app.command(sort_key=0)
def run(
    stack: Stack,
    *,
    output: Output,
    pixel_size: PixelSize = None,
    importing: Importing = ImportSettings(),
    volumes: Volumes = ReconstructSettings(),
    training: Training = TrainSettings(),
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Import class averages, reconstruct a volume for each, and write a report.

    Run the same command again to continue after an interruption.

    Parameters
    ----------
    output
        Directory of the run; made if it is not there.
    """
    request = RunRequest(ImportRequest(stack, pixel_size, importing), output, volumes, training)
    refusals.run(request, force=force)
    from ..pipeline.runner import run_all

    run_all(request, workers=workers, force=force)


@app.command(name="import", sort_key=1)
def import_(
    stack: Stack,
    *,
    output: Output,
    pixel_size: PixelSize = None,
    importing: Importing = ImportSettings(),
    force: Force = False,
) -> None:
    """Read, check and prepare class averages: background to 0, circular mask, size; problems are listed.

    Parameters
    ----------
    output
        Stack to write (.mrcs); a .csv and a .json of the same name hold what was done to each image.
    """
    images = ImportRequest(stack, pixel_size, importing)
    refusals.import_(images, output, force=force)
    from ..pipeline.images import import_stack

    import_stack(images, output, force=force)


@app.command(name="sample", sort_key=2)
def sample_(
    directory: Directory,
    *,
    settings: Sampling = SampleSettings(),
    force: Force = False,
) -> None:
    """Draw new images from the network score: do they look like class averages, and are they more than copies of these?

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
    directory: Directory,
    *,
    volumes: Volumes = ReconstructSettings(),
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
    importing: Importing = ImportSettings(),
    training: TrainingAlone = TrainSettings(),
    seed: Annotated[int, Parameter(group=TRAINING, help="Seed of all random numbers.")] = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Train the network score on class averages; start it with torchrun to use several GPUs.

    Run the same command again to continue after an interruption.

    Parameters
    ----------
    output
        Run directory; made if it is not there.
    """
    images = ImportRequest(stack, pixel_size, importing)
    refusals.train(images, output, force=force)
    from ..pipeline.runner import end_training, train_imported

    if train_imported(images, output, training, seed=seed, workers=workers, force=force):
        end_training(output)


@app.command(sort_key=3)
def evaluate(
    maps: Annotated[Path, Parameter(name="--maps", group=WHERE)],
    *,
    truth: Annotated[Path, Parameter(group=WHERE)],
    output: MaybeOutput = None,
    workers: Workers = None,
) -> None:
    """Compare maps with a truth: align them (rotation, shift, hand), then Fourier shell correlation.

    Parameters
    ----------
    maps
        A run directory, a folder of maps, or one map of any program.
    truth
        A folder of maps with the same numbers (truth.csv in it adds the conformation gain), or one map for all.
    output
        Where to write FSC results and curves; evaluation/ in the run directory if not given. Without either, they are
        only shown.
    """
    refusals.evaluate(maps, truth, output)
    from ..commands.evaluate import evaluate_maps

    evaluate_maps(maps, truth, output, workers=workers)


@app.command(sort_key=4)
def landscape(
    directory: Directory,
    *,
    umap: Annotated[bool, Parameter(group=WHERE, negative="")] = False,
) -> None:
    """Analyse the heterogeneity of the volumes of a run: modes of motion, states, volumes along each mode.

    Parameters
    ----------
    directory
        Run directory.
    umap
        Also embed the volumes in a plane by UMAP (needs the umap extra).
    """
    refusals.landscape(directory, umap=umap)
    from ..pipeline.runner import run_landscape

    run_landscape(directory, umap=umap)


@app.command(sort_key=4)
def export(
    directory: Directory,
    *,
    to: Annotated[Program, Parameter(group=WHERE)],
    output: MaybeOutput = None,
) -> None:
    """Export a run to another program: poses in its convention, and maps, masks and scripts to go on with.

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
    directory: Directory,
    *,
    output: MaybeOutput = None,
) -> None:
    """Draw movies along each mode and of the consensus turning (MP4, GIF, PNG), and figures for a paper (PDF, SVG).

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
def report(directory: Directory) -> None:
    """Write report.html of a run: one page that opens offline.

    Parameters
    ----------
    directory
        Run directory.
    """
    require_run(directory)
    from ..pipeline.runner import report_only

    report_only(directory)


@app.command(sort_key=4)
def watch(
    directory: Directory,
    *,
    live: Annotated[bool, Parameter(group=WHERE, negative="")] = False,
) -> int:
    """Show the progress of a run: its stages, the time left, results, the last volume; Ctrl-C leaves the run alone.

    It ends when the run is finished, and with exit code 1 when its job has stopped before.

    Parameters
    ----------
    directory
        Run directory, of a job that runs anywhere.
    live
        Also serve the report as it grows, to browsers on this machine, until Ctrl-C.
    """
    require_begun(directory)
    try:
        from ..monitor.watch import watch_run
        from ..pipeline import STAGES

        return 0 if watch_run(directory, STAGES, live=live) else 1
    except KeyboardInterrupt as stop:  # there is nothing to continue
        return 128 + (stop.args or (signal.SIGINT,))[0]


@app.command(sort_key=5)
def simulate(
    object_: Annotated[str, Parameter(name="--object", group=WHERE)],
    *,
    output: Output,
    settings: Simulating = SimulateSettings(),
    objects: Objects = ObjectSettings(),
    realism: Realism = RealismSettings(),
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Simulate class averages of a moving object, with the true volume of each.

    Parameters
    ----------
    object_
        box (two lid angles) or capsid (one opening parameter), the paper's; ribosome or large-subunit, made-up
        particles with the statistics of real ones; a map (.mrc); or an atomic model (.cif, .pdb).
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
    settings: Reproducing = ReproduceSettings(),
    stack: Annotated[
        Path | None, Parameter(group=IMAGES, help="Class averages to use; simulated if not given.")
    ] = None,
    truth: Annotated[
        Path | None, Parameter(group=IMAGES, help="Map, or folder of maps, to compare the volumes with.")
    ] = None,
    pixel_size: PixelSize = None,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Do one of the paper's experiments: images, network score, samples, volumes, evaluation, report.

    Run the same command again to continue after an interruption.

    Parameters
    ----------
    experiment
        box and capsid are simulated, each image with its own conformation; ribosome is simulated unless --stack is
        given; betagal needs --stack.
    output
        Directory for data/ and run/.
    """
    request = ReproduceRequest(experiment, output, settings, stack, truth, pixel_size)
    refusals.reproduce(request, force=force)
    from ..commands.reproduce import reproduce_experiment

    reproduce_experiment(request, workers=workers, force=force)


@app.command(sort_key=7)
def info(
    file: Annotated[Path, Parameter(name="--file", group=WHERE)],
    *,
    montage: Annotated[Path | None, Parameter(group=WHERE, show_default=False)] = None,
    pixel_size: PixelSize = None,
    importing: Importing = ImportSettings(),
) -> None:
    """Describe a stack, a map or a run: size, Å/pixel, statistics, pictures, problems.

    With options of an import, the images of a stack are shown as that would prepare them.

    Parameters
    ----------
    file
        Any file that import reads, a map, or a run directory.
    montage
        Also write all images into one picture (.png).
    """
    request = ImportRequest(file, pixel_size, importing)
    refusals.info(request, montage)
    from ..commands.info import show_info

    show_info(request, montage)
