"""Broken and odd files: each gives one clear sentence that says what came, and leaves nothing behind.

CASES are files for `read_images` and what follows it, and how to make them, so that the command line can be run on the
same files. SETTINGS are wrong ones for good images.
"""

import errno
import gzip
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.config import ImportSettings
from scoretomo.files import InputError
from scoretomo.images import prepare
from scoretomo.requirements import require_several


def good_images(count: int = 4, side: int = 16) -> np.ndarray:
    """Blobs at different places with a little noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - side // 2
    centres = random.uniform(-2, 2, (count, 2))
    blobs = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) for cx, cy in centres]
    return (np.array(blobs) + random.normal(0, 0.01, (count, side, side))).astype(np.float32)


def mrc_bytes(images: np.ndarray, **header: Any) -> bytes:
    """An MRC file written by hand: columns, rows, sections, mode, cell, extension, stamp, group can be set to
    anything.
    """
    sections, rows, columns = images.shape
    raw = bytearray(1024)
    struct.pack_into(
        "<3i", raw, 0, header.get("columns", columns), header.get("rows", rows), header.get("sections", sections)
    )
    struct.pack_into("<i", raw, 12, header.get("mode", 2))
    struct.pack_into("<3i", raw, 28, columns, rows, 1)
    struct.pack_into("<3f", raw, 40, *(header.get("pixel", 2.0) * length for length in (columns, rows, 1)))
    struct.pack_into("<3i", raw, 64, 1, 2, 3)
    struct.pack_into("<i", raw, 88, header.get("group", 0))
    struct.pack_into("<i", raw, 92, header.get("extension", 0))
    raw[208:212] = b"MAP "
    raw[212:216] = header.get("stamp", b"\x44\x44\0\0")
    return bytes(raw) + images.astype("<f4").tobytes()


def mrc(
    name: str = "classes.mrcs", *, keep: int | None = None, images: np.ndarray | None = None, **header: Any
) -> Callable[[Path], Path]:
    """A hand-written MRC file, cut after ``keep`` bytes."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(mrc_bytes(good_images() if images is None else images, **header)[:keep])
        return path

    return make


