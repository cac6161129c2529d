"""Files: every format gives the same images; what is written is read again, by others too."""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import h5py
import mrcfile
import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.files import InputError
from scoretomo.images.preparing import shift
from scoretomo.projection import project
from scoretomo.rotations import rotations_from_euler


def images_of(count: int = 5, height: int = 12, width: int = 10) -> np.ndarray:
    """Different whole numbers in every pixel of an image, small enough for 8 bits."""
    values = np.arange(count * height * width).reshape(count, height, width) % 97 - 20
    return values.astype(np.float32)


def write_mrc(
    path: Path, values: np.ndarray, *, order: str = "<", stamp: bytes | None = None, extension: bytes = b"",
    pixel: float = 2.5, group: int = 0, axes: tuple[int, int, int] = (1, 2, 3), after: bytes = b"",
) -> Path:  # fmt: skip
    """An MRC file written by hand from the format's definition."""
    mode = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}[values.dtype.str[1:]]
    sections, rows, columns = values.shape
    raw = bytearray(1024)
    struct.pack_into(f"{order}4i", raw, 0, columns, rows, sections, mode)
    struct.pack_into(f"{order}3i", raw, 28, columns, rows, sections)
    struct.pack_into(f"{order}3f", raw, 40, columns * pixel, rows * pixel, sections * pixel)
    struct.pack_into(f"{order}3i", raw, 64, *axes)
    struct.pack_into(f"{order}2i", raw, 88, group, len(extension))
    raw[208:212] = b"MAP "
    raw[212:216] = stamp if stamp is not None else {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}[order]
    path.write_bytes(bytes(raw) + extension + values.astype(values.dtype.newbyteorder(order)).tobytes() + after)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
def test_every_mode_and_byte_order_gives_the_same_images(dtype: str, order: str, tmp_path: Path) -> None:
    values = images_of() + (20 if dtype == "u2" else 0)
    stack = files.read_images(write_mrc(tmp_path / "a.mrcs", values.astype(dtype), order=order))
    assert stack.images.dtype == np.float32
    np.testing.assert_array_equal(stack.images, values)
    assert stack.pixel_size == 2.5
    assert stack.sources[2] == f"000003@{tmp_path / 'a.mrcs'}"
    assert stack.notes == []


def test_bytes_are_signed(tmp_path: Path) -> None:
    assert files.read_images(write_mrc(tmp_path / "a.mrcs", np.full((1, 8, 8), -3, np.int8))).images.max() == -3


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_file_without_a_machine_stamp_is_read_with_a_note(
    order: str, tmp_path: Path, wording: Callable[[object], None]
) -> None:
    path = write_mrc(tmp_path / "a.mrcs", images_of(), order=order, stamp=b"\0\0\0\0")
    path.write_bytes(path.read_bytes()[:208] + bytes(4) + path.read_bytes()[212:])  # nor MAP
    stack = files.read_images(path)
    np.testing.assert_array_equal(stack.images, images_of())
    wording(stack.notes[0])


