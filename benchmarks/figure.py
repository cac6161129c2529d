"""The pictures of the README: class averages, and each one's own volume beside its truth; trajectories from one end of
each mode to the other.

    make demo                                                                               4 min
    .venv/bin/python benchmarks/figure.py volumes demo/run docs/box.png
    .venv/bin/python benchmarks/figure.py modes demo/run docs/modes.png
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from scoretomo import files
from scoretomo.graphics import densities, surfaces
from scoretomo.images import otsu_level
from scoretomo.rundir.directory import RunDirectory

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIDE = 240


def surface(path: Path) -> np.ndarray:
    """The surface of a map as in the report."""
    values = densities.quantise(files.read_map(path).density, 64).values
    return surfaces.surface(values, otsu_level(values), 0.42, SIDE)


def volumes(run: Path) -> None:
    """Images, volumes and truths of eight, from the best to the worst."""
    directory = RunDirectory(run)
    ranked = sorted(directory.evaluation.rows.read(), key=lambda row: -row.mean_fsc)
    rows = [ranked[round(place)] for place in np.linspace(0, len(ranked) - 1, 8)]
    images = files.read_images(directory.images).images
    places = {row.number: row.slice for row in directory.image_rows.read() if row.included}
    _, axes = plt.subplots(3, len(rows), figsize=(1.5 * len(rows), 5.0), facecolor="white")
    for column, row in zip(axes.T, rows, strict=True):
        column[0].imshow(images[places[row.image]], cmap="gray")
        column[0].set_title(f"image {row.image}", fontsize=9)
        column[1].imshow(surface(directory.evaluation.aligned(directory.volume(row.image).name)))
        column[1].set_title(f"mean FSC {row.mean_fsc:.2f}", fontsize=9)
        column[2].imshow(surface(Path(row.truth)))
    for axis, name in zip(axes[:, 0], ("class average", "its volume", "truth"), strict=True):
        axis.set_ylabel(name, fontsize=10)
    _bare(axes)


def modes(run: Path) -> None:
    """Every second frame along each mode, one row each."""
    folder = RunDirectory(run).landscape
    series = [folder.frames(row.name)[::2] for row in folder.summary.read().trajectories]
    size = (1.5 * len(series[0]), 1.6 * len(series))
    _, axes = plt.subplots(len(series), len(series[0]), figsize=size, facecolor="white", squeeze=False)
    for number, (row, frames) in enumerate(zip(axes, series, strict=True), start=1):
        for axis, path in zip(row, frames, strict=True):
            axis.imshow(surface(path))
        row[0].set_ylabel(f"mode {number}", fontsize=10)
    _bare(axes)


def _bare(axes: np.ndarray) -> None:
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def main() -> None:
    what, run, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    {"volumes": volumes, "modes": modes}[what](run)
    plt.gcf().tight_layout(pad=0.6, h_pad=1.0)
    plt.savefig(output, dpi=80)


if __name__ == "__main__":
    main()
