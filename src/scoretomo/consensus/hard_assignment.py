"""Hard assignment: the single best pose of each image, and the volume that fits the images in these poses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..alignment import moved_onto
from ..images import shift
from ..matching import Poses, refine
from ..projection import mirror, project
from ..reconstruction.least_squares import posed_map
from . import Consensus, Iteration
from .outliers import find_outliers
from .soft_assignment import CentredImages, resized_images, symmetrised

_NEAR = 3.0  # λ of the difference to the volume of soft assignment, for few images and for noisy ones


def best_poses(volume: Tensor, images: Tensor, shifts: Tensor) -> Poses:
    """The best pose of each image in a volume.

    Args:
        volume: shape (d, d, d).
        images: empty space 0, shape (n, d, d).
        shifts: of the images, about, shape (n, 2).
    """
    poses = CentredImages(resized_images(images, volume.shape[-1]), -shifts).poses_in(volume)
    return poses._replace(shifts=poses.shifts + shifts)


def assign_hard(
    images: Tensor, last: Iteration, *, keep_near: bool, group: Tensor | None = None, rounds: int = 2
) -> Consensus:
    """The single best pose of each image, and the volume that fits the images in these, in turn.

    Few images in single poses leave gaps between their slices, and fitting the images alone undoes what soft assignment
    to many poses has put there. The best poses of noisy images suit their noise. In both cases the volume should stay
    near that of soft assignment where no image contradicts.

    Args:
        images: empty space 0, shape (n, d, d).
        last: iteration of soft assignment, at any size.
        keep_near: whether the volume stays near it.
        group: symmetry, shape (g, 3, 3).
        rounds: how often.
    """
    size = last.volume.shape[-1]
    moved = CentredImages(resized_images(images, size), last.shifts)
    volume, poses = last.volume, moved.poses_in(last.volume)
    for _ in range(rounds):
        good = ~find_outliers(poses)
        centred, rotations = shift(moved.images, -poses.shifts)[good], poses.rotations[good]
        if keep_near:
            missing = (centred - project(last.volume, rotations)) * moved.matcher.mask
            volume = last.volume + posed_map(missing, rotations, group=group, damping=_NEAR)
        else:
            volume = posed_map(centred, rotations, group=group, start=volume)
        poses = refine(volume, moved.images, poses)
    return Consensus(volume, poses._replace(shifts=poses.shifts - last.shifts))


def average(images: Tensor, several: Sequence[Consensus], *, group: Tensor | None = None) -> Consensus:
    """The mean of several consensus volumes of the same images, in the frame of the first, and the pose of each image
    in it.

    A volume of few images fits their errors, too, from each start in another way: the mean has less of them.

    Args:
        images: empty space 0, shape (n, d, d).
        several: consensus volumes of the size of the images.
        group: symmetry, shape (g, 3, 3).
    """
    first = several[0]
    reference = first.volume.cpu()
    moved = [moved_onto(other.volume.cpu(), reference) for other in several[1:]]
    mean = torch.stack([reference, *moved]).mean(0).to(images)
    mean = mean if group is None else symmetrised(mean, group)
    return Consensus(mean, best_poses(mean, images, first.poses.shifts))


def other_hand(consensus: Consensus) -> Consensus:
    """The mirror image, which has the same views in mirrored poses."""
    across = torch.diag(consensus.volume.new_tensor([1.0, 1.0, -1.0]))
    return Consensus(
        mirror(consensus.volume), consensus.poses._replace(rotations=across @ consensus.poses.rotations @ across)
    )
