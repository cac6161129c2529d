"""What moves: the landscape of the volumes, in words and pictures."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from ..files import read_map
from ..graphics import charts, densities, surfaces
from ..rundir.results import Landscape, Run, landscape_axes
from ..wording import counted, plain
from .embedded import Embedded, of_ways
from .words import how_far

_FRAME = 128  # pixels of a surface
_SHOWN = 6  # pictures of a way
_FRAMES = 13  # densities of the way from state to state, at most


class Strip(NamedTuple):
    """Surfaces along a motion, or of states."""

    title: str
    frames: list[tuple[str, str, int | None]]  # picture, caption, image whose volume it is


class Along(NamedTuple):
    """A motion, or the way from state to state: pictures, words and densities from one end to the other."""

    strip: Strip
    words: str
    densities: list[Embedded]  # empty where the page has no room for them


class Heat(NamedTuple):
    """Where it moves."""

    uri: str
    description: str
    title: str


class Motion(NamedTuple):
    """All that the page says of what moves."""

    sentences: list[str]
    scatter: Markup
    axes: list[str]
    places: Markup  # axes of the scatter, as JSON
    frame: Markup  # where in its picture they lie, as JSON
    states: list[tuple[int, int]]  # number, volumes
    scree: Markup
    ways: list[Along]  # the motions, then the way from state to state
    strips: list[Strip]
    heat: list[Heat]


def describe_motion(run: Run, reach: float) -> Motion | None:
    """The section about what moves; None where it was not looked at."""
    found = run.landscape
    if found is None:
        return None
    axes = [charts.spread(plain(name), [float(row[name]) for row in found.rows]) for name in landscape_axes(found)]
    x, y = axes[0], axes[min(1, len(axes) - 1)]
    scree = [(float(row["variance"]), float(row["chance"])) for row in found.scree]
    return Motion(
        sentences=_sentences(found),
        scatter=charts.scatter_chart(_points(run, found), x, y, label=f"Each volume by {x.name} and {y.name}"),
        axes=[axis.name for axis in axes],
        places=Markup(json.dumps([axis._asdict() for axis in axes])),
        frame=Markup(json.dumps(charts.SCATTER._asdict())),
        states=[(int(row["state"]), int(row["volumes"])) for row in found.states],
        scree=charts.scree_chart(scree, label="Variance of each principal component, and what chance alone gives"),
        ways=_ways(run, found, reach),
        strips=_states(run, found, reach),
        heat=_heat(run, found),
    )


def _points(run: Run, found: Landscape) -> list[tuple[int, int, str, str]]:
    """Number, state, word and what is said of each volume."""
    trusts = {volume.number: volume.trust for volume in run.volumes}
    points = []
    for row in found.rows:
        number, state, trust = int(row["image"]), int(row["state"]), trusts.get(int(row["image"]))
        said = f"Volume {number}, state {state}" + (f", {trust.word}" if trust else "")
        points.append((number, state, trust.word if trust else "", said))
    return points


def _sentences(found: Landscape) -> list[str]:
    """How many ways to move, and how sure that is."""
    ratio = found.variance / max(found.chance, 1e-30)
    times = f"{ratio:.0f}" if ratio > 10 else f"{ratio:.1f}"
    beyond = f"The volumes differ {times} times as much (in variance) as chance would make them, judged by the replicas of each."
    own = "what each image has wrong in a way of its own"
    if found.moves is None:
        return [f"{beyond} There are too few images to ask whether that is motion, or {own}."]
    if not found.moves:
        return [f"Left-out images do not show that the molecule moves. {beyond} That is mostly {own}."]
    if not found.series:
        return [f"Left-out images say that the molecule moves, but no component of the volumes is clear of chance. {beyond}"]
    if found.motions is None:
        return [f"{beyond} So few do not tell in how many ways: their first principal components are shown."]
    clear = ("At least " if found.clear == len(found.scree) else "") + counted(found.clear, "principal component")
    return [
        f"{beyond} Replicas share what the model of the motion has wrong, so chance does not count it. "
        f"The volumes differ in {'one way' if found.motions == 1 else f'{found.motions} independent ways'}.",
        f"{clear} {'has' if found.clear == 1 else 'have'} clearly more variance than chance gives; large motions bend, and one "
        "motion takes several components. How many motions there are, the distances between neighbouring volumes say.",
    ]


def _ways(run: Run, found: Landscape, reach: float) -> list[Along]:
    """Each motion, and the way from state to state."""
    told = [(each.title, how_far(each, run.pixel_size)) for each in found.series]
    ways = [each.paths for each in found.series]
    shown = [[way[round(k)] for k in np.linspace(0, len(way) - 1, min(_SHOWN, len(way)))] for way in ways]
    if found.tour and ways:
        visits = sorted((int(row["frame"]), row["state"]) for row in found.states)
        visited = ", ".join(state for _, state in visits)
        told.append(("From state to state", f"states {visited} in this order, through conformations that were seen"))
        ways.append(found.tour[:: _step([frame for frame, _ in visits], len(found.tour))])
        shown.append([found.tour[frame] for frame, _ in visits])
    return [
        Along(Strip(title, _surfaces(some, reach)), words, frames)
        for (title, words), some, frames in zip(told, shown, of_ways(ways, run.pixel_size), strict=True)
    ]


def _step(visits: Sequence[int], frames: int) -> int:
    """From one frame of a way to the next that is shown: few enough are, and every visited one is among them."""
    legs = math.gcd(*visits)
    return next(step for step in range(1, legs + 1) if legs % step == 0 and (frames <= step * _FRAMES or step == legs))


def _surfaces(paths: Sequence[Path], reach: float) -> list[tuple[str, str, int | None]]:
    return [(surfaces.thumbnail(read_map(path).density, reach, _FRAME), "", None) for path in paths]


def _states(run: Run, found: Landscape, reach: float) -> list[Strip]:
    paths = {volume.number: volume.path for volume in run.volumes}
    if len(found.states) < 2:
        return []
    frames: list[tuple[str, str, int | None]] = []
    for row in found.states:
        number, path = int(row["representative"]), paths.get(int(row["representative"]))
        if path:
            frames.append(
                (
                    surfaces.thumbnail(read_map(path).density, reach, _FRAME),
                    f"{counted(int(row['volumes']), 'volume')}, like {number}",
                    number,
                )
            )
    return [Strip("States, and the volume in the middle of each", frames)]


def _heat(run: Run, found: Landscape) -> list[Heat]:
    """The map of what moves, seen along the three axes, over the consensus."""
    if run.shared is None or not found.series:
        return []
    moves = surfaces.moves(read_map(found.motion_map).density)
    body = densities.on_grid(read_map(run.shared.path).density, None, len(moves), None)
    body = moves * 0 if body is None else body
    views = []
    for axis, name in enumerate("zyx"):
        seen = body.sum(axis)
        grey = surfaces.grey(seen, surfaces.common_scale(seen))
        views.append(Heat(surfaces.data_uri(surfaces.warmed(grey, moves.max(axis))), f"What moves, seen along {name}", name))
    return views
