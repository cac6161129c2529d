"""What moves: the landscape of the volumes, in words and pictures."""

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from ..files import read_map
from . import charts, densities, pictures
from .results import Landscape, Run
from .words import counted

_FRAME = 128  # pixels of a surface
_SHOWN = 6  # frames of a motion


class Strip(NamedTuple):
    """Surfaces along a motion, or of states."""

    title: str
    frames: list[tuple[str, str, int | None]]  # picture, caption, image whose volume it is


class Heat(NamedTuple):
    """Where it moves."""

    uri: str
    description: str
    title: str


class Motion(NamedTuple):
    """All that the page says of what moves."""

    sentences: list[str]
    scatter: Markup
    axes: str
    scree: Markup
    strips: list[Strip]
    heat: list[Heat]


def describe_motion(run: Run, reach: float) -> Motion | None:
    """The section about what moves; None where it was not looked at."""
    found = run.landscape
    if found is None:
        return None
    names = landscape_axes(found)
    scatter = charts.scatter_chart(
        [(float(row[names[0]]), float(row[names[1]]), int(row["image"]), int(row["state"])) for row in found.rows],
        label=f"Each volume by {_plain(names[0])} and {_plain(names[1])}",
        axes=(_plain(names[0]), _plain(names[1])),
    )
    scree = [(float(row["variance"]), float(row["chance"])) for row in found.scree]
    return Motion(
        sentences=_sentences(found),
        scatter=scatter,
        axes=f"{_plain(names[0])} and {_plain(names[1])}",
        scree=charts.scree_chart(scree, label="Variance of each principal component, and what chance alone gives"),
        strips=[*_along(found, reach), *_states(run, found, reach)],
        heat=_heat(run, found),
    )


def landscape_axes(found: Landscape) -> tuple[str, str]:
    """Columns of landscape.csv to draw: two motions, or as many as there are and components."""
    motions = [f"motion_{k + 1}" for k in range(found.motions)][:2]
    first, second = [*motions, *[f"component_{k + 1 + (found.motions == 1)}" for k in range(2)]][:2]
    present = found.rows[0].keys()
    return first, second if second in present else first


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _sentences(found: Landscape) -> list[str]:
    """How many ways to move, and how sure that is."""
    ratio = found.variance / max(found.chance, 1e-30)
    times = f"{ratio:.0f}" if ratio > 10 else f"{ratio:.1f}"
    beyond = f"The volumes differ {times} times as much (in variance) as chance alone, seen in their replicas, would make them."
    own = "what each image has wrong in a way of its own"
    if found.moves is None:
        return [f"{beyond} There are too few images to ask whether that is motion, or {own}."]
    if not found.moves:
        return [f"Left-out images say that the molecule does not move. {beyond} That is {own}."]
    if not found.motions:
        return [f"Left-out images say that the molecule moves, but no component of the volumes is clear of chance. {beyond}"]
    if not found.counted:
        return [f"{beyond} So few do not tell in how many ways: their first principal components are shown."]
    clear = ("At least " if found.clear == len(found.scree) else "") + counted(found.clear, "principal component")
    return [
        f"{beyond} They do so in {'one way' if found.motions == 1 else f'{found.motions} independent ways'}.",
        f"{clear} {'has' if found.clear == 1 else 'have'} clearly more variance than chance gives; large motions bend, and one "
        "motion takes several components. How many motions there are, the distances between neighbouring volumes say.",
    ]


def _along(found: Landscape, reach: float) -> list[Strip]:
    strips = []
    for number, paths in enumerate(found.ways, start=1):
        chosen = [paths[round(k)] for k in np.linspace(0, len(paths) - 1, min(_SHOWN, len(paths)))]
        frames: list[tuple[str, str, int | None]] = [
            (pictures.thumbnail(read_map(path).density, reach, _FRAME), "", None) for path in chosen
        ]
        strips.append(Strip(f"Along motion {number}", frames))
    return strips


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
                    pictures.thumbnail(read_map(path).density, reach, _FRAME),
                    f"{counted(int(row['volumes']), 'volume')}, like {number}",
                    number,
                )
            )
    return [Strip("States, and the volume in the middle of each", frames)]


def _heat(run: Run, found: Landscape) -> list[Heat]:
    """The map of what moves, seen along the three axes, over the consensus."""
    if run.shared is None or found.motions == 0:
        return []
    spread = read_map(found.motion_map).density
    body = densities.on_grid(read_map(run.shared.path).density, None, len(spread), None)
    body = spread * 0 if body is None else body
    views = []
    for axis, name in enumerate("zyx"):
        seen, moving = body.sum(axis), spread.max(axis)
        grey = pictures.grey(seen, pictures.common_scale(seen))
        views.append(Heat(pictures.data_uri(pictures.warmed(grey, moving / spread.max())), f"What moves, seen along {name}", name))
    return views
