"""What moves, as a user sees it: tables, maps, the section of the report."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scoretomo import files

NUMBERS = [0, 2, 4, 6, 8, 10]


@pytest.fixture(scope="module")
def finished(box, run_with, tmp_path_factory) -> Path:
    return run_with(box, tmp_path_factory.mktemp("run") / "run", images=",".join(map(str, NUMBERS)), steps=5)


def test_every_volume_has_its_place(finished):
    rows = files.read_table(finished / "landscape.csv")
    assert [int(row["image"]) for row in rows] == NUMBERS
    summary = files.read_json(finished / "landscape" / "summary.json")
    assert sum(name.startswith("motion_") for name in rows[0]) == summary["motions"]
    assert len(list((finished / "landscape").glob("motion-[0-9]"))) == summary["motions"]
    states = files.read_table(finished / "landscape" / "states.csv")
    assert sum(int(row["volumes"]) for row in states) == len(NUMBERS)


def test_components_are_those_of_the_volumes(finished):
    rows = files.read_table(finished / "landscape.csv")
    coordinates = np.array([float(row["component_1"]) for row in rows])
    scree = files.read_table(finished / "landscape" / "scree.csv")
    assert coordinates.var(ddof=1) == pytest.approx(float(scree[0]["variance"]), rel=1e-3)
    assert sum(float(row["share"]) for row in scree) == pytest.approx(1, abs=1e-3)


def test_replicas_lie_on_either_side_of_their_volume(finished):
    assert sorted(path.stem for path in (finished / "differences").glob("*.mrc")) == [f"{number:03d}" for number in NUMBERS]
    volume, half = (torch.from_numpy(files.read_map(finished / room / "000.mrc").density) for room in ("volumes", "differences"))
    assert 0 < float(half.norm()) < float(volume.norm())


def test_the_report_shows_what_moves_and_leads_to_the_volumes(finished):
    page = (finished / "report.html").read_text()
    section = page[page.index('<section id="motion"') :]
    section = section[: section.index("</section>")]
    for number in NUMBERS:
        assert f'href="#image-{number}"' in section


def test_looking_again_gives_the_same(finished, command):
    before = (finished / "landscape.csv").read_bytes()
    (finished / "landscape.csv").unlink()
    assert command("landscape", finished)[0] == 0
    assert (finished / "landscape.csv").read_bytes() == before


def test_a_folder_without_volumes_in_one_frame_is_refused(tmp_path, command):
    code, said = command("landscape", tmp_path)
    assert code == 2
    assert "finished run of the ensemble method" in said
