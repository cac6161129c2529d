"""A global search for images that rigid bodies explain badly, among the conformations of all others.

Gauss–Newton improves a pose that is nearly right. An image in a wrong one is matched with views of many conformations
from all directions instead, and stays there if little of it is left after a few steps.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...fourier import resample
from ..pose_rescue import RESCUE, RescueCriteria, match_conformations, spread
from .derivatives import residuals_of
from .gauss_newton import first_damping, fit_motion
from .model import RigidBodies
from .motions import rigid
from .views import band_of
from .weights import band_residual_fractions, equal_weights

_STEPS = 6  # of Gauss–Newton from the best match


class Searched(NamedTuple):
    """The model after the search."""

    model: RigidBodies
    moved: Tensor  # (n,), bool: images that have another pose and conformation


@torch.no_grad()
def search_poses(
    model: RigidBodies, images: Tensor, shells: int, some: Tensor, criteria: RescueCriteria = RESCUE
) -> Searched:
    """Move images that are explained badly to poses and conformations that explain them better.

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, e, e), e at least the side of the model.
        shells: that are compared.
        some: images that show this molecule, shape (n,), bool.
        criteria: when an image is moved.
    """
    band = band_of(images, model.size, shells)
    before = band_residual_fractions(residuals_of(model, band), band, band.weight)
    suspect = some & (before > criteria.suspect * before[some].median())
    others = (some & ~suspect).nonzero()[:, 0]
    if not suspect.any() or not len(others):
        return Searched(model, torch.zeros_like(some))
    suspects = suspect.nonzero()[:, 0]
    sources = others[spread(model.latent[others], criteria.conformations)]
    volumes = model.in_common_frame().volumes(sources.tolist())
    matched = match_conformations(resample(images[suspects], model.size, 2), volumes, criteria.directions)
    shifts = pad(matched.poses.shifts.double() / (model.size / 2), (0, 1))
    trial = replace(
        model,
        poses=rigid(matched.poses.rotations.double(), shifts),
        latent=model.latent[sources[matched.conformations]],
    )
    theirs = band._replace(data=band.data[suspects])
    trial = fit_motion(trial, theirs, equal_weights(theirs), first_damping(trial), steps=_STEPS, own=True).model
    after = band_residual_fractions(residuals_of(trial, theirs), theirs, band.weight)
    better = after < criteria.ratio * before[suspects]
    poses, latent, moved = model.poses.clone(), model.latent.clone(), torch.zeros_like(some)
    poses[suspects[better]], latent[suspects[better]] = trial.poses[better], trial.latent[better]
    moved[suspects[better]] = True
    return Searched(replace(model, poses=poses, latent=latent), moved)
