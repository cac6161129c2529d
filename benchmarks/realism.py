"""Simulated class averages beside real ones: radial power spectra, backgrounds, and pictures of both.

.venv/bin/python benchmarks/realism.py SHARED_DATA docs/realism.png
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from torch import Tensor

from scoretomo import files
from scoretomo.commands.objects import open_object
from scoretomo.compute import random_stream
from scoretomo.config import ObjectSettings, RealismSettings
from scoretomo.simulation import average_class, measure, simulate_image

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
    realism: RealismSettings


STACKS = (
    Stack("80S", "ribosome80S/pf80S_cavgs_first24_136px_2.68A.mrcs", 2.68, "ribosome", RealismSettings()),
    Stack("60S", "slicem_60S/cavgs_60S_47_96px_4.36A.mrcs", 4.36, "large-subunit", RealismSettings(shift_scatter=0.6)),
)


def simulated(stack: Stack, size: int) -> Tensor:
    """Realistic class averages of the object on the real stack's grid."""
    movable = open_object(stack.object, size, stack.pixel_size, ObjectSettings(resolution=5.0)).movable
    taken = (simulate_image(movable, number, size, 0).volume for number in range(SIMULATED))
    return torch.stack(
        [average_class(volume, number, stack.pixel_size, 0, stack.realism).image for number, volume in enumerate(taken)]
    )


def main() -> None:
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    figure = plt.figure(figsize=(13, 3.4 * len(STACKS)), facecolor="white", layout="constrained")
    parts = figure.subfigures(len(STACKS), 2, width_ratios=(1, 2.4), squeeze=False)
    for row, stack in enumerate(STACKS):
        real = torch.from_numpy(files.read_images(data / stack.path).images)
        size = real.shape[-1]
        made = simulated(stack, size)
        band = stack.pixel_size / FINEST
        first, second = measure(real, band), measure(made, band)
        rings = int(band * size)
        ratio = (second.power / first.power)[1 : rings + 1]
        within = int(((ratio > 0.8) & (ratio < 1.2)).sum())
        print(
            f"{stack.title}: {len(real)} real images of {size}² at {stack.pixel_size} Å, {SIMULATED} simulated "
            f"({stack.object})"
        )
        print(
            "  power, simulated / real, ring by ring up to 1/15 Å:",
            " ".join(f"{value:.2f}" for value in ratio.tolist()),
        )
        print(f"  {within} of {rings} rings within 20 %; mean |log ratio| {float(ratio.log().abs().mean()):.2f}")
        for name, found in (("real", first), ("simulated", second)):
            print(
                f"  background of the {name}: mean {found.ring:+.2f}, spread {found.rim:.2f} (of the image's standard "
                f"deviation)"
            )
        axis = parts[row][0].subplots()
        for name, found, colour in (("real", first, "#222222"), ("simulated", second, "#0072b2")):
            axis.semilogy(found.frequency[1:] / stack.pixel_size, found.power[1:], label=name, color=colour)
        axis.axvline(1 / FINEST, color="#999999", linestyle=":")
        axis.set(title=stack.title, xlabel="frequency (1/Å)", ylabel="mean power")
        axis.legend(frameon=False)
        order = torch.randperm(len(real), generator=random_stream(0, "shown"))[:SHOWN]
        panels = parts[row][1].subplots(2, SHOWN)
        for line, name, images in zip(panels, ("real", "simulated"), (real[order], made[:SHOWN]), strict=True):
            line[0].set_ylabel(name)
            for axis, image in zip(line, images, strict=True):
                axis.imshow(image, cmap="gray")
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
    figure.savefig(output, dpi=80)


if __name__ == "__main__":
    main()
