"""The docs site (make docs): README, the pages of this folder, and a page for every room, made of its docstrings."""

import inspect
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

from scoretomo import __version__

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ["method", "conventions", "files", "python", "simulation", "paper", "junk", "numbers", "experiments", "rivals"]
ROOMS = {  # from the top of the house; a room of several files has them on its page
    "scoretomo": ["scoretomo", "scoretomo.rundir.opened_run"],
    "config": ["config", "requirements"],
    "presets": ["presets", "experiments"],
    "report": ["report", "report.embedded", "rundir.results"],
    "reliability": ["reliability.calibration"],
    "landscape": ["landscape"],
    "deformation": [
        "deformation",
        *(f"deformation.{part}" for part in ("model", "schedule", "splatting", "ring_weights", "principal_modes", "pose_rescue")),
    ],
    "consensus": ["consensus", "consensus.assignment", "consensus.symmetry"],
    "reconstruction": [
        "reconstruction",
        *(f"reconstruction.{part}" for part in ("algorithm", "refinement", "least_squares", "score_support")),
    ],
    "denoisers": [
        "denoisers",
        *(f"denoisers.{part}" for part in ("exact", "tangent", "network", "denoising_error", "training", "sampling")),
    ],
    "evaluation": ["evaluation"],
    "matching": ["matching"],
    "alignment": ["alignment"],
    "simulation": ["simulation"],
    "projection": ["projection"],
    "harmonics": ["harmonics"],
    "images": ["images"],
    "phantoms": ["phantoms"],
    "rotations": ["rotations"],
    "fourier": ["fourier"],
    "files": ["files"],
    "compute": ["compute"],
}

project, version, copyright = "scoretomo", __version__, "the scoretomo authors, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/api/*.rst"]
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "docs"]
html_theme = "furo"
html_title = f"scoretomo {version}"
html_show_sphinx = html_copy_source = False
templates_path: list[str] = []
myst_heading_anchors = 3
default_role = "code"
highlight_language = "none"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "special-members": "__call__"}
python_maximum_signature_line_length = 70
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"
nitpicky = True
nitpick_ignore = [("py:class", f"scoretomo.compute.{name}") for name in ("Task", "Message")]  # type variables
nitpick_ignore_regex = [(r"py:.*", r"(?!scoretomo).*")]  # other libraries' names are no links: the site is made offline


def write_rooms() -> None:
    """A page for every room in docs/api, which git ignores."""
    folder = ROOT / "docs" / "api"
    folder.mkdir(exist_ok=True)
    for room, modules in ROOMS.items():
        parts = [f"{room}\n{'=' * len(room)}"]
        for name in modules:
            heading = f"{name}\n{'-' * len(name)}\n\n" if name != room else ""
            parts.append(f"{heading}.. automodule:: {name if name.startswith('scoretomo') else f'scoretomo.{name}'}")
        (folder / f"{room}.rst").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """The sidebar, which the front page need not show on GitHub."""
    if page == root_doc:
        guide = ["Read me <../README>", *GUIDE, "../CHANGELOG"]
        for caption, names in (("Guide", guide), ("Python", [f"api/{room}" for room in ROOMS])):
            source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```\n"])


def complete(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings for the site: bars are bars, and comments beside fields are their description."""
    if not getattr(thing, "__module__", name).startswith("scoretomo"):
        return
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # or what stands before a colon would be taken for a type
    if inspect.isclass(thing) and not any(line.strip() == "Attributes:" for line in lines):
        fields = re.findall(r"^    (\w+): [^#\n]+?  # (.+)$", inspect.getsource(thing), re.MULTILINE)
        lines += ["", "Attributes:", *(f"    {field}: {text}" for field, text in fields), ""] if fields else []
    for number in [number for number, line in enumerate(lines) if line.strip() == "Returns:"]:  # its colons are no types
        lines[number : number + 2] = ["", f":returns: {lines[number + 1].strip()}"]
    lines[:] = [re.sub(r"(`+[^`]*`+)|([|@])", lambda found: found[1] or "\\" + found[2], line) for line in lines]


def choose(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Fields of tuples are described with their class; what is public has a docstring."""
    home = getattr(getattr(thing, "fget", thing), "__module__", None) or ""
    if skip and home.startswith("scoretomo") and not inspect.getdoc(thing) and (name == "__call__" or not name.startswith("_")):
        getLogger(__name__).warning("%s of %s has no docstring", name, home)
    return True if type(thing).__name__ == "_tuplegetter" else None


def lead_to_front_page(app: Sphinx, error: Exception | None) -> None:
    """site/index.html, where one looks first."""
    target = f'<!doctype html><title>scoretomo</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
    (Path(app.outdir) / "index.html").write_text(target, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    write_rooms()
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", complete, priority=400)  # before sections are read
    app.connect("autodoc-skip-member", choose)
    app.connect("build-finished", lead_to_front_page)
