"""Runs for other programs: each reads our poses as its own convention says."""

import json
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import gemmi
import h5py
import mrcfile
import numpy as np
import pytest
import torch
from runs import write_bodies
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from scoretomo import files
from scoretomo.graphics import colours, shading, surfaces
from scoretomo.images import correlation, disc, shift
from scoretomo.projection import project
from scoretomo.rotations import rotations_from_euler
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.rows import LandscapeRow, StateRow, Trajectory


@pytest.fixture
def three_bodies(six_volumes, tmp_path) -> RunDirectory:
    """The run as if its volumes came from rigid bodies."""
    run = RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))
    write_bodies(run.path, [row.image for row in run.volume_rows.read()])
    return run


@pytest.fixture
def two_states(six_volumes, tmp_path) -> Path:
    """The run as if every image had a volume: of state 2 those of even images, of state 1 the others."""
    run = RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))
    images = [row.image for row in run.poses.read()]
    run.landscape.rows.write([LandscapeRow(image, 2 - image % 2, (), (0.0,), ()) for image in images])
    run.landscape.states.write([StateRow(1, 10, 4, 0), StateRow(2, 10, 8, 6)])
    return run.path


@pytest.fixture
def exported(six_volumes, tmp_path, command):
    """Export the run to a program; the folder."""

    def call(program: str) -> Path:
        code, said = command("export", six_volumes, "--to", program, "--output", tmp_path / program)
        assert code == 0, said
        return tmp_path / program

    return call


def euler(run: Path) -> np.ndarray:
    return np.array([(row.rot, row.tilt, row.psi) for row in RunDirectory(run).poses.read()])


def shifts(run: Path) -> np.ndarray:
    return np.array([(row.shift_x, row.shift_y) for row in RunDirectory(run).poses.read()])


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
    assert float(theirs.std() / ours.std()) == pytest.approx(1, abs=0.05)  # grey scale


def relion_classes(folder: Path, count: int) -> list[np.ndarray]:
    """Maps after an iteration of RELION's 3D classification from an export."""
    (folder / "job").mkdir()
    told = [
        "--i",
        "particles.star",
        "--ref",
        "references.star",
        "--solvent_mask",
        "mask.mrc",
        "--o",
        "job/run",
        "--K",
        str(count),
    ]
    usual = [
        "--iter",
        "1",
        "--particle_diameter",
        "12",
        "--flatten_solvent",
        "--zero_mask",
        "--skip_align",
        "--norm",
        "--scale",
    ]
    subprocess.run(["relion_refine", *told, *usual], cwd=folder, check=True, capture_output=True)
    classes = [files.read_map(path).density for path in sorted((folder / "job").glob("run_it001_class*.mrc"))]
    assert len(classes) == count
    return classes


@pytest.mark.skipif(shutil.which("relion_refine") is None, reason="needs RELION (relion_refine)")
def test_relion_classifies_in_3d_from_our_table_references_and_mask(exported, six_volumes):
    folder = exported("relion")
    count = len(list(folder.glob("state-*.mrc")))
    classes = relion_classes(folder, count)
    consensus = files.read_map(six_volumes / "consensus.mrc").density
    assert np.corrcoef(np.mean(classes, 0).ravel(), consensus.ravel())[0, 1] > 0.8


def test_a_relion_table_leads_to_the_images(exported, six_volumes):
    folder = exported("relion")
    found = files.read_images(folder / "particles.star").images
    np.testing.assert_array_equal(found, files.read_images(six_volumes / "images.mrcs").images)
    assert (
        "_rlnClassNumber" not in (folder / "particles.star").read_text()
    )  # 14 of 20 images have no volume, thus no state
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
    np.testing.assert_allclose(
        found, Rotation.from_euler("ZYZ", euler(six_volumes), degrees=True).as_matrix(), atol=1e-5
    )
    np.testing.assert_allclose(table["alignments3D/shift"], -shifts(six_volumes), atol=1e-5)
    np.testing.assert_array_equal(
        files.read_images(folder / "particles.cs").images, files.read_images(six_volumes / "images.mrcs").images
    )
    assert ">particles.cs" in (folder / "particles.csg").read_text()
    assert set(table["alignments3D/alpha"]) == {1.0}


