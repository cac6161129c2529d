"""Poses as other programs read them: cryoSPARC (.cs with its .csg) and cryoDRGN (poses.pkl)."""

import pickle
from pathlib import Path
from typing import Literal

import numpy as np

from .writing import atomic, write_text

Program = Literal["chimerax", "relion", "cryosparc", "cryodrgn"]


def write_cryosparc(
    folder: Path,
    stack: Path,
    places: np.ndarray,
    rotation_vectors: np.ndarray,
    shifts: np.ndarray,
    states: np.ndarray | None,
    *,
    pixel_size: float,
    size: int,
) -> None:
    """particles.cs and particles.csg, for cryoSPARC's Import Result Group.

    Args:
        folder: where to write.
        stack: the images.
        places: of those that have a pose, from 0, shape (n,).
        rotation_vectors: of the poses as cryoSPARC has them, radians, shape (n, 3).
        shifts: that bring each image to the centre, in pixels, shape (n, 2).
        states: of each image, from 0, shape (n,); all the same if not given.
        pixel_size: Å.
        size: side of the images in pixels.
    """
    name = str(stack)
    fields = [
        ("uid", "<u8"),
        ("blob/path", f"S{len(name.encode())}"),
        ("blob/idx", "<u4"),
        ("blob/shape", "<u4", (2,)),
        ("blob/psize_A", "<f4"),
        ("blob/sign", "<f4"),
        ("alignments3D/split", "<u4"),
        ("alignments3D/shift", "<f4", (2,)),
        ("alignments3D/pose", "<f4", (3,)),
        ("alignments3D/psize_A", "<f4"),
        ("alignments3D/class", "<u4"),
    ]
    count = len(rotation_vectors)
    table = np.zeros(count, dtype=fields)
    table["uid"] = places + 1
    table["blob/path"] = name.encode()
    table["blob/idx"] = places
    table["blob/shape"] = size
    table["blob/psize_A"] = table["alignments3D/psize_A"] = pixel_size
    table["blob/sign"] = 1.0
    table["alignments3D/split"] = np.arange(count) % 2
    table["alignments3D/shift"] = shifts
    table["alignments3D/pose"] = rotation_vectors
    table["alignments3D/class"] = 0 if states is None else states
    with atomic(folder / "particles.cs") as temporary, open(temporary, "wb") as file:
        np.save(file, table)
    results = "".join(
        f"  {part}:\n    metafile: '>particles.cs'\n    num_items: {count}\n    type: particle.{part}\n"
        for part in ("blob", "alignments3D")
    )
    group = "group:\n  description: class averages with poses\n  name: particles\n  title: particles\n  type: particle\n"
    write_text(folder / "particles.csg", f"{group}results:\n{results}version: v4.0.0\n")


def write_cryodrgn(folder: Path, rotations: np.ndarray, shifts: np.ndarray, places: np.ndarray) -> None:
    """poses.pkl and ind.pkl.

    Args:
        folder: where to write.
        rotations: of all images of a stack, shape (m, 3, 3).
        shifts: that bring each to the centre, as shares of its side, shape (m, 2).
        places: of the images to use, from 0.
    """
    for name, content in (("poses", (rotations.astype(np.float32), shifts.astype(np.float32))), ("ind", places)):
        with atomic(folder / f"{name}.pkl") as temporary, open(temporary, "wb") as file:
            pickle.dump(content, file)
