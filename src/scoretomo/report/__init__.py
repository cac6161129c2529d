"""Report: pictures and the written summary, from results on disk only."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jinja2
import numpy as np
import torch
from markupsafe import Markup

from ..files import InputError, read_map
from ..graphics import charts, densities, surfaces
from ..images import otsu_level, shift
from ..projection import project
from ..rundir.results import Image, Pose, Run, Volume, read_run
from . import words
from .embedded import Embedded, of_all, of_motion_map, of_volumes
from .findings import findings
from .learned import describe_score
from .methods import describe_methods
from .moving import Motion, describe_motion
from .reliability import reliability_table
from .settings import in_sections, in_words, machine
from .views import random_views

PICTURE_BUDGET = 4_500_000  # pixels of all pictures of the volumes
THUMBNAIL = 96  # pixels
SCRIPTS = ("viewer.js", "densities.js", "page.js", "landscape.js", "table.js")

_HERE = Path(__file__).parent


class Picture(NamedTuple):
    """A picture inside the page."""

    uri: str
    title: str
    description: str  # for screen readers


class Tile(NamedTuple):
    """An image of the input montage."""

    image: Image
    picture: Picture | None
    status: str  # of its volume: done | diverged | missing | "" if none was asked for


class Sheet(NamedTuple):
    """All that the page says of one volume."""

    volume: Volume
    thumbnail: str
    rows: list[tuple[str, list[Picture]]]
    facts: list[tuple[str, str]]
    convergence: Markup | None
    fsc: Markup | None
    densities: list[Embedded]


class Common(NamedTuple):
    """What the page says of the consensus."""

    maps: list[tuple[str, str, list[Picture]]]  # name, thumbnail, pictures
    sentences: list[str]
    densities: list[Embedded]  # of the same maps
    motion_map: Embedded | None  # what moves in the consensus


def render_report(run: Path, instead: Mapping[str, Path] = MappingProxyType({})) -> str:
    """One self-contained HTML page about a run: it needs no other file and no network.

    Args:
        run: the run directory; it may be unfinished, and need not have been evaluated.
        instead: where some of its files and folders are, by their names, before they take their places.

    Returns:
        The page; under 30 MB for 300 volumes.

    Raises:
        InputError: the directory holds no images.csv, so nothing was imported yet.
    """
    if not (run / "images.csv").exists():
        raise InputError(f"{run} is not a run directory: it has no images.csv; give the folder that scoretomo run wrote")
    results = read_run(run, instead)
    reach = _reach(results.with_status("done"))
    sheets = list(_sheets(results, reach))
    motion, consensus = describe_motion(results, reach), _consensus(results, reach)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        run=results,
        figures=words.figures(results),
        summary=words.summary(results),
        advice=words.advice(results),
        remarks=words.remarks(results),
        reach=reach,
        moves=Markup(json.dumps({"colour": surfaces.ORANGE, "from": surfaces.STILL, "to": surfaces.MOST})),
        score=describe_score(results),
        views=random_views(results),
        sheets=sheets,
        motion=motion,
        consensus=consensus,
        embedded=[density for density in _all_embedded(sheets, motion, consensus) if density.data],
        findings=findings(results),
        table=reliability_table(results),
        methods=describe_methods(results),
        tiles=_tiles(results),
        overview=_overview(results),
        gain=_gain(results.evaluation),
        settings=in_sections(results.settings),
        machine=machine(results.records),
        log=[(record.get("time", ""), record.get("event", ""), in_words(record)) for record in results.records],
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup((_HERE / name).read_text(encoding="utf-8")) for name in SCRIPTS],
        length=words.length,
        counted=words.counted,
        expected=words.expected,
        resolution=words.resolution,
    )


def _picture(pixels: np.ndarray, title: str, description: str, *, lossy: bool = False) -> Picture:
    return Picture(surfaces.data_uri(pixels, quality=82 if lossy else None), title, description)


def _tiles(run: Run) -> list[Tile]:
    """The input montage: every image with its volume's status, or the place of one left out."""
    status = {volume.number: volume.status for volume in run.volumes}
    shown = []
    for image in filter(lambda image: image.selected, run.images):
        picture = None
        if image.pixels is not None:
            small = surfaces.at_most(image.pixels, 96 if len(run.images) < 100 else 64)
            picture = _picture(surfaces.grey(small, surfaces.common_scale(small)), f"{image.number}", f"Image {image.number}")
        shown.append(Tile(image, picture, status.get(image.number, "")))
    return shown