def test_cryosparc_groups_of_volumes_lead_to_the_maps(exported, six_volumes):
    folder = exported("cryosparc")
    for name, count in (("reference", 1), ("states", len(RunDirectory(six_volumes).landscape.states.read()))):
        table = np.load(folder / f"{name}.cs")
        assert len(table) == count
        for row in table:
            found = files.read_map(Path(row["map/path"].decode()))
            assert found.density.shape == tuple(row["map/shape"])
            assert found.pixel_size == pytest.approx(row["map/psize_A"])
        group = (folder / f"{name}.csg").read_text()
        assert f"metafile: '>{name}.cs'" in group
        assert "type: volume.blob" in group
    consensus = files.read_map(six_volumes / "consensus.mrc").density
    np.testing.assert_array_equal(files.read_map(folder / "reference.mrc").density, consensus)


def eman_headers(path: Path) -> list[dict[str, np.ndarray]]:
    """Headers of an EMAN2 stack, as they are in the file."""
    with h5py.File(path) as file:
        images = file["MDF/images"]
        count = int(images.attrs["imageid_max"][0]) + 1
        assert set(images) == {str(number) for number in range(count)}
        return [
            {name.removeprefix("EMAN."): images[str(n)].attrs[name] for name in images[str(n)].attrs}
            for n in range(count)
        ]


