"""A finished run for other programs: poses in their conventions, maps, masks and scripts."""

import re
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import numpy as np
import torch

from .. import files
from ..fourier import resample
from ..graphics import colours, shading, surfaces
from ..graphics.bodies import arrow_of, whole_of
from ..images import otsu_level
from ..landscape import soft_mask
from ..monitor.progress import print_line, print_warning
from ..pipeline.images import PreparedStack, read_prepared
from ..pipeline.posed import explained_images
from ..rotations import vector_from_rotation
from ..rundir.bodies import read_body_densities, read_body_motions
from ..rundir.directory import RunDirectory
from ..rundir.poses import rotations_of
from ..rundir.rows import PoseRow, StateRow
from ..wording import named_turn

_MASK_SIDE = 64  # pixels, at which the mask is made
_ARROW = 0.006  # radius of an arrow, in box sides
_CONSENSUS, _VARIABILITY, _SERIES, _LAST = 101, 102, 103, 199  # numbers of models that a ChimeraX session hardly has
_NUMBERED = {
    "chimerax": r"body-\d+\.mrc|axis-\d+\.bild",
    "relion": r"state-\d+\.mrc",
    "cryosparc": r"state-\d+\.mrc",
    "eman2": r"state-\d+\.(hdf|lst)",
}  # maps, and what belongs to them
_IF_THERE_ARE_STATES = {"relion": ("references.star",), "cryosparc": ("states.cs", "states.csg")}


class Place(NamedTuple):
    """The folder where an export is written, and the folder where all of it is put in the end, which its files name."""

    new: Path
    folder: Path


class Poses(NamedTuple):
    """Poses of the images that the consensus of class 1 explains."""

    places: np.ndarray  # (n,): of the images in the stack, from 0
    rows: list[PoseRow]
    rotations: np.ndarray  # (n, 3, 3), of RELION's Euler angles
    origins: np.ndarray  # (n, 2): what brings each image to the centre, in pixels
    states: np.ndarray | None  # (n,), from 1; None unless every image has a volume


def export_run(directory: Path, to: files.Program, output: Path | None) -> None:
    """Write what another program needs to go on from a run.

    Raises:
        InputError: there is no finished run with volumes in one frame.
    """
    run = RunDirectory(directory)
    run.require_one_frame()
    prepared, poses = read_prepared(run.images), _poses(run)
    folder = output or run.export(to)
    _require_readable(run, folder, to, prepared)
    writers = {
        "chimerax": _chimerax,
        "relion": _relion,
        "cryosparc": _cryosparc,
        "eman2": _eman2,
        "cryodrgn": _cryodrgn,
    }
    with files.replaced_together(folder, to, _of_an_earlier_export(folder, to)) as new:
        result = writers[to](run, Place(new, folder.absolute()), prepared, poses)
    if prepared.pixel_size is None and to in ("relion", "cryosparc", "eman2"):
        print_warning(f"the pixel size is unknown, and 1 Å is written for {to}: give --pixel-size to scoretomo run")
    if to == "relion":
        print_line(
            "300 kV, Cs 2.7 mm and amplitude contrast 0.1 in the STAR file are placeholders: class averages have no "
            "microscope"
        )
    excluded = len(prepared.images) - len(poses.places)
    if excluded and to != "chimerax":
        print_line(f"{excluded} of {len(prepared.images)} images are excluded: they are outliers, or of class 2")
    print_line(result)


def _require_readable(run: RunDirectory, folder: Path, to: files.Program, prepared: PreparedStack) -> None:
    """Refuse what the other program can't read."""
    size = prepared.images.shape[-1]
    if size % 2 and to in ("relion", "eman2", "cryodrgn"):
        raise files.InputError(f"{to} expects images with an even side, got {size}: run again with --size {size - 1}")
    named = {
        "relion": (run.path, folder),
        "eman2": (folder,),
        "chimerax": (run.path, folder),
    }  # the others keep paths of any kind, or none
    for path in (str(path.absolute()) for path in named.get(to, ())):
        if '"' in path:
            raise files.InputError(f"{path} has a quotation mark, which {to} can't read: choose a plain path")
        if to != "chimerax" and any(
            sign.isspace() for sign in path
        ):  # ChimeraX's script has every path in quotation marks
            raise files.InputError(f"{path} has a space, which {to} can't read: choose a plain path")


