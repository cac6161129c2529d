"""The picture of the README: class averages, and each one's own volume beside its truth.

make demo && .venv/bin/python benchmarks/figure.py demo/run docs/box.png
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from scoretomo import files
from scoretomo.report import densities, pictures

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIDE = 240


def surface(path: Path) -> np.ndarray:
    """The surface of a map as in the report."""
    values = densities.quantise(files.read_map(path).density, 64).values
    return pictures.surface(values, pictures.otsu_level(values), 0.42, SIDE)


def main() -> None:
    run, output = Path(sys.argv[1]), Path(sys.argv[2])
    rows = sorted(files.read_table(run / "evaluation" / "scores.csv"), key=lambda row: -float(row["mean_fsc"]))
    images = files.read_images(run / "images.mrcs").images
    places = {int(row["number"]): int(row["slice"]) for row in files.read_table(run / "images.csv") if row["kept"] == "1"}
    figure, axes = plt.subplots(3, len(rows), figsize=(1.5 * len(rows), 4.7), facecolor="white")
    for column, row in zip(axes.T, rows, strict=True):
        number = int(row["image"])
        column[0].imshow(images[places[number]], cmap="gray")
        column[0].set_title(f"image {number}", fontsize=9)
        column[1].imshow(surface(run / "evaluation" / "aligned" / f"{number:03d}.mrc"))
        column[1].set_title(f"mean FSC {float(row['mean_fsc']):.2f}", fontsize=9)
        column[2].imshow(surface(Path(row["truth"])))
    for axis, name in zip(axes[:, 0], ("class average", "its volume", "truth"), strict=True):
        axis.set_ylabel(name, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.tight_layout(pad=0.4)
    figure.savefig(output, dpi=80)


if __name__ == "__main__":
    main()
