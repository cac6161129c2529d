"""The rooms of the package: imports point downwards only, in the order of LINES, and every room has its line."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scoretomo

PACKAGE = Path(scoretomo.__file__).parent
LINES = [  # from the top: a line may use all below it; neighbours on a line do not import each other
    {"api"},
    {"cli"},
    {"commands"},
    {"pipeline"},
    {"monitor"},
    {"report"},
    {"graphics"},
    {"rundir"},
    {"presets", "experiments"},
    {"landscape", "reliability"},
    {"deformation"},
    {"consensus"},
    {"reconstruction"},
    {"denoisers", "evaluation"},
    {"matching", "alignment", "simulation"},
    {"projection", "harmonics", "images", "phantoms", "optimise"},
    {"requirements"},
    {"rotations", "fourier", "files", "compute"},
    {"config", "errors", "memory", "point_groups", "wording"},
]
LINE = {module: -number for number, line in enumerate(LINES) for module in line}
DRAWERS = {"utils", "util", "core", "base", "common", "helpers", "trainer", "misc", "tools"}
SEES_PATHS = {
    "memory",
    "config",
    "requirements",
    "files",
    "rundir",
    "graphics",
    "report",
    "monitor",
    "pipeline",
    "commands",
    "cli",
    "api",
}


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def dotted(path: Path) -> tuple[str, ...]:
    """Package parts of a source file below scoretomo: score/exact.py → (score, exact), score/__init__.py → (score,)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path: Path) -> Iterator[str]:
    """Full names of what a source file imports, at its top or inside a function; relative names are resolved."""
    here = ("scoretomo", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            for name in node.names:
                yield ".".join([*base, *filter(None, [node.module]), name.name])


def neighbours(path: Path) -> set[str]:
    """Modules of the package that a source file imports, by the name they have in the house."""
    own = (name.split(".") for name in imported(path))
    return {parts[1] for parts in own if parts[0] == "scoretomo" and len(parts) > 1} - {dotted(path)[0], "__version__"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    module = dotted(path)[0]
    upwards = {other for other in neighbours(path) if LINE[other] >= LINE[module]}
    assert not upwards, f"{module} must not import {sorted(upwards)}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_math_never_sees_a_path(path: Path) -> None:
    if dotted(path)[0] not in SEES_PATHS:
        assert not {name.split(".")[0] for name in imported(path)} & {"pathlib", "mrcfile", "gemmi", "h5py"}


def test_files_never_see_math() -> None:
    files = [path for path in sources() if dotted(path)[0] == "files"]
    assert files
    for path in files:
        assert not {name.split(".")[0] for name in imported(path)} & {"torch", "scipy", "finufft", "roma"}, path


def test_every_module_is_on_a_line() -> None:
    assert {dotted(path)[0] for path in sources()} <= set(LINE)


def test_no_module_is_a_drawer() -> None:
    assert not {part for path in sources() for part in dotted(path)} & DRAWERS


def test_denoisers_do_not_import_each_other() -> None:
    kinds = {"exact", "tangent", "network"}
    for path in sources():
        first, *rest = dotted(path)
        if first == "denoisers" and rest and rest[0] in kinds:
            others = {name.split(".")[2] for name in imported(path) if name.startswith("scoretomo.denoisers.")}
            assert others & kinds <= {rest[0]}, path


def test_a_command_is_read_before_anything_heavy_is_loaded() -> None:
    """Help and refusals come at once."""
    heavy = "print(*{'torch', 'scipy', 'sklearn', 'finufft'} & {*sys.modules})"
    program = f"import sys, scoretomo.cli; print(scoretomo.cli.main()); {heavy}"
    command = [sys.executable, "-c", program, "run", "nowhere.mrcs", "--output", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"]
    assert "nowhere.mrcs" in done.stderr


def test_imports_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader itself: relative, absolute and late imports, from a file and from a folder."""
    monkeypatch.setattr("test_house.PACKAGE", tmp_path)
    (tmp_path / "denoisers").mkdir()
    source = tmp_path / "denoisers" / "exact.py"
    source.write_text(
        "from ..fourier import a\nfrom .. import images\nfrom .network import b\n"
        "def late():\n    import scoretomo.pipeline.runner\n    from scoretomo import cli\n"
    )
    assert neighbours(source) == {"fourier", "images", "pipeline", "cli"}
