"""The examples of the documentation run as they stand."""

import re
import shutil
from pathlib import Path

import numpy as np

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
