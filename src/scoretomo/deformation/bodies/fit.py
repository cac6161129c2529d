"""The fit of rigid bodies to images, from coarse shells to fine ones.

A round finds the densities where the bodies stand, with the matter that would be there twice added to the images, and
then improves poses, latent coordinates and twists. At the coarsest level, whether densities add up or saturate is
decided by what is left of the images, and modes that share an axis are tried as one.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
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

    coarse: tuple[Level, ...] = (Level(32, 13, rounds=3), Level(32, 16, rounds=8))
    growth: float = 1.25
    spare: float = 2.25
    union: float = 1.0
    reach: float = 2.0
    densities: DensitySettings = field(default_factory=DensitySettings)
    steps: StepSettings = field(default_factory=StepSettings)
    weights: WeightLimits = field(default_factory=WeightLimits)
    saturation: SaturationSettings = field(default_factory=SaturationSettings)
    simplify: SimplifySettings = field(default_factory=SimplifySettings)

    def coarse_levels(self, size: int) -> list[Level]:
        """The coarse levels for images of a size, which may be smaller."""

        def smaller(level: Level) -> Level:
            side = min(level.side, size)
            return replace(level, side=side, shells=level.shells * side // level.side)

        return [smaller(level) for level in self.coarse]

    def levels(self, size: int) -> list[Level]:
        """What comes after the coarse stage, up to all shells of images of a size."""
        first, last = self.coarse_levels(size)[-1].shells, size // 2
        if last <= first:
            return [Level(size, last)] if size > self.coarse[-1].side else []
        count = math.ceil(math.log(last / first) / math.log(self.growth) - 1e-9)
        radii = [round(first * (last / first) ** (number / count)) for number in range(1, count + 1)]
        sides = [min(size, 8 * math.ceil(self.spare * radius / 8)) for radius in radii]
        return [Level(side, radius) for side, radius in zip(sides, radii, strict=True)]


class Shares(NamedTuple):
    """Which images take part in what; every image has its own pose and coordinates."""

    fitted: Tensor  # (n,), bool: densities and twists are fitted to it
    judged: Tensor  # (n,), bool: its residual decides

    @staticmethod
    def all_of(images: Tensor) -> "Shares":
        """All images are fitted, and judged."""
        every = torch.ones(len(images), dtype=torch.bool, device=images.device)
        return Shares(every, every)


class FitStep(NamedTuple):
    """After a round."""

    level: Level
    round: int  # of this level, from 1
    residual: float  # median residual fraction of the images that are judged, all rings alike
    fractions: Tensor  # (n,): of all images
    model: RigidBodies


class _Task(NamedTuple):
    """What a round is about."""

    band: Band
    shares: Shares
    settings: BodySettings

    def equal_weights(self) -> Weights:
        """All rings alike, and all images that are fitted."""
        weights = equal_weights(self.band)
        return weights._replace(images=weights.images * self.shares.fitted)

    def weighed(self, residuals: Tensor, weights: Weights) -> Weights:
        """Weights by what is left of the images."""
        fractions = band_residual_fractions(residuals, self.band, weights.of_points(self.band))
        fresh = weights_from_residuals(residuals, self.band, fractions, self.settings.weights)
        return fresh._replace(images=fresh.images * self.shares.fitted)


class _State(NamedTuple):
    """What one round leaves for the next."""

    model: RigidBodies
    weights: Weights
    damping: Damping
    fractions: Tensor  # (n,): residual fractions, all rings alike
    residual: float  # their median, of the images that are judged


_Rounds = Generator[FitStep, None, _State]


def fit_bodies(
    model: RigidBodies,
    images: Tensor,
    levels: Sequence[Level],
    settings: BodySettings = BodySettings(),
    *,
    shares: Shares | None = None,
) -> Iterator[FitStep]:
    """Fit a model that has densities, level by level; yields every round, the last one with the result.

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, d, d), d at least the side of the last level.
        levels: from coarse to fine.
        settings: of the fit.
        shares: which images take part; without them all do.
    """
    for level in levels:
        if model.size != level.side:
            model = regridded(model, level.side, max(settings.reach, settings.reach * level.side / 64))
        band = band_of(images, level.side, level.shells)
        task = _Task(band, shares or Shares.all_of(images), settings)
        model = adjusted_saturation(model, band, band.weight, settings.saturation)
        state = yield from _rounds(_begin(model, task), task, level)
        model = state.model


def fit_coarse_bodies(
    model: RigidBodies, images: Tensor, settings: BodySettings = BodySettings(), *, shares: Shares | None = None
) -> Iterator[FitStep]:
    """Find densities of a model that has none, and decide whether they add up or saturate.

    Args:
        model: masks, poses, coordinates and twists, on the grid of the coarse levels.
        images: centred, empty space 0, shape (n, d, d), d at least the side of the coarse levels.
        settings: of the fit.
        shares: which images take part; without them all do.

    Yields:
        Every round, also of models that are given up; the last one has the result.
    """
    level = settings.coarse_levels(images.shape[-1])[0]
    task = _Task(band_of(images, level.side, level.shells), shares or Shares.all_of(images), settings)
    added = _with_densities(model, task, task.equal_weights(), settings.densities.first)
    state = yield from _rounds(_begin(added, task), task, level)
    if len(model.of) > 1:
        united = yield from _rounds(_begin(_united(added, task), task), task, level)
        if united.residual >= settings.union * state.residual:
            yield _step(level, level.rounds, state)


def extended(some: RigidBodies, places: Tensor, initial: RigidBodies) -> RigidBodies:
    """Bodies that were fitted to some images, with poses and coordinates for all of them.

    The coordinates are predicted from those that the images had before the fit.

    Args:
        some: the fitted model.
        places: of its images, shape (m,).
        initial: the model before the fit, of all images; it may have other modes.
    """
    known = torch.cat([torch.ones_like(initial.latent[:, :1]), initial.latent], 1)
    latent = known @ torch.linalg.lstsq(known[places], some.latent).solution
    latent[places] = some.latent
    poses = initial.poses.clone()
    poses[places] = some.poses
    return replace(some, poses=poses, latent=latent)


def simplify_bodies(
    model: RigidBodies, images: Tensor, settings: BodySettings = BodySettings(), *, shares: Shares | None = None
) -> Iterator[FitStep]:
    """Find fewer modes that explain images nearly as well, and go on to the end of the coarse levels; arguments and
    what is yielded as of `fit_coarse_bodies`, of a model that has densities.
    """
    level, *finer = settings.coarse_levels(images.shape[-1])
    task = _Task(band_of(images, level.side, level.shells), shares or Shares.all_of(images), settings)
    state = yield from _rounds(_begin(model, task), task, replace(level, rounds=1))
    state = yield from _with_fewest_modes(state, task, level)
    yield from fit_bodies(state.model, images, finer, settings, shares=shares)


def _united(model: RigidBodies, task: _Task) -> RigidBodies:
    """A model of densities that add up as one whose densities saturate."""
    for _ in range(2):
        model = replace(model, saturation=1 / full_density(model.densities))
        model = _with_densities(model, task, task.equal_weights(), task.settings.densities.first)
    return model


def _begin(model: RigidBodies, task: _Task) -> _State:
    """Before the first round of a level."""
    fractions = torch.full_like(task.band.weight[:1], math.inf).expand(len(task.band.data))
    return _State(model, task.equal_weights(), first_damping(model, task.settings.steps), fractions, math.inf)


def _rounds(state: _State, task: _Task, level: Level) -> _Rounds:
    """The rounds of a level."""
    for number in range(1, level.rounds + 1):
        state = _round(state, task, level.steps)
        yield _step(level, number, state)
    return state


def _step(level: Level, number: int, state: _State) -> FitStep:
    return FitStep(level, number, state.residual, state.fractions, state.model)


def _round(state: _State, task: _Task, steps: int) -> _State:
    """Densities, then motion; weights are found anew after each."""
    band, settings = task.band, task.settings
    model = _with_densities(state.model, task, state.weights, settings.densities.steps)
    weights = task.weighed(residuals_of(model, band), state.weights)
    fit = fit_motion(model, band, weights, state.damping, steps=steps, settings=settings.steps)
    left = fit.linearised.residuals
    fractions = band_residual_fractions(left, band, band.weight)
    residual = float(fractions[task.shares.judged].median())
    return _State(fit.model, task.weighed(left, weights), fit.damping, fractions, residual)


def _with_densities(model: RigidBodies, task: _Task, weights: Weights, steps: int) -> RigidBodies:
    """The model with new densities; the overlap is that of the ones before."""
    targets = task.band.data + overlap(model, task.band)
    ridge = task.settings.densities.ridge
    return fit_densities(model, task.band, targets, weights, steps=steps, ridge=ridge).model


def _with_fewest_modes(state: _State, task: _Task, level: Level) -> _Rounds:
    """Let coaxial modes go, one after the other, as long as the images are explained nearly as well."""
    settings = task.settings.simplify
    while pairs := coaxial_modes(state.model, settings):
        gone, kept = _least_costly(state.model, pairs, task, level)
        fewer = without_mode(state.model, task.band, task.band.weight, gone, kept, settings)
        best = yield from _rounds(_begin(fewer, task), task, level)
        if best.residual > settings.worse * state.residual:
            yield _step(level, level.rounds, state)
            break
        state = best
    return state


def _least_costly(model: RigidBodies, pairs: Sequence[tuple[int, int]], task: _Task, level: Level) -> tuple[int, int]:
    """The pair of modes of which one can go so that least is left, after one round on some images."""
    settings = task.settings.simplify
    some = torch.arange(0, len(model.poses), max(1, len(model.poses) // settings.some), device=task.band.data.device)
    few = model.of_images(some)
    band = task.band._replace(data=task.band.data[some])
    mine = _Task(band, Shares(*(share[some] for share in task.shares)), task.settings)

    def left(pair: tuple[int, int]) -> float:
        fewer = without_mode(few, band, band.weight, *pair, settings)
        return float(_round(_begin(fewer, mine), mine, level.steps).fractions.median())

    return pairs[0] if len(pairs) == 1 else min(pairs, key=left)


def half_densities(
    model: RigidBodies, images: Tensor, level: Level, settings: BodySettings = BodySettings(), *, shares: Shares
) -> Tensor:
    """The densities again, from each half of the images alone; what they differ by is noise.

    Args:
        model: fitted to all images.
        images: centred, empty space 0, shape (n, d, d).
        level: grid and shells.
        settings: of the fit.
        shares: which images take part.

    Returns:
        Shape (2, k, d, d, d).
    """
    model = regridded(model, level.side, max(settings.reach, settings.reach * level.side / 64))
    task = _Task(band_of(images, level.side, level.shells), shares, settings)
    weights = task.weighed(residuals_of(model, task.band), task.equal_weights())
    targets = task.band.data + overlap(model, task.band)
    empty = replace(model, densities=torch.zeros_like(model.densities))
    halves = []
    for half in (0, 1):
        mine = weights.images.clone()
        mine[shares.fitted.nonzero()[1 - half :: 2, 0]] = 0
        fit = fit_densities(
            empty,
            task.band,
            targets,
            weights._replace(images=mine),
            steps=settings.densities.first,
            ridge=settings.densities.ridge,
        )
        halves.append(fit.model.densities)
    return torch.stack(halves)
