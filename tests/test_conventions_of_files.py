"""Headers as other programs mean them: signs of integers, maps and stacks, pixel sizes; and guards of libraries."""

import csv
import errno
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest

from scoretomo import files
from scoretomo.files import InputError

IMOD = 1146047817


def blobs(count: int = 4, side: int = 16) -> np.ndarray:
    """Whole numbers from 0 to 255: a bright blob elsewhere in each image."""
    y, x = np.mgrid[:side, :side] - side // 2
    centres = np.random.default_rng(0).uniform(-3, 3, (count, 2))
    return np.array([np.round(255 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 10)) for a, b in centres]).astype(
        np.float32
    )


def density(side: int = 24) -> np.ndarray:
    """A map: three blobs inside an empty box."""
    z, y, x = np.mgrid[:side, :side, :side] - side // 2
    places = [(0, 0, 0), (5, -2, 3), (-4, 4, 1)]
    return sum(np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 12) for a, b, c in places).astype(np.float32)


def write(
    path: Path, values: np.ndarray, *, mode: int = 2, group: int = 0, depth: int = 1, pixel: float = 4.0,
    order: str = "<", least: float = 0.0, most: float = 0.0, imod: int | None = None,
) -> Path:  # fmt: skip
    """An MRC file by hand; values are the bytes of it as they are."""
    sections, rows, columns = values.shape
    raw = bytearray(1024)
    struct.pack_into(f"{order}4i", raw, 0, columns, rows, sections, mode)
    struct.pack_into(f"{order}3i", raw, 28, columns, rows, depth)
    struct.pack_into(f"{order}3f", raw, 40, columns * pixel, rows * pixel, depth * pixel)
    struct.pack_into(f"{order}3i", raw, 64, 1, 2, 3)
    struct.pack_into(f"{order}3f", raw, 76, least, most, 0.0)
    struct.pack_into(f"{order}i", raw, 88, group)
    if imod is not None:
        struct.pack_into(f"{order}2i", raw, 152, IMOD, imod)
    raw[208:216] = b"MAP " + {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}[order]
    path.write_bytes(bytes(raw) + values.astype(values.dtype.newbyteorder(order)).tobytes())
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("header", "why"),
    [({"imod": 0}, "IMOD"), ({"imod": 2}, "IMOD"), ({"most": 255.0}, "255"), ({"most": 128.0}, "128")],
)
def test_bytes_of_programs_that_write_unsigned_ones_are_unsigned_with_a_note(
    header: dict[str, Any], why: str, order: str, tmp_path: Path
) -> None:
    stack = files.read_images(write(tmp_path / "a.mrcs", blobs().astype(np.uint8), mode=0, order=order, **header))
    np.testing.assert_array_equal(stack.images, blobs())
    (note,) = stack.notes
    assert "0 to 255" in note
    assert why in note


@pytest.mark.parametrize(
    "header",
    [{}, {"imod": 1, "most": 255.0}, {"least": -1.0, "most": 200.0}, {"most": 127.0}, {"most": 1e6}, {"imod": 3}],
)
def test_other_bytes_are_signed_as_in_mrc2014(header: dict[str, Any], tmp_path: Path) -> None:
    values = (blobs() - 128).astype(np.int8)
    stack = files.read_images(write(tmp_path / "a.mrcs", values, mode=0, **header))
    np.testing.assert_array_equal(stack.images, values)
    assert stack.notes == []


def test_mode_1_whose_largest_value_has_no_room_in_signed_integers_is_unsigned(tmp_path: Path) -> None:
    values = blobs() * 257
    stack = files.read_images(write(tmp_path / "a.mrcs", values.astype(np.uint16), mode=1, most=65535.0))
    np.testing.assert_array_equal(stack.images, values)
    assert "0 to 65535" in stack.notes[0]


def test_bytes_of_two_values_each_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4-bit"):
        files.read_images(write(tmp_path / "a.mrcs", blobs().astype(np.uint8), mode=0, imod=16))