def _poses(run: RunDirectory) -> Poses:
    everything = run.poses.read()
    explained = explained_images(run)
    places = [place for place, row in enumerate(everything) if row.image in explained]
    rows = [everything[place] for place in places]
    origins = -np.array([(row.shift_x, row.shift_y) for row in rows])
    states = {row.image: row.state for row in run.landscape.rows.read()}
    own = np.array([states[row.image] for row in rows]) if all(row.image in states for row in rows) else None
    return Poses(np.array(places), rows, rotations_of(rows).numpy(), origins, own)


def _relion(run: RunDirectory, place: Place, prepared: PreparedStack, poses: Poses) -> str:
    """particles.star with poses and states, the consensus as reference, a mask, and a reference for every state."""
    stack = run.images.absolute()
    rows = [
        {
            "image": f"{place + 1:06d}@{stack}",
            **({} if poses.states is None else {"class": int(poses.states[number])}),
            **{name: getattr(row, name) for name in ("rot", "tilt", "psi", "shift_x", "shift_y")},
        }
        for number, (place, row) in enumerate(zip(poses.places.tolist(), poses.rows, strict=True))
    ]
    files.write_pose_star(
        place.new / "particles.star", rows, pixel_size=prepared.pixel_size, size=prepared.images.shape[-1]
    )
    states = _write_maps(run, place, prepared)
    if states:
        files.write_reference_star(place.new / "references.star", states)
    table = place.folder / "particles.star"
    return f"for RELION: {table}, with reference.mrc, mask.mrc and references.star for Class3D beside it"


def _write_maps(run: RunDirectory, place: Place, prepared: PreparedStack) -> list[Path]:
    """Write reference.mrc, mask.mrc and a map for every state; returns the final paths of those of the states."""
    pixel_size = prepared.pixel_size or 1.0
    consensus = files.read_map(run.assigned.volume).density
    files.write_map(place.new / "reference.mrc", consensus, pixel_size)
    files.write_map(place.new / "mask.mrc", _mask(consensus), pixel_size)
    maps = []
    for row in run.landscape.states.read():
        maps.append(place.folder / f"state-{row.state}.mrc")
        files.write_map(place.new / maps[-1].name, _density(run, row), pixel_size)
    return maps


def _density(run: RunDirectory, row: StateRow) -> np.ndarray:
    """The volume that represents a state."""
    return files.read_map(run.volume(row.representative)).density


def _mask(density: np.ndarray) -> np.ndarray:
    """Around all of a map, soft, between 0 and 1."""
    volume = torch.from_numpy(density)
    small = resample(volume, min(len(volume), _MASK_SIDE), 3)
    return resample(soft_mask(small[None]), len(volume), 3).clamp(0, 1).numpy()


def _of_an_earlier_export(folder: Path, to: files.Program) -> list[str]:
    """Names of what an export of an earlier run may have written that this one need not write, and of nothing else."""
    pattern = re.compile(_NUMBERED.get(to, "$"), re.ASCII)
    maps = [path.name for path in folder.glob("*-*") if pattern.fullmatch(path.name) and not path.is_dir()]
    return sorted([*maps, *_IF_THERE_ARE_STATES.get(to, ())])


