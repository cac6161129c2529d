"""From images as they came to images as they are used: background 0, one size, circular mask."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..config import ImportSettings
from ..fourier import pad_or_crop, resample
from ..requirements import exclusion_notes, field_of_view, parse_selection, require_usable
from .background import MASK_FRACTION, Background, disc, find_background, subtract_background
from .centring import centre_of_mass, shift
from .checks import find_unusable, grey_factors, looks_inverted, touches_edge
from .junk import find_junk, robust_spread

_NONE: Mapping[int, str] = MappingProxyType({})
_UNLIKE = 6.0  # factor between the power of an image and the median from which the image does not count for μ and s
_DEVIATIONS = 4.5  # and robust standard deviations of its logarithm


class Prepared(NamedTuple):
    """Images ready for use, and what was done to each."""

    images: Tensor  # background 0, 0 outside the circular mask, (n, d, d)
    numbers: list[int]  # of each in the user's stack, from 0
    mu: float  # (x − mu)/s has zero mean and unit variance inside the mask
    s: float
    side: int  # in pixels of the input: the field of view
    rows: list[dict[str, Any]]  # one for each image of the user's stack, columns of images.csv without source
    notes: list[str]  # what the user should know, a sentence each

    @property
    def pixel_factor(self) -> float:
        """How much longer a pixel is than it was."""
        return self.side / self.images.shape[-1]


def prepare(
    images: Tensor, settings: ImportSettings, *, name: str = "the stack", unused: Mapping[int, str] = _NONE
) -> Prepared:
    """Select, check, and prepare images: one affine map each, then shift, crop, Fourier cropping and the circular mask.

    Junk is excluded, unless the settings select images, or half of the images or more would be junk: then all are used.

    In the rows' words, a prepared image is (x − background) · scale, moved by (shift_x, shift_y) pixels of the input.
    The scale holds the contrast (−1 if inverted), the grey scale if images differ in it, and size/side for downsampled
    images, since f(V, R) = Σ_z V sums fewer, longer voxels: densities keep their scale.

    Args:
        images: as they came, shape (n, y, x).
        settings: what to do.
        name: what to call the images in messages.
        unused: why images were not used before, by number.

    Raises:
        InputError: a setting does not fit the images, or no image can be used.
    """
    count, height, width = images.shape
    side = field_of_view(height, width, settings, name)
    reasons = _reasons(images, settings.select, unused)
    numbers = [number for number in range(count) if not reasons[number]]
    require_usable(reasons, name)
    sign = -1.0 if settings.invert else 1.0
    used = _square(images[numbers].float() * sign, side)
    contrast = _contrast_notes(used, inverted=settings.invert)
    background = find_background(used, MASK_FRACTION * min(side, used.shape[-1]) / 2)
    used = subtract_background(used, background)
    junk = [""] * len(numbers) if contrast else find_junk(used)  # of images with the wrong contrast all are dark
    notes = contrast + _junk_notes(numbers, junk, unused, selected=settings.select is not None)
    if settings.select is None and _is_minority(junk):
        clean = _exclude_junk(reasons, numbers, junk)
        numbers = [numbers[place] for place in clean]
        used = used[clean]
        background = background.of(clean)
        junk = [""] * len(clean)
    factors = None if contrast else _grey_factors(used, [not reason for reason in junk])
    scale = (torch.ones_like(background.value) if factors is None else factors) * (settings.size or side) / side
    shifts = -centre_of_mass(used) if settings.recentre else torch.zeros_like(background.value)[:, None].expand(-1, 2)
    used = resample(pad_or_crop(shift(used, shifts), side, 2), settings.size or side, 2) * scale[:, None, None]
    touching = [number for number, touch in zip(numbers, touches_edge(used), strict=True) if touch]
    used = used * disc(used.shape[-1], device=used.device)
    notes = exclusion_notes(reasons) + notes + _background_notes(background, factors)
    notes += _edge_notes(touching, len(numbers))
    measured = torch.cat([background.value[:, None] * sign, scale[:, None] * sign, shifts], 1)
    return Prepared(used, numbers, *normalisation(used), side, _rows(reasons, touching, measured), notes)


def _exclude_junk(reasons: list[str], numbers: Sequence[int], junk: Sequence[str]) -> list[int]:
    """Write why junk is excluded into the reasons.

    Args:
        reasons: why each image of the stack is excluded, changed in place.
        numbers: of the images that were not excluded before.
        junk: why each of these is junk, or "".

    Returns:
        Places of the others among the numbers.
    """
    for number, reason in zip(numbers, junk, strict=True):
        reasons[number] = reason and f"looks like junk ({reason})"
    return [place for place, reason in enumerate(junk) if not reason]


def _square(images: Tensor, side: int) -> Tensor:
    """Images made square without losing what a crop to ``side`` keeps: cropped, or padded with the median of their
    border.
    """
    height, width = images.shape[-2:]
    if side <= min(height, width) or height == width:
        return pad_or_crop(images, min(height, width), 2)
    border = (
        torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1).median(1).values[:, None, None]
    )
    return pad_or_crop(images - border, max(height, width), 2) + border


def _reasons(images: Tensor, select: str | None, unused: Mapping[int, str]) -> list[str]:
    """Why each image is excluded before it is compared with the others, or ""."""
    chosen = list(range(len(images))) if select is None else parse_selection(select, len(images))
    reasons = ["not selected"] * len(images)
    for number, reason in zip(chosen, find_unusable(images[chosen], chosen), strict=True):
        reasons[number] = reason or ("" if select else unused.get(number, ""))
    return reasons


def _is_minority(junk: Sequence[str]) -> bool:
    """Whether fewer than half of the images are junk."""
    return 2 * sum(map(bool, junk)) < len(junk)


def _junk_notes(numbers: Sequence[int], junk: Sequence[str], unused: Mapping[int, str], *, selected: bool) -> list[str]:
    """Notes on junk that is used all the same: because it was selected, or because most images look like it."""
    if not selected:
        count = sum(map(bool, junk))
        if _is_minority(junk):
            return []
        reason = max(filter(None, junk), key=junk.count)
        return [
            f"{count} of {len(junk)} images look like junk (most: {reason}): all are used; name the good ones "
            "with --select"
        ]
    doubts = [(number, f"looks like junk ({reason})") for number, reason in zip(numbers, junk, strict=True) if reason]
    doubts += [(number, f"was not used before ({unused[number]})") for number in numbers if number in unused]
    return [f"image {number} {doubt}: used, as it was selected" for number, doubt in sorted(doubts)]


def _grey_factors(images: Tensor, good: Sequence[bool]) -> Tensor | None:
    """What brings the good images to one grey scale, and 1 for the others; None if they have one already."""
    places = [place for place, is_good in enumerate(good) if is_good]
    factors = grey_factors(images[places], disc(images.shape[-1], device=images.device)) if places else None
    return None if factors is None else torch.ones(len(images)).to(factors).index_put((torch.tensor(places),), factors)


def _contrast_notes(images: Tensor, *, inverted: bool) -> list[str]:
    if not looks_inverted(images):
        return []
    remedy = "remove --invert" if inverted else "turn the contrast with --invert"
    return [
        f"the particles look darker than their background{' once inverted' if inverted else ''}: if they are, {remedy}"
    ]


def _background_notes(background: Background, factors: Tensor | None) -> list[str]:
    masked = int(background.masked.sum())
    notes = []
    if masked:
        notes.append(
            f"a circular mask was already applied to {masked} of {len(background.value)} images: its edge was levelled"
        )
    if factors is not None:
        low = float(1 / factors.max())
        high = float(1 / factors.min())
        notes.append(f"grey scales differ from image to image ({low:.3g} to {high:.3g} times the median): made equal")
    return notes


def _edge_notes(touching: Sequence[int], count: int) -> list[str]:
    notes = []
    if touching:
        listed = ", ".join(map(str, touching[:20])) + (" …" if len(touching) > 20 else "")
        notes.append(f"the particle reaches the circular mask in image {listed}: try --recentre, or a larger --crop")
    if count == 1:
        notes.append("only one image can be used, which is not enough for a reconstruction")
    return notes


def _rows(reasons: Sequence[str], touching: Sequence[int], measured: Tensor) -> list[dict[str, Any]]:
    """One row per image of the stack; background, scale, shift_x, shift_y (n, 4) of the included ones, in order."""
    rows: list[dict[str, Any]] = []
    values = iter(measured.tolist())
    place = 0
    for number, reason in enumerate(reasons):
        included = not reason
        background, scale, x, y = next(values) if included else (None,) * 4
        rows.append(
            {
                "number": number,
                "included": included,
                "slice": place if included else None,
                "reason": reason,
                "warning": "the particle reaches the mask" if number in touching else "",
                "background": background,
                "scale": scale,
                "shift_x": x,
                "shift_y": y,
            }
        )
        place += included
    return rows


def normalisation(images: Tensor) -> tuple[float, float]:
    """The one affine map of a stack: (μ, s) such that (x − μ)/s has zero mean and unit variance inside the circular
    mask.

    Mean and variance are those of the images whose power is like that of most, so that no single image decides the map.
    Where all are, as in stacks without junk, they are those of all pixels.

    Args:
        images: background 0, shape (n, d, d).
    """
    inside = images[:, disc(images.shape[-1], device=images.device) > 0].double()
    power = inside.square().mean(1).clamp(min=1e-60).log()
    usual, spread = robust_spread(power)
    alike = inside[(power - usual).abs() <= max(math.log(_UNLIKE), _DEVIATIONS * spread)]
    return float(alike.mean()), float(alike.std(correction=0))


def correlation(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Normalised correlation of images inside a mask, without their means; shapes (…, d, d) broadcast to (…)."""
    a, b = first[..., mask > 0], second[..., mask > 0]
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=torch.finfo(a.dtype).tiny)
