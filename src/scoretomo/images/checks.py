"""What is wrong with images: unusable ones, wrong contrast, mixed grey scales, particles that do not fit."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..fourier import low_pass, radius
from ..requirements import unusable
from .background import BRIGHT, MASK_FRACTION, find_background

_SAME = 1 - 1e-5  # correlation from which two images count as the same
_GREY_TOLERANCE = 1.5  # real stacks of one origin stay within a factor 1.25
_FEW = 0.1  # share of the images: where fewer have another grey scale, the stack has one scale


def find_unusable(images: Tensor, numbers: Sequence[int]) -> list[str]:
    """Why each image cannot be used, or "" where it can: not finite, constant, or the same as an earlier one.

    Two images are the same if they differ only in brightness and contrast.

    Args:
        images: shape (n, y, x).
        numbers: what to call them, n.
    """
    reasons = [unusable(image) for image in images.numpy(force=True)]
    usable = [number for number, reason in enumerate(reasons) if not reason]
    for later, earlier in _duplicates(images[usable]).items():
        reasons[usable[later]] = f"the same as image {numbers[usable[earlier]]}"
    return reasons


def _duplicates(images: Tensor, *, chunk: int = 256) -> dict[int, int]:
    """Which images equal an earlier one up to brightness and contrast: later number → first number."""
    flat = images.flatten(1).double()
    flat = flat - flat.mean(1, keepdim=True)
    unit = (flat / flat.norm(dim=1, keepdim=True)).float()
    originals: dict[int, int] = {}
    for first in range(0, len(unit), chunk):
        same = unit[first : first + chunk] @ unit.T > _SAME
        for place, row in enumerate(same, start=first):
            earlier = int(row.nonzero()[0, 0]) if row.any() else place
            if earlier < place:
                originals[place] = earlier
    return originals


def looks_inverted(images: Tensor) -> bool:
    """Whether most particles in images of shape (n, d, d) are darker than their background.

    Particles stand out further from the background than its own ups and downs, to one side.
    """
    reach = MASK_FRACTION * images.shape[-1] / 2
    background = find_background(images, reach)
    inside = images[:, radius(images.shape[-1], 2, device=images.device) < min(reach, float(background.inner.min()))]
    above = inside.quantile(0.995, dim=1) - background.value
    below = background.value - inside.quantile(0.005, dim=1)
    return bool((below > above).float().mean() > 0.5)


def grey_factors(images: Tensor, mask: Tensor) -> Tensor | None:
    """Factors that bring images to one grey scale, or None if they have one already.

    All projections of a particle have the same sum, so a sum that differs tells the grey scale, whatever the view; the
    standard deviation would not, as it differs twofold between views of an elongated particle. Where a high-pass has
    left a dark surround, the sum is spoilt and that of the bright pixels serves: it agrees within 11 % (60S), 13 %
    (β-galactosidase) and 25 % (80S in 8 bit). The scale of an image differs only if both sums say so; where that of few
    does, the others keep theirs.

    Args:
        images: views of one particle, without junk, background 0, shape (n, d, d).
        mask: circular mask, shape (d, d).

    Returns:
        Shape (n,), 1 for the median and for an image whose sum is not positive; None while all are within a factor 1.5.
    """
    inside = images[:, mask > 0]
    bright = bright_sum(inside)
    total = inside.sum(1)
    surround = -inside.clamp(max=0).sum(1) / inside.clamp(min=0).sum(1).clamp(min=1e-30)
    by_bright, by_total = _factors(bright), _factors(total)
    informative = bool(total.quantile(_FEW) > 0)  # else the whole sum is mostly background
    factors = by_total if informative and bool(surround.median() < 0.1) else by_bright
    used = [by_bright, by_total] if informative else [by_bright]
    differ = torch.stack([factor.log().abs() > math.log(_GREY_TOLERANCE) for factor in used]).all(0)
    if not differ.any():
        return None
    few = differ.float().mean() <= _FEW
    return torch.where(differ, factors, 1.0) if few else factors


def _factors(sums: Tensor) -> Tensor:
    """What brings sums (n,) to their median; 1 where a sum is not positive."""
    return (
        torch.where(sums > 0, sums.median() / sums.clamp(min=1e-30), 1.0)
        if sums.median() > 0
        else torch.ones_like(sums)
    )


def bright_sum(inside: Tensor) -> Tensor:
    """The sum of the bright pixels of each image, those above 30 % of its brightest; shape (n, pixels) to (n,)."""
    return torch.where(inside > BRIGHT * inside.quantile(0.995, dim=1, keepdim=True), inside, 0).sum(1)


def touches_edge(images: Tensor) -> Tensor:
    """Which particles reach the edge of the circular mask: a fifth of their brightness in more than a spot of the
    outermost 6 %.

    Args:
        images: background 0, shape (n, d, d); a low-pass keeps noise from counting.

    Returns:
        Shape (n,), bool.
    """
    size = images.shape[-1]
    distance, edge = radius(size, 2, device=images.device), MASK_FRACTION * size / 2
    smooth = low_pass(images, size / 4, 2)
    rim = smooth[:, (distance < edge) & (distance >= edge - max(2.0, 0.06 * size))]
    top = smooth[:, distance < edge].quantile(0.995, dim=1, keepdim=True)
    return (rim > 0.2 * top).float().mean(1) > 0.0025
