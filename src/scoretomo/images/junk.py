"""Junk classes: averages that are unlike the others in ways that no view of a particle explains.

A view of a particle is bright on its surroundings, all views of one particle are about equally bright, and there is
empty space around it. Three figures of each image say how far that is so. They are compared with the medians of all
images, so that up to half of them may be junk, and no single image decides what is usual.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import coordinates, radius
from .background import MASK_FRACTION, disc
from .centring import centre_of_mass, shift
from .checks import bright_sum

_TO_SIGMA = 1.4826  # standard deviations of a normal distribution in a median absolute deviation


@dataclass(frozen=True)
class JunkCriteria:
    """From where an image counts as junk.

    The values were set on real averages of the 60S, 80S and 70S ribosomes, views of a toy hand, the moving capsid, and
    realistic averages of a moving box, each with six kinds of junk added. ``benchmarks/junk.py`` measures them on other
    sets.

    Attributes:
        inverted: darkest over brightest pixels. Averages have 0 – 0.6, a dark blob has 20.
        outlying: strength of the strongest pixel over that of the third strongest (of large images: of the strongest
            0.1 %).
        brightness: factor between the brightness of an image and the median. Within one job averages stay within 1.5,
            in stacks from several jobs within 12; averages without particles are fainter by 60 and more.
        several: share of the images from which those of another brightness are taken for another job's, if they show
            particles.
        slope: share of the variance inside the mask that a plane explains. Averages have 0 – 0.02, off the centre by a
            third of the side up to 0.53; a ramp or a step has 0.9.
        surroundings: root mean square of the surroundings over that of the particle. Averages have 0 – 0.16, those of
            few particles up to 0.32, long particles that reach the mask up to 0.4; noise has 0.75 and more.
        doubled: factor of brightness from which an image that also reaches further out than the others shows several
            particles.
        deviations: how many robust standard deviations the logarithm of the brightness, and the surroundings, must be
            from the median, besides.
        fewest: images below which nothing is compared.
    """

    inverted: float = 1.5
    outlying: float = 10.0
    slope: float = 0.75
    brightness: float = 20.0
    several: float = 0.1
    surroundings: float = 0.45
    doubled: float = 1.5
    deviations: float = 4.5
    fewest: int = 5


JUNK = JunkCriteria()
_EMPTY_SPACE = 0.05  # surroundings below this all count as empty
_FEW_PIXELS = 3
_TOGETHER = 256  # images that are moved at once


def find_junk(images: Tensor, criteria: JunkCriteria = JUNK) -> list[str]:
    """Why each image is no view of the particle that the others show, or "" where it may be one.

    Args:
        images: bright on dark, background 0, shape (n, d, d).
        criteria: from where on an image is junk. Of few images none is compared with the others.

    Returns:
        Reasons, n.
    """
    inside = images[:, disc(images.shape[-1], device=images.device) > 0]
    darkest, brightest = inside.quantile(0.005, dim=1), inside.quantile(0.995, dim=1)
    strongest = inside.abs().topk(max(_FEW_PIXELS, inside.shape[1] // 1000), dim=1).values
    kinds = {  # the first that fits is the reason
        "a few pixels far from all others": strongest[:, 0] > criteria.outlying * strongest[:, -1],
        "a slope or an edge across the image": _share_of_plane(images) > criteria.slope,
        "dark where the others are bright": -darkest > criteria.inverted * brightest,
    }
    if len(images) >= criteria.fewest:
        kinds |= _unlike_others(images, bright_sum(inside), criteria)
    return [next((reason for reason, fits in kinds.items() if fits[number]), "") for number in range(len(images))]


def _unlike_others(images: Tensor, sums: Tensor, criteria: JunkCriteria) -> dict[str, Tensor]:
    """Which images differ in brightness and surroundings from most; reason → (n,), bool.

    Args:
        images: as in `find_junk`.
        sums: of their bright pixels, (n,).
        criteria: from where on.
    """
    brightness = sums.clamp(min=1e-30).log()
    usual, spread = robust_spread(brightness)
    allowed = criteria.deviations * spread
    fainter = usual - brightness > max(math.log(criteria.brightness), allowed)
    brighter = brightness - usual > max(math.log(criteria.brightness), allowed)
    doubled = brightness - usual > max(math.log(criteria.doubled), allowed)
    surroundings = _surroundings(images)
    reaches_out = surroundings > max(
        _EMPTY_SPACE, float(surroundings.median()) + criteria.deviations * _spread_below(surroundings)
    )
    crowded = reaches_out & (surroundings > criteria.surroundings)
    of_another_job = (fainter | brighter) & ~reaches_out
    if of_another_job.float().mean() > criteria.several:
        fainter, brighter = fainter & reaches_out, brighter & reaches_out
    return {
        f"more than {criteria.brightness:g} times fainter than the others": fainter,
        f"more than {criteria.brightness:g} times brighter than the others": brighter,
        "no particle with empty space around it": crowded,
        "several particles: brighter than the others, and reaching further out": reaches_out & doubled,
    }


def robust_spread(values: Tensor) -> tuple[float, float]:
    """Median and robust standard deviation, from the median absolute deviation, of values of shape (n,)."""
    middle = values.median()
    return float(middle), _TO_SIGMA * float((values - middle).abs().median())


def _share_of_plane(images: Tensor) -> Tensor:
    """Share of the variance inside the mask that a plane explains, (n,)."""
    size = images.shape[-1]
    mask = disc(size, device=images.device) > 0
    inside = images[:, mask]
    inside = inside - inside.mean(1, keepdim=True)
    axes = coordinates(size, 2, device=images.device)[:, mask].T  # (pixels, 2)
    plane, _ = torch.linalg.qr(axes - axes.mean(0))
    return (inside @ plane).square().sum(1) / inside.square().sum(1).clamp(min=1e-30)


def _spread_below(values: Tensor) -> float:
    """Robust standard deviation of values (n,) from those below their median: what junk raises, it does not touch."""
    middle = values.median()
    return _TO_SIGMA * float((middle - values[values <= middle]).median())


def _surroundings(images: Tensor) -> Tensor:
    """Root mean square of the outer fifth of the mask over that of its middle, about the centre of what is bright,
    (n,).
    """
    distance = radius(images.shape[-1], 2, device=images.device)
    edge = MASK_FRACTION * images.shape[-1] / 2
    outside = (distance < edge) & (distance >= 0.8 * edge)
    middle = distance < 0.6 * edge
    ratios = []
    for some in images.split(_TOGETHER):
        power = shift(some, -centre_of_mass(some)).square()
        ratios.append(power[:, outside].mean(1) / power[:, middle].mean(1).clamp(min=1e-30))
    return torch.cat(ratios).sqrt()
