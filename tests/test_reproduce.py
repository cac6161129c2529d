"""The paper's experiments as one command, and as a table."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoretomo import presets
from scoretomo.commands import reproduce
from scoretomo.config import SampleSettings
from scoretomo.denoisers.network import NETWORKS
from scoretomo.experiments import EXPERIMENTS
from scoretomo.monitor.state import read_state
from scoretomo.pipeline import STAGES
from scoretomo.presets import PRESETS, TRAININGS
from scoretomo.rundir.directory import RunDirectory

pytestmark = pytest.mark.slow

Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same experiments, too short to learn anything."""
    for name, experiment in list(EXPERIMENTS.items()):
        if name.startswith("small"):
            monkeypatch.setitem(EXPERIMENTS, name, replace(experiment, images=5, size=16, volumes=2))
    monkeypatch.setitem(presets.TRAININGS, "fast", replace(TRAININGS["fast"], examples=64))
    monkeypatch.setitem(presets.PRESETS, "paper", replace(PRESETS["paper"], steps=6))
    monkeypatch.setattr(reproduce, "SampleSettings", partial(SampleSettings, samples=2, steps=2))


def test_the_papers_experiments_have_the_papers_numbers() -> None:
    """Section 4 and supplementary Table 1, as far as the text tells them."""
    rows = {name: EXPERIMENTS[f"paper-{name}"] for name in ("box", "capsid", "ribosome", "betagal")}
    assert [(row.images, row.size, row.volumes) for row in rows.values()] == [
        (300, 88, 300),
        (200, 88, 200),
        (100, 136, 1),
        (34, 64, 1),
    ]
    assert [row.network for row in rows.values()] == ["paper", "paper", "paper-ribosome", "paper"]
    assert {row.method for row in EXPERIMENTS.values()} == {"paper"}
    assert all(row.size % NETWORKS[row.network].multiple == 0 for row in EXPERIMENTS.values())
    assert TRAININGS.keys() == NETWORKS.keys()


def test_the_papers_descent_starts_empty_at_one_noise_level_with_growing_views() -> None:
    paper = PRESETS["paper"]
    assert paper.t[0] == paper.t[1]
    assert 2 <= paper.views[0] < paper.views[1]
    assert paper.anchor == 1


def test_an_experiment_goes_from_nothing_to_a_report_with_fsc_results(
    tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    output = tmp_path / "box"
    code, said = command("reproduce", "box", "--output", output, "--workers", 1)
    assert code == 0, said
    assert "training takes about" in said
    run = output / "run"
    assert len(RunDirectory(run).evaluation.rows.read()) == 2
    assert (run / "samples" / "montage.png").exists()
    assert (run / "report.html").exists()
    volume = (run / "volumes" / "000.mrc").read_bytes()
    before = (run / "score" / "weights.safetensors").stat().st_mtime_ns
    code, said = command("reproduce", "box", "--output", output, "--workers", 1)
    assert code == 0, said
    assert (run / "score" / "weights.safetensors").stat().st_mtime_ns == before
    assert (run / "volumes" / "000.mrc").read_bytes() == volume
    code, said = command("reproduce", "capsid", "--output", output)
    assert code == 2
    wording(said)


def test_an_experiment_is_one_job_to_those_who_watch_it(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, jobs = RunDirectory(tmp_path / "box" / "run"), []

    def looked_at(do: Callable[..., None]) -> Callable[..., None]:
        def doing(*arguments: Any, **options: Any) -> None:
            jobs.append(read_state(run, STAGES).job)
            do(*arguments, **options)
            jobs.append(read_state(run, STAGES).job)

        return doing

    for stage in ("sample_run", "reconstruct_prepared", "evaluate_maps"):
        monkeypatch.setattr(reproduce, stage, looked_at(getattr(reproduce, stage)))
    code, said = command("reproduce", "box", "--output", tmp_path / "box", "--workers", 1)
    assert code == 0, said
    assert jobs == ["running"] * 6
    assert read_state(run, STAGES).job == "finished"


def test_an_experiment_takes_images_of_ones_own(tmp_path: Path, command: Command) -> None:
    y, x = np.indices((20, 20)) - 10
    stack = np.stack([np.exp(-((y - k) ** 2 + x**2 / (k + 1)) / 9) for k in range(4)]).astype(np.float32)
    np.save(tmp_path / "classes.npy", stack)
    code, said = command(
        "reproduce",
        "betagal",
        "--output",
        tmp_path / "out",
        "--stack",
        tmp_path / "classes.npy",
        "--images",
        3,
        "--workers",
        1,
    )
    assert code == 0, said
    assert len(RunDirectory(tmp_path / "out" / "run").volume_rows.read()) == 2
    assert not (tmp_path / "out" / "run" / "evaluation").exists()


@pytest.mark.parametrize("words", ["betagal", "box --truth map.mrc"])
def test_an_experiment_refuses_what_cannot_be(
    words: str, tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    code, said = command("reproduce", *words.split(), "--output", tmp_path / "out")
    assert code == 2
    assert not (tmp_path / "out").exists()
    wording(said)
