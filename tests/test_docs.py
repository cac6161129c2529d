"""The examples of the documentation run as they stand."""

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
from test_house import PACKAGE

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_python_examples_run_as_they_stand(six_volumes, tmp_path, monkeypatch, capsys):
    shutil.copytree(six_volumes, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    assert "(16, 16, 16) (16, 16) (3, 3)" in capsys.readouterr().out
    assert names["views"].shape == (40, 24, 24)
    assert names["step"].number == 30
    assert np.isfinite(names["step"].volumes.numpy()).all()


def test_every_method_has_a_page_of_the_site():
    pages = runpy.run_path(str(DOCS / "conf.py"))["ROOMS"]
    for room in ("denoisers", "reconstruction", "consensus", "deformation"):  # what is in their files is used from there
        parts = {path.stem if path.is_file() else path.name for path in (PACKAGE / room).iterdir()} - {"__init__", "__pycache__"}
        assert set(pages[room]) == {room, *(f"{room}.{part}" for part in parts)}
