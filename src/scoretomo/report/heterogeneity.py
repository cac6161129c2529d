"""Heterogeneity of the volumes: trajectories, states, scatter and variances."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import read_map
from ..graphics import charts, densities, surfaces
from ..rundir.results import Landscape, Run
from ..rundir.rows import Trajectory
from .embedded import Embedded, of_trajectories
from .pictures import Picture

_FRAME = 128  # pixels of a surface
_SHOWN = 6  # pictures of a trajectory
_FRAMES = 13  # densities between states, at most


class TrajectoryView(NamedTuple):
    """A trajectory, or the path from state to state: pictures and densities from one end to the other."""

    title: str  # empty for the path from state to state
    row: Trajectory | None
    visited: list[int]  # states in their order on the path
    pictures: list[str]
    densities: list[Embedded]  # empty where the page has no room for them


class StateView(NamedTuple):
    """The volume in the middle of a state."""

    picture: str
    volumes: int
    representative: int  # image


class HeterogeneitySection(NamedTuple):
    """The section about heterogeneity."""

    landscape: Landscape
    ratio: float  # variance of the volumes to the noise floor
    every_component_significant: bool  # of those in the table: there may be more
    scatter: charts.Scatter
    scree: charts.Chart
    trajectories: list[TrajectoryView]  # of the modes, then the path from state to state
    states: list[StateView]
    variability: list[Picture]


def heterogeneity_section(run: Run, reach: float, budget: int) -> HeterogeneitySection | None:
    """The section about heterogeneity of a run; None without a landscape."""
    landscape = run.landscape
    if landscape is None:
        return None
    summary = landscape.summary
    return HeterogeneitySection(
        landscape=landscape,
        ratio=summary.variance / max(summary.noise_floor, 1e-30),
        every_component_significant=summary.significant_components == len(landscape.scree),
        scatter=charts.scatter(run, landscape),
        scree=charts.scree(landscape.scree),
        trajectories=_trajectories(run, landscape, reach, budget),
        states=_states(run, landscape, reach),
        variability=_variability(run, landscape),
    )


def _trajectories(run: Run, landscape: Landscape, reach: float, budget: int) -> list[TrajectoryView]:
    """Each trajectory, and the path from state to state."""
    paths = [each.paths for each in landscape.trajectories]
    pictured = [
        [some[round(place)] for place in np.linspace(0, len(some) - 1, min(_SHOWN, len(some)))] for some in paths
    ]
    views = [TrajectoryView(each.title, each.row, [], [], []) for each in landscape.trajectories]
    between = landscape.between_states
    if between and paths:
        visits = sorted((state.frame, state.state) for state in landscape.states)
        views.append(TrajectoryView("", None, [state for _, state in visits], [], []))
        paths.append(between[:: _step([frame for frame, _ in visits], len(between))])
        pictured.append([between[frame] for frame, _ in visits])
    embedded = of_trajectories(paths, run.pixel_size, budget)
    return [
        view._replace(pictures=[_surface(path, reach) for path in some], densities=frames)
        for view, some, frames in zip(views, pictured, embedded, strict=True)
    ]


def _step(visits: Sequence[int], frames: int) -> int:
    """From one frame of a path to the next that is shown: few enough are, and every visited one is among them."""
    legs = math.gcd(*visits)
    return next(step for step in range(1, legs + 1) if legs % step == 0 and (frames <= step * _FRAMES or step == legs))


def _surface(path: Path, reach: float) -> str:
    return surfaces.thumbnail(read_map(path).density, reach, _FRAME)


def _states(run: Run, landscape: Landscape, reach: float) -> list[StateView]:
    """The states, where there are several."""
    paths = {volume.number: volume.path for volume in run.volumes}
    views = []
    for state in landscape.states if len(landscape.states) > 1 else []:
        path = paths.get(state.representative)
        if path:
            views.append(StateView(_surface(path, reach), state.volumes, state.representative))
    return views


def _variability(run: Run, landscape: Landscape) -> list[Picture]:
    """The variability map along the three axes, over the consensus volume."""
    if run.consensus is None or not landscape.trajectories:
        return []
    tint = surfaces.tint(read_map(landscape.variability).density)
    body = densities.on_grid(read_map(run.consensus.path).density, None, len(tint), None)
    body = tint * 0 if body is None else body
    pictures = []
    for axis, name in enumerate("zyx"):
        projection = body.sum(axis)
        grey = surfaces.grey(projection, surfaces.common_scale(projection))
        pictures.append(Picture(surfaces.data_uri(surfaces.warmed(grey, tint.max(axis))), name))
    return pictures