def _sheets(run: Run, reach: float) -> Iterator[Sheet]:
    """A sheet for every volume; those that come first in `_priority` carry a density until the budget is spent."""
    done = run.with_status("done")
    packed = of_volumes(run, done)
    pixels = {image.number: image.pixels for image in run.images}
    mean = run.evaluation.get("mean_curve") if run.evaluation else None
    side = _picture_side(len(done), run.size)
    for volume in run.volumes:
        embedded: list[Embedded] = packed.get(volume.number, [])
        thumbnail, rows = "", []
        image = pixels.get(volume.number)
        if volume.path:
            density = read_map(volume.path).density
            thumbnail = surfaces.thumbnail(density, reach, THUMBNAIL)
            rows = _rows(volume, image, density, side, lossy=len(done) * 9 * side**2 > PICTURE_BUDGET)
        elif image is not None:
            shown = surfaces.grey(surfaces.at_most(image, side), surfaces.common_scale(image))
            rows = [("Image", [_picture(shown, "its image", f"Image {volume.number}")])]
        yield Sheet(
            volume=volume,
            thumbnail=thumbnail,
            rows=rows,
            facts=_facts(volume, run),
            convergence=_convergence(volume),
            fsc=_fsc(volume, mean, run),
            densities=embedded,
        )


def _all_embedded(sheets: Sequence[Sheet], motion: Motion | None, consensus: Common | None) -> Iterator[Embedded]:
    for sheet in sheets:
        yield from sheet.densities
    for way in motion.ways if motion else []:
        yield from way.densities
    if consensus:
        yield from consensus.densities
        if consensus.motion_map:
            yield consensus.motion_map


def _consensus(run: Run, reach: float) -> Common | None:
    shared, found = run.shared, run.landscape
    if shared is None:
        return None
    maps = []
    named = {"Consensus": shared.path, "Second consensus": shared.second_path, "Mean of the volumes": shared.mean_path}
    for name, path in named.items():
        if path:
            density = read_map(path).density
            maps.append((name, surfaces.thumbnail(density, reach, THUMBNAIL), _triple(density, name, 192)))
    moving = of_motion_map(found.motion_map) if found and found.series else None
    return Common(maps, words.consensus(shared, run.unit), of_all(shared, run.pixel_size), moving)


def _picture_side(count: int, size: int) -> int:
    """Pictures keep their size up to a point: for many large volumes they are Fourier-cropped, not below 64 pixels."""
    return min(size, max(64, int((4 * PICTURE_BUDGET / (9 * max(count, 1))) ** 0.5)), 192)


def _rows(
    volume: Volume, image: np.ndarray | None, density: np.ndarray, side: int, *, lossy: bool
) -> list[tuple[str, list[Picture]]]:
    """Image, the view of the volume in its pose and their difference; the projections along z, y and x; the central slices."""
    number = volume.number
    rows = []
    pose = volume.pose or Pose(torch.eye(3), torch.zeros(2))
    view = project(torch.from_numpy(np.ascontiguousarray(density)), pose.rotation[None])
    fit = shift(view, pose.shift[None])[0].numpy()
    if image is not None and image.shape == fit.shape:
        scale = surfaces.common_scale(image, fit)
        difference = image - fit
        limit = 0.5 * (scale.high - scale.low)
        rows.append(
            (
                "Image and fit",
                [
                    _picture(surfaces.grey(surfaces.at_most(image, side), scale), "its image", f"Image {number}", lossy=lossy),
                    _picture(
                        surfaces.grey(surfaces.at_most(fit, side), scale),
                        "f(V, R)" if volume.pose else "f(V, I)",
                        f"Volume {number} projected in the pose of its image",
                        lossy=lossy,
                    ),
                    _picture(
                        surfaces.diverging(surfaces.at_most(difference, side), limit),
                        "difference",
                        f"Image {number} minus the projection of its volume",
                        lossy=lossy,
                    ),
                ],
            )
        )
    for label in ("Projections", "Central slices"):
        rows.append((label, _triple(density, f"Volume {number}", side, cut=label == "Central slices", lossy=lossy)))
    return rows


