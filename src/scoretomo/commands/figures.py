"""From a finished run to movies for a talk and figures for a paper: figures/."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from .. import files
from ..graphics import figures, movies
from ..monitor.progress import print_line, progress_bar
from ..requirements import require_figures
from ..rundir.directory import RunDirectory, Stopwatch
from ..rundir.results import Run, read_run

SIDE = 480  # pixels of a picture in a movie
_SHOWN = Fraction(2, 25)  # seconds for a frame: GIF counts in hundredths


class Drawing(NamedTuple):
    """The folder for pictures, and the progress of drawing them."""

    folder: Path
    bar: Progress
    task: TaskID

    def counted(self, pictures: Iterable[np.ndarray], *, surfaces: int = 1) -> Iterator[np.ndarray]:
        """The same pictures; the bar advances by the number of surfaces in each."""
        for picture in pictures:
            yield picture
            self.bar.advance(self.task, surfaces)


def draw_figures(directory: Path, output: Path | None) -> None:
    """Draw a movie along every mode, one of the consensus turning, and figures; what was drawn before is drawn again.

    Raises:
        InputError: the ``figures`` extra is missing, or there is no finished run with volumes in one frame.
    """
    require_figures()
    run_directory = RunDirectory(directory)
    run_directory.require_one_frame()
    clock, run = Stopwatch(), read_run(run_directory)
    folder = output or run_directory.figures
    # our own folder is replaced as a whole, as there may be fewer modes than before
    place, names = (directory, (folder.name,)) if output is None else (folder, ())
    with files.replaced_together(place, "figures", names) as new:
        _draw_all(run_directory, run, new / folder.name if output is None else new)
    run_directory.record("figures", folder=str(folder), seconds=clock.seconds())
    print_line(f"movies and figures: {folder.absolute()}")


def _draw_all(directory: RunDirectory, run: Run, folder: Path) -> None:
    """Draw to a folder."""
    trajectories = run.landscape.trajectories if run.landscape else []
    files.make_folder(folder)
    for name, figure in figures.draw_charts(run).items():
        figures.save(figure, folder / name)
    turns = movies.FRAMES + len(figures.VIEWS)
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=turns + len(trajectories) * (movies.FRAMES + 2 + figures.SURFACES))
        drawing = Drawing(folder, bar, task)
        variability = files.read_map(run.landscape.variability).density if run.landscape and trajectories else None
        for trajectory in trajectories:
            _draw_trajectory(drawing, run, trajectory.row.name, _volumes(trajectory.paths), variability)
        body = _volumes([directory.assigned.volume])
        view = movies.best_view(_volumes(trajectories[0].paths) if trajectories else body)
        _draw_consensus(drawing, run, body, movies.scene_of(body, view, variability))


def _volumes(paths: Iterable[Path]) -> Tensor:
    return torch.stack([movies.fine(files.read_map(path).density) for path in paths])


def _draw_trajectory(drawing: Drawing, run: Run, name: str, volumes: Tensor, variability: np.ndarray | None) -> None:
    """A movie along a trajectory, its frames, and a row of surfaces."""
    scene = movies.scene_of(volumes, movies.best_view(volumes), variability)
    loop = movies.there_and_back(list(drawing.counted(movies.morph(scene, volumes, SIDE), surfaces=2)))
    _write_movie(drawing.folder / name, loop)
    files.make_folder(drawing.folder / name)
    for number, frame in enumerate(loop):
        files.write_png(drawing.folder / name / f"{number:03d}.png", frame)
    drawn = list(drawing.counted(figures.along_trajectory(scene, volumes)))
    figures.save(figures.row(drawn, [""] * len(drawn), scene, _box(run)), drawing.folder / name)


def _draw_consensus(drawing: Drawing, run: Run, body: Tensor, scene: movies.Scene) -> None:
    """A movie of the consensus turning, and a row of views from three sides."""
    _write_movie(drawing.folder / "consensus", list(drawing.counted(movies.turntable(scene, body[0], SIDE))))
    drawn = list(drawing.counted(figures.three_views(scene, body[0])))
    figures.save(figures.row(drawn, list(figures.VIEWS), scene, _box(run)), drawing.folder / "consensus")


def _write_movie(path: Path, frames: list[np.ndarray]) -> None:
    files.write_mp4(path.with_suffix(".mp4"), frames, _SHOWN)
    files.write_gif(path.with_suffix(".gif"), frames, _SHOWN)


def _box(run: Run) -> float | None:
    return run.size * run.pixel_size if run.pixel_size else None
