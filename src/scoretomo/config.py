"""What a user can ask for, as data: each class is a group of options of a command, each field with its help.

They stand here, and not beside what they configure, so that a command can be read before anything heavy is loaded.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

_Range = tuple[float, float]


@dataclass(frozen=True)
class ImportSettings:
    """How images are prepared."""

    size: int | None = None
    """Side of the images to work with, in pixels; larger ones are downsampled. As they are if not given."""

    crop: int | None = None
    """Crop (or pad with background) to this side first, in pixels of the input. As they are if not given."""

    invert: bool = False
    """The particles are dark on light: turn the contrast."""

    recentre: bool = False
    """Move every particle to the centre by the centre of mass of what is bright."""

    select: str | None = None
    """Use only these images, by number from 0: 0,3,5-9. All if not given."""


@dataclass(frozen=True)
class TrainSettings:
    """The network score and its training."""

    network: Literal["fast", "paper", "paper-ribosome"] = "fast"
    """Network to train: "paper" has the paper's 3.9 million parameters, "paper-ribosome" the 5.3 million for its 80S images;
    "fast" works at half the side and costs a fifth."""

    examples: Annotated[int | None, Parameter(validator=validators.Number(gte=1), show_default=False)] = None
    """Noisy images that the network sees, all different; more is better. If not given, "fast" sees 240,000, a quarter of an hour
    on two cores at 32 pixels, and the others 4,000,000, which is for a GPU."""

    held_out: Annotated[int | None, Parameter(validator=validators.Number(gte=0), show_default=False)] = None
    """Images, spread over the stack, that are kept from the network to see whether it knows more than it was shown; one in
    twenty if not given and there are 100 or more."""


@dataclass(frozen=True)
class ReconstructSettings:
    """How volumes are made from images."""

    method: Literal["ensemble", "annealed", "paper"] = "ensemble"
    """How volumes are found. "ensemble": first one volume that explains all images, then how it moves, then from there a volume
    for each, all in one frame. The others start each volume from nothing: "paper" is Algorithm 1 as published, with one fixed
    noise level; "annealed" lets the noise level fall, which is better."""

    denoiser: Literal["tangent", "exact", "network"] = "tangent"
    """What knows how images look: "exact" is the score of the images themselves, in closed form; "tangent" also knows the
    ways in which they vary; "network" is the paper's, which learns first."""

    symmetry: str = "C1"
    """Point group of the molecule (Cn, Dn, T, O or I), imposed on the consensus and on every volume; "auto" looks for one in
    the consensus. Only with the ensemble method."""

    hand: Literal["found", "flip"] = "found"
    """Class averages can't tell a molecule from its mirror image. "flip" gives the other hand of what the same seed finds, for
    those who know better. Only with the ensemble method."""

    steps: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    """Descent steps; those of the method if not given. Fewer give a quick, rough look, and learn less of the motion."""

    images: str | None = None
    """Reconstruct only these images, by number: 0,3,5-9. All if not given."""

    seed: int = 0
    """Seed of all random numbers; on one machine the same seed gives the same volumes, whatever the number of workers."""


@dataclass(frozen=True)
class SampleSettings:
    """Which samples are drawn."""

    samples: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 36
    """How many."""

    steps: Annotated[int, Parameter(validator=validators.Number(gte=2))] = 32
    """Noise levels on the way from noise to image."""

    seed: int = 0
    """Seed of all random numbers; sample 17 is the same however many there are."""


@dataclass(frozen=True)
class SimulateSettings:
    """What is simulated."""

    images: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 300
    """Number of images, each of another random conformation and direction."""

    size: Annotated[int, Parameter(validator=validators.Number(gte=8, lte=1024))] = 88
    """Side of the images, in pixels."""

    pixel_size: Annotated[float | None, Parameter(validator=validators.Number(gt=0), show_default=False)] = None
    """Å per pixel of the images; if not given, that of a map, or one at which all of a model can be seen."""

    noise: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0
    """Standard deviation of white noise, relative to that of each noise-free image."""

    realistic: bool = False
    """Make each image as a microscope and 2D classification would: the average of many noisy particles."""

    seed: int = 0
    """Seed of all random numbers; image 17 is the same however many there are."""


@dataclass(frozen=True)
class ObjectSettings:
    """A map or an atomic model as the object."""

    resolution: Annotated[float | None, Parameter(validator=validators.Number(gt=0), show_default=False)] = None
    """To which the object is blurred, in Å; two pixels if not given, and for a map what it has."""

    symmetry: str | None = None
    """Repeat an atomic model by a point group (C7, D2, O, I) about its axes, or by its file's biological "assembly"."""

    trajectory: Path | None = None
    """Frames of an atomic model (.xtc, .trr, .dcd, .nc): each image takes its own. Needs the trajectories extra."""

    move: tuple[str, ...] = ()
    """A part that moves, each image by its own amount: "PART hinge LOW HIGH" in degrees or "PART shift LOW HIGH" in Å. PART is
    chains (A,B) or residues (A/10-50) of a model, or a mask file for a map. "axis X,Y,Z" and "through X,Y,Z" may follow; the axis
    is guessed if not. Give it once for each part."""


@dataclass(frozen=True)
class RealismSettings:
    """What the particles of a class are like; where two numbers are given, every class draws its own between them."""

    particles: tuple[int, int] = (50, 300)
    """Particles of a class."""

    orientation_scatter: _Range = (3.0, 5.0)
    """How far particles of a class are turned from its pose, in degrees (root mean square of the whole angle)."""

    shift_scatter: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 1.0
    """How far particles are off centre, in pixels (root mean square of the distance)."""

    defocus: _Range = (1.0, 3.0)
    """Underfocus of the particles, in µm; every particle draws its own."""

    b_factor: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 80.0
    """How fast the contrast falls towards high frequencies, exp(−B k²/4), in Å²."""

    snr: _Range = (0.02, 0.1)
    """Signal-to-noise ratio of a particle: variance of what is seen of it inside the mask, relative to the noise's."""

    bad_classes: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.05
    """Share of classes that went wrong: few particles, mixed directions, off centre, or empty."""


@dataclass(frozen=True)
class ReproduceSettings:
    """How large an experiment is."""

    full: bool = False
    """The paper's size and network instead of one that two cores finish in half an hour. The cost is estimated first."""

    size: Annotated[int | None, Parameter(validator=validators.Number(gte=8, lte=1024), show_default=False)] = None
    """Side of the images in pixels; that of the experiment if not given."""

    images: Annotated[int | None, Parameter(validator=validators.Number(gte=2), show_default=False)] = None
    """How many class averages; as many as the experiment has if not given, or all of the stack."""

    seed: int = 0
    """Seed of all random numbers."""


def point_group_name(group: str) -> str:
    """The name of a point group as Schoenflies has it: C7, D2, T, O or I.

    Raises:
        ValueError: there is no such group.
    """
    name = group.strip().upper()
    if not re.fullmatch(r"T|O|I|[CD][1-9]\d?", name):
        raise ValueError(f"{group!r} is no point group such as C3, D2, T, O or I")
    return name
