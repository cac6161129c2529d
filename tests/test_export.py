"""Runs for other programs: each reads our poses as its own convention says."""

import pickle
import re
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scoretomo import files
from scoretomo.images import correlation, disc, shift
from scoretomo.projection import project
from scoretomo.rotations import rotations_from_euler


@pytest.fixture
def exported(six_volumes, tmp_path, command):
    """Export the run to a program; the folder."""

    def call(program: str) -> Path:
        code, said = command("export", six_volumes, "--to", program, "--output", tmp_path / program)
        assert code == 0, said
        return tmp_path / program

    return call


def euler(run: Path) -> np.ndarray:
    return np.array([[float(row[name]) for name in ("rot", "tilt", "psi")] for row in files.read_table(run / "poses.csv")])


def shifts(run: Path) -> np.ndarray:
    return np.array([[float(row[name]) for name in ("shift_x", "shift_y")] for row in files.read_table(run / "poses.csv")])


@pytest.mark.skipif(shutil.which("relion_project") is None, reason="needs RELION (relion_project)")
def test_relion_projects_our_consensus_with_our_table_to_our_views(exported, six_volumes):
    folder = exported("relion")
    told = ["relion_project", "--i", "reference.mrc", "--ang", "particles.star", "--o", "views", "--angpix", "1"]
    subprocess.run(told, cwd=folder, check=True, capture_output=True)
    with mrcfile.open(folder / "views.mrcs", permissive=True) as file:
        theirs = torch.from_numpy(file.data.astype(np.float32))
    volume = torch.from_numpy(files.read_map(six_volumes / "consensus.mrc").density)
    views = project(volume, rotations_from_euler(torch.from_numpy(euler(six_volumes))).float())
    ours = shift(views, torch.from_numpy(shifts(six_volumes)).float())
    assert float(correlation(ours, theirs, disc(16)).min()) > 0.99


def test_a_relion_table_leads_to_the_images(exported, six_volumes):
    folder = exported("relion")
    found = files.read_images(folder / "particles.star").images
    np.testing.assert_array_equal(found, files.read_images(six_volumes / "images.mrcs").images)
    assert "_rlnClassNumber" not in (folder / "particles.star").read_text()  # 14 of 20 images have no volume, thus no state
    mask = files.read_map(folder / "mask.mrc").density
    assert mask.min() == 0
    assert mask.max() == pytest.approx(1, abs=1e-3)
    references = [line for line in (folder / "references.star").read_text().splitlines() if line.endswith(".mrc")]
    assert references
    assert all(Path(line).exists() for line in references)


def test_cryosparc_turns_images_into_the_frame_of_the_volume(exported, six_volumes):
    folder = exported("cryosparc")
    table = np.load(folder / "particles.cs")
    found = Rotation.from_rotvec(table["alignments3D/pose"]).as_matrix()
    np.testing.assert_allclose(found, Rotation.from_euler("ZYZ", euler(six_volumes), degrees=True).as_matrix(), atol=1e-5)
    np.testing.assert_allclose(table["alignments3D/shift"], -shifts(six_volumes), atol=1e-5)
    np.testing.assert_array_equal(
        files.read_images(folder / "particles.cs").images, files.read_images(six_volumes / "images.mrcs").images
    )
    assert ">particles.cs" in (folder / "particles.csg").read_text()


def test_cryodrgn_gets_rotations_and_shifts_as_shares_of_the_side(exported, six_volumes):
    folder = exported("cryodrgn")
    with open(folder / "poses.pkl", "rb") as file:
        rotations, moves = pickle.load(file)
    expected = Rotation.from_euler("ZYZ", euler(six_volumes), degrees=True).inv().as_matrix()
    np.testing.assert_allclose(rotations, expected, atol=1e-5)
    np.testing.assert_allclose(moves, -shifts(six_volumes) / 16, atol=1e-6)


def test_a_chimerax_script_names_maps_that_are_there_and_levels_inside_them(exported, six_volumes):
    text = (exported("chimerax") / "motion.cxc").read_text()
    names = re.findall(r'"([^"]+\.mrc)"', text)
    assert str((six_volumes / "consensus.mrc").absolute()) in names
    assert all(Path(name).exists() for name in names)
    level = float(re.findall(r"volume #1 .*level (\S+)", text)[0])
    assert 0 < level < files.read_map(six_volumes / "consensus.mrc").density.max()


def test_a_path_that_the_other_program_cannot_read_is_refused(six_volumes, tmp_path, command):
    moved = tmp_path / "my run"
    moved.symlink_to(six_volumes)
    code, said = command("export", moved, "--to", "relion")
    assert code == 2
    assert "has a space" in said


def test_a_run_that_is_not_finished_is_refused(tmp_path, command):
    code, said = command("export", tmp_path, "--to", "relion")
    assert code == 2
    assert "finished run of the ensemble method" in said
