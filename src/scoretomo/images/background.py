"""Mask and background: what is empty in an image.

Class averages are bright on dark. Averages written by 2D classification often have a soft circular mask already: beyond
it they are constant, but that constant is not the value of empty space inside, where the contrast transfer leaves a
dark surround.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..fourier import coordinates, radius, soft_edge

MASK_FRACTION = 0.98  # of half the side: radius of the circular mask
BRIGHT = 0.3  # of the highest value above the background: where the particle is
_ROUND = 0.2  # how far the radius may vary with the direction, for it to be a mask, perhaps moved with its particle
_SAME = 0.08  # and how far from image to image
_BRIGHTEST = 0.9995  # share of the voxels that are less bright than the brightest
_RING = 0.9  # the background is measured from here to the edge of what is usable


def disc(size: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """The circular mask: 1 closer than 0.98 · size/2 to index size // 2, else 0; shape (size, size).

    Its edge is hard, so that it is the same whether applied once or twice.
    """
    return (radius(size, 2, device=device) < MASK_FRACTION * size / 2).to(dtype)


class Background(NamedTuple):
    """Empty space of each image, and the soft circular mask that was already applied to it, if any."""

    value: Tensor  # of empty space, (n,)
    outside: Tensor  # what the image is beyond an applied mask; the same as value where there is none, (n,)
    inner: Tensor  # radius where the edge of the applied mask begins, in pixels, infinite where there is none, (n,)
    outer: Tensor  # radius where it ends, (n,)

    @property
    def masked(self) -> Tensor:
        """Which images had a mask applied whose outside differs from their background, (n,) bool."""
        return self.inner.isfinite()

    def of(self, places: Sequence[int]) -> "Background":
        """The same of some images."""
        return Background(*(values[list(places)] for values in self))


def find_background(images: Tensor, reach: float) -> Background:
    """Find the value of empty space: the median in the outer ring of what is usable, without what is bright.

    Args:
        images: bright on dark, shape (n, d, d).
        reach: radius up to which the image will be used, in pixels.
    """
    distance = radius(images.shape[-1], 2, device=images.device)
    inner, outer, outside = _applied_masks(images, distance)
    value = torch.stack(
        [_ring_median(image, distance, min(reach, float(edge))) for image, edge in zip(images, inner, strict=True)]
    )
    return Background(value, torch.where(inner.isfinite(), outside, value), inner, outer)


def subtract_background(images: Tensor, background: Background) -> Tensor:
    """Bring empty space to 0, inside and outside of an applied mask, and across its soft edge; shape (n, d, d) as
    before.
    """
    distance = radius(images.shape[-1], 2, device=images.device)
    width = (background.outer - background.inner).nan_to_num(1.0).clamp(min=1e-3)
    edge = background.inner.clamp(max=1e6)
    inside = torch.stack(
        [soft_edge(distance, float(start), float(size)) for start, size in zip(edge, width, strict=True)]
    )
    value, outside = background.value[:, None, None], background.outside[:, None, None]
    return images - (inside * value + (1 - inside) * outside)


def _ring_median(image: Tensor, distance: Tensor, reach: float) -> Tensor:
    """Median of the ring within ``reach`` without the pixels that are bright enough to be of the particle."""
    ring = image[(distance >= _RING * reach) & (distance < reach)]
    top = image[distance < reach].quantile(0.995)
    first = ring.median()
    return ring[ring <= first + BRIGHT / 2 * (top - first)].median()


def _applied_masks(images: Tensor, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inner and outer radius of the edge of the mask applied to each image (infinite if none), and the value beyond.

    The mask of a stack is one and the same: what only a few images show, or each at another radius, is no mask.
    """
    outside = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].median(1).values
    none = torch.full((len(images), 2), torch.inf, device=images.device)
    edges = torch.tensor([_applied_mask(image, distance) for image in images], device=images.device)
    masked = edges[:, 0].isfinite()
    if masked.sum() * 2 < len(images):
        return *none.T, outside
    edge = edges[masked].median(0).values
    same = masked & ((edges[:, 1] - edge[1]).abs() <= _SAME * edge[1])
    if same.sum() * 2 < len(images):
        return *none.T, outside
    return *torch.where(same[:, None], edge, none).T, outside


