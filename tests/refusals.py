"""Wrong files and commands, each with a part of its one sentence: for the tests, and for benchmarks/refusals.py."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Refusal(NamedTuple):
    """A command that is refused."""

    words: str  # after "scoretomo"; {in} is the folder of inputs
    says: str


REFUSALS: dict[str, Refusal] = {
    "npy of text": Refusal("run {in}/text.npy -o {in}/x", "values of type <U1"),
    "npy of a table": Refusal("run {in}/table.npy -o {in}/x", "holds a table"),
    "cut stack": Refusal("run {in}/cut.mrcs -o {in}/x", "cut short"),
    "missing stack": Refusal("run {in}/nowhere.mrcs -o {in}/x", "there is no file"),
    "packed stack": Refusal("run {in}/good.mrcs.gz -o {in}/x", "is packed"),
    "map for a stack": Refusal("run {in}/run_class001.mrc -o {in}/x", "is a map (16×16×16)"),
    "star naming nothing": Refusal("run {in}/lost.star -o {in}/x", "names the stack gone.mrcs"),
    "star without rows": Refusal("run {in}/empty.star -o {in}/x", "has no rows"),
    "star that is prose": Refusal("run {in}/prose.star -o {in}/x", "prose.star"),
    "cs of other data": Refusal("run {in}/other.cs -o {in}/x", "has no blob/path"),
    "hdf that is text": Refusal("run {in}/text.hdf -o {in}/x", "is not an HDF5 file"),
    "images not square": Refusal("run {in}/wide.npy -o {in}/x", "images must be square"),
    "all NaN": Refusal("run {in}/nan.npy -o {in}/x", "pixels are not numbers"),
    "all constant": Refusal("run {in}/flat.npy -o {in}/x", "constant (3 everywhere)"),
    "one image": Refusal("run {in}/one.npy -o {in}/x", "at least 2 usable images, got 1"),
    "size too large": Refusal("run {in}/good.mrcs -o {in}/x --size 99", "--size should be from 8 to 16"),
    "no such image": Refusal("run {in}/good.mrcs -o {in}/x --images 0,77", "there is no image 77"),
    "no such image to select": Refusal("import {in}/good.mrcs -o {in}/x.mrcs --select 4-9", "there is no image 9"),
    "pixel size of nothing": Refusal("run {in}/good.mrcs -o {in}/x --pixel-size 1e-9", "between 0.01 and 1000"),
    "no such symmetry": Refusal("run {in}/good.mrcs -o {in}/x --symmetry D0", "'D0' is no point group"),
    "steps out of bounds": Refusal("run {in}/good.mrcs -o {in}/x --steps 0", "--steps should be at least 1, got 0"),
    "settings that contradict": Refusal("run {in}/good.mrcs -o {in}/x --method paper --hand flip", "about a consensus"),
    "output taken": Refusal("run {in}/good.mrcs -o {in}", "holds other files"),
    "import into a wrong name": Refusal("import {in}/good.mrcs -o {in}/x.mrc", "should end in .mrcs"),
    "train on a cut stack": Refusal("train {in}/cut.mrcs -o {in}/x", "cut short"),
    "info of a cut stack": Refusal("info {in}/cut.mrcs", "cut short"),
    "info into no picture": Refusal("info {in}/good.mrcs --montage {in}/x.mrc", "should end in .png"),
    "evaluate a stack": Refusal("evaluate {in}/good.mrcs --truth {in}/map.npy", "maps must be cubic"),
    "evaluate other sizes": Refusal("evaluate {in}/map.npy --truth {in}/small.npy", "can't be compared"),
    "evaluate nothing": Refusal("evaluate {in}/nowhere --truth {in}/map.npy", "there are no maps"),
    "evaluate into a folder of others": Refusal(
        "evaluate {in}/map.npy --truth {in}/map.npy -o {in}", "but holds other files"
    ),
    "simulate nothing known": Refusal("simulate bocks -o {in}/x", "should be one of box"),
    "simulate a missing map": Refusal("simulate {in}/nowhere.mrc -o {in}/x", "there is no file"),
    "simulate a broken model": Refusal("simulate {in}/prose.cif -o {in}/x", "not an atomic model"),
    "simulate a lost trajectory": Refusal(
        "simulate {in}/atoms.pdb --trajectory {in}/no.dcd -o {in}/x", "there is no file"
    ),
    "simulate with a wrong mask": Refusal(
        "simulate {in}/run_class001.mrc --move '{in}/small.npy shift 0 5' -o {in}/x", "got 8³"
    ),
    "reproduce without images": Refusal("reproduce betagal -o {in}/x", "needs real class averages"),
    "reproduce a cut stack": Refusal("reproduce betagal --stack {in}/cut.mrcs -o {in}/x", "cut short"),
    "reproduce without truth": Refusal(
        "reproduce betagal --stack {in}/large.npy --truth {in}/no -o {in}/x", "there are no maps"
    ),
    "landscape of no run": Refusal("landscape {in}", "should hold a finished run"),
    "export of no run": Refusal("export {in} --to relion", "should hold a finished run"),
    "figures of no run": Refusal("figures {in}", "should hold a finished run"),
    "report of no run": Refusal("report {in}", "should be a run directory"),
    "watch no run": Refusal("watch {in}", "none has begun there"),
    "sample no network": Refusal("sample {in}", "has no trained network"),
    "reconstruct from nothing": Refusal("reconstruct {in}", "should hold images.mrcs"),
    "info of no run": Refusal("info {in}", "should be a run directory"),
}


def write_inputs(folder: Path) -> None:
    """All files that the commands name."""
    random = np.random.default_rng(0)
    good = random.normal(size=(4, 16, 16)).astype(np.float32)
    z, y, x = np.mgrid[:16, :16, :16] - 8
    ball = np.exp(-(z**2 + y**2 + x**2) / 8).astype(np.float32)
    arrays = {
        "text": np.array(["a", "b"]),
        "table": np.zeros(3, dtype=[("a", "f4"), ("b", "f4")]),
        "wide": good[:, :, 2:],
        "nan": np.full_like(good, np.nan),
        "flat": np.full_like(good, 3.0),
        "one": good[:1],
        "large": random.normal(size=(40, 64, 64)).astype(np.float32),
        "map": ball,
        "small": ball[4:12, 4:12, 4:12],
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    with open(folder / "other.cs", "wb") as file:
        np.save(file, np.zeros(3, dtype=[("uid", "u8")]))
    _write_mrc(folder / "good.mrcs", good)
    _write_mrc(folder / "run_class001.mrc", ball)
    (folder / "cut.mrcs").write_bytes((folder / "good.mrcs").read_bytes()[:3000])
    (folder / "good.mrcs.gz").write_bytes(b"\x1f\x8b")
    (folder / "lost.star").write_text("data_\n\nloop_\n_rlnImageName #1\n000001@gone.mrcs\n")
    (folder / "empty.star").write_text("data_\n\nloop_\n_rlnImageName #1\n\n")
    for name in ("prose.star", "prose.cif", "text.hdf"):
        (folder / name).write_text("once upon a time")
    (folder / "atoms.pdb").write_text(
        "ATOM      1  CA  ALA A   1      11.104   6.134  -6.504  1.00  0.00           C\nEND\n"
    )


def _write_mrc(path: Path, values: np.ndarray) -> None:
    """With space group 0 and as deep as there are sections, as many programs write both stacks and maps."""
    sections, rows, columns = values.shape
    raw = bytearray(1024)
    struct.pack_into("<4i", raw, 0, columns, rows, sections, 2)
    struct.pack_into("<3i3f", raw, 28, columns, rows, sections, 4.0 * columns, 4.0 * rows, 4.0 * sections)
    raw[208:216] = b"MAP \x44\x44\0\0"
    path.write_bytes(bytes(raw) + values.astype("<f4").tobytes())
