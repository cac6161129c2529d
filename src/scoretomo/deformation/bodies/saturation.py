"""The density of full matter, at which the union of bodies saturates, by what it leaves of the images.

Nothing tells it where no bodies overlap. So it moves only where the images agree that it should: by a parabola through
their residual at three values of it, if the slope is significant.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from .model import RigidBodies
from .overlap import overlap
from .views import Band, views
from .weights import band_residual_fractions


@dataclass(frozen=True)
class SaturationSettings:
    """How the saturation is moved.

    Attributes:
        step: relative difference of the values that are tried.
        reach: of these, how far it moves at a time.
        significance: standard errors that the slope is from 0, at least.
        every: one image in so many is looked at.
        outlier: an image is not looked at if more than this times the median is left of it.
    """

    step: float = 0.04
    reach: float = 1.5
    significance: float = 3.0
    every: int = 3
    outlier: float = 3.0


def adjusted_saturation(
    model: RigidBodies, band: Band, weight: Tensor, settings: SaturationSettings = SaturationSettings()
) -> RigidBodies:
    """The model with a saturation that leaves less of the images, if one does.

    Args:
        model: the model.
        band: the images.
        weight: of the points, shape (p,).
        settings: how far it is moved.
    """
    if model.saturation == 0 or len(model.of) == 1:
        return model
    few, some = model.of_images(slice(0, None, settings.every)), band._replace(data=band.data[:: settings.every])
    rest = some.data - views(few.bodies(), band.points)

    def left(factor: float) -> Tensor:
        trial = replace(few, saturation=few.saturation * factor)
        return band_residual_fractions(rest + overlap(trial, some), some, weight).double()

    below, here, above = (left(1 + number * settings.step) for number in (-1, 0, 1))
    inliers = here <= settings.outlier * here.median()
    slope, bend = ((above - below) / 2)[inliers], (above - 2 * here + below)[inliers].mean()
    spread = slope.std() / len(slope) ** 0.5
    if not slope.mean().abs() > settings.significance * spread:
        return model
    steps = -slope.mean() / bend if bend > 0 else -slope.mean().sign() * settings.reach
    moved = float(steps.clamp(-settings.reach, settings.reach))
    return replace(model, saturation=model.saturation * (1 + settings.step * moved))
