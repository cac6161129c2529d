"""The consensus volume: one volume that explains all images, and the pose of each image in it."""

from typing import NamedTuple

from torch import Tensor

from ..matching import Poses


class Consensus(NamedTuple):
    """A volume that explains all images, and the pose of each in it."""

    volume: Tensor  # (d, d, d)
    poses: Poses


class Iteration(NamedTuple):
    """The state after one iteration of soft assignment."""

    volume: Tensor  # (d, d, d)
    shifts: Tensor  # (n, 2): x, y in pixels, that bring each image to the centre
