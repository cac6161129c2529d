"""Which schedules a run takes, by its settings and by what its stages found."""

from dataclasses import replace
from typing import Literal

from ..config import ReconstructSettings
from ..consensus.soft_assignment import leave_gaps
from ..deformation.schedule import DeformationSettings
from ..presets import DEFORMATION, PRESETS, REFINEMENTS
from ..reconstruction.algorithm import Descent
from ..reconstruction.refinement import Refinement
from ..rotations import point_group
from ..rundir.directory import RunDirectory
from .posed import explained_images

# What a refinement begins with, a key of REFINEMENTS.
Start = Literal["undetermined", "symmetric", "rigid", "flexible", "modelled"]


def descent_schedule(settings: ReconstructSettings, size: int, start: Start = "undetermined") -> Descent | Refinement:
    """The schedule that makes a volume.

    Args:
        settings: of the run.
        size: side of the images in pixels.
        start: what a refinement begins with; only with the ensemble method.
    """
    if settings.method == "ensemble":
        refinement = REFINEMENTS[start]
        return refinement.at_side(size) if settings.steps is None else refinement.in_steps(settings.steps)
    preset = PRESETS[settings.method]
    return preset if settings.steps is None else replace(preset, steps=settings.steps)


def deformation_settings(settings: ReconstructSettings, size: int) -> DeformationSettings:
    """How the deformation model is fitted to images of a size: fewer descent steps mean fewer epochs, too."""
    usual = REFINEMENTS["modelled"].at_side(size).steps
    return DEFORMATION if settings.steps is None else DEFORMATION.share(min(1.0, settings.steps / usual))


def refinement_start(run: RunDirectory) -> Start:
    """What the volumes of a run start from, once the stages before them are done.

    Returns:
        The consensus volume of images too few for a flexibility test ("undetermined"; "symmetric", if with its symmetry
        they leave no gaps between their slices) or of a rigid molecule ("rigid"), or the deformation model, whose views
        are not yet near images ("flexible") or are ("modelled").
    """
    verdict = run.verdict
    if verdict == "flexible":
        return "modelled" if run.support.exists() and run.support.read().model_is_near else "flexible"
    if verdict == "rigid":
        return "rigid"
    return start_of_few(len(explained_images(run)), run.assigned.summary.read().symmetry)


def start_of_few(images: int, symmetry: str) -> Start:
    """The same of so many images of a molecule with a symmetry, without a flexibility test."""
    return "undetermined" if leave_gaps(images, point_group(symmetry)) else "symmetric"
