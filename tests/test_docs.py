"""The documentation: examples run, links lead somewhere, every record is shown, every file of a run is named."""

import importlib
import json
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.folders import ConsensusFolder, EvaluationFolder, LandscapeFolder, SampleFolder
from scoretomo.rundir.tables import Record, Table

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
RECORDS = sorted((ROOT / "benchmarks" / "records").glob("*.json"))
FOLDERS = (ConsensusFolder, EvaluationFolder, LandscapeFolder, SampleFolder)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_python_examples_run_as_they_stand(six_volumes, tmp_path, monkeypatch, capsys):
    shutil.copytree(six_volumes, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", text(DOCS / "tutorials" / "python.md"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    assert "(16, 16, 16) (16, 16) (3, 3)" in capsys.readouterr().out
    assert names["views"].shape == (40, 24, 24)
    assert names["step"].number == 30
    assert np.isfinite(names["step"].volumes.numpy()).all()


def test_readme_has_600_words_at_most() -> None:
    assert len(text(ROOT / "README.md").split()) <= 600


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", text(page))
    missing = [target for target in targets if "://" not in target and not (page.parent / unquote(target)).exists()]
    assert not missing


def test_every_page_is_in_the_sidebar() -> None:
    sidebar = runpy.run_path(str(DOCS / "conf.py"))["SIDEBAR"]
    names = [re.sub(r".*<(.*)>", r"\1", name) for names in sidebar.values() for name in names]
    shown = {(DOCS / f"{name}.md").resolve() for name in names}
    assert {*DOCS.rglob("*.md")} - {DOCS / "index.md"} - shown == set()


def test_every_record_is_on_a_page() -> None:
    shown = {name for page in PAGES for name in re.findall(r"<!-- generated: record (\S+) -->", text(page))}
    assert shown == {path.stem for path in RECORDS}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_its_command_machine_and_columns(path: Path) -> None:
    record = json.loads(text(path))
    assert {"title", "command", "machine", "cores", "seeds", "seconds", "columns", "rows"} <= record.keys()
    assert record["machine"]
    assert record["cores"] or "CPU cores" in record["columns"]
    assert record["rows"]
    assert all(row.keys() == record["columns"].keys() for row in record["rows"])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_row_of_a_record_was_measured_at_a_commit_or_published_in_one(path: Path) -> None:
    record = json.loads(text(path))
    for origin in record.get("origins", {"all rows": record}).values():
        (commit,) = filter(None, (origin["commit"], origin["published"]))
        assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", commit)


def test_measuring_a_set_again_names_its_commit_and_leaves_the_publication_of_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    machine = importlib.import_module("machine")
    measured = {"commit": "1234567", "machine": "new", "cores": 2, "python": "3"}
    for name, value in (("RECORDS", tmp_path), ("command", lambda: "this"), ("described", lambda: measured)):
        monkeypatch.setattr(machine, name, value)
    columns = {"set": "", "value": ""}
    rows = [{"set": name, "value": 1} for name in ("old", "again")]
    published = {"title": "Sets", "command": "this", "commit": None, "published": "89abcde", "columns": columns}
    for name, key in (("sets", ["set"]), ("whole", [])):
        machine.save(tmp_path / f"{name}.json", {**published, "rows": rows})
        machine.write_record(name, [{"set": "again", "value": 2}], seeds=[0], seconds=1, key=key)
    sets, whole = (json.loads(text(tmp_path / f"{name}.json")) for name in ("sets", "whole"))
    commits = {name: (origin["commit"], origin["published"]) for name, origin in sets["origins"].items()}
    assert commits == {"old": (None, "89abcde"), "again": ("1234567", None)}
    assert (whole["commit"], whole["published"]) == ("1234567", None)
    page = runpy.run_path(str(DOCS / "generated" / "benchmark_pages.py"))["shown"](sets)
    assert "commit 1234567; published in commit 89abcde" in page


def test_every_benchmark_that_a_record_names_is_there() -> None:
    commands = "; ".join(json.loads(text(path))["command"] or "" for path in RECORDS)
    named = re.findall(r"python (benchmarks/\S+\.py) ?(\w*)", commands)
    assert named
    assert all(f'"{part}"' in text(ROOT / script) for script, part in named if part)
    assert all((ROOT / script).exists() for script, _ in named)


def test_the_reference_names_every_file_of_a_run() -> None:
    tree = text(DOCS / "reference" / "run-directory.md").partition("## Tables and records")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", tree, re.MULTILINE)
    missing = [
        path for path in paths(RunDirectory(Path())) if path != Path() and not any(names(*row, path) for row in rows)
    ]
    assert not missing


def names(first: str, meaning: str, path: Path) -> bool:
    """Whether a row of the table of files names a path: itself, or its folder and then its name in the second cell."""
    files = re.findall(r"`([^`]+)`", first)
    if str(path) in (file.rstrip("/") for file in files):
        return True
    return f"{path.parent}/" in files and re.search(rf"`{re.escape(path.name)}[`/]", meaning) is not None


def paths(owner: Any) -> Iterator[Path]:
    """Every path that a run directory, or a folder of it, names."""
    for value in vars(owner).values():
        if isinstance(value, FOLDERS):
            yield from paths(value)
        elif isinstance(value, Table | Record):
            yield value.path
        elif isinstance(value, Path):
            yield value
