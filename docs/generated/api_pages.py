"""A page for every room of the package, made of docstrings by autodoc."""

import ast
from pathlib import Path

import scoretomo

PACKAGE = Path(scoretomo.__file__).parent
ORDER = [  # from the top of the house; rooms that are not named here follow
    "config",
    "presets",
    "experiments",
    "particles",
    "landscape",
    "reliability",
    "deformation",
    "consensus",
    "reconstruction",
    "denoisers",
    "matching",
    "alignment",
    "evaluation",
    "optimise",
    "volumes",
    "simulation",
    "projection",
    "harmonics",
    "ctf",
    "images",
    "phantoms",
    "rotations",
    "fourier",
    "files",
    "compute",
    "rundir",
]
INNER = {"cli", "commands", "pipeline", "monitor", "report", "graphics"}  # for those who read the source
INNER |= {"__init__", "__pycache__", "py", "api", "errors", "memory", "wording"}
PUBLIC_PARTS: dict[str, list[str]] = {"rundir": ["opened_run"], "files": []}  # the rest of these is inner


def rooms() -> dict[str, list[str]]:
    """Modules on the page of each room, by the name of the page."""
    present = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))} - INNER
    order = [room for room in ORDER if room in present] + sorted(present - {*ORDER})
    return {"scoretomo": ["scoretomo"], **{room: _modules(room) for room in order}}


def write(folder: Path) -> None:
    """Write the pages to a folder that git ignores."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        old.unlink()
    for room, modules in rooms().items():
        parts = [f"{room}\n{'=' * len(room)}"]
        for name in modules:
            heading = f"{name}\n{'-' * len(name)}\n\n" if name != room else ""
            parts.append(f"{heading}.. automodule:: {'scoretomo' if name == 'scoretomo' else f'scoretomo.{name}'}")
        (folder / f"{room}.rst").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _modules(room: str) -> list[str]:
    """A room whose folder re-exports all of its files is one module; else the files are described, too."""
    folder = PACKAGE / room
    if not folder.is_dir():
        return [room]
    stems = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    parts = PUBLIC_PARTS.get(room, sorted(stems - {"__init__"}))
    return [room] if {*parts} <= _re_exported(folder / "__init__.py") else [room, *(f"{room}.{part}" for part in parts)]


def _re_exported(path: Path) -> set[str]:
    """Files from which a folder's __init__ imports, if it has a list __all__."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        return set()
    return {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module}
