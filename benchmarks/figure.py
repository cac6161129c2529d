"""The pictures of the README: class averages, and each one's own volume beside its truth; motions from one end to the other.

make demo && .venv/bin/python benchmarks/figure.py volumes demo/run docs/box.png
.venv/bin/python benchmarks/ensemble.py box --seeds 1
.venv/bin/python benchmarks/figure.py motions benchmarks/results/box32-ensemble-0 docs/motions.png
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from scoretomo import files
from scoretomo.graphics import densities, surfaces
from scoretomo.images import otsu_level

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIDE = 240


def surface(path: Path) -> np.ndarray:
    """The surface of a map as in the report."""
    values = densities.quantise(files.read_map(path).density, 64).values
    return surfaces.surface(values, otsu_level(values), 0.42, SIDE)


def volumes(run: Path) -> None:
    """Images, volumes and truths of eight, from the best to the worst."""
    ranked = sorted(files.read_table(run / "evaluation" / "scores.csv"), key=lambda row: -float(row["mean_fsc"]))
    rows = [ranked[round(place)] for place in np.linspace(0, len(ranked) - 1, 8)]
    images = files.read_images(run / "images.mrcs").images
    places = {int(row["number"]): int(row["slice"]) for row in files.read_table(run / "images.csv") if row["kept"] == "1"}
    _, axes = plt.subplots(3, len(rows), figsize=(1.5 * len(rows), 5.0), facecolor="white")
    for column, row in zip(axes.T, rows, strict=True):
        number = int(row["image"])
        column[0].imshow(images[places[number]], cmap="gray")
        column[0].set_title(f"image {number}", fontsize=9)
        column[1].imshow(surface(run / "evaluation" / "aligned" / f"{number:03d}.mrc"))
        column[1].set_title(f"mean FSC {float(row['mean_fsc']):.2f}", fontsize=9)
        column[2].imshow(surface(Path(row["truth"])))
    for axis, name in zip(axes[:, 0], ("class average", "its volume", "truth"), strict=True):
        axis.set_ylabel(name, fontsize=10)
    _bare(axes)


def motions(run: Path) -> None:
    """Every second frame along each motion, one row each."""
    ways = [sorted(folder.glob("*.mrc"))[::2] for folder in sorted((run / "landscape").glob("motion-*/"))]
    _, axes = plt.subplots(len(ways), len(ways[0]), figsize=(1.5 * len(ways[0]), 1.6 * len(ways)), facecolor="white", squeeze=False)
    for number, (row, way) in enumerate(zip(axes, ways, strict=True), start=1):
        for axis, path in zip(row, way, strict=True):
            axis.imshow(surface(path))
        row[0].set_ylabel(f"motion {number}", fontsize=10)
    _bare(axes)


def _bare(axes: np.ndarray) -> None:
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def main() -> None:
    what, run, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    {"volumes": volumes, "motions": motions}[what](run)
    plt.gcf().tight_layout(pad=0.6, h_pad=1.0)
    plt.savefig(output, dpi=80)


if __name__ == "__main__":
    main()
