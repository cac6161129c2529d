"""Files that were read are recognised by their content; evaluate remarks on odd ones."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import ball, blob

from scoretomo import files
from scoretomo.rundir.folders import EvaluationFolder
from scoretomo.rundir.inputs import require_same_input
from scoretomo.rundir.settings_file import check_settings, write_settings

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A STAR file that names images of two stacks."""
    for number in (1, 2):
        views = np.stack([blob(16, 10 * number + k).sum(0) for k in range(3)])
        files.write_images(tmp_path / f"part-{number}.mrcs", views, 4.0)
    rows = [f"{k:06d}@part-{number}.mrcs" for number in (1, 2) for k in (1, 2, 3)]
    path = tmp_path / "classes.star"
    path.write_text("data_\n\nloop_\n_rlnImageName #1\n" + "\n".join(rows) + "\n")
    return path


def test_an_import_records_every_file_that_it_read(table: Path, tmp_path: Path, command: Command) -> None:
    assert command("import", table, "--output", tmp_path / "new" / "images.mrcs")[0] == 0
    known = files.read_json(tmp_path / "new" / "images.json")["files"]
    assert [Path(record["path"]).name for record in known] == ["classes.star", "part-1.mrcs", "part-2.mrcs"]
    assert known[1]["size"] == (tmp_path / "part-1.mrcs").stat().st_size
    assert len(known[1]["sha256"]) == 64


