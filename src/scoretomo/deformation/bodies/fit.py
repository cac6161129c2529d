"""The fit of rigid bodies to images, from coarse shells to fine ones.

A round finds the densities where the bodies stand, with the matter that would be there twice added to the images, and
then improves poses, latent coordinates and twists. At the coarsest level, whether densities add up or saturate is
decided by what is left of the images, and modes that share an axis are tried as one.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from torch import Tensor

from .densities import DensitySettings, fit_densities
from .derivatives import residuals_of
from .gauss_newton import Damping, StepSettings, first_damping, fit_motion
from .model import RigidBodies, full_density, regridded
from .overlap import overlap
from .saturation import SaturationSettings, adjusted_saturation
from .simplify import SimplifySettings, coaxial_modes, without_mode
from .views import Band, band_of
from .weights import WeightLimits, Weights, band_residual_fractions, equal_weights, weights_from_residuals


@dataclass(frozen=True)
class Level:
    """A grid, and how far it is used.

    Attributes:
        side: of the densities and the images, in pixels.
        shells: radius of the last ring.
        rounds: of densities and motion.
        steps: of Gauss–Newton in each round.
    """

    side: int
    shells: int
    rounds: int = 2
    steps: int = 2


@dataclass(frozen=True)
class BodySettings:
    """How rigid bodies are fitted.

    Attributes:
        coarse: levels of the first stage, all on one grid, as for simulated images of a box with two lids (88 pixels);
            how densities join and how many modes there are is decided after the first of them.
        growth: the last ring of a level is at most this times that of the level before.
        spare: side of a level, at least this times the radius of its last ring.
        union: densities saturate if less than this times the residual of their sum is left of the images: a sixth on
            images of that box from true bodies somewhat off.
        reach: of masks beyond what is dense, in voxels of a grid of 64 pixels or less, and as a share of larger ones.
    """

    coarse: tuple[Level, ...] = (Level(32, 13, rounds=3), Level(32, 16))
    growth: float = 1.25
    spare: float = 2.25
    union: float = 1.0
    reach: float = 2.0
    densities: DensitySettings = field(default_factory=DensitySettings)
    steps: StepSettings = field(default_factory=StepSettings)
    weights: WeightLimits = field(default_factory=WeightLimits)
    saturation: SaturationSettings = field(default_factory=SaturationSettings)
    simplify: SimplifySettings = field(default_factory=SimplifySettings)

    def levels(self, size: int) -> list[Level]:
        """What comes after the coarse stage, up to all shells of images of a size."""
        first, last = self.coarse[-1].shells, size // 2
        if last <= first:
            return []
        count = math.ceil(math.log(last / first) / math.log(self.growth) - 1e-9)
        radii = [round(first * (last / first) ** (number / count)) for number in range(1, count + 1)]
        sides = [min(size, 8 * math.ceil(self.spare * radius / 8)) for radius in radii]
        return [Level(side, radius) for side, radius in zip(sides, radii, strict=True)]


class FitStep(NamedTuple):
    """After a round."""

    level: Level
    round: int  # of this level, from 1
    residual: float  # median residual fraction of the images, all rings alike
    model: RigidBodies


class _State(NamedTuple):
    """What one round leaves for the next."""

    model: RigidBodies
    weights: Weights
    damping: Damping
    residual: float


_Rounds = Generator[FitStep, None, _State]


def fit_bodies(
    model: RigidBodies, images: Tensor, levels: Sequence[Level], settings: BodySettings = BodySettings()
) -> Iterator[FitStep]:
    """Fit a model that has densities, level by level; yields every round, the last one with the result.

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, d, d), d at least the side of the last level.
        levels: from coarse to fine.
        settings: of the fit.
    """
    for level in levels:
        if model.size != level.side:
            model = regridded(model, level.side, max(settings.reach, settings.reach * level.side / 64))
        band = band_of(images, level.side, level.shells)
        model = adjusted_saturation(model, band, band.weight, settings.saturation)
        state = yield from _rounds(_begin(model, band, settings), band, level, settings)
        model = state.model


def fit_coarse_bodies(model: RigidBodies, images: Tensor, settings: BodySettings = BodySettings()) -> Iterator[FitStep]:
    """Find densities of a model that has none, and decide how they join and how many modes there are.

    Args:
        model: masks, poses, coordinates and twists, on the grid of the coarse levels.
        images: centred, empty space 0, shape (n, d, d), d at least the side of the coarse levels.
        settings: of the fit.

    Yields:
        Every round, also of models that are given up; the last one has the result.
    """
    level, *finer = settings.coarse
    band = band_of(images, level.side, level.shells)
    added = _with_densities(model, band, equal_weights(band), settings.densities.first, settings)
    state = yield from _rounds(_begin(added, band, settings), band, level, settings)
    if len(model.of) > 1:
        united = yield from _rounds(_begin(_united(added, band, settings), band, settings), band, level, settings)
        state = united if united.residual < settings.union * state.residual else state
    state = yield from _with_fewest_modes(state, band, level, settings)
    yield from fit_bodies(state.model, images, finer, settings)


def _united(model: RigidBodies, band: Band, settings: BodySettings) -> RigidBodies:
    """A model of densities that add up as one whose densities saturate."""
    for _ in range(2):
        model = replace(model, saturation=1 / full_density(model.densities))
        model = _with_densities(model, band, equal_weights(band), settings.densities.first, settings)
    return model


def _begin(model: RigidBodies, band: Band, settings: BodySettings) -> _State:
    """Before the first round of a level."""
    return _State(model, equal_weights(band), first_damping(model, settings.steps), math.inf)


def _rounds(state: _State, band: Band, level: Level, settings: BodySettings) -> _Rounds:
    """The rounds of a level."""
    for number in range(1, level.rounds + 1):
        state = _round(state, band, level.steps, settings)
        yield FitStep(level, number, state.residual, state.model)
    return state


def _round(state: _State, band: Band, steps: int, settings: BodySettings) -> _State:
    """Densities, then motion; weights are found anew after each."""
    model = _with_densities(state.model, band, state.weights, settings.densities.steps, settings)
    weights = _weighed(residuals_of(model, band), band, state.weights, settings)
    fit = fit_motion(model, band, weights, state.damping, steps=steps, settings=settings.steps)
    left = fit.linearised.residuals
    plain = band_residual_fractions(left, band, band.weight)
    return _State(fit.model, _weighed(left, band, weights, settings), fit.damping, float(plain.median()))


def _with_densities(
    model: RigidBodies, band: Band, weights: Weights, steps: int, settings: BodySettings
) -> RigidBodies:
    """The model with new densities; the overlap is that of the ones before."""
    targets = band.data + overlap(model, band)
    return fit_densities(model, band, targets, weights, steps=steps, ridge=settings.densities.ridge).model


def _weighed(residuals: Tensor, band: Band, weights: Weights, settings: BodySettings) -> Weights:
    """Weights by what is left of the images."""
    fractions = band_residual_fractions(residuals, band, weights.of_points(band))
    return weights_from_residuals(residuals, band, fractions, settings.weights)


def _with_fewest_modes(state: _State, band: Band, level: Level, settings: BodySettings) -> _Rounds:
    """Let coaxial modes go, one after the other, as long as the images are explained nearly as well."""
    while pairs := coaxial_modes(state.model, settings.simplify):
        trials = []
        for gone, kept in pairs:
            fewer = without_mode(state.model, band, band.weight, gone, kept, settings.simplify)
            trials.append((yield from _rounds(_begin(fewer, band, settings), band, level, settings)))
        best = min(trials, key=lambda trial: trial.residual)
        best = yield from _rounds(best, band, level, settings)
        if best.residual > settings.simplify.worse * state.residual:
            break
        state = best
    return state