def eman_matrices(headers: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Matrices of 3 rows and 4 columns, from compounds of twelve numbers that are named by row and column."""
    assert headers[0]["xform.projection"].dtype.names == tuple(
        f"{row}{column}" for row in range(3) for column in range(4)
    )
    return np.array([list(header["xform.projection"][0]) for header in headers]).reshape(-1, 3, 4)


def eman_view(volume: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The sum over z of a volume that a transform has moved: at p it is what it was at the inverse of p. The centre is
    d // 2.
    """
    size = len(volume)
    z, y, x = np.indices(volume.shape).reshape(3, -1) - size // 2
    places = np.linalg.inv(np.vstack([matrix, [0, 0, 0, 1]]))[:3] @ np.stack([x, y, z, np.ones(size**3)])
    return map_coordinates(volume, places[::-1] + size // 2, order=3, mode="grid-constant").reshape(volume.shape).sum(0)


def test_eman_turns_and_moves_our_consensus_to_our_views(exported, six_volumes):
    folder = exported("eman2")
    matrices = eman_matrices(eman_headers(folder / "particles.hdf"))
    volume = files.read_map(folder / "reference.hdf").density
    np.testing.assert_array_equal(volume, files.read_map(six_volumes / "consensus.mrc").density)
    theirs = torch.from_numpy(np.stack([eman_view(volume, matrix) for matrix in matrices])).float()
    views = project(torch.from_numpy(volume), rotations_from_euler(torch.from_numpy(euler(six_volumes))).float())
    ours = shift(views, torch.from_numpy(shifts(six_volumes)).float())
    assert float(correlation(ours, theirs, disc(16)).min()) > 0.99
    assert np.abs(matrices[:, :2, 3]).max() > 0.1  # or the shifts would not matter


def test_eman_angles_are_those_of_relion_by_its_own_rule(exported, six_volumes):
    """az = rot + 90°, alt = tilt, phi = psi − 90°; coordinates turn by az about z, alt about x, phi about z."""
    matrices = eman_matrices(eman_headers(exported("eman2") / "particles.hdf"))
    turns = Rotation.from_euler("ZXZ", np.add(euler(six_volumes), [90, 0, -90]), degrees=True).inv()
    np.testing.assert_allclose(matrices[:, :, :3], turns.as_matrix(), atol=1e-5)
    np.testing.assert_allclose(matrices[:, :2, 3], shifts(six_volumes), atol=1e-5)
    assert not matrices[:, 2, 3].any()


def test_an_eman_stack_comes_back_with_its_pixel_size_and_its_list_agrees(exported, six_volumes):
    folder = exported("eman2")
    original = files.read_images(six_volumes / "images.mrcs")
    stack = files.read_images(folder / "particles.hdf")
    np.testing.assert_array_equal(stack.images, original.images)
    assert stack.pixel_size == pytest.approx(original.pixel_size or 1.0)
    headers = eman_headers(folder / "particles.hdf")
    assert {tuple(int(header[name][0]) for name in ("nx", "ny", "nz")) for header in headers} == {(16, 16, 1)}
    first, _, third, *lines = (folder / "particles.lst").read_text().splitlines(keepends=True)
    assert first == "#LSX\n"
    assert {len(line) for line in lines} == {int(third[1:])}
    fields = [line.strip().split("\t") for line in lines]
    assert [int(place) for place, _, _ in fields] == list(range(20))
    assert {path for _, path, _ in fields} == {str((folder / "particles.hdf").absolute())}
    listed = [json.loads(json.loads(header)["xform.projection"]["matrix"]) for _, _, header in fields]
    np.testing.assert_allclose(np.reshape(listed, (-1, 3, 4)), eman_matrices(headers), atol=1e-6)
    assert files.read_map(folder / "mask.hdf").density.max() == pytest.approx(1, abs=1e-3)
    assert files.read_map(folder / "state-1.hdf").density.shape == (16, 16, 16)


def test_cryodrgn_gets_rotations_and_shifts_as_shares_of_the_side(exported, six_volumes):
    folder = exported("cryodrgn")
    with open(folder / "poses.pkl", "rb") as file:
        rotations, translations = pickle.load(file)
    expected = Rotation.from_euler("ZYZ", euler(six_volumes), degrees=True).inv().as_matrix()
    np.testing.assert_allclose(rotations, expected, atol=1e-5)
    np.testing.assert_allclose(translations, -shifts(six_volumes) / 16, atol=1e-6)


def test_a_chimerax_script_names_maps_that_are_there_and_levels_inside_them(exported, six_volumes):
    text = (exported("chimerax") / "motion.cxc").read_text()
    names = re.findall(r'"([^"]+\.mrc)"', text)
    assert str((six_volumes / "consensus.mrc").absolute()) in names
    assert all(Path(name).exists() for name in names)
    level = float(re.findall(r"volume #101 .*level (\S+)", text)[0])
    assert 0 < level < files.read_map(six_volumes / "consensus.mrc").density.max()


def test_a_chimerax_script_leaves_what_else_is_open_alone(exported):
    """It opens, closes and hides models by high numbers only."""
    commands = re.split(r"[\n;]", (exported("chimerax") / "motion.cxc").read_text())
    changing = [line for line in commands if re.match(r" *(alias|open|close|hide|show|view|volume)\b", line)]
    numbers = [[int(number) for number in re.findall(r"(?: id |#)(\d{1,3})\b", line)] for line in changing]
    assert all(numbers)
    assert min(map(min, numbers)) > 100
    assert "session" not in "".join(commands)


def test_chimerax_is_given_the_volumes_where_there_are_no_modes(six_volumes, tmp_path, command):
    run = shutil.copytree(six_volumes, tmp_path / "run")
    RunDirectory(run).landscape.rows.path.unlink()
    assert command("export", run, "--to", "chimerax")[0] == 0
    (opened,) = [
        line for line in (run / "export" / "chimerax" / "motion.cxc").read_text().splitlines() if "vseries true" in line
    ]
    assert re.findall(r'"([^"]+)"', opened) == [
        str(run / "volumes" / f"{number:03d}.mrc") for number in range(0, 12, 2)
    ]


def test_chimerax_colours_moving_parts_as_the_report_does(six_volumes, tmp_path, command):
    run = RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))
    folder = run.landscape
    variability = np.zeros((16, 16, 16), np.float32)
    variability[8, 8, 8] = 20.0
    files.write_map(folder.variability, variability, None)
    folder.frame("mode-1", 0).parent.mkdir()
    files.write_map(folder.frame("mode-1", 0), files.read_map(run.assigned.volume).density, None)
    folder.summary.write(folder.summary.read()._replace(modes=1, trajectories=(Trajectory("mode-1", 2.0, 0.1),)))
    assert command("export", run.path, "--to", "chimerax")[0] == 0
    text = (run.export("chimerax") / "motion.cxc").read_text()
    assert "alias mode1 " in text
    (palette,) = re.findall(r"palette (\S+)", text)
    (still, pale), (most, orange) = (part.split(",") for part in palette.split(":"))
    assert (float(still), float(most)) == tuple(20 * share for share in shading.TINTED)
    shown = surfaces.warmed(np.full((1, 1), 255, np.uint8), np.ones((1, 1)))[0, 0]
    assert [int(orange[k : k + 2], 16) for k in (1, 3, 5)] == shown.tolist()
    assert f"color {pale}" in text  # of the surface