def _applied_mask(image: Tensor, distance: Tensor) -> tuple[float, float]:
    """Radii between which the edge of an applied mask falls; infinite if there is none.

    It is a mask, not the outline of a particle in an empty image, if the image is constant beyond a circle, varies up
    to it in all directions, and just inside of it is darker than beyond, or flat (with something brighter further in).
    """
    none = (torch.inf, torch.inf)
    outside = image[[0, 0, -1, -1], [0, -1, 0, -1]].median()
    contrast = image.quantile(0.995) - image.quantile(0.005)
    varies = (image - outside).abs() > 1e-3 * contrast
    outer = float(distance[varies].max()) if varies.any() else 0.0
    if outer < 8 or (distance > outer).float().mean() < 0.01 or not _is_round(varies, outer):
        return none
    inner = _edge_begins(image - outside, distance, outer)
    empty = _ring_median(image, distance, inner)
    surround = image[(distance >= 0.7 * inner) & (distance < inner)]
    if (empty - outside).abs() < 0.01 * contrast:
        return none
    flat = surround.median() - surround.quantile(0.05) < 0.15 * (empty - outside)
    bright = image[distance < inner].quantile(0.995) - empty > 0.05 * contrast
    return (inner, outer) if empty < outside or (flat and bright) else none


def _is_round(varies: Tensor, outer: float, *, sectors: int = 16) -> bool:
    """Whether what varies reaches the same radius in all directions."""
    x, y = coordinates(varies.shape[-1], 2, device=varies.device)
    sector = ((torch.atan2(y, x) / (2 * torch.pi) + 0.5) * sectors).long() % sectors
    reached = [(torch.hypot(x, y) * varies)[sector == number].max() for number in range(sectors)]
    limit = min(outer, varies.shape[-1] // 2 - 1)  # the sides of the image may cut the circle off
    return float(min(reached)) > (1 - _ROUND) * limit


def _edge_begins(image: Tensor, distance: Tensor, outer: float) -> float:
    """Where the edge of a mask begins: at ``outer`` if it is hard, else by its steepest place and its end, taking it as
    symmetric.

    Args:
        image: minus what it is beyond the mask.
        distance: of each pixel from the centre.
        outer: radius beyond which nothing is left.
    """
    drop = torch.stack([image[(distance - shell).abs() <= 0.5].median() for shell in range(int(outer) + 2)]).abs()
    start = int(0.75 * outer)
    steepest = start + int((drop[start:-1] - drop[start + 1 :]).argmax())
    if drop[steepest] - drop[steepest + 1] > 0.6 * drop[start]:
        return outer
    faded = next((shell for shell in range(steepest, len(drop)) if drop[shell] < 0.05 * drop[start]), len(drop) - 1)
    return max(2 * (steepest + 0.5) - faded, 0.75 * outer)


def otsu_level(density: np.ndarray) -> float:
    """The value that best splits the voxels of a volume (d, d, d) into two classes (Otsu 1979): where its surface is.

    Voxels outside the particle, which are empty, do not count as a class of their own: only the sphere inside the box
    is used. What is below 0 counts as empty, and the brightest few voxels as no brighter than the others.
    """
    axis = np.arange(len(density)) - len(density) // 2
    inside = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 <= (len(density) / 2) ** 2
    values = density[inside].clip(0)
    top = max(float(np.quantile(values, _BRIGHTEST)), 1e-30)
    counts, edges = np.histogram(values.clip(max=top), 256, (0, top))
    share = counts / counts.sum()
    weight, mass = np.cumsum(share), np.cumsum(share * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * weight - mass) ** 2 / (weight * (1 - weight))
    return float(edges[np.nan_to_num(between, posinf=0.0).argmax() + 1])