def h5(path: Path, values: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file["entry/data"] = values
    return path


def npy(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


UNFLAGGED: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "run_class001.mrc": lambda path, values: write(path, values, depth=len(values)),
    "a.map": lambda path, values: write(path, values, group=75, depth=len(values)),
    "a.npy": npy,
    "a.h5": h5,
}
unflagged = pytest.mark.parametrize("name", UNFLAGGED)


@unflagged
def test_a_map_without_a_flag_is_named_as_a_map(name: str, tmp_path: Path, wording: Callable[[object], None]) -> None:
    path = UNFLAGGED[name](tmp_path / name, density())
    assert files.is_map(path)
    with pytest.raises(InputError, match="24×24×24") as raised:
        files.find_images(path)
    wording(raised.value)
    np.testing.assert_array_equal(files.read_map(path).density, density())


@unflagged
def test_as_many_class_averages_as_pixels_are_a_stack(name: str, tmp_path: Path) -> None:
    path = UNFLAGGED[name](tmp_path / name, blobs(16, 16))
    assert not files.is_map(path)
    stack = files.read_images(path)
    np.testing.assert_array_equal(stack.images, blobs(16, 16))
    assert stack.notes == []


@unflagged
def test_an_array_that_may_be_a_map_is_read_as_a_stack_with_a_note(
    name: str, tmp_path: Path, wording: Callable[[object], None]
) -> None:
    stack = files.read_images(UNFLAGGED[name](tmp_path / name, density(48)[18:30, 18:30, 18:30]))  # full to its ends
    assert len(stack.images) == 12
    wording(stack.notes[0])


def test_a_map_whose_header_makes_it_a_stack_is_read_as_a_stack_with_a_note(
    tmp_path: Path, wording: Callable[[object], None]
) -> None:
    wording(files.read_images(write(tmp_path / "a.mrc", density())).notes[0])
    assert files.read_images(write(tmp_path / "a.mrcs", density(), depth=24)).notes == []


def test_a_stack_of_volumes_is_named_so(tmp_path: Path, wording: Callable[[object], None]) -> None:
    volumes = np.concatenate([density(), density()])
    with pytest.raises(InputError, match=r"\(2, in 48×24×24\)"):
        files.read_images(write(tmp_path / "a.mrc", volumes, group=401, depth=24))
    wording(files.read_images(write(tmp_path / "a.mrcs", volumes, group=401, depth=24)).notes[0])


MAPS = (
    "betagal_relion16/betaGal_map_64px_3.54A.mrc",
    "betagal_relion16/betaGal_map_100px_3.54A.mrc",
    "ribosome70S_particles/part.mrc",
    "ribosome70S_particles/rest.mrc",
)
STACKS = (
    "betagal_relion16/betagal_cavgs16_100px_3.54A.mrcs",
    "betagal_relion16/betagal_cavgs16_64px_3.54A.mrcs",
    "slicem_60S/cavgs_60S_47_96px_4.36A.mrcs",
    "ribosome80S/pf80S_cavgs_first24_136px_2.68A.mrcs",
    "hand_cryodrgn/hand.mrcs",
    "ribosome70S_hard/class_averages.mrcs",
    "ribosome70S_particles/class_averages.mrcs",
)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("name", MAPS)
def test_real_maps_without_a_flag_are_maps(
    name: str, noise: float, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    values = mrcfile.read(shared_data(name))
    values = values + noise * values.std() * np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    assert files.is_map(write(tmp_path / "a.mrc", values, depth=len(values)))


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("name", STACKS)
def test_no_real_stack_of_as_many_images_as_pixels_is_refused(
    name: str, sort: bool, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Also where images that are alike follow each other, as programs that sort class averages write them."""
    images = mrcfile.read(shared_data(name))
    side = min(len(images), images.shape[-1])
    first = (images.shape[-1] - side) // 2
    images = images[:side, first : first + side, first : first + side]
    path = write(tmp_path / "a.mrc", images[_by_likeness(images)] if sort else images, depth=side)
    assert not files.is_map(path)
    notes = [note for note in files.find_images(path).notes if "looks like a map" in note]
    assert sort or not notes


def _by_likeness(images: np.ndarray) -> list[int]:
    flat = images.reshape(len(images), -1)
    order, left = [0], list(range(1, len(images)))
    while left:
        near = min(left, key=lambda number: float(np.square(flat[order[-1]] - flat[number]).sum()))
        left.remove(near)
        order.append(near)
    return order


def eman(path: Path, pixel: float) -> Path:
    files.write_eman(path, blobs(), pixel)
    return path


def cryosparc(path: Path, pixel: float) -> Path:
    files.write_images(path.with_suffix(".mrcs"), blobs(), None)
    fields = [("blob/path", "S40"), ("blob/idx", "u4"), ("blob/psize_A", "f8")]
    rows = [(path.with_suffix(".mrcs").name.encode(), number, pixel) for number in range(4)]
    with open(path, "wb") as file:
        np.save(file, np.array(rows, dtype=fields))
    return path


HEADERS: dict[str, Callable[[Path, float], Path]] = {
    "a.mrcs": lambda path, pixel: write(path, blobs(), pixel=pixel),
    "a.hdf": eman,
    "a.cs": cryosparc,
}


@pytest.mark.parametrize("pixel", [4e-10, 1e-3, 1e4, 1e30])
@pytest.mark.parametrize("name", HEADERS)
def test_a_pixel_size_that_no_image_has_is_none(name: str, pixel: float, tmp_path: Path) -> None:
    found = files.find_images(HEADERS[name](tmp_path / name, pixel))
    assert found.pixel_size is None
    assert name == "a.cs" or "ignored" in found.notes[0]


@pytest.mark.parametrize("pixel", [0.0123456, 0.5, 3.54, 999.0])
@pytest.mark.parametrize("name", HEADERS)
def test_a_sensible_pixel_size_keeps_six_digits(name: str, pixel: float, tmp_path: Path) -> None:
    found = files.find_images(HEADERS[name](tmp_path / name, pixel))
    assert found.pixel_size == pytest.approx(pixel, rel=1e-6)
    assert found.notes == []


@pytest.mark.parametrize("name", ["a.mrcs", "a.hdf"])
def test_a_header_s_pixel_size_of_one_is_doubted(name: str, tmp_path: Path, wording: Callable[[object], None]) -> None:
    found = files.find_images(HEADERS[name](tmp_path / name, 1.0))
    assert found.pixel_size == 1.0
    wording(found.notes[0])


@pytest.mark.parametrize(("stated", "notes"), [(4.0, []), (None, ["a.mrcs has a pixel size of 1 Å in its header"])])
def test_a_stack_s_pixel_size_of_one_is_doubted_only_where_its_table_gives_none(
    stated: float | None, notes: list[str], tmp_path: Path
) -> None:
    files.write_images(tmp_path / "a.mrcs", blobs(), 1.0)
    fields: list[tuple[str, str]] = [("blob/path", "S10"), ("blob/idx", "u4")]
    row: tuple[object, ...] = (b"a.mrcs", 0)
    if stated:
        fields.append(("blob/psize_A", "f4"))
        row = (*row, stated)
    with open(tmp_path / "a.cs", "wb") as file:
        np.save(file, np.array([row], dtype=fields))
    found = files.find_images(tmp_path / "a.cs")
    assert found.pixel_size == (stated or 1.0)
    assert [note.partition(", which")[0] for note in found.notes] == notes


def test_a_map_whose_voxels_are_no_cubes_is_noted(tmp_path: Path, wording: Callable[[object], None]) -> None:
    values = density()
    path = write(tmp_path / "a.mrc", values, group=1, depth=24)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, 48, 24 * 2.0)
    path.write_bytes(raw)
    (note,) = files.read_map(path).notes
    wording(note)
    struct.pack_into("<f", raw, 48, 24 * 4.0)
    path.write_bytes(raw)
    assert files.read_map(path).notes == []


def test_a_cryosparc_table_of_many_columns_is_read(tmp_path: Path) -> None:
    files.write_images(tmp_path / "a.mrcs", blobs(), 2.0)
    more = [(f"alignments_of_some_class_{number}/shift_in_some_unit", "f4", (2,)) for number in range(800)]
    table = np.zeros(4, dtype=[("blob/path", "S40"), ("blob/idx", "u4"), *more])
    table["blob/path"], table["blob/idx"] = b"a.mrcs", [3, 2, 1, 0]
    with open(tmp_path / "a.cs", "wb") as file:
        np.save(file, table)
    np.testing.assert_array_equal(files.read_images(tmp_path / "a.cs").images, blobs()[::-1])


@pytest.mark.parametrize(
    ("name", "read"), [("a.json", files.read_json), ("a.toml", files.read_toml), ("a.jsonl", files.read_records)]
)
def test_a_number_of_endless_digits_is_a_damaged_record(name: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    digits = "9" * 5000
    (tmp_path / name).write_text(f"a = {digits}\n" if name == "a.toml" else f'{{"a": {digits}}}\n')
    with pytest.raises(InputError, match=name):
        read(tmp_path / name)


@pytest.fixture(scope="module")
def without_locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that refuses every lock, as some network file systems do."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, on Linux")
    source, library = (tmp_path_factory.mktemp("locks") / name for name in ("locks.c", "locks.so"))
    source.write_text(
        "#include <errno.h>\nint flock(int file, int how) { (void)file, (void)how; errno = ENOLCK; return -1; }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.mark.slow
def test_eman_files_are_read_and_written_where_nothing_can_be_locked(without_locks: Path, tmp_path: Path) -> None:
    eman(tmp_path / "given.hdf", 2.0)
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom scoretomo import files\n"
        "folder = Path(sys.argv[1])\nread = files.read_images(folder / 'given.hdf')\n"
        "files.write_eman(folder / 'made.hdf', read.images, read.pixel_size)\n"
    )
    locked = "import sys, h5py\nh5py.File(sys.argv[1] + '/given.hdf', 'r', locking=True)\n"
    environment = {**os.environ, "LD_PRELOAD": str(without_locks)}
    refused, done = (
        subprocess.run(
            [sys.executable, "-c", text, tmp_path], env=environment, capture_output=True, text=True, check=False
        )
        for text in (locked, program)
    )
    assert "No locks available" in refused.stderr  # so it is a file system without locks
    assert done.stderr == ""
    np.testing.assert_array_equal(files.read_images(tmp_path / "made.hdf").images, blobs())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.hdf", "a.mrcs", "a.npy"])
def test_a_file_that_may_not_be_read_is_named(name: str) -> None:
    program = (
        "import os, sys, h5py\nfrom pathlib import Path\nfrom scoretomo import files\n"
        "if os.getuid() == 0:\n    os.setuid(65534)\n"  # who may read anything
        "try:\n    files.is_map(Path(sys.argv[1]))\nexcept files.InputError as error:\n    print(error)\n"
    )
    with TemporaryDirectory() as folder:  # which others may enter, as tmp_path they may not
        Path(folder).chmod(0o755)
        path = npy(Path(folder, name), blobs()) if name == "a.npy" else HEADERS[name](Path(folder, name), 2.0)
        path.chmod(0)
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"cannot read {path} (permission denied): check"), done.stderr


def test_a_failure_of_the_system_without_a_file_names_none(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("unable to lock file, errno = 37")

    monkeypatch.setattr("scoretomo.cli.refusals.info", fail)
    code, said = command("info", "nothing.mrcs")
    assert code == 2
    assert "None" not in said
    assert "(unable to lock file, errno = 37)" in said


def _figure(path: Path, kind: str) -> None:
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    figure.add_subplot().scatter(*np.random.default_rng(0).normal(size=(2, 20000)))
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format=kind)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


LARGE: dict[str, Callable[[Path], None]] = {
    "a.mrcs": lambda path: files.write_images(path, _noise(10, 100, 100), 2.0),
    "a.safetensors": lambda path: files.write_weights(path, {"a": _noise(400_000)}, {}),
    "a.hdf": lambda path: files.write_eman(path, _noise(10, 100, 100), 2.0),
    "a.png": lambda path: files.write_png(path, _noise(400, 400, 3)),
    "a.gif": lambda path: files.write_gif(path, list(_noise(8, 200, 200, 3)), Fraction(1, 25)),
    "a.mp4": lambda path: files.write_mp4(path, list(_noise(8, 200, 200, 3)), Fraction(1, 25)),
    "a.pdf": lambda path: _figure(path, "pdf"),
    "a.svg": lambda path: _figure(path, "svg"),
    "a.csv": lambda path: files.write_table(path, [{"a": "x" * 400_000}]),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_disk_that_fills_up_under_a_library_gives_the_same_sentence(name: str, tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk: no more than 100 kB can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # Python ignores the signal, so that writes fail
    try:
        with pytest.raises(InputError, match=rf"{name} \({os.strerror(errno.EFBIG).lower()}\)") as raised:
            LARGE[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_the_program_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(csv.Error), files.atomic(tmp_path / "a"):
        raise csv.Error("not of the disk")
