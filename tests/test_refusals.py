"""A mistake is reported before anything heavy is loaded: all of these commands, one after the other in one process,
load nothing.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from messages import known
from refusals import REFUSALS, write_inputs

HEAVY = ("torch", "scipy", "sklearn", "finufft", "matplotlib", "mdtraj")
PROGRAM = f"""
import contextlib, io, json, sys
from scoretomo.cli import main
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    sys.argv = ["scoretomo", *words]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main()
    print(json.dumps([code, said.getvalue(), [name for name in {HEAVY} if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Exit code, what was said, and which heavy modules were loaded by then, of each command."""
    folder = tmp_path_factory.mktemp("refusals")
    write_inputs(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    commands = [[word.replace("{in}", str(folder)) for word in shlex.split(words)] for words in REFUSALS.values()]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder.parent,
    )
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return dict(zip(REFUSALS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", REFUSALS)
def test_a_mistake_is_reported_before_anything_heavy_is_loaded(
    name: str, refused: dict[str, Any], wording: Callable[[object], None]
) -> None:
    code, said, loaded = refused[name]
    assert said.startswith("scoretomo: ")
    assert said.count("\n") == 1
    assert code == 2
    assert loaded == []
    wording(said)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("av", "figures nowhere"),
        ("umap", "landscape {run} --umap"),
        ("mdtraj", "simulate {run}/atoms.pdb --trajectory {run}/way.dcd -o {run}/x"),
    ],
    ids=["av", "umap", "mdtraj"],
)
def test_a_library_that_is_missing_is_reported_before_anything_heavy_is_loaded(
    missing: str, words: str, tmp_path: Path, wording: Callable[[object], None]
) -> None:
    for name in ("volumes.star", "poses.csv", "way.dcd"):
        (tmp_path / name).write_text("there")
    without = f"import sys; sys.modules[{missing!r}] = None\n{PROGRAM}"
    commands = json.dumps([words.replace("{run}", str(tmp_path)).split()])
    done = subprocess.run(
        [sys.executable, "-c", without, commands], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    code, said, loaded = json.loads(done.stdout)
    assert code == 2
    assert missing in said
    assert [name for name in loaded if name != missing] == []
    wording(said)


def test_every_message_of_the_snapshot_belongs_to_a_test() -> None:
    folder = Path(__file__).parent
    for file, *_, function in {tuple(test.partition("[")[0].split("::")) for test in known()}:
        assert f"def {function}(" in (folder / file).read_text(encoding="utf-8")