def test_chimerax_is_given_bodies_in_the_colours_of_the_report_and_arrows(three_bodies, command):
    run = three_bodies
    assert command("export", run.path, "--to", "chimerax")[0] == 0
    folder, prepared = run.export("chimerax"), run.import_record.read()
    text = (folder / "motion.cxc").read_text()
    opened = dict(re.findall(r'open "[^"]*/(body-\d.mrc|axis-\d.bild)" id (\d+)', text))
    assert sorted(opened) == ["axis-2.bild", "axis-3.bild", "body-1.mrc", "body-2.mrc", "body-3.mrc"]
    assert len(set(opened.values())) == 5
    densities = files.read_weights(run.model)[0]["densities"] * prepared.s
    for number, density in enumerate(densities, start=1):
        np.testing.assert_allclose(files.read_map(folder / f"body-{number}.mrc").density, density, rtol=1e-5)
        colour = colours.of_body(number)
        assert re.search(rf"volume #{opened[f'body-{number}.mrc']} .*level \S+ color {colour}\n", text)
    assert f'label #{opened["axis-2.bild"]} models text "2: 100°"' in text
    pivot = 8 * (prepared.pixel_size or 1.0) + np.array([0.2, 5.53, -6.97])
    colour, arrow = (folder / "axis-2.bild").read_text().splitlines()
    tail, tip = np.array(arrow.split()[1:7], float).reshape(2, 3)
    assert colour == f".color {colours.of_body(2)}"
    assert np.linalg.norm(np.cross(pivot - tail, (tip - tail) / np.linalg.norm(tip - tail))) < 0.01
    shown = re.search(r"alias bodies .*show #(\d+)-(\d+) models", text)
    assert shown
    assert {*map(int, opened.values())} == {*range(int(shown[1]), int(shown[2]) + 1)}


def test_every_program_gets_the_state_of_each_image(two_states, tmp_path, command):
    for program in ("relion", "cryosparc", "eman2"):
        assert command("export", two_states, "--to", program, "--output", tmp_path / program)[0] == 0
    states = [2 - image % 2 for image in range(20)]
    (block,) = [
        block for block in gemmi.cif.read(str(tmp_path / "relion" / "particles.star")) if block.name == "particles"
    ]
    assert [int(number) for number in block.find_values("_rlnClassNumber")] == states
    references = (tmp_path / "relion" / "references.star").read_text()
    assert [line for line in references.splitlines() if line.endswith(".mrc")] == [
        str(tmp_path / "relion" / f"state-{state}.mrc") for state in (1, 2)
    ]
    table = np.load(tmp_path / "cryosparc" / "particles.cs")
    assert (table["alignments3D/class"] + 1).tolist() == states
    assert set(table["alignments3D/class_posterior"]) == {1.0}
    for state, image in ((1, 4), (2, 8)):
        volume = files.read_map(two_states / "volumes" / f"{image:03d}.mrc").density
        np.testing.assert_array_equal(files.read_map(tmp_path / "relion" / f"state-{state}.mrc").density, volume)
        np.testing.assert_array_equal(files.read_map(tmp_path / "cryosparc" / f"state-{state}.mrc").density, volume)
        np.testing.assert_array_equal(files.read_map(tmp_path / "eman2" / f"state-{state}.hdf").density, volume)
        lines = (tmp_path / "eman2" / f"state-{state}.lst").read_text().splitlines()[3:]
        assert [int(line.split("\t")[0]) for line in lines] == [place for place in range(20) if states[place] == state]