def _cryosparc(run: RunDirectory, place: Place, prepared: PreparedStack, poses: Poses) -> str:
    """Result groups of the images with their poses, of the consensus and of the states, and a mask."""
    # cryoSPARC keeps the turn from the image's frame to the volume's: the inverse of RELION's
    turns = vector_from_rotation(torch.from_numpy(poses.rotations).mT).numpy()
    size, pixel_size = prepared.images.shape[-1], prepared.pixel_size or 1.0
    files.write_cryosparc_particles(
        place.new,
        run.images.absolute(),
        poses.places,
        turns,
        poses.origins,
        None if poses.states is None else poses.states - 1,
        pixel_size=pixel_size,
        size=size,
    )
    groups = {"reference": [place.folder / "reference.mrc"], "states": _write_maps(run, place, prepared)}
    for name, maps in groups.items():
        if maps:
            files.write_cryosparc_volumes(place.new, name, maps, pixel_size=pixel_size, size=size)
    written = ", ".join(f"{name}.csg" for name in ("particles", *(name for name, maps in groups.items() if maps)))
    return f"for cryoSPARC's Import Result Group, in {place.folder}: {written}; mask.mrc for Import 3D Volumes"


def _eman2(run: RunDirectory, place: Place, prepared: PreparedStack, poses: Poses) -> str:
    """particles.hdf with a pose in each header, the same as a list, one for every state, and maps."""
    pixel_size = prepared.pixel_size or 1.0
    # EMAN2 turns the volume by RELION's matrix, then moves the view by the last column onto the image
    transforms = np.concatenate([poses.rotations, np.zeros((len(poses.places), 3, 1))], 2)
    transforms[:, :2, 3] = -poses.origins
    stack = place.folder / "particles.hdf"
    files.write_eman(place.new / stack.name, prepared.images.numpy()[poses.places], pixel_size, transforms)
    files.write_eman_list(place.new / "particles.lst", stack, range(len(transforms)), transforms)
    consensus = files.read_map(run.assigned.volume).density
    files.write_eman(place.new / "reference.hdf", consensus[None], pixel_size)
    files.write_eman(place.new / "mask.hdf", _mask(consensus)[None], pixel_size)
    for row in run.landscape.states.read():
        files.write_eman(place.new / f"state-{row.state}.hdf", _density(run, row)[None], pixel_size)
        if poses.states is not None:
            own = np.flatnonzero(poses.states == row.state).tolist()
            files.write_eman_list(place.new / f"state-{row.state}.lst", stack, own, transforms[own])
    return f"for EMAN2: {stack}, or particles.lst, with reference.hdf, mask.hdf and the maps of the states beside it"


def _cryodrgn(run: RunDirectory, place: Place, prepared: PreparedStack, poses: Poses) -> str:
    count, size = prepared.images.shape[:2]
    rotations = np.tile(np.eye(3), (count, 1, 1))  # cryoDRGN reads a pose for every image of the stack
    rotations[poses.places] = poses.rotations
    shifts = np.zeros((count, 2))
    shifts[poses.places] = poses.origins / size
    files.write_cryodrgn(place.new, rotations, shifts, poses.places)
    poses_file, indices, output = (quote(str(place.folder / name)) for name in ("poses.pkl", "ind.pkl", "output"))
    return (
        f"for cryoDRGN (few images to train on): cryodrgn train_vae {quote(str(run.images))} --poses {poses_file} "
        f"--ind {indices} --uninvert-data --zdim 8 --outdir {output}"
    )


