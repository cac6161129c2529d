"""Wrong files, and commands that are refused: for the tests, and for benchmarks/refusals.py."""

import struct
from pathlib import Path

import numpy as np

# after "scoretomo"; {in} is the folder of inputs
REFUSALS: dict[str, str] = {
    "npy of text": "run {in}/text.npy -o {in}/x",
    "npy of a table": "run {in}/table.npy -o {in}/x",
    "cut stack": "run {in}/cut.mrcs -o {in}/x",
    "missing stack": "run {in}/nowhere.mrcs -o {in}/x",
    "packed stack": "run {in}/good.mrcs.gz -o {in}/x",
    "map for a stack": "run {in}/run_class001.mrc -o {in}/x",
    "star naming nothing": "run {in}/lost.star -o {in}/x",
    "star without rows": "run {in}/empty.star -o {in}/x",
    "star that is prose": "run {in}/prose.star -o {in}/x",
    "cs of other data": "run {in}/other.cs -o {in}/x",
    "hdf that is text": "run {in}/text.hdf -o {in}/x",
    "images not square": "run {in}/wide.npy -o {in}/x",
    "all NaN": "run {in}/nan.npy -o {in}/x",
    "all constant": "run {in}/flat.npy -o {in}/x",
    "one image": "run {in}/one.npy -o {in}/x",
    "size too large": "run {in}/good.mrcs -o {in}/x --size 99",
    "no such image": "run {in}/good.mrcs -o {in}/x --images 0,77",
    "no such image to select": "import {in}/good.mrcs -o {in}/x.mrcs --select 4-9",
    "pixel size of nothing": "run {in}/good.mrcs -o {in}/x --pixel-size 1e-9",
    "no such symmetry": "run {in}/good.mrcs -o {in}/x --symmetry D0",
    "steps out of bounds": "run {in}/good.mrcs -o {in}/x --steps 0",
    "settings that contradict": "run {in}/good.mrcs -o {in}/x --method paper --hand flip",
    "output taken": "run {in}/good.mrcs -o {in}",
    "import into a wrong name": "import {in}/good.mrcs -o {in}/x.mrc",
    "train on a cut stack": "train {in}/cut.mrcs -o {in}/x",
    "info of a cut stack": "info {in}/cut.mrcs",
    "info into no picture": "info {in}/good.mrcs --montage {in}/x.mrc",
    "evaluate a stack": "evaluate {in}/good.mrcs --truth {in}/map.npy",
    "evaluate other sizes": "evaluate {in}/map.npy --truth {in}/small.npy",
    "evaluate nothing": "evaluate {in}/nowhere --truth {in}/map.npy",
    "evaluate into a folder of others": "evaluate {in}/map.npy --truth {in}/map.npy -o {in}",
    "simulate nothing known": "simulate bocks -o {in}/x",
    "simulate a missing map": "simulate {in}/nowhere.mrc -o {in}/x",
    "simulate a broken model": "simulate {in}/prose.cif -o {in}/x",
    "simulate a lost trajectory": "simulate {in}/atoms.pdb --trajectory {in}/no.dcd -o {in}/x",
    "simulate with a wrong mask": "simulate {in}/run_class001.mrc --move '{in}/small.npy shift 0 5' -o {in}/x",
    "reproduce without images": "reproduce betagal -o {in}/x",
    "reproduce a cut stack": "reproduce betagal --stack {in}/cut.mrcs -o {in}/x",
    "reproduce without truth": "reproduce betagal --stack {in}/large.npy --truth {in}/no -o {in}/x",
    "landscape of no run": "landscape {in}",
    "export of no run": "export {in} --to relion",
    "figures of no run": "figures {in}",
    "report of no run": "report {in}",
    "watch no run": "watch {in}",
    "sample no network": "sample {in}",
    "reconstruct from nothing": "reconstruct {in}",
    "info of no run": "info {in}",
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
