"""Simulated class averages beside real ones: radial power spectra, backgrounds, and pictures of both.

    python benchmarks/realism.py  2 min

It draws docs/realism.png. Real images: --data, as in runs.py.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from machine import ROOT, Row, shown, write_record
from matplotlib.figure import SubFigure
from runs import DATA
from torch import Tensor

from scoretomo import files
from scoretomo.commands.objects import open_object
from scoretomo.compute import random_stream
from scoretomo.config import ObjectSettings, RealismSettings
from scoretomo.simulation import StackStatistics, average_class, measure, simulate_image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FINEST = 15.0  # Å
SIMULATED = 48  # images, enough that the mean spectrum hardly depends on their number
SHOWN = 6


class Stack(NamedTuple):
    """A real stack, and the object that stands for its molecule."""

    title: str
    path: str
    pixel_size: float
    object: str
    described: str  # the object, as the record names it
    realism: RealismSettings


MORE_SHIFTS = RealismSettings(shift_scatter=0.6)
STACKS = (
    Stack("80S", "ribosome80S/pf80S_cavgs_first24_136px_2.68A.mrcs", 2.68, "ribosome", "ribosome", RealismSettings()),
    Stack(
        "60S",
        "slicem_60S/cavgs_60S_47_96px_4.36A.mrcs",
        4.36,
        "large-subunit",
        "large-subunit, shifts of 0.6 px",
        MORE_SHIFTS,
    ),
)


def simulated(stack: Stack, size: int) -> Tensor:
    """Realistic class averages of the object on the real stack's grid."""
    movable = open_object(stack.object, size, stack.pixel_size, ObjectSettings(resolution=5.0)).movable
    taken = (simulate_image(movable, number, size, 0).volume for number in range(SIMULATED))
    return torch.stack(
        [average_class(volume, number, stack.pixel_size, 0, stack.realism).image for number, volume in enumerate(taken)]
    )


def compared(stack: Stack, real: Tensor, statistics: tuple[StackStatistics, StackStatistics]) -> Row:
    """A row of the record: statistics of real and simulated images."""
    first, second = statistics
    rings = int(stack.pixel_size / FINEST * real.shape[-1])
    ratio = (second.power / first.power)[1 : rings + 1]
    print("power, simulated / real, ring by ring:", " ".join(f"{value:.2f}" for value in ratio.tolist()))
    return {
        "real stack": stack.title,
        "images": len(real),
        "side / px": real.shape[-1],
        "Å/px": stack.pixel_size,
        "object": stack.described,
        "rings within 20 % of the real power": int(((ratio > 0.8) & (ratio < 1.2)).sum()),
        "rings": rings,
        "mean deviation of log power": float(ratio.log().abs().mean()),
        "background, real": first.ring,
        "background, simulated": second.ring,
    }


def draw_power(figure: SubFigure, stack: Stack, statistics: tuple[StackStatistics, StackStatistics]) -> None:
    """Radial power of both."""
    axis = figure.subplots()
    for name, each, colour in zip(("real", "simulated"), statistics, ("#222222", "#0072b2"), strict=True):
        axis.semilogy(each.frequency[1:] / stack.pixel_size, each.power[1:], label=name, color=colour)
    axis.axvline(1 / FINEST, color="#999999", linestyle=":")
    axis.set(title=stack.title, xlabel="frequency (1/Å)", ylabel="mean power")
    axis.legend(frameon=False)


def draw_images(figure: SubFigure, real: Tensor, made: Tensor) -> None:
    """Some real images above simulated ones."""
    order = torch.randperm(len(real), generator=random_stream(0, "shown"))[:SHOWN]
    panels = figure.subplots(2, SHOWN)
    for line, name, images in zip(panels, ("real", "simulated"), (real[order], made[:SHOWN]), strict=True):
        line[0].set_ylabel(name)
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    folder = parser.parse_args().data
    begin, rows = time.monotonic(), []
    figure = plt.figure(figsize=(13, 3.4 * len(STACKS)), facecolor="white", layout="constrained")
    parts = figure.subfigures(len(STACKS), 2, width_ratios=(1, 2.4), squeeze=False)
    for (left, right), stack in zip(parts, STACKS, strict=True):
        real = torch.from_numpy(files.read_images(folder / stack.path).images)
        made = simulated(stack, real.shape[-1])
        statistics = measure(real, stack.pixel_size / FINEST), measure(made, stack.pixel_size / FINEST)
        rows.append(shown(compared(stack, real, statistics)))
        draw_power(left, stack, statistics)
        draw_images(right, real, made)
    figure.savefig(ROOT.parent / "docs" / "realism.png", dpi=80)
    write_record("realism", rows, seeds=[0], seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main()
