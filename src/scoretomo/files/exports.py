"""Poses as other programs read them: cryoSPARC (.cs with its .csg), cryoDRGN (poses.pkl) and EMAN2 (.hdf, .lst)."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from .writing import atomic, write_text

Program = Literal["chimerax", "relion", "cryosparc", "eman2", "cryodrgn"]

# a transform as EMAN2 has it in a header
_TRANSFORM = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
# columns of cryoSPARC's particles, besides their numbers and the path of the stack
_BLOB = [
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("blob/sign", "<f4"),
]
_ALIGNMENTS = [
    ("alignments3D/split", "<u4"),
    ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/pose", "<f4", (3,)),
    ("alignments3D/psize_A", "<f4"),
    ("alignments3D/alpha", "<f4"),
    ("alignments3D/class", "<u4"),
    ("alignments3D/class_posterior", "<f4"),
]


def write_cryosparc_particles(
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
    name = str(stack).encode()
    count = len(rotation_vectors)
    table = np.zeros(count, dtype=[("uid", "<u8"), ("blob/path", f"S{len(name)}"), *_BLOB, *_ALIGNMENTS])
    table["uid"] = places + 1
    table["blob/path"] = name
    table["blob/idx"] = places
    table["blob/shape"] = size
    table["blob/psize_A"] = pixel_size
    table["blob/sign"] = 1.0
    table["alignments3D/psize_A"] = pixel_size
    table["alignments3D/alpha"] = 1.0
    table["alignments3D/class_posterior"] = 1.0
    table["alignments3D/split"] = np.arange(count) % 2
    table["alignments3D/shift"] = shifts
    table["alignments3D/pose"] = rotation_vectors
    table["alignments3D/class"] = 0 if states is None else states
    parts = {"blob": "particle.blob", "alignments3D": "particle.alignments3D"}
    _write_cryosparc_group(folder, "particles", table, "particle", "class averages with poses", parts)


def write_cryosparc_volumes(folder: Path, name: str, maps: Sequence[Path], *, pixel_size: float, size: int) -> None:
    """A .cs and a .csg of maps, for cryoSPARC's Import Result Group.

    Args:
        folder: where to write.
        name: of the group and of both files.
        maps: MRC files, in the order of the classes of the images.
        pixel_size: Å.
        size: their side in voxels.
    """
    names = [str(path).encode() for path in maps]
    fields = [
        ("uid", "<u8"),
        ("map/path", f"S{max(map(len, names))}"),
        ("map/shape", "<u4", (3,)),
        ("map/psize_A", "<f4"),
    ]
    table = np.zeros(len(names), dtype=fields)
    table["uid"] = np.arange(len(names)) + 1
    table["map/path"] = names
    table["map/shape"] = size
    table["map/psize_A"] = pixel_size
    _write_cryosparc_group(folder, name, table, "volume", "maps", {"map": "volume.blob"})


def _write_cryosparc_group(
    folder: Path, name: str, table: np.ndarray, kind: str, description: str, parts: Mapping[str, str]
) -> None:
    """A table, and a group that says which of its columns are what."""
    with atomic(folder / f"{name}.cs") as temporary, open(temporary, "wb") as file:
        np.save(file, table)
    results = "".join(
        f"  {part}:\n    metafile: '>{name}.cs'\n    num_items: {len(table)}\n    type: {what}\n"
        for part, what in parts.items()
    )
    group = f"group:\n  description: {description}\n  name: {name}\n  title: {name}\n  type: {kind}\n"
    write_text(folder / f"{name}.csg", f"{group}results:\n{results}version: v4.0.0\n")


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


def write_eman(path: Path, images: np.ndarray, pixel_size: float, transforms: np.ndarray | None = None) -> None:
    """Images, or one map, as an EMAN2 stack (.hdf): each in a group of its own, its header as the attributes of the
    group.

    Args:
        path: the .hdf file.
        images: shape (n, d, d), axes (y, x); or maps, shape (n, d, d, d), axes (z, y, x).
        pixel_size: Å.
        transforms: of each image, its ``xform.projection``: a rotation and, in the last column, a shift in pixels,
            shape (n, 3, 4).
    """
    import h5py  # not earlier: it takes a while

    with h5py.File(
        path.name, "w", driver="core", backing_store=False
    ) as file:  # in memory: h5py ends badly on a full disk
        stack = file.create_group("MDF/images")
        stack.attrs["imageid_max"] = np.array([len(images) - 1], dtype="<i4")
        for number, image in enumerate(images):
            group = stack.create_group(str(number))
            group["image"] = image.astype("<f4")
            for axis, length in zip("xyz", (*image.shape[::-1], 1), strict=False):
                group.attrs[f"EMAN.n{axis}"] = np.array([length], dtype="<i4")
                group.attrs[f"EMAN.apix_{axis}"] = np.array([pixel_size], dtype="<f4")
            if transforms is not None:
                row = transforms[number].astype("<f4").reshape(12)
                group.attrs.create("EMAN.xform.projection", row.view(_TRANSFORM))
        file.flush()
        content = file.id.get_file_image()
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_eman_list(path: Path, stack: Path, places: Sequence[int], transforms: np.ndarray) -> None:
    """A list (.lst) of images with their poses, which EMAN2 reads as if it were a stack.

    Args:
        path: the .lst file.
        stack: the .hdf file with the images.
        places: of the images in it, from 0.
        transforms: of these images, as in `write_eman`, shape (n, 3, 4).
    """
    lines = []
    for place, transform in zip(places, transforms, strict=True):
        matrix = "[" + ",".join(f"{value:.7g}" for value in transform.flat) + "]"
        header = {"xform.projection": {"__class__": "Transform", "matrix": matrix}}
        lines.append(f"{place}\t{stack}\t{json.dumps(header, separators=(',', ':'))}")
    width = (
        max(map(len, lines), default=0) + 1
    )  # every line is as long, so that EMAN2 finds one without reading those before
    write_text(
        path,
        "\n".join(
            ["#LSX", "# Lines have equal lengths.", f"# {width}", *(line.ljust(width - 1) for line in lines), ""]
        ),
    )