def _triple(density: np.ndarray, name: str, side: int, *, cut: bool = False, lossy: bool = False) -> list[Picture]:
    """The projections along z, y and x, or the central slices, on one grey scale."""
    centre = len(density) // 2
    arrays = [density.take(centre, axis) if cut else density.sum(axis) for axis in range(3)]
    scale = surfaces.common_scale(*arrays)
    return [
        _picture(
            surfaces.grey(surfaces.at_most(array, side), scale),
            f"{axis} = 0" if cut else f"along {axis}",
            f"{name} {'cut across' if cut else 'projected along'} {axis}",
            lossy=lossy,
        )
        for axis, array in zip("zyx", arrays, strict=True)
    ]


def _reach(done: Sequence[Volume]) -> float:
    """Half the width of every view of a surface, in box sides: one for the run, so that sizes compare; from a dozen volumes."""
    found = []
    for k in densities.spread_order(len(done), [])[:12]:
        path = done[k].path
        if path:
            values = densities.quantise(read_map(path).density, surfaces.SMALL_DENSITY_SIDE).values
            found.append(surfaces.extent(values, otsu_level(values)))
    return 1.12 * min(max([*found, 0.2]), 0.5) if found else 0.5


def _facts(volume: Volume, run: Run) -> list[tuple[str, str]]:
    row, score = volume.row, volume.score
    facts = []
    if volume.trust and volume.trust.expected is not None:
        facts.append(("expected FSC (80 % of volumes like it)", words.expected(volume.trust)))
    if row.get("replica_fsc"):
        facts.append(("mean FSC of replicas", f"{float(row['replica_fsc']):.3f}"))
    if row.get("anchor_correlation"):
        facts.append(("anchor correlation", f"{float(row['anchor_correlation']):.3f}"))
    if score:
        facts += [
            ("mean FSC", f"{score.mean_fsc:.3f}"),
            ("area under FSC (max. 0.5)", f"{score.auc:.3f}"),
            ("resolution at FSC 0.5", f"{words.resolution(score.resolution_half, run.fsc_grid[1])} {run.unit}"),
            ("resolution at FSC 0.143", f"{words.resolution(score.resolution_0143, run.fsc_grid[1])} {run.unit}"),
            ("hand", score.hand),
        ]
    if row.get("steps"):
        facts.append(("steps", row["steps"]))
    if row.get("seconds"):
        facts.append(("time", words.duration(float(row["seconds"]))))
    if volume.path:
        facts.append(("file", row["file"]))
    return facts


def _convergence(volume: Volume) -> Markup | None:
    if not volume.convergence:
        return None
    return charts.convergence_chart(volume.convergence, label=f"Residuals of volume {volume.number} over the steps")


def _fsc(volume: Volume, mean: Sequence[float] | None, run: Run) -> Markup | None:
    if not volume.score:
        return None
    label = f"FSC of volume {volume.number} against its truth: mean {volume.score.mean_fsc:.3f}"
    return charts.fsc_chart({volume.number: volume.score.curve}, mean, *run.fsc_grid, label=label)


def _overview(run: Run) -> Markup | None:
    """All FSC curves and their mean."""
    if not run.scores:
        return None
    curves = {volume.number: volume.score.curve for volume in run.volumes if volume.score}
    alike = len(curves) > 1 and len({len(curve) for curve in curves.values()}) == 1
    mean = np.mean(list(curves.values()), axis=0).tolist() if alike else None
    label = f"FSC of {words.counted(len(curves), 'volume')} against the truth"
    return charts.fsc_chart(curves, mean, *run.fsc_grid, label=label, large=True)


def _gain(evaluation: Mapping[str, Any] | None) -> Markup | None:
    if not evaluation or evaluation.get("conformation_gain") is None:
        return None
    return charts.gain_scale(evaluation["single_map_mean_fsc"], evaluation["mean_fsc"], evaluation["ceiling_mean_fsc"])
