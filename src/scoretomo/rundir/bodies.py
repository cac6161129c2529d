"""Rigid bodies of a run: which part turns about which axis, how far in each image, and the densities of all."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .. import files
from ..deformation.bodies.model import Copies
from .directory import RunDirectory
from .rows import AngleRow, BodyRow


class BodyDensities(NamedTuple):
    """Densities of rigid bodies in the common frame, in the units of the data."""

    densities: Tensor  # (k, d, d, d)
    saturation: float  # one over the density of full matter; 0 where densities add up
    copies: Copies | None  # of a symmetric molecule


class BodyMotions(NamedTuple):
    """What the rigid bodies of a run do."""

    rows: list[BodyRow]  # the one that rests first
    angles: Mapping[int, AngleRow]  # by the number of the image; of class 1
    path: Path  # of their densities


def read_body_motions(run: RunDirectory) -> BodyMotions | None:
    """What the rigid bodies of a run do; None where it has none, or not yet."""
    rows, angles = run.body_rows.read(), run.angles.read()
    if run.motion != "bodies" or not rows or not angles:
        return None
    class_2 = {row.image for row in run.poses.read() if row.class_number == 2}
    return BodyMotions(rows, {row.image: row for row in angles if row.image not in class_2}, run.model)


def read_body_densities(path: Path, scale: float) -> BodyDensities:
    """The densities of the rigid bodies of a run.

    Args:
        path: of the model.
        scale: s of the import: a normalised image is (x − mu) / s.
    """
    arrays, record = files.read_weights(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    copies = Copies(tensors["of"], tensors["places"]) if "of" in tensors else None
    return BodyDensities(scale * tensors["densities"], record["saturation"] / scale, copies)
