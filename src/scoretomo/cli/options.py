"""Groups of options, options that several commands have, and the check of their bounds."""

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from ..config import (
    Bounds,
    ImportSettings,
    ObjectSettings,
    RealismSettings,
    ReconstructSettings,
    ReproduceSettings,
    SampleSettings,
    SimulateSettings,
    TrainSettings,
    out_of_bounds,
)

IMAGES = Group("Images", sort_key=1)
SCORE = Group("Network score (--denoiser network)", sort_key=3)
TRAINING = Group("Training", sort_key=3)
VOLUMES = Group("Volumes", sort_key=2)
WHERE = Group("Where and how", sort_key=0)
OBJECT = Group("A map or an atomic model as the object", sort_key=2)
REALISM = Group("Realistic class averages (--realistic); two numbers are the ends of a range", sort_key=3)

_WORKERS = Bounds(at_least=1)


def flag(name: str) -> str:
    """The option of a setting: --held-out of held_out."""
    return f"--{name.replace('_', '-')}"


def within_bounds(kind: type, settings: object) -> None:
    """Refuse a group of settings with a number out of its bounds.

    Raises:
        ValueError: there is one.
    """
    for name, what in out_of_bounds(settings).items():
        raise ValueError(f"{flag(name)} {what}")


def _enough_workers(kind: type, workers: int | None) -> None:
    if workers is not None and workers not in _WORKERS:
        raise ValueError(f"--workers should be {_WORKERS}, got {workers}")


def _block(group: Group) -> Parameter:
    """An option for each field of a settings class, each within its bounds."""
    return Parameter(name="*", group=group, validator=within_bounds)


PixelSize = Annotated[
    float | None,
    Parameter(group=IMAGES, help="Å per pixel of the input; needed only where the file has none or a wrong one."),
]
Output = Annotated[Path, Parameter(alias="-o", group=WHERE)]
Workers = Annotated[
    int | None,
    Parameter(
        group=WHERE,
        validator=_enough_workers,
        help="Processes to use, each with one thread; if not given, one for each core, as far as memory reaches. "
        "The result does not depend on it.",
    ),
]
Force = Annotated[
    bool,
    Parameter(group=WHERE, negative="", help="Start afresh; earlier results are removed once the new run has begun."),
]
Stack = Annotated[
    Path,
    Parameter(
        name="--stack",
        group=WHERE,
        help="Class averages: .mrcs, .mrc, .star (RELION), .cs (cryoSPARC), .hdf (EMAN2) or .npy.",
    ),
]
Directory = Annotated[Path, Parameter(name="--directory", group=WHERE)]
MaybeOutput = Annotated[Path | None, Parameter(alias="-o", group=WHERE, show_default=False)]

Importing = Annotated[ImportSettings, _block(IMAGES)]
Volumes = Annotated[ReconstructSettings, _block(VOLUMES)]
Training = Annotated[TrainSettings, _block(SCORE)]
TrainingAlone = Annotated[TrainSettings, _block(TRAINING)]
Sampling = Annotated[SampleSettings, _block(IMAGES)]
Simulating = Annotated[SimulateSettings, _block(IMAGES)]
Objects = Annotated[ObjectSettings, _block(OBJECT)]
Realism = Annotated[RealismSettings, _block(REALISM)]
Reproducing = Annotated[ReproduceSettings, _block(VOLUMES)]
