"""What moves, as a user sees it: tables, maps, the section of the report."""

import shutil

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.pipeline.landscape import landscape_only

NUMBERS = [0, 2, 4, 6, 8, 10]


def test_every_volume_has_its_place(six_volumes):
    rows = files.read_table(six_volumes / "landscape.csv")
    assert [int(row["image"]) for row in rows] == NUMBERS
    summary = files.read_json(six_volumes / "landscape" / "summary.json")
    assert [way["name"] for way in summary["ways"]] == []  # nobody knows whether it moves
    assert {name for name in rows[0] if name.startswith("component_")} == {"component_1", "component_2", "component_3"}
    states = files.read_table(six_volumes / "landscape" / "states.csv")
    assert sum(int(row["volumes"]) for row in states) == len(NUMBERS)


def test_components_are_those_of_the_volumes(six_volumes):
    rows = files.read_table(six_volumes / "landscape.csv")
    coordinates = np.array([float(row["component_1"]) for row in rows])
    scree = files.read_table(six_volumes / "landscape" / "scree.csv")
    assert coordinates.var(ddof=1) == pytest.approx(float(scree[0]["variance"]), rel=1e-3)
    assert sum(float(row["share"]) for row in scree) == pytest.approx(1, abs=1e-3)


def test_replicas_lie_on_either_side_of_their_volume(six_volumes):
    assert sorted(path.stem for path in (six_volumes / "differences").glob("*.mrc")) == [f"{number:03d}" for number in NUMBERS]
    volume, half = (torch.from_numpy(files.read_map(six_volumes / room / "000.mrc").density) for room in ("volumes", "differences"))
    assert 0 < float(half.norm()) < float(volume.norm())


def test_the_report_shows_what_moves_and_leads_to_the_volumes(six_volumes):
    page = (six_volumes / "report.html").read_text()
    section = page[page.index('<section id="motion"') :]
    section = section[: section.index("</section>")]
    for number in NUMBERS:
        assert f'href="#image-{number}"' in section


def test_few_images_do_not_tell_whether_there_is_motion(six_volumes):
    summary = files.read_json(six_volumes / "landscape" / "summary.json")
    assert summary["moves"] is None  # twenty images are too few to ask
    assert summary["motions"] is None
    assert "too few images to ask" in (six_volumes / "report.html").read_text()


def test_few_images_do_not_tell_what_to_trust(six_volumes):
    rows = files.read_table(six_volumes / "reliability.csv")
    assert [int(row["image"]) for row in rows] == NUMBERS
    assert {row["expected_fsc"] for row in rows} == {""}
    assert {row["word"] for row in rows} <= {"with care", "do not"}


def test_volumes_of_a_rigid_molecule_are_judged_by_the_consensus(six_volumes, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(six_volumes, run)
    asked = {"still": 0.05, "moving": 0.04, "displacement": 0.1, "evidence": 0.01, "needed": 0.05, "moves": 0}
    files.write_table(run / "consensus" / "moves.csv", [asked])
    landscape_only(run, umap=False)
    rows = [row for row in files.read_table(run / "reliability.csv") if row["expected_fsc"]]
    assert len({(row["expected_fsc"], row["low"], row["high"], row["word"], row["reason"]) for row in rows}) == 1
    assert float(rows[0]["low"]) < float(rows[0]["expected_fsc"]) < float(rows[0]["high"])
    assert {row["isolation"] for row in rows} == {""}
    assert all(0 < float(row["replicas"]) <= 1 for row in rows)
    assert "images and consensus agree" in (run / "report.html").read_text()
    poses = files.read_table(run / "consensus" / "poses.csv")
    turned = [row | {"psi": float(row["psi"]) + 90} for row in poses]
    files.write_table(run / "consensus" / "poses.csv", turned)
    landscape_only(run, umap=False)
    worse = [row for row in files.read_table(run / "reliability.csv") if row["expected_fsc"]]
    assert float(worse[0]["expected_fsc"]) < float(rows[0]["expected_fsc"])


def test_looking_again_gives_the_same(six_volumes, tmp_path, command):
    run = shutil.copytree(six_volumes, tmp_path / "run")
    stale = run / "landscape" / "motion-7"
    stale.mkdir()
    torch.set_num_threads(2)  # as of a user's process: it must not show in the result
    assert command("landscape", run)[0] == 0
    assert (run / "landscape.csv").read_bytes() == (six_volumes / "landscape.csv").read_bytes()
    assert not stale.exists()


def test_what_an_interrupted_run_lacks_is_made_up_by_the_same_command(six_volumes, box, run_with, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(six_volumes, run)
    (run / "reliability.csv").unlink()
    table, landscape = (six_volumes / "reliability.csv").read_bytes(), (run / "landscape.csv").read_bytes()
    volume = (run / "volumes" / "000.mrc").stat().st_mtime_ns
    run_with(box, run, images="0,2,4,6,8,10", steps=5)
    assert (run / "reliability.csv").read_bytes() == table
    assert (run / "landscape.csv").read_bytes() == landscape
    assert (run / "volumes" / "000.mrc").stat().st_mtime_ns == volume  # what was finished is not done again


def test_a_folder_without_volumes_in_one_frame_is_refused(tmp_path, command):
    code, said = command("landscape", tmp_path)
    assert code == 2
    assert "finished run of the ensemble method" in said


def test_a_few_volumes_of_a_moving_molecule_do_not_tell_in_how_many_ways(six_volumes, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(six_volumes, run)
    asked = {"still": 0.05, "moving": 0.01, "displacement": 0.8, "evidence": 0.6, "needed": 0.05, "moves": 1}
    files.write_table(run / "consensus" / "moves.csv", [asked])
    landscape_only(run, umap=False)
    summary = files.read_json(run / "landscape" / "summary.json")
    assert summary["moves"]
    assert summary["motions"] is None
    names = [way["name"] for way in summary["ways"]]
    assert names == [f"component-{k + 1}" for k in range(len(names))]
    assert all(len(list((run / "landscape" / name).glob("*.mrc"))) == 11 for name in names)
    assert not any(column.startswith("motion_") for column in files.read_table(run / "landscape.csv")[0])
    assert not any(column.endswith("_seen") for column in files.read_table(run / "reliability.csv")[0])


def test_the_consensus_says_how_fine_it_is(six_volumes):
    (summary,) = files.read_table(six_volumes / "consensus" / "summary.csv")
    assert 2 <= float(summary["left_out_resolution"]) <= 16  # pixels, where no size of them is known