def test_a_wrong_machine_stamp_does_not_mislead(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrcs", images_of(), order=">", stamp=b"\x44\x44\0\0")
    np.testing.assert_array_equal(files.read_images(path).images, images_of())


def test_an_extended_header_is_skipped_and_bytes_at_the_end_are_noted(
    tmp_path: Path, wording: Callable[[object], None]
) -> None:
    stack = files.read_images(write_mrc(tmp_path / "a.mrcs", images_of(), extension=b"x" * 160, after=b"end"))
    np.testing.assert_array_equal(stack.images, images_of())
    (note,) = stack.notes
    wording(note)


@pytest.mark.parametrize("pixel", [0.0, -1.0, float("nan"), float("inf")])
def test_a_voxel_size_worth_nothing_is_no_pixel_size(pixel: float, tmp_path: Path) -> None:
    assert files.read_images(write_mrc(tmp_path / "a.mrcs", images_of(), pixel=pixel)).pixel_size is None


def test_a_pixel_size_of_one_is_doubted(tmp_path: Path, wording: Callable[[object], None]) -> None:
    wording(files.read_images(write_mrc(tmp_path / "a.mrcs", images_of(), pixel=1.0)).notes[0])


def test_a_stack_flagged_as_a_volume_is_read_as_a_stack_with_a_note(
    tmp_path: Path, wording: Callable[[object], None]
) -> None:
    stack = files.read_images(write_mrc(tmp_path / "a.mrc", images_of(), group=1))
    assert len(stack.images) == 5
    wording(stack.notes[0])


def test_a_map_is_no_stack(tmp_path: Path, wording: Callable[[object], None]) -> None:
    path = write_mrc(tmp_path / "a.mrc", images_of(8, 8, 8), group=1)
    assert files.is_map(path)
    with pytest.raises(files.InputError, match="8×8×8"):
        files.read_images(path)
    stack = path.rename(tmp_path / "a.mrcs")
    assert not files.is_map(stack)
    wording(files.read_images(stack).notes[0])


def test_one_image_is_a_stack_of_one(tmp_path: Path) -> None:
    assert files.read_images(write_mrc(tmp_path / "a.mrc", images_of(1), group=1)).notes == []
    np.save(tmp_path / "a.npy", images_of(1)[0])
    assert files.read_images(tmp_path / "a.npy").images.shape == (1, 12, 10)


def test_a_map_stored_along_other_axes_is_turned(tmp_path: Path) -> None:
    density = images_of(8, 8, 8)
    stored = density.transpose(2, 0, 1)  # sections x, rows z, columns y
    found = files.read_map(write_mrc(tmp_path / "a.map", stored, group=1, axes=(2, 3, 1)))
    np.testing.assert_array_equal(found.density, density)
    assert "yzx" in found.notes[0]


@pytest.mark.parametrize("pixel_size", [3.54, None])
def test_stacks_and_maps_come_back_as_written(pixel_size: float | None, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, density = random.normal(size=(3, 9, 9)).astype(np.float32), random.normal(size=(8, 8, 8)).astype(np.float32)
    files.write_images(tmp_path / "a.mrcs", images, pixel_size)
    files.write_map(tmp_path / "a.mrc", density, pixel_size)
    stack, found = files.read_images(tmp_path / "a.mrcs"), files.read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(stack.images, images)
    np.testing.assert_array_equal(found.density, density)
    assert stack.pixel_size == found.pixel_size == (pytest.approx(pixel_size, rel=1e-6) if pixel_size else None)
    assert stack.notes == found.notes == []


def test_written_stacks_and_maps_are_valid_for_mrcfile(tmp_path: Path) -> None:
    density = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    files.write_images(tmp_path / "a.mrcs", density[:3], 3.54)
    files.write_map(tmp_path / "a.mrc", density, 3.54)
    assert mrcfile.validate(tmp_path / "a.mrcs")
    assert mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrcs") as stack, mrcfile.open(tmp_path / "a.mrc") as found:
        assert stack.is_image_stack()
        assert found.is_volume()
        np.testing.assert_allclose([float(found.voxel_size[axis]) for axis in "xyz"], 3.54, rtol=1e-6)
        assert [float(found.header.origin[axis]) for axis in "xyz"] == [0, 0, 0]
        np.testing.assert_array_equal(found.data, density)


def test_what_mrcfile_writes_is_read(tmp_path: Path) -> None:
    for dtype in (np.int8, np.int16, np.float32, np.uint16, np.float16):
        values = (images_of() + 20).astype(dtype)
        with mrcfile.new(tmp_path / "a.mrcs", values, overwrite=True) as file:
            file.voxel_size = 1.7
        stack = files.read_images(tmp_path / "a.mrcs")
        np.testing.assert_array_equal(stack.images, images_of() + 20)
        assert stack.pixel_size == pytest.approx(1.7)


def test_equal_stacks_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.mrcs", "b.mrcs"):
        files.write_images(tmp_path / name, images_of(), 2.0)
    assert (tmp_path / "a.mrcs").read_bytes() == (tmp_path / "b.mrcs").read_bytes()


STAR_31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnVoltage #4
1 opticsGroup1 {first} 300
2 opticsGroup2 {second} 300


# version 30001

data_particles

loop_
_rlnClassNumber #1
_rlnImageName #2
_rlnOpticsGroup #3
7 000002@Class2D/job004/classes.mrcs 1
3 000005@Class2D/job004/classes.mrcs 2
1 000001@Class2D/job004/more.mrcs 1

"""

STAR_30 = """
data_

loop_
_rlnImageName #1
_rlnMagnification #2
_rlnDetectorPixelSize #3
000002@Class2D/job004/classes.mrcs 40000.000000 5.000000
000001@Class2D/job004/more.mrcs 40000.000000 5.000000

"""

STAR_MODEL = """
# RELION; version 3.1

data_model_general

_rlnReferenceDimensionality          2
_rlnPixelSize                        3.540000

data_model_classes

loop_
_rlnReferenceImage #1
_rlnClassDistribution #2
000001@Class2D/job004/classes.mrcs 0.25
000004@Class2D/job004/classes.mrcs 0.75

data_model_class_1

loop_
_rlnSpectralIndex #1
_rlnResolution #2
0 0.0
1 0.1
"""


@pytest.fixture
def project_folder(tmp_path: Path) -> Path:
    """A RELION or cryoSPARC project, with stacks in a job's folder and a place for tables in another."""
    job = tmp_path / "Class2D" / "job004"
    job.mkdir(parents=True)
    (tmp_path / "Select" / "job005").mkdir(parents=True)
    write_mrc(job / "classes.mrcs", images_of(), pixel=0.0)
    write_mrc(job / "more.mrcs", images_of() + 1, pixel=0.0)
    return tmp_path


def table_in(folder: Path, text: str) -> Path:
    path = folder / "Select" / "job005" / "classes.star"
    path.write_text(text)
    return path


def test_relion_31_tables_are_read(project_folder: Path) -> None:
    stack = files.read_images(table_in(project_folder, STAR_31.format(first="1.25", second="1.25")))
    np.testing.assert_array_equal(stack.images, [images_of()[1], images_of()[4], images_of()[0] + 1])
    assert stack.pixel_size == 1.25
    assert stack.sources[1] == f"000005@{project_folder / 'Class2D/job004/classes.mrcs'}"
    assert stack.notes == []


def test_optics_groups_must_share_their_pixel_size(project_folder: Path) -> None:
    with pytest.raises(InputError, match=r"1.25 to 1.5 Å"):
        files.read_images(table_in(project_folder, STAR_31.format(first="1.25", second="1.5")))


def test_relion_30_tables_are_read(project_folder: Path) -> None:
    stack = files.read_images(table_in(project_folder, STAR_30))
    np.testing.assert_array_equal(stack.images, [images_of()[1], images_of()[0] + 1])
    assert stack.pixel_size == pytest.approx(1.25)  # 5 µm / 40000


def test_the_classes_of_a_relion_model_are_read(project_folder: Path) -> None:
    stack = files.read_images(table_in(project_folder, STAR_MODEL))
    np.testing.assert_array_equal(stack.images, images_of()[[0, 3]])
    assert stack.pixel_size == 3.54


def test_a_table_s_pixel_size_counts_more_than_the_stack_s_and_is_noted(
    project_folder: Path, wording: Callable[[object], None]
) -> None:
    write_mrc(project_folder / "Class2D/job004/classes.mrcs", images_of(), pixel=4.0)
    stack = files.read_images(table_in(project_folder, STAR_MODEL))
    assert stack.pixel_size == 3.54
    wording(stack.notes[0])


def test_a_stack_copied_beside_its_table_is_found(project_folder: Path) -> None:
    path = table_in(project_folder, STAR_MODEL)
    shutil.move(project_folder / "Class2D/job004/classes.mrcs", path.parent / "classes.mrcs")
    np.testing.assert_array_equal(files.read_images(path).images, images_of()[[0, 3]])


def test_a_table_without_pixel_size_uses_the_stack_s(project_folder: Path) -> None:
    write_mrc(project_folder / "Class2D/job004/classes.mrcs", images_of(), pixel=4.0)
    stack = files.read_images(table_in(project_folder, STAR_MODEL.replace("_rlnPixelSize", "_rlnOther")))
    assert stack.pixel_size == 4.0


def test_particles_in_place_of_class_averages_are_noted(
    project_folder: Path, wording: Callable[[object], None]
) -> None:
    text = STAR_30.replace("_rlnMagnification", "_rlnDefocusU").replace("_rlnDetectorPixelSize", "_rlnDefocusV")
    wording(files.read_images(table_in(project_folder, text)).notes[0])


@pytest.mark.parametrize("prefix", [b"", b">"])
def test_cryosparc_tables_are_read(prefix: bytes, project_folder: Path) -> None:
    fields = [
        ("uid", "u8"),
        ("blob/path", "S60"),
        ("blob/idx", "u4"),
        ("blob/shape", "u4", (2,)),
        ("blob/psize_A", "f4"),
    ]
    name = prefix + b"Class2D/job004/classes.mrcs"
    rows = [(11, name, 3, (12, 10), 2.25), (12, name, 0, (12, 10), 2.25)]
    path = project_folder / "Select" / "job005" / "templates_selected.cs"
    with open(path, "wb") as file:
        np.save(file, np.array(rows, dtype=fields))
    stack = files.read_images(path)
    np.testing.assert_array_equal(stack.images, images_of()[[3, 0]])
    assert stack.pixel_size == 2.25
    assert stack.sources[0].startswith("000004@")


def test_eman_stacks_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        for number, image in enumerate(images_of(12)):
            group = file.create_group(f"MDF/images/{number}")  # HDF5 sorts them 0, 1, 10, 11, 2
            group.create_dataset("image", data=image)
            group.attrs["EMAN.apix_x"] = np.array([1.75], dtype=np.float32)  # EMAN2 writes numbers as arrays of one
        file["MDF/images"].attrs["imageid_max"] = 11
    stack = files.read_images(tmp_path / "a.hdf")
    np.testing.assert_array_equal(stack.images, images_of(12))
    assert stack.pixel_size == 1.75


def test_eman_images_of_few_bits_have_their_values_back(tmp_path: Path) -> None:
    images = images_of(3)
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        for number, image in enumerate(images):
            lowest, highest = image.min(), image.max()  # of each image its own
            stored = np.round((image - lowest) / (highest - lowest) * 4095).astype(np.uint16)
            group = file.create_group(f"MDF/images/{number}")
            group.create_dataset("image", data=stored, chunks=stored.shape, compression=1)
            for name, value in {"bits": np.int32(12), "min": lowest, "max": highest}.items():
                group.attrs[f"EMAN.stored_render{name}"] = np.array([value])
    found = files.read_images(tmp_path / "a.hdf").images
    np.testing.assert_allclose(found, images, atol=(images.max() - images.min()) / 4095)


def test_an_eman_map_is_no_stack_and_a_stack_of_as_many_images_as_pixels_no_map(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "map.hdf", "w") as file:
        file.create_dataset("MDF/images/0/image", data=images_of(8, 8, 8))
    np.testing.assert_array_equal(files.read_map(tmp_path / "map.hdf").density, images_of(8, 8, 8))
    assert files.is_map(tmp_path / "map.hdf")
    with pytest.raises(files.InputError, match=r"map\.hdf"):
        files.read_images(tmp_path / "map.hdf")
    with h5py.File(tmp_path / "stack.hdf", "w") as file:
        for number, image in enumerate(images_of(8, 8, 8)):
            file.create_dataset(f"MDF/images/{number}/image", data=image)
    assert not files.is_map(tmp_path / "stack.hdf")
    assert files.read_images(tmp_path / "stack.hdf").notes == []


def test_an_hdf_of_one_array_is_a_stack_or_a_map(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("entry/data", data=images_of(8, 8, 8))
    np.testing.assert_array_equal(files.read_map(tmp_path / "a.h5").density, images_of(8, 8, 8))
    np.testing.assert_array_equal(files.read_images(tmp_path / "a.h5").images, images_of(8, 8, 8))


def test_npy_is_read_as_a_stack_or_a_map(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images_of(8, 8, 8).astype(np.int64))
    assert files.read_images(tmp_path / "a.npy").images.dtype == np.float32
    np.testing.assert_array_equal(files.read_map(tmp_path / "a.npy").density, images_of(8, 8, 8))


def test_tables_come_back_as_written(tmp_path: Path) -> None:
    rows = [{"image": 0, "reason": 'a "strange, one"'}, {"image": 1, "reason": ""}]
    files.write_table(tmp_path / "a.csv", rows)
    assert files.read_table(tmp_path / "a.csv") == [
        {"image": "0", "reason": 'a "strange, one"'},
        {"image": "1", "reason": ""},
    ]
    files.write_table(tmp_path / "long.csv", [{"notes": "x" * 200_000}])
    assert files.read_table(tmp_path / "long.csv") == [{"notes": "x" * 200_000}]
    files.write_table(tmp_path / "empty.csv", [])
    assert files.read_table(tmp_path / "empty.csv") == []


@pytest.mark.parametrize("damage", ["a,b\n1\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n'])
def test_a_damaged_table_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(damage)
    with pytest.raises(InputError):
        files.read_table(tmp_path / "a.csv")


def test_records_survive_a_write_that_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert files.read_records(path) == []
    files.append_record(path, {"event": "start", "size": 64})
    files.append_record(path, {"event": "Å"})
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):  # killed after any byte
        path.write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n")
        assert len(files.read_records(path)) == complete
        files.append_record(path, {"event": "again"})
        assert [record["event"] for record in files.read_records(path)] == [*["start", "Å"][:complete], "again"]


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"event": \n{"event": "done"}\n')
    with pytest.raises(InputError, match="damaged"):
        files.read_records(tmp_path / "log.jsonl")


def test_records_are_json_lines(tmp_path: Path) -> None:
    files.append_record(tmp_path / "log.jsonl", {"event": "batch", "seconds": 1.5})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"event": "batch", "seconds": 1.5}


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail_in_between() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_in_between()
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom scoretomo.files import atomic\n"
        "with atomic(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert path.read_text() == "old"


def pose_rows(angles: torch.Tensor, shifts: torch.Tensor) -> list[dict[str, Any]]:
    names = ("rot", "tilt", "psi", "shift_x", "shift_y")
    return [
        {"image": f"{number:06d}@images.mrcs", "volume": "volumes/000.mrc", **dict(zip(names, pose, strict=True))}
        for number, pose in enumerate(torch.cat([angles, shifts], 1).tolist(), start=1)
    ]


def test_a_pose_table_has_relion_s_layout_and_is_read_again(tmp_path: Path) -> None:
    write_mrc(tmp_path / "images.mrcs", images_of(5, 10, 10), pixel=2.0)
    angles = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) * 180
    shifts = torch.tensor([1.5, -2.0]).expand(5, 2)
    files.write_pose_star(tmp_path / "volumes.star", pose_rows(angles, shifts), pixel_size=2.0, size=10)
    optics, particles = gemmi.cif.read_file(str(tmp_path / "volumes.star"))
    assert (optics.name, particles.name) == ("optics", "particles")
    assert list(particles.find_values("_rlnReferenceImage")) == ["volumes/000.mrc"] * 5
    np.testing.assert_allclose(
        [float(tilt) for tilt in particles.find_values("_rlnAngleTilt")], angles[:, 1], atol=1e-5
    )
    assert [float(x) for x in particles.find_values("_rlnOriginXAngst")] == [-3.0] * 5
    assert [float(y) for y in particles.find_values("_rlnOriginYAngst")] == [4.0] * 5
    stack = files.read_images(tmp_path / "volumes.star")
    np.testing.assert_array_equal(stack.images, images_of(5, 10, 10))
    assert stack.pixel_size == 2.0


def test_an_empty_pose_table_is_a_table(tmp_path: Path) -> None:
    files.write_pose_star(tmp_path / "volumes.star", [], pixel_size=None, size=10)
    optics, particles = gemmi.cif.read_file(str(tmp_path / "volumes.star"))
    assert float(optics.find_values("_rlnImagePixelSize")[0]) == 1.0
    assert len(particles.find_values("_rlnImageName")) == 0


@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="needs RELION (relion_reconstruct)")
def test_relion_rebuilds_a_map_from_our_views_and_poses(tmp_path: Path) -> None:
    axis = torch.arange(24.0) - 12
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    centres = [(4, 0, 0), (0, 3, -2), (-2, -3, 3), (1, 2, 4)]  # no symmetry, no mirror
    density = sum(
        torch.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (4 + 2 * number))
        for number, (a, b, c) in enumerate(centres)
    )
    assert isinstance(density, torch.Tensor)
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(150, 3, generator=generator) * torch.tensor([360.0, 180.0, 360.0])
    shifts = torch.rand(150, 2, generator=generator) * 6 - 3
    views = shift(project(density, rotations_from_euler(angles)), shifts)
    files.write_images(tmp_path / "images.mrcs", views.numpy(), 2.0)
    files.write_pose_star(tmp_path / "volumes.star", pose_rows(angles, shifts), pixel_size=2.0, size=24)
    command = ["relion_reconstruct", "--i", "volumes.star", "--o", "map.mrc", "--sym", "C1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    rebuilt = files.read_map(tmp_path / "map.mrc").density
    assert np.corrcoef(rebuilt.ravel(), density.numpy().ravel())[0, 1] > 0.97


REAL = {
    "betagal_relion16/betagal_cavgs16_100px_3.54A.mrcs": ((16, 100, 100), 3.54),
    "betagal_relion16/betagal_cavgs16_64px_3.54A.mrcs": ((16, 64, 64), 3.54),
    "slicem_60S/cavgs_60S_47_96px_4.36A.mrcs": ((47, 96, 96), 4.36),
    "ribosome80S/pf80S_cavgs_first24_136px_2.68A.mrcs": ((24, 136, 136), 2.68),
    "hand_cryodrgn/hand.mrcs": ((100, 64, 64), 1.0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_stacks_are_read_as_mrcfile_reads_them(name: str, shared_data: Callable[[str], Path]) -> None:
    stack = files.read_images(shared_data(name))
    shape, pixel_size = REAL[name]
    assert stack.images.shape == shape
    assert stack.pixel_size == pytest.approx(pixel_size)
    with mrcfile.open(shared_data(name)) as file:
        np.testing.assert_array_equal(stack.images, file.data)