@pytest.mark.skipif(shutil.which("relion_refine") is None, reason="needs RELION (relion_refine)")
def test_relion_classifies_into_our_states(two_states, command):
    folder = two_states / "export" / "relion"
    assert command("export", two_states, "--to", "relion")[0] == 0
    states = [files.read_map(folder / f"state-{state}.mrc").density for state in (1, 2)]
    found = np.corrcoef([density.ravel() for density in (*relion_classes(folder, 2), *states)])[:2, 2:]
    assert found[0, 0] > found[0, 1]
    assert found[1, 1] > found[1, 0]


def test_a_path_that_the_other_program_cannot_read_is_refused(six_volumes, tmp_path, command, wording):
    moved = tmp_path / "my run"
    moved.symlink_to(six_volumes)
    code, said = command("export", moved, "--to", "relion")
    assert code == 2
    wording(said)


def test_chimerax_reads_a_path_with_a_space_but_none_with_a_quotation_mark(six_volumes, tmp_path, command, wording):
    assert command("export", six_volumes, "--to", "chimerax", "--output", tmp_path / "for my talk")[0] == 0
    assert (tmp_path / "for my talk" / "motion.cxc").exists()
    moved = tmp_path / 'the "best"'
    moved.symlink_to(six_volumes)
    code, said = command("export", moved, "--to", "chimerax", "--output", tmp_path / "plain")
    assert code == 2
    wording(said)


@pytest.mark.parametrize("program", ["cryodrgn", "cryosparc"])
def test_a_path_that_no_file_of_the_export_holds_as_words_may_have_spaces(six_volumes, tmp_path, command, program):
    moved, folder = tmp_path / "my run", tmp_path / "my talk"
    moved.symlink_to(six_volumes)
    code, said = command("export", moved, "--to", program, "--output", folder)
    assert code == 0, said
    if program == "cryosparc":
        assert Path(np.load(folder / "particles.cs")["blob/path"][0].decode()) == moved / "images.mrcs"
        assert Path(np.load(folder / "reference.cs")["map/path"][0].decode()) == folder / "reference.mrc"
    else:
        assert f"train_vae '{moved / 'images.mrcs'}' --poses '{folder / 'poses.pkl'}'" in said  # as a shell takes it


def test_an_eman2_list_names_the_export_and_not_the_run(six_volumes, tmp_path, command):
    moved = tmp_path / "my run"
    moved.symlink_to(six_volumes)
    assert command("export", moved, "--to", "eman2", "--output", tmp_path / "plain")[0] == 0
    assert str(tmp_path / "plain" / "particles.hdf") in (tmp_path / "plain" / "particles.lst").read_text()
    assert command("export", six_volumes, "--to", "eman2", "--output", tmp_path / "my talk")[0] == 2
    assert not (tmp_path / "my talk").exists()


@pytest.mark.parametrize(
    ("program", "own"),
    [
        ("relion", {"state-9.mrc"}),
        ("eman2", {"state-9.hdf", "state-9.lst"}),
        ("chimerax", {"body-9.mrc", "axis-9.bild"}),
    ],
)
def test_only_states_of_an_earlier_export_are_removed(six_volumes, tmp_path, command, program, own):
    mine = {
        "state-of-the-art.mrc",
        "state-9-notes.lst",
        "state-9.docx",
        "state-.hdf",
        "state-x9.hdf",
        "my-state-9.mrc",
        "body-x.mrc",
    }
    for name in mine | own:
        (tmp_path / name).write_text("kept")
    code, said = command("export", six_volumes, "--to", program, "--output", tmp_path)
    assert code == 0, said
    assert {name for name in mine if (tmp_path / name).exists() and (tmp_path / name).read_text() == "kept"} == mine
    assert not any((tmp_path / name).exists() for name in own)