def test_a_stack_that_a_table_names_may_not_change(
    table: Path, tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    words = ("import", table, "--output", tmp_path / "new" / "images.mrcs")
    assert command(*words)[0] == 0
    stack = tmp_path / "part-2.mrcs"
    content = stack.read_bytes()
    os.utime(stack, ns=(1, 1))
    wording(command(*words)[1])  # touched, and the same
    stack.write_bytes(content[:-4] + b"abcd")
    code, said = command(*words)
    assert code == 2
    wording(said)
    assert command(*words, "--force")[0] == 0
    wording(command(*words)[1])
    stack.unlink()
    wording(command(*words)[1])


def test_files_whose_names_are_not_utf_8_are_recognised(table: Path, tmp_path: Path, command: Command) -> None:
    stack = tmp_path / os.fsdecode(b"caf\xe9.mrcs")
    (tmp_path / "part-1.mrcs").rename(stack)
    table.write_bytes(table.read_bytes().replace(b"part-1", b"caf\xe9"))
    for given in (table, stack):
        words = ("import", given, "--output", tmp_path / given.stem / "images.mrcs")
        assert command(*words)[0] == 0
        assert "is finished" in command(*words)[1]
        files.write_images(stack, 2 * files.read_images(stack).images, 4.0)
        with pytest.raises(files.InputError, match=r"caf.*\.mrcs"):
            require_same_input(tmp_path / given.stem / "images.json")


def test_settings_with_a_path_that_is_not_utf_8_are_recognised(tmp_path: Path) -> None:
    asked = {"run": {"stack": tmp_path / os.fsdecode(b"caf\xe9.mrcs")}}
    write_settings(tmp_path / "run" / "config.toml", asked)
    assert check_settings(tmp_path / "run" / "config.toml", asked, force=False)


def test_a_simulation_records_the_map_that_it_was_made_of(
    tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    files.write_map(tmp_path / "map.mrc", ball(16, (0, 2, 0), 4), 4.0)
    words = (
        "simulate",
        tmp_path / "map.mrc",
        "--images",
        2,
        "--size",
        16,
        "--output",
        tmp_path / "sim",
        "--workers",
        1,
    )
    assert command(*words)[0] == 0
    wording(command(*words)[1])
    before = (tmp_path / "sim" / "images.mrcs").read_bytes()
    files.write_map(tmp_path / "map.mrc", ball(16, (0, -2, 0), 4), 4.0)
    code, said = command(*words)
    assert code == 2
    wording(said)
    assert (tmp_path / "sim" / "images.mrcs").read_bytes() == before
    assert command(*words, "--force")[0] == 0
    assert (tmp_path / "sim" / "images.mrcs").read_bytes() != before


def maps(folder: Path, densities: dict[str, np.ndarray], pixel_size: float | None) -> Path:
    folder.mkdir()
    for name, density in densities.items():
        files.write_map(folder / name, density, pixel_size)
    return folder


def evaluated(command: Command, found: Path, truth: Path) -> tuple[str, list[str]]:
    """What evaluate prints of maps, and the notes of summary.json."""
    scores = found.parent / "scores"
    code, said = command("evaluate", found, "--truth", truth, "--output", scores, "--workers", 1)
    assert code == 0, said
    return said, json.loads((scores / "summary.json").read_text())["notes"]


def test_evaluate_remarks_once_on_an_odd_truth(
    tmp_path: Path, command: Command, wording: Callable[[object], None]
) -> None:
    two = {f"00{k}.mrc": blob(12, 3) for k in range(2)}
    files.write_map(tmp_path / "truth.mrc", blob(12, 3), 1.0)
    said, notes = evaluated(command, maps(tmp_path / "maps", two, 4.0), tmp_path / "truth.mrc")
    assert len(notes) == 2
    assert said.count("pixel size of 1 Å") == said.count("in a box of 48 Å") == 1
    for note in notes:
        wording(note)


def test_evaluate_has_no_remark_on_maps_that_are_coarser_than_their_truth(tmp_path: Path, command: Command) -> None:
    files.write_map(tmp_path / "truth.mrc", blob(24, 3), 2.0)
    assert evaluated(command, maps(tmp_path / "maps", {"000.mrc": blob(12, 3)}, 4.0), tmp_path / "truth.mrc")[1] == []


@pytest.mark.parametrize("inverted", ["map", "truth"])
def test_evaluate_remarks_that_the_contrast_is_inverted(inverted: str, tmp_path: Path, command: Command) -> None:
    sign = {"map": 1.0, "truth": 1.0, inverted: -1.0}
    files.write_map(tmp_path / "truth.mrc", sign["truth"] * blob(12, 3), 4.0)
    found = maps(tmp_path / "maps", {"000.mrc": sign["map"] * blob(12, 3)}, 4.0)
    (note,) = evaluated(command, found, tmp_path / "truth.mrc")[1]
    assert note.startswith(f"{found / '000.mrc' if inverted == 'map' else tmp_path / 'truth.mrc'} is dark on bright")


@pytest.mark.slow
def test_an_interrupted_evaluation_goes_on_and_the_finished_one_stays_until_then(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = maps(tmp_path / "maps", {f"00{k}.mrc": blob(12, k) for k in range(3)}, 4.0)
    first, second = (
        maps(tmp_path / name, {f"00{k}.mrc": blob(12, k + d) for k in range(3)}, 4.0)
        for name, d in (("a", 0), ("b", 1))
    )
    words = ("evaluate", found, "--output", tmp_path / "scores", "--workers", 1, "--truth")
    assert command(*words, first)[0] == 0
    (tmp_path / "scores" / "mine.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "scores").glob("*.*") if path.is_file()}
    with monkeypatch.context() as patch:
        real, calls = files.append_record, []

        def stopped(path: Path, record: dict[str, object]) -> None:
            calls.append(record)
            if len(calls) == 4:  # the key and two comparisons are written
                raise KeyboardInterrupt
            real(path, record)

        patch.setattr(files, "append_record", stopped)
        assert command(*words, second)[0] == 130
    assert {path.name: path.read_bytes() for path in (tmp_path / "scores").glob("*.*") if path.is_file()} == before
    with monkeypatch.context() as patch:
        added: list[dict[str, object]] = []
        patch.setattr(files, "append_record", lambda path, record: (added.append(record), real(path, record)))
        assert command(*words, second)[0] == 0
    assert len(added) == 1  # the third comparison
    assert {row.truth for row in EvaluationFolder(tmp_path / "scores").rows.read()} == {
        str(second / f"00{k}.mrc") for k in range(3)
    }
    assert (tmp_path / "scores" / "mine.txt").read_text() == "mine"
    assert not list((tmp_path / "scores").glob(".*"))
