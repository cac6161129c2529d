"""A map against its truth: FSC, resolution, area under the curve.

Everything is judged unmasked, after alignment over rotation, shift and hand, in the ball |k| < d/2 that every rotation
keeps: the last shell, d/2, is half a shell, for the map and the truth alike.

For a moving object the **conformation gain** says how much of the motion was seen: (F − s) / (c − s), where F is the
mean FSC of the reconstructions, s that of the best single map, the mean of all truths in the true poses, and c that of
the truth itself after the interpolation that any posed map has undergone. 0 is no better than one rigid map, 1 is
perfect. All three are compared in the same way: the single map, too, is aligned to every truth from anywhere and in
both hands, since in a nearly symmetric pose it may agree better than in the true one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from scipy.stats import skew
from torch import Tensor

from .alignment import Alignment, align, place, refine_alignment, zero_background
from .fourier import (
    area_under_fsc,
    centred_fft,
    centred_ifft,
    coordinates,
    fourier_shell_correlation,
    frequency_at,
    mean_fsc,
    pad_or_crop,
    radius,
    transform_at,
)
from .projection import rotate
from .requirements import require_comparable


@dataclass(frozen=True)
class EvaluationCriteria:
    """What an evaluation decides; source: chosen without a benchmark.

    Attributes:
        room: mean FSC between the best single map and the truth; with less there is no motion to see.
        skewed: skewness of the density of a molecule on an even background, at least.
    """

    room: float = 0.01
    skewed: float = 0.5


EVALUATION = EvaluationCriteria()


class FscComparison(NamedTuple):
    """How well a map agrees with its truth."""

    curve: Tensor  # FSC of shells 0 … d // 2
    mean_fsc: float  # over shells 1 … d // 2
    auc: float  # area under the FSC from 0 to 0.5 cycles per pixel, at most 0.5
    resolution_0_5: float  # where the FSC falls below 0.5, in Å (pixels without a pixel size)
    resolution_0_143: float  # … below 0.143
    alignment: Alignment
    moved: Tensor  # the map in its truth's frame, its background 0, (d, d, d)


def compare(volume: Tensor, truth: Tensor, pixel_size: float | None = None, *, hands: bool = True) -> FscComparison:
    """Align a map to its truth, wherever it starts from, and compare the two.

    Args:
        volume, truth: maps on one grid (see `common_grid`), shape (d, d, d), any units and background.
        pixel_size: Å per pixel; without it resolutions are in pixels.
        hands: also try the mirror image of the map.
    """
    return _compare(volume, truth, align(volume, truth, hands=hands), pixel_size)


def compare_in_place(volume: Tensor, truth: Tensor, pixel_size: float | None = None) -> FscComparison:
    """Compare a map with its truth, on which it already lies: the alignment is only refined, the hand kept.

    Args:
        volume, truth: maps on one grid, shape (d, d, d).
        pixel_size: Å per pixel; without it resolutions are in pixels.
    """
    return _compare(volume, truth, refine_alignment(volume, truth), pixel_size)


def _compare(volume: Tensor, truth: Tensor, alignment: Alignment, pixel_size: float | None) -> FscComparison:
    """Compare a map, moved by an alignment, with its truth."""
    moved = place(zero_background(volume), alignment)
    curve = fourier_shell_correlation(moved, _within_ball(truth))
    size = volume.shape[-1]
    return FscComparison(
        curve=curve,
        mean_fsc=float(mean_fsc(curve)),
        auc=area_under_fsc(curve, size),
        resolution_0_5=(pixel_size or 1.0) / frequency_at(curve, size, 0.5),
        resolution_0_143=(pixel_size or 1.0) / frequency_at(curve, size, 0.143),
        alignment=alignment,
        moved=moved,
    )


def _within_ball(volume: Tensor) -> Tensor:
    """Drop the frequencies that a rotation drops: |k| ≥ d/2."""
    size = volume.shape[-1]
    inside = radius(size, 3, dtype=volume.dtype, device=volume.device) < size / 2 * (1 - 1e-6)
    return centred_ifft(centred_fft(volume, 3) * inside, 3).real


class Pair(NamedTuple):
    """Two maps on one grid."""

    first: Tensor
    second: Tensor
    pixel_size: float | None


def common_grid(
    first: Tensor, second: Tensor, first_pixel_size: float | None = None, second_pixel_size: float | None = None
) -> Pair:
    """Bring two maps onto the grid of the coarser one (of two alike, the first's), keeping their true sizes.

    Args:
        first, second: maps, shapes (d, d, d) and (e, e, e).
        first_pixel_size, second_pixel_size: Å per pixel; may be absent where the maps have the same side.

    Raises:
        ValueError: the sides differ and a pixel size is unknown.
    """
    if first_pixel_size is None or second_pixel_size is None:
        require_comparable(first.shape[-1], second.shape[-1])
        return Pair(first, second, first_pixel_size or second_pixel_size)
    if math.isclose(first_pixel_size, second_pixel_size, rel_tol=1e-3) or first_pixel_size > second_pixel_size:
        ratio = first_pixel_size / second_pixel_size
        return Pair(first, regrid(second, first.shape[-1], ratio), first_pixel_size)
    return Pair(regrid(first, second.shape[-1], second_pixel_size / first_pixel_size), second, second_pixel_size)


def regrid(volume: Tensor, size: int, ratio: float) -> Tensor:
    """The map in a box of another side, its voxels ``ratio`` times as long; its density keeps its scale.

    The Fourier transform is taken at the new grid's frequencies, so nothing is stretched and any ratio will do.

    Args:
        volume: shape (d, d, d).
        size: new side in voxels.
        ratio: new pixel size / old pixel size, at least 1.
    """
    if math.isclose(ratio, 1, rel_tol=1e-3):
        return pad_or_crop(volume, size, 3)
    if ratio < 1:
        raise ValueError(f"voxels can only become longer, not {ratio:.3f} times as long")
    seen = pad_or_crop(volume, min(volume.shape[-1], math.ceil(size * ratio)), 3)  # the rest would fold over
    k = coordinates(size, 3, dtype=volume.dtype, device=volume.device).flatten(1).T * (2 * math.pi / size)
    inside = k.norm(dim=1) < math.pi * (1 - 1e-6)
    values = transform_at(seen[None], k[inside] / ratio)[0] / ratio**3
    spectrum = values.new_zeros(size**3)
    spectrum[inside] = values
    return centred_ifft(spectrum.reshape(size, size, size), 3).real


def contrast(volume: Tensor, criteria: EvaluationCriteria = EVALUATION) -> Literal[-1, 0, 1]:
    """Contrast of a map by the skewness of its density.

    Args:
        volume: shape (d, d, d).
        criteria: when the contrast is clear.

    Returns:
        1 for bright on dark, −1 for dark on bright, 0 where that is unclear.
    """
    skewness = float(skew(volume.numpy(), axis=None))
    if abs(skewness) <= criteria.skewed:
        return 0
    return 1 if skewness > 0 else -1


def single_map(truths: Iterable[Tensor], rotations: Iterable[Tensor]) -> Tensor:
    """The best single map of a moving object: the mean of all truths, each taken back to the common frame.

    Args:
        truths: volumes in the frames of their images, (d, d, d) each; read one by one, only one is held at a time.
        rotations: what turns the common frame into each image's, (3, 3) each.

    Returns:
        Map in the common frame, shape (d, d, d); `rotate` it by an image's rotation to compare it with its truth.
    """
    total, count = torch.zeros(()), 0
    for truth, rotation in zip(truths, rotations, strict=True):
        total, count = total + rotate(truth, rotation.mT), count + 1
    if not count:
        raise ValueError("the best single map needs at least one truth")
    return total / count


def interpolated(truth: Tensor, rotation: Tensor) -> Tensor:
    """The truth, (d, d, d), after the interpolation of a posed map: to the common frame, and back to its image's."""
    return rotate(rotate(truth, rotation.mT), rotation)


def conformation_gain(
    mean_fsc: float, single: float, ceiling: float, criteria: EvaluationCriteria = EVALUATION
) -> float:
    """How much of the motion was seen: 0 for the best single map, 1 for the truth after interpolation; below 0, worse.

    Args:
        mean_fsc: of the reconstructions, mean over the images; or AUC.
        single: the same of the best single map.
        ceiling: the same of the interpolated truth.
        criteria: when there is motion to see.

    Returns:
        The gain; nan where the truths are nearly alike, so that there is nothing to gain.
    """
    room = ceiling - single
    return (mean_fsc - single) / room if room > criteria.room else math.nan
