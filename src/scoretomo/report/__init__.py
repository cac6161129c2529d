"""Report: one page about a run, from results on disk only; modules collect data, templates hold the sentences."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from .. import wording
from ..deformation.flexibility import FLEXIBILITY
from ..files import InputError
from ..graphics import shading, surfaces, svg
from ..rundir.directory import RunDirectory
from ..rundir.results import Image, Run, read_run
from .bodies import BodiesSection, bodies_section, surface_colours
from .consensus import ConsensusSection, consensus_section
from .embedded import BUDGET, Budget, Embedded
from .evaluation import evaluation_section
from .heterogeneity import HeterogeneitySection, heterogeneity_section
from .methods import Citations, methods_of
from .network import network_section
from .pictures import reach_of
from .reliability import reliability_summary, volume_table
from .settings import in_one_line, in_sections, machine
from .summary import notes_of, summary_of, verdict_of
from .views import random_views
from .volumes import Sheet, sheets_of

_SCRIPTS = ("viewer.js", "densities.js", "page.js", "heterogeneity.js", "table.js")
_HERE = Path(__file__).parent
_TILE, _SMALL_TILE = 96, 64  # pixels of an image in the montage
_MANY = 100  # images, from which tiles are small


class Tile(NamedTuple):
    """An image in the montage."""

    image: Image
    picture: str  # empty if the image is excluded
    status: str  # of its volume: done | diverged | missing | "" if none was requested


def render_report(run: RunDirectory, event: Mapping[str, Any] | None = None, *, budget: Budget = BUDGET) -> str:
    """One self-contained HTML page about a run: it needs no other file and no network.

    Args:
        run: the run directory; it may be unfinished, and need not have been evaluated. Some of its tables and folders
            may be elsewhere, before they take their places.
        event: the line that will be added to its log when they do.
        budget: for densities that can be turned; other volumes are shown as pictures.

    Returns:
        The page; under 30 MB for 300 volumes.

    Raises:
        InputError: the directory holds no images.csv, so nothing was imported yet.
    """
    if not run.image_rows.exists():
        missing = run.image_rows.path.name
        raise InputError(
            f"{run.path} is not a run directory: it has no {missing}; give the folder that scoretomo run wrote"
        )
    return environment().get_template("page.html").render(page_data(read_run(run, event), budget))


@cache
def environment() -> jinja2.Environment:
    """The templates, with the functions that write numbers, lists and lengths into their sentences."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["svg"] = svg.draw
    templates.filters["fields"] = lambda record: record._asdict()
    templates.filters["quoted"] = shlex.quote
    templates.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    for function in (
        wording.at_nyquist,
        wording.counted,
        wording.degrees,
        wording.duration,
        wording.images,
        wording.in_letters,
        wording.joined,
        wording.length,
        wording.listing,
        wording.named_turn,
        wording.resolution,
        wording.signed,
        wording.vector,
        wording.with_error,
    ):
        templates.globals[function.__name__] = function
    return templates


def page_data(run: Run, budget: Budget = BUDGET) -> dict[str, Any]:
    """All that the templates show of a run."""
    reach = reach_of(run.with_status("done"))
    sheets = list(sheets_of(run, reach, budget.volumes))
    modes = heterogeneity_section(run, reach, budget.trajectories)
    consensus = consensus_section(run, reach)
    bodies = bodies_section(run, reach)
    painted = surface_colours(len(bodies.bodies) if bodies else 0).round(3).tolist()
    facts = {"unit": run.length_unit, "reach": round(reach, 3), "shading": shading.constants(), "bodies": painted}
    return {
        "run": run,
        "summary": summary_of(run),
        "verdict": verdict_of(run),
        "fewest": FLEXIBILITY.fewest,
        "reliability": reliability_summary(run),
        "notes": notes_of(run),
        "bodies": bodies,
        "heterogeneity": modes,
        "sheets": sheets,
        "table": volume_table(run),
        "consensus": consensus,
        "views": random_views(run),
        "evaluation": evaluation_section(run),
        "network": network_section(run),
        "tiles": _tiles(run),
        "methods": methods_of(run),
        "cite": Citations(),
        "settings": in_sections(run.settings),
        "machine": machine(run.records),
        "log": [(record.get("time", ""), record.get("event", ""), in_one_line(record)) for record in run.records],
        "embedded": [density for density in _embedded(sheets, modes, consensus, bodies) if density.data],
        "facts": Markup(json.dumps(facts, ensure_ascii=False)),
        "scatter_frame": svg.SCATTER,
        "style": Markup((_HERE / "assets" / "page.css").read_text(encoding="utf-8")),
        "scripts": [Markup((_HERE / "assets" / name).read_text(encoding="utf-8")) for name in _SCRIPTS],
    }


def _tiles(run: Run) -> list[Tile]:
    """The montage of all selected images, or the places of those that are excluded."""
    status = {volume.number: volume.status for volume in run.volumes}
    side = _TILE if len(run.images) < _MANY else _SMALL_TILE
    return [Tile(image, _tile(image, side), status.get(image.number, "")) for image in run.images if image.selected]


def _tile(image: Image, side: int) -> str:
    if image.pixels is None:
        return ""
    small = surfaces.at_most(image.pixels, side)
    return surfaces.data_uri(surfaces.grey(small, surfaces.common_scale(small)))


def _embedded(
    sheets: Sequence[Sheet],
    modes: HeterogeneitySection | None,
    consensus: ConsensusSection | None,
    bodies: BodiesSection | None,
) -> Iterator[Embedded]:
    for sheet in sheets:
        yield from sheet.densities
    for trajectory in modes.trajectories if modes else []:
        yield from trajectory.densities
    if consensus:
        yield from (each.density for each in consensus.maps)
        if consensus.variability:
            yield consensus.variability
    if bodies:
        yield from bodies.densities
