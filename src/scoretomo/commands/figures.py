"""From what a run has found to movies for a talk and figures for a paper: figures/."""

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
from ..monitor.progress import progress_bar, say
from ..requirements import require_figures
from ..rundir.directory import RunDirectory, Stopwatch
from ..rundir.results import Run, read_run

_SIDE = 480  # pixels of a picture in a movie
_SHOWN = Fraction(2, 25)  # seconds for a frame: GIF counts in hundredths


class Drawing(NamedTuple):
    """Where pictures go, and how far that is."""

    folder: Path
    bar: Progress
    task: TaskID

    def counted(self, pictures: Iterable[np.ndarray], *, surfaces: int = 1) -> Iterator[np.ndarray]:
        """The same pictures, told to the bar by how many surfaces there are in each."""
        for picture in pictures:
            yield picture
            self.bar.advance(self.task, surfaces)


def draw_figures(directory: Path, output: Path | None) -> None:
    """Draw a movie along every motion, one of the consensus turning, and figures; what was drawn before is drawn again.

    Raises:
        InputError: the ``figures`` extra is missing, or there is no finished run with volumes in one frame.
    """
    require_figures()
    directory_of_run = RunDirectory(directory)
    directory_of_run.require_one_frame()
    clock, run = Stopwatch(), read_run(directory)
    ways = {series.name: series.paths for series in run.landscape.series} if run.landscape else {}
    folder = output or directory_of_run.figures
    place, names = (directory, (folder.name,)) if output is None else (folder, ())  # ours goes as a whole: motions may be no more
    with files.replaced_together(place, "figures", names) as new:
        _draw_all(directory_of_run, run, ways, new / folder.name if output is None else new)
    directory_of_run.record("figures", folder=str(folder), seconds=clock.seconds())
    say(f"movies and figures: {folder.absolute()}")


def _draw_all(directory: RunDirectory, run: Run, ways: dict[str, list[Path]], folder: Path) -> None:
    """Draw to a folder."""
    files.make_folder(folder)
    for name, figure in figures.charts(run).items():
        figures.save(figure, folder / name)
    turns = movies.FRAMES + len(figures.VIEWS)
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=turns + len(ways) * (movies.FRAMES + 2 + figures.SURFACES))
        drawing = Drawing(folder, bar, task)
        spread = files.read_map(run.landscape.motion_map).density if run.landscape and ways else None
        for name, way in ways.items():
            _draw_motion(drawing, run, name, _volumes(way), spread)
        body = _volumes([directory.consensus])
        view = movies.best_view(_volumes(next(iter(ways.values()))) if ways else body)
        _draw_consensus(drawing, run, body, movies.scene_of(body, view, spread))


def _volumes(paths: Iterable[Path]) -> Tensor:
    return torch.stack([movies.fine(files.read_map(path).density) for path in paths])


def _draw_motion(drawing: Drawing, run: Run, name: str, way: Tensor, spread: np.ndarray | None) -> None:
    """A movie, its frames, and a row of surfaces."""
    scene = movies.scene_of(way, movies.best_view(way), spread)
    loop = movies.there_and_back(list(drawing.counted(movies.morph(scene, way, _SIDE), surfaces=2)))
    _write_movie(drawing.folder / name, loop)
    files.make_folder(drawing.folder / name)
    for number, frame in enumerate(loop):
        files.write_png(drawing.folder / name / f"{number:03d}.png", frame)
    drawn = list(drawing.counted(figures.along_motion(scene, way)))
    figures.save(figures.row(drawn, [""] * len(drawn), scene, _box(run)), drawing.folder / name)


def _draw_consensus(drawing: Drawing, run: Run, body: Tensor, scene: movies.Scene) -> None:
    """It turns; and it is seen from three sides."""
    _write_movie(drawing.folder / "consensus", list(drawing.counted(movies.turntable(scene, body[0], _SIDE))))
    drawn = list(drawing.counted(figures.three_views(scene, body[0])))
    figures.save(figures.row(drawn, list(figures.VIEWS), scene, _box(run)), drawing.folder / "consensus")


def _write_movie(path: Path, frames: list[np.ndarray]) -> None:
    files.write_mp4(path.with_suffix(".mp4"), frames, _SHOWN)
    files.write_gif(path.with_suffix(".gif"), frames, _SHOWN)


def _box(run: Run) -> float | None:
    return run.size * run.pixel_size if run.pixel_size else None
