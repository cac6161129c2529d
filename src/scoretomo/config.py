"""Settings and requests, as data: each class of settings is a group of options of a command, each field with its help.

They stand here, and not beside what they configure, so that a command can be read before anything heavy is loaded.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Bounds:
    """Values that a number may have; they stand beside the type of a setting."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf

    def __contains__(self, value: float) -> bool:
        """Whether a number is within the bounds; nan never is."""
        return self.at_least <= value <= self.at_most and value > self.above

    def __str__(self) -> str:
        """The bounds, as they stand after "should be"."""
        if self.above > -math.inf:
            return f"above {self.above:g}"
        return (
            f"at least {self.at_least:g}" if self.at_most == math.inf else f"from {self.at_least:g} to {self.at_most:g}"
        )


def bounds_of(kind: type) -> Mapping[str, Bounds]:
    """The bounds of a class of settings, by the names of its fields; only of fields that have bounds."""
    hints = get_type_hints(kind, include_extras=True)
    extras = {name: get_args(hint)[1:] for name, hint in hints.items() if get_origin(hint) is Annotated}
    return {name: extra for name, each in extras.items() for extra in each if isinstance(extra, Bounds)}


def out_of_bounds(settings: object) -> dict[str, str]:
    """Which settings of a group are out of their bounds, by name, and how: "should be at least 1, got 0"."""
    values = {name: (getattr(settings, name), bounds) for name, bounds in bounds_of(type(settings)).items()}
    return {
        name: f"should be {bounds}, got {value}"
        for name, (value, bounds) in values.items()
        if value is not None and value not in bounds
    }


_Range = tuple[float, float]


@dataclass(frozen=True)
class ImportSettings:
    """How images are prepared."""

    size: int | None = None
    """Side of the images to work with, in pixels; larger ones are downsampled. As they are if not given."""

    crop: int | None = None
    """Crop (or pad with background) to this side first, in pixels of the input. As they are if not given."""

    invert: bool = False
    """The particles are dark on light: invert the contrast."""

    recentre: bool = False
    """Move every particle to the centre by the centre of mass of its bright pixels."""

    select: str | None = None
    """Use only these images, by number from 0: 0,3,5-9. The others are left out of everything, the consensus, too. All
    if not given."""


@dataclass(frozen=True)
class TrainSettings:
    """The network score and its training."""

    network: Literal["fast", "paper", "paper-ribosome"] = "fast"
    """Network to train: "paper" has the paper's 3.9 million parameters, "paper-ribosome" the 5.3 million for its 80S
    images; "fast" works at a half to an eighth of the side, by its size, and costs a fifth."""

    examples: Annotated[int | None, Bounds(at_least=1)] = None
    """Noisy training images, all different; more is better. If not given, 240,000 for "fast", a quarter of an hour on
    two cores at 32 pixels, and 4,000,000 for the others, which need a GPU."""

    held_out: Annotated[int | None, Bounds(at_least=0)] = None
    """Held-out images, spread over the stack: the network is not trained on them, and its denoising error on them is
    measured. One in twenty if not given and there are 100 or more."""


@dataclass(frozen=True)
class ReconstructSettings:
    """How volumes are made from images."""

    method: Literal["ensemble", "annealed", "paper"] = "ensemble"
    """How volumes are reconstructed. "ensemble": first the consensus volume of all images, then a deformation model,
    then from there a volume for each image, all in one frame. The others start each volume empty: "paper" is Algorithm
    1 as published, with one fixed noise level; "annealed" lowers the noise level step by step, which is better."""

    denoiser: Literal["tangent", "exact", "network"] = "tangent"
    """The score of the images: "exact" is in closed form; "tangent" adds the directions in which the images vary;
    "network" is the paper's, which is trained first."""

    symmetry: str = "C1"
    """Point group of the molecule (Cn, Dn, T, O or I), imposed on the consensus and on every volume; "auto" determines
    it from the consensus. Only with the ensemble method."""

    hand: Literal["default", "flip"] = "default"
    """Class averages do not determine the hand of a molecule. "flip" gives the other hand than "default" does
    with the same seed. Only with the ensemble method."""

    steps: Annotated[int | None, Bounds(at_least=1)] = None
    """Descent steps; those of the method if not given. Fewer give a quick, rough result, and a rougher deformation
    model."""

    images: str | None = None
    """Make volumes of only these images, by number from 0: 0,3,5-9. The consensus and the score still use all images.
    All if not given."""

    seed: int = 0
    """Seed of all random numbers; on one machine the same seed gives the same volumes, whatever the number of
    workers."""