def content(name: str, data: bytes | str) -> Callable[[Path], Path]:
    """A file with just this in it."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return make


def array(name: str, values: np.ndarray, *, pickled: bool = False) -> Callable[[Path], Path]:
    """A NumPy file (also .cs)."""

    def make(folder: Path) -> Path:
        path = folder / name
        with open(path, "wb") as file:
            np.save(file, values, allow_pickle=pickled)
        return path

    return make


def star(*lines: str, stack: bool = True) -> Callable[[Path], Path]:
    """A RELION table of one column, beside a good stack of four images."""

    def make(folder: Path) -> Path:
        if stack:
            mrc()(folder)
        path = folder / "classes.star"
        path.write_text("\n".join(["data_particles", "", "loop_", "_rlnImageName #1", *lines, ""]))
        return path

    return make


def cs(*rows: tuple[bytes, int]) -> Callable[[Path], Path]:
    """A cryoSPARC table beside a good stack of four images."""

    def make(folder: Path) -> Path:
        mrc()(folder)
        return array("classes.cs", np.array(list(rows), dtype=[("blob/path", "S40"), ("blob/idx", "u4")]))(folder)

    return make


def hdf(write: Callable[[h5py.File], Any], name: str = "classes.hdf") -> Callable[[Path], Path]:
    """An HDF5 file."""

    def make(folder: Path) -> Path:
        path = folder / name
        with h5py.File(path, "w") as file:
            write(file)
        return path

    return make


def missing(folder: Path) -> Path:
    return folder / "nowhere.mrcs"


def below_a_file(folder: Path) -> Path:
    return content("file", "x")(folder) / "classes.mrcs"


def a_folder(folder: Path) -> Path:
    path = folder / "folder.mrcs"
    path.mkdir()
    return path


def a_socket(folder: Path) -> Path:
    before = Path.cwd()
    os.chdir(folder)  # the names of sockets must be short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("s.mrcs")
    finally:
        os.chdir(before)
    return folder / "s.mrcs"


def a_loop_of_links(folder: Path) -> Path:
    path = folder / "loop.mrcs"
    path.symlink_to(path)
    return path


def cut_hdf(folder: Path) -> Path:
    path = hdf(lambda file: file.create_dataset("MDF/images/0/image", data=good_images(1, 64)[0]))(folder)
    path.write_bytes(path.read_bytes()[:3000])
    return path


def star_of_two_sizes(folder: Path) -> Path:
    path = star("000001@classes.mrcs", "000001@other.mrcs")(folder)
    mrc("other.mrcs", images=good_images(2, 24))(folder)
    return path


def star_of_two_pixel_sizes(folder: Path) -> Path:
    path = star("000001@classes.mrcs", "000001@other.mrcs")(folder)
    mrc("other.mrcs", pixel=3.0)(folder)
    return path


def star_with_bad_pixel_size(folder: Path) -> Path:
    path = star("000001@classes.mrcs 1 zero")(folder)
    path.write_text(
        path.read_text().replace("_rlnImageName #1", "_rlnImageName #1\n_rlnOpticsGroup #2\n_rlnPixelSize #3")
    )
    return path


def changed(**values: float) -> np.ndarray:
    """Good images with whole images set to a value, by number: changed(i0=nan)."""
    images = good_images()
    for number, value in values.items():
        images[int(number[1:])] = value
    return images


def eman(*images: np.ndarray) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        for number, image in enumerate(images):
            file.create_dataset(f"MDF/images/{number}/image", data=image)

    return write


def huge_dataset(file: h5py.File) -> None:
    """4 TiB by its shape, of which one chunk is there."""
    file.create_dataset("a", (10**6, 10**6, 1), "f4", chunks=(8, 8, 1))[0, :8] = 1


def cut_npy(folder: Path) -> Path:
    path = array("a.npy", good_images())(folder)
    path.write_bytes(path.read_bytes()[:900])
    return path


HUGE = 2**19
ALL_NAN = changed(i0=np.nan, i1=np.nan, i2=np.nan, i3=np.nan)
ALL_FLAT = changed(i0=1.0, i1=2.0, i2=3.0, i3=4.0)
CASES: dict[str, Callable[[Path], Path]] = {
    "missing file": missing,
    "path below a file": below_a_file,
    "empty file": content("classes.mrcs", ""),
    "folder instead of a file": a_folder,
    "socket instead of a file": a_socket,
    "links in a circle": a_loop_of_links,
    "name too long": lambda folder: folder / ("x" * 300 + ".mrcs"),
    "zero byte in the path": lambda folder: folder / "a\0b.mrcs",
    "unknown ending": content("classes.tif", b"II*\0" + bytes(2000)),
    "no ending": content("classes", "x"),
    "packed stack": content("classes.mrcs.gz", gzip.compress(bytes(2000))),
    "packed stack under another name": content("classes.mrcs", gzip.compress(bytes(range(256)) * 99)),
    "text named as a stack": content("classes.mrcs", "these are not images\n" * 99),
    "short text named as a stack": content("classes.mrcs", "no"),
    "HDF5 named as a stack": lambda folder: hdf(eman(good_images()[0]), "classes.mrcs")(folder),
    "NumPy named as a stack": array("classes.mrcs", good_images()),
    "truncated header": mrc(keep=700),
    "header without data": mrc(keep=1024),
    "truncated data": mrc(keep=1024 + 3000),
    "extended header longer than the file": mrc(extension=99999),
    "negative extended header": mrc(extension=-5),
    "unknown mode": mrc(mode=9),
    "negative mode": mrc(mode=-1),
    "Fourier transform": mrc(mode=4),
    "complex integers": mrc(mode=3),
    "4-bit values": mrc(mode=101),
    "zero images": mrc(sections=0),
    "zero columns": mrc(columns=0),
    "negative size": mrc(rows=-16),
    "huge claimed size": mrc(columns=HUGE, rows=HUGE, sections=HUGE),
    "random bytes": content("classes.mrcs", np.random.default_rng(0).bytes(5000)),
    "all zeros": content("classes.mrcs", bytes(5000)),
    "star pointing nowhere": star("000001@Class2D/gone.mrcs"),
    "star asking for a missing slice": star("000009@classes.mrcs"),
    "star counting from zero": star("000000@classes.mrcs"),
    "star with a bad reference": star("x@classes.mrcs"),
    "star without rows": star(),
    "star without images": content("a.star", "data_\n\nloop_\n_rlnMicrographName #1\na.mrc\n"),
    "star with single values only": content("a.star", "data_job\n\n_rlnJobType 4\n"),
    "star with a broken loop": content("a.star", "data_\nloop_\n_rlnImageName\n_rlnClassNumber\n1 2 3\n"),
    "star that is prose": content("a.star", "hello there"),
    "star that is binary": content("a.star", bytes(range(256))),
    "star that is empty": content("a.star", ""),
    "star with two sizes of image": star_of_two_sizes,
    "star with two pixel sizes": star_of_two_pixel_sizes,
    "star with a pixel size that is no number": star_with_bad_pixel_size,
    "star naming a text file": lambda folder: (content("t.mrcs", "text")(folder), star("1@t.mrcs")(folder))[1],
    "cs without blob": array("classes.cs", np.zeros(3, dtype=[("uid", "u8")])),
    "cs that is an array": array("classes.cs", good_images()),
    "cs pointing nowhere": cs((b">J7/gone.mrc", 0)),
    "cs asking for a missing slice": cs((b"classes.mrcs", 4)),
    "cs without rows": cs(),
    "cs that is text": content("classes.cs", "uid,blob"),
    "npy of objects": array("a.npy", np.array([{}, None], dtype=object), pickled=True),
    "npy truncated": cut_npy,
    "npy with a broken header": content("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': }\n"),
    "npy of complex numbers": array("a.npy", good_images().astype(complex)),
    "npy of text": array("a.npy", np.array(["a", "b"])),
    "npy that is a table": array("a.npy", np.zeros(3, dtype=[("a", "f4"), ("b", "f4")])),
    "npy of four axes": array("a.npy", good_images()[None]),
    "npy of one number": array("a.npy", np.float32(3)),
    "npy without images": array("a.npy", good_images()[:0]),
    "hdf that is text": content("classes.hdf", "not HDF5"),
    "hdf truncated": cut_hdf,
    "hdf without arrays": hdf(lambda file: file.create_group("MDF/images")),
    "hdf with several arrays": hdf(lambda file: [file.create_dataset(name, data=good_images()) for name in "ab"]),
    "hdf with two sizes of image": hdf(eman(good_images()[0], good_images(1, 24)[0])),
    "hdf of complex numbers": hdf(eman(good_images()[0].astype(complex))),
    "hdf never written to": hdf(lambda file: file.create_dataset("a", (9, 16, 16), "f4")),
    "hdf of huge claimed size": hdf(huge_dataset),
    "non-square images": mrc(images=good_images()[:, :, 2:]),
    "images too small": mrc(images=good_images()[:, 4:10, 4:10]),
    "only NaN": mrc(images=ALL_NAN),
    "only constant images": mrc(images=ALL_FLAT),
}


def prepared(path: Path, **settings: Any) -> Any:
    stack = files.read_images(path)
    return prepare(torch.from_numpy(stack.images), ImportSettings(**settings), name=path.name)


def everything_in(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_sentence(error: InputError, name: str = "") -> None:
    message = str(error)
    assert name in message
    assert "\n" not in message
    assert ": " in message or "; " in message  # … and what to do
    assert 20 < len(message.replace(str(Path.cwd()), "")) < 700


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_a_bad_file_gives_one_sentence(
    make: Callable[[Path], Path], tmp_path: Path, wording: Callable[[object], None]
) -> None:
    path = make(tmp_path)
    before = everything_in(tmp_path)
    with pytest.raises(InputError) as raised:
        prepared(path)
    assert_one_sentence(raised.value)
    assert everything_in(tmp_path) == before
    wording(raised.value)


SETTINGS: dict[str, dict[str, Any]] = {
    "size larger than the images": {"size": 32},
    "size of nothing": {"size": 0},
    "negative size": {"size": -4},
    "crop to nothing": {"crop": 0},
    "size larger than the crop": {"crop": 12, "size": 14},
    "selection beyond the end": {"select": "0,4"},
    "selection that is text": {"select": "all"},
    "empty selection": {"select": ""},
    "selection with a gap": {"select": "0,,2"},
    "selection backwards": {"select": "3-1"},
    "selection of negative numbers": {"select": "-1"},
    "selection with two dashes": {"select": "0-1-2"},
    "selection of endless digits": {"select": "9" * 5000},
}


@pytest.mark.parametrize(
    "words",
    [
        "run",
        "run a.mrcs",
        "run a.mrcs --outptu r",
        "run a.mrcs b.mrcs -o r",
        "run a.mrcs -o r --size",
        "run a.mrcs -o r --size big",
        "run a.mrcs -o r --sise 9",
        "run a.mrcs -o r --steps 0",
        "run a.mrcs -o r --workers 0",
        "simulate box -o b --size 4",
        "simulate box -o b --pixel-size 0",
        "simulate box -o b --noise nan",
        "simulate box -o b --snr 0.1",
        "evaluate a.mrc",
        "export run --to paper",
        "rum",
    ],
)
def test_a_wrong_command_gives_one_sentence(
    words: str, command: Callable[..., tuple[int, str]], wording: Callable[[object], None]
) -> None:
    code, said = command(*words.split())
    assert code == 2
    assert "--help" in said
    assert said.count("\n") == 1
    assert "?" not in said
    assert ". " not in said.partition("(")[0]
    wording(said)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_wrong_setting_gives_one_sentence(
    settings: dict[str, Any], tmp_path: Path, wording: Callable[[object], None]
) -> None:
    path = mrc()(tmp_path)
    with pytest.raises(InputError) as raised:
        prepared(path, **settings)
    assert "\n" not in str(raised.value)
    wording(raised.value)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_not_enough_to_reconstruct(count: int) -> None:
    with pytest.raises(InputError, match=f"at least 2 .* got {count}"):
        require_several(range(count))
    require_several(range(2))


MAPS: dict[str, Callable[[Path], Path]] = {
    "stack given as a map": mrc(),
    "constant map": array("map.npy", np.ones((8, 8, 8))),
    "map with NaN": array("map.npy", np.full((8, 8, 8), np.nan)),
    "map with infinity": array("map.npy", np.where(np.arange(512).reshape(8, 8, 8) == 3, np.inf, 0.0)),
    "table given as a map": star("000001@classes.mrcs"),
    "truncated map": mrc("map.mrc", keep=2000),
    "picture given as a map": array("map.npy", good_images()[0]),
    "missing map": missing,
}


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)
def test_a_bad_map_gives_one_sentence(
    make: Callable[[Path], Path], tmp_path: Path, wording: Callable[[object], None]
) -> None:
    with pytest.raises(InputError) as raised:
        files.read_map(make(tmp_path))
    assert_one_sentence(raised.value)
    wording(raised.value)


def test_a_stack_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = mrc(columns=2**15, rows=2**15, sections=2**10)(tmp_path)  # 4 TiB
    with open(path, "rb+") as file:
        try:
            file.truncate(1024 + 2**42)  # sparse: takes no room on the disk
        except OSError:
            pytest.skip("this file system has no sparse files of 4 TiB")
    with pytest.raises(InputError, match="GiB"):
        files.read_images(path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_an_unreadable_file_gives_one_sentence(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [mrc()(tmp_path), star("1@classes.mrcs")(tmp_path), array("a.npy", good_images())(tmp_path)]

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    for path in paths:
        with pytest.raises(InputError, match=os.strerror(number).lower()):
            files.read_images(path)


WRITERS: list[tuple[str, Callable[[Path], None]]] = [
    ("images.mrcs", lambda path: files.write_images(path, good_images(), 2.0)),
    ("volume.mrc", lambda path: files.write_map(path, np.zeros((8, 8, 8), np.float32), None)),
    ("table.csv", lambda path: files.write_table(path, [{"a": 1}])),
    ("text.toml", lambda path: files.write_text(path, "a = 1\n")),
    ("volumes.star", lambda path: files.write_pose_star(path, [], pixel_size=None, size=8)),
]
writers = pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])


@writers
def test_a_full_disk_leaves_what_was_there(
    name: str,
    write: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wording: Callable[[object], None],
) -> None:
    path = tmp_path / name
    path.write_text("before")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=name) as raised:
        write(path)
    assert_one_sentence(raised.value)
    assert everything_in(tmp_path) == {path: b"before"}
    wording(raised.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@writers
def test_a_disk_that_fills_up_while_writing_gives_one_sentence(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / f".{name}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=name):
        write(tmp_path / name)
    assert everything_in(tmp_path) == {}


@writers
def test_a_target_that_cannot_be_gives_one_sentence(
    name: str, write: Callable[[Path], None], tmp_path: Path, wording: Callable[[object], None]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder" / name).mkdir(parents=True)
    before = everything_in(tmp_path)
    below = (tmp_path / folder / name for folder in ("file", "missing", "folder"))
    for target in (*below, tmp_path / ("x" * 300 + name), Path("/dev/null")):
        with pytest.raises(InputError) as raised:
            write(target)
        assert_one_sentence(raised.value, str(target))
        wording(raised.value)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@writers
def test_a_read_only_folder_gives_one_sentence(
    number: int,
    name: str,
    write: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wording: Callable[[object], None],
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError) as raised:
        write(tmp_path / name)
    assert everything_in(tmp_path) == {}
    wording(raised.value)