def _chimerax(run: RunDirectory, place: Place, prepared: PreparedStack, poses: Poses) -> str:
    """motion.cxc: the consensus coloured by variability or rigid bodies with their axes, and a series along each mode,
    or through all volumes.
    """
    rows = run.landscape.summary.read().trajectories if run.landscape.rows.exists() else ()
    series = {row.name.replace("-", ""): run.landscape.frames(row.name) for row in rows}
    lines = _chimerax_consensus(run, coloured=bool(series))
    volumes = [run.volume(row.image) for row in run.volume_rows.read() if row.status == "done"]
    shown = series or {"volumes": volumes}  # without modes, the volumes themselves
    for number, (name, frames) in enumerate(shown.items(), start=_SERIES):
        level = _level(frames[len(frames) // 2])
        lines += [
            "open " + " ".join(f'"{frame.absolute()}"' for frame in frames) + f" vseries true id {number}",
            f"volume #{number} style surface step 1 level {level:.6g} color {colours.VOLUME}",
            f"hide #{number} models",
            f"alias {name} hide #{_CONSENSUS}-{_LAST} models; show #{number} models; "
            f"vseries play #{number} direction oscillate loop true",
        ]
    bodies = _chimerax_bodies(run, place, prepared, _SERIES + len(shown))
    lines += [f"view #{_CONSENSUS}", *bodies]
    files.write_text(place.new / "motion.cxc", "\n".join(lines) + "\n")
    names = list(shown)
    effect = "it move" if series else "one after the other"
    typed = f"; then type {names[0]}{f', {names[1]} …' if len(names) > 1 else ''} to see {effect}"
    typed += ", and bodies for the rigid bodies" if bodies else ""
    return f"for ChimeraX: open {place.folder / 'motion.cxc'}{typed}"


def _chimerax_bodies(run: RunDirectory, place: Place, prepared: PreparedStack, first: int) -> list[str]:
    """Write maps of the rigid bodies and arrows along their axes; commands that show them, as models from the first
    number.
    """
    motions = read_body_motions(run)
    if motions is None:
        return []
    model = read_body_densities(motions.path, prepared.s)
    size, pixel_size = model.densities.shape[-1], prepared.pixel_size or 1.0
    level = otsu_level(whole_of(model, _MASK_SIDE).density.numpy())
    lines = []
    for number, (row, density) in enumerate(zip(motions.rows, model.densities, strict=True), start=first):
        name, colour = f"body-{row.body}.mrc", colours.of_body(row.body)
        files.write_map(place.new / name, density.numpy(), prepared.pixel_size)
        lines += [
            f'open "{place.folder / name}" id {number}',
            f"volume #{number} style surface step 1 level {level:.6g} color {colour}",
        ]
        arrow = arrow_of(row, density, size * pixel_size)
        if arrow:
            name, above = f"axis-{row.body}.bild", number + len(motions.rows) - 1
            ends = (size // 2 + size * torch.cat(arrow)) * pixel_size
            numbers = " ".join(f"{each:.3f}" for each in (*ends.tolist(), _ARROW * size * pixel_size))
            files.write_text(place.new / name, f".color {colour}\n.arrow {numbers}\n")
            lines += [
                f'open "{place.folder / name}" id {above}',
                f'label #{above} models text "{named_turn(row.body, row.degrees)}"',
            ]
    last = first + 2 * len(motions.rows) - 2
    shown = f"show #{first}-{last} models"
    return [*lines, f"hide #{_CONSENSUS} models", f"alias bodies hide #{_CONSENSUS}-{_LAST} models; {shown}"]


def _chimerax_consensus(run: RunDirectory, *, coloured: bool) -> list[str]:
    """Commands that show the consensus, coloured by variability or not."""
    pale, orange = (_named(colour) for colour in (shading.PALE, shading.ORANGE))
    lines = [
        f"close #{_CONSENSUS}-{_LAST}",  # of an earlier export; what else is open stays
        *("set bgColor white", "lighting soft", "graphics silhouettes true"),
        f'open "{run.assigned.volume.absolute()}" id {_CONSENSUS}',
        f"volume #{_CONSENSUS} style surface step 1 level {_level(run.assigned.volume):.6g} color {pale}",
    ]
    if not coloured:
        return lines
    peak = float(files.read_map(run.landscape.variability).density.max())
    low, high = (f"{share * peak:.4g}" for share in shading.TINTED)
    palette = f"{low},{pale}:{high},{orange}"
    return [
        *lines,
        f'open "{run.landscape.variability.absolute()}" id {_VARIABILITY}',
        f"hide #{_VARIABILITY} models",
        f"color sample #{_CONSENSUS} map #{_VARIABILITY} palette {palette}",
    ]


def _named(colour: tuple[float, float, float]) -> str:
    """A colour of the report's surfaces, as it looks there, in hexadecimal."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in surfaces.in_light(colour))


def _level(path: Path) -> float:
    """The level at which the surface of a map is drawn at first, as in the report."""
    density = torch.from_numpy(files.read_map(path).density)
    return otsu_level(resample(density, min(len(density), _MASK_SIDE), 3).numpy())