@dataclass(frozen=True)
class SampleSettings:
    """Which samples are drawn."""

    samples: Annotated[int, Bounds(at_least=1)] = 36
    """How many."""

    steps: Annotated[int, Bounds(at_least=2)] = 32
    """Noise levels from pure noise down to an image."""

    seed: int = 0
    """Seed of all random numbers; sample 17 is the same however many there are."""


@dataclass(frozen=True)
class SimulateSettings:
    """What is simulated."""

    images: Annotated[int, Bounds(at_least=1)] = 300
    """Number of images, each of another random conformation and direction."""

    size: Annotated[int, Bounds(at_least=8, at_most=1024)] = 88
    """Side of the images, in pixels."""

    pixel_size: Annotated[float | None, Bounds(above=0)] = None
    """Å per pixel of the images; if not given, that of a map, or one at which all of a model can be seen."""

    noise: Annotated[float, Bounds(at_least=0)] = 0.0
    """Standard deviation of white noise, relative to that of each noise-free image."""

    realistic: bool = False
    """Make each image as a microscope and 2D classification would: the average of many noisy particles."""

    seed: int = 0
    """Seed of all random numbers; image 17 is the same however many there are."""


@dataclass(frozen=True)
class ObjectSettings:
    """A map or an atomic model as the object."""

    resolution: Annotated[float | None, Bounds(above=0)] = None
    """To which the object is blurred, in Å; two pixels if not given, and for a map what it has."""

    symmetry: str | None = None
    """Repeat an atomic model by a point group (C7, D2, O, I) about its axes, or by its file's biological "assembly"."""

    trajectory: Path | None = None
    """Frames of an atomic model (.xtc, .trr, .dcd, .nc): each image takes its own. Needs the trajectories extra."""

    move: tuple[str, ...] = ()
    """A part that moves, each image by its own amount: "PART hinge LOW HIGH" in degrees or "PART shift LOW HIGH" in Å.
    PART is chains (A,B) or residues (A/10-50) of a model, or a mask file for a map. "axis X,Y,Z" and "through X,Y,Z"
    may follow; the axis is guessed if not. Give it once for each part."""


@dataclass(frozen=True)
class RealismSettings:
    """What the particles of a class are like; where two numbers are given, every class draws its own between them."""

    particles: tuple[int, int] = (50, 300)
    """Particles of a class."""

    orientation_scatter: _Range = (3.0, 5.0)
    """Orientations of the particles about the pose of their class, in degrees (root mean square of the whole angle)."""

    shift_scatter: Annotated[float, Bounds(at_least=0)] = 1.0
    """In-plane shifts of the particles, in pixels (root mean square of the distance)."""

    defocus: _Range = (1.0, 3.0)
    """Underfocus of the particles, in µm; every particle draws its own."""

    b_factor: Annotated[float, Bounds(at_least=0)] = 80.0
    """Decay of the contrast towards high frequencies, exp(−B k²/4), in Å²."""

    snr: _Range = (0.02, 0.1)
    """Signal-to-noise ratio of a particle: variance of its signal inside the mask, relative to the noise's."""

    bad_classes: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.05
    """Share of bad classes: few particles, mixed directions, off centre, or empty."""


@dataclass(frozen=True)
class ReproduceSettings:
    """How large an experiment is."""

    full: bool = False
    """The paper's size and network, instead of those that take half an hour on two cores. The cost is estimated
    first."""

    size: Annotated[int | None, Bounds(at_least=8, at_most=1024)] = None
    """Side of the images in pixels; that of the experiment if not given."""

    images: Annotated[int | None, Bounds(at_least=2)] = None
    """How many class averages; as many as the experiment has if not given, or all of the stack."""

    seed: int = 0
    """Seed of all random numbers."""


@dataclass(frozen=True)
class ImportRequest:
    """Class averages of a user, and how they are to be prepared."""

    stack: Path
    pixel_size: float | None = None
    """Å per pixel of the input, where the file has none or a wrong one."""

    settings: ImportSettings = ImportSettings()


@dataclass(frozen=True)
class RunRequest:
    """A run of all stages: its images, its directory and its settings."""

    images: ImportRequest
    output: Path
    volumes: ReconstructSettings = ReconstructSettings()
    training: TrainSettings = TrainSettings()


@dataclass(frozen=True)
class ReproduceRequest:
    """An experiment of the paper, its directory, and the data that take the place of simulated ones."""

    experiment: str
    output: Path
    settings: ReproduceSettings = ReproduceSettings()
    stack: Path | None = None
    truth: Path | None = None
    pixel_size: float | None = None
