"""The docs site (make docs): the pages of this folder, generated parts filled in, and API pages from docstrings."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

from scoretomo import __version__

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
from generated import api_pages, benchmark_pages, reference_pages  # noqa: E402

TUTORIALS = ["moving-box", "relion-to-chimerax", "python"]
HOW_TO = [
    "class-averages",
    "size-and-time",
    "symmetry",
    "hand",
    "mixtures",
    "resume-and-batch",
    "gpu",
    "compare-with-a-map",
    "export",
    "figures-and-movies",
    "network-score",
    "reproduce-the-paper",
    "simulate",
    "troubleshooting",
]
EXPLANATION = [
    "overview",
    "score",
    "algorithm-1",
    "consensus",
    "flexibility-test",
    "deformation-model",
    "rigid-bodies",
    "refinement",
    "landscape",
    "reliability",
    "junk",
    "projection",
    "rivals",
    "paper",
]
REFERENCE = ["command-line", "run-directory", "file-formats", "conventions", "glossary"]
BENCHMARKS = [
    "index",
    "volumes",
    "heterogeneity",
    "reliability",
    "cost",
    "cold-starts",
    "network",
    "rivals",
    "junk",
    "robustness",
]
DECISIONS = sorted(path.stem for path in (ROOT / "docs" / "dev" / "decisions").glob("*.md") if path.stem != "index")

SIDEBAR: dict[str, list[str]] = {
    "Start": ["Read me <../README>"],
    "Tutorials": [f"tutorials/{page}" for page in TUTORIALS],
    "How to": [f"how-to/{page}" for page in HOW_TO],
    "Explanation": [f"explanation/{page}" for page in EXPLANATION],
    "Reference": [f"reference/{page}" for page in REFERENCE],
    "Benchmarks": [f"benchmarks/{page}" for page in BENCHMARKS],
    "Development": [
        "../CONTRIBUTING",
        "dev/decisions/index",
        *(f"dev/decisions/{page}" for page in DECISIONS),
        "dev/trials",
        "../CHANGELOG",
    ],
    "Python": [f"api/{room}" for room in api_pages.rooms()],
}
GENERATED = {  # what stands for a line <!-- generated: NAME ARGUMENT --> of a page
    "command-line": reference_pages.command_line,
    "tables": reference_pages.tables,
    "record": benchmark_pages.record,
    "junk": benchmark_pages.junk,
    "refusals": benchmark_pages.refusals,
    "trials": benchmark_pages.trials,
}

project, version, copyright = "scoretomo", __version__, "the scoretomo authors, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/**/*.md", "docs/api/*.rst"]
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "docs"]
html_theme = "furo"
html_title = f"scoretomo {version}"
html_show_sphinx = html_copy_source = False
templates_path: list[str] = []
myst_heading_anchors = 4
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


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what is generated into a page, and the sidebar into the front page, which GitHub shows without it."""
    marker = re.compile(r"^<!-- generated: (\S+) ?(.*?) -->$", re.MULTILINE)
    source[0] = marker.sub(lambda match: GENERATED[match[1]](*match[2].split()), source[0])
    if page == root_doc:
        for caption, names in SIDEBAR.items():
            source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```\n"])


def complete(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings for the site: bars are bars, and comments beside fields are their description."""
    if not getattr(thing, "__module__", name).startswith("scoretomo"):
        return
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # or what stands before a colon would be taken for a type
    if inspect.isclass(thing) and not any(line.strip() == "Attributes:" for line in lines):
        fields = reference_pages.field_comments(thing)
        lines += ["", "Attributes:", *(f"    {field}: {text}" for field, text in fields.items()), ""] if fields else []
    for number in [
        number for number, line in enumerate(lines) if line.strip() == "Returns:"
    ]:  # its colons are no types
        lines[number : number + 2] = ["", f":returns: {lines[number + 1].strip()}"]
    lines[:] = [re.sub(r"(`+[^`]*`+)|([|@])", lambda match: match[1] or "\\" + match[2], line) for line in lines]


def choose(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Fields of tuples are described with their class; what is public has a docstring."""
    home = getattr(getattr(thing, "fget", thing), "__module__", None) or ""
    public = name == "__call__" or not name.startswith("_")
    if skip and home.startswith("scoretomo") and not inspect.getdoc(thing) and public:
        getLogger(__name__).warning("%s of %s has no docstring", name, home)
    return True if type(thing).__name__ == "_tuplegetter" else None


def lead_to_front_page(app: Sphinx, error: Exception | None) -> None:
    """site/index.html, where one looks first."""
    target = f'<!doctype html><title>scoretomo</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
    (Path(app.outdir) / "index.html").write_text(target, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    api_pages.write(ROOT / "docs" / "api")
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", complete, priority=400)  # before sections are read
    app.connect("autodoc-skip-member", choose)
    app.connect("build-finished", lead_to_front_page)
