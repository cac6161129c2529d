"""Atomic models (.cif, .pdb, packed or not) and trajectories → arrays."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import InputError
from .reading import file_size

if TYPE_CHECKING:
    import gemmi  # else only where a model is read: it takes a while

_MODELS = (".cif", ".mmcif", ".pdb", ".ent", ".cif.gz", ".pdb.gz", ".ent.gz")
_TRAJECTORIES = (".xtc", ".trr", ".dcd", ".nc")
_IN_NANOMETRES = (".xtc", ".trr")


class Model(NamedTuple):
    """The atoms of a structure, without its waters.

    Attributes:
        frames: (x, y, z) in Å in every model of the file, or in every frame of a trajectory, (frames, n, 3) float64.
        elements: of each atom, (n,).
        a, b: electron scattering factors of each element by name, f(k) = Σ a exp(−b k²/4), b in Å².
        occupancy: (n,).
        structure: as gemmi has read it; the serial number of an atom is its row, 0 that of an excluded one.
    """

    frames: np.ndarray
    elements: np.ndarray
    a: dict[str, list[float]]
    b: dict[str, list[float]]
    occupancy: np.ndarray
    structure: "gemmi.Structure"


class Assembly(NamedTuple):
    """Copies that make a biological assembly."""

    copies: np.ndarray  # rotation and translation (Å) of each, (c, 3, 4)
    members: np.ndarray  # (atom, copy) of everything in it, (m, 2)


def is_model(path: Path) -> bool:
    """Whether a file is an atomic model, by its name."""
    return path.name.lower().endswith(_MODELS)


def read_model(path: Path, trajectory: Path | None = None) -> Model:
    """Read an atomic model; the positions of its atoms come from a trajectory if one is given.

    Raises:
        InputError: a file cannot be read, has no atoms, or the two do not fit.
    """
    structure = _read_structure(path)
    rows = [[atom for chain in model for residue in chain for atom in residue] for model in structure]
    waters = [residue.is_water() for chain in (structure[0] if rows else ()) for residue in chain for _ in residue]
    dry = np.flatnonzero(~np.array(waters, dtype=bool))
    if not len(dry):
        raise InputError(f"{path} has no atoms: give the file of a structure")
    if len({len(row) for row in rows}) > 1:
        raise InputError(
            f"{path} has models with different numbers of atoms, expected the same in all: give one of them"
        )
    if trajectory is None:
        frames = np.array([[atom.pos.tolist() for atom in row] for row in rows])
    else:
        frames = _read_trajectory(trajectory, len(waters), path)
    for atom in rows[0]:
        atom.serial = 0
    for row, number in enumerate(dry, start=1):
        rows[0][number].serial = row
    atoms = [rows[0][number] for number in dry]
    kinds = {atom.element.name: atom.element for atom in atoms}
    unknown = [name for name, element in kinds.items() if element.c4322 is None]
    if unknown:
        raise InputError(f"{path} has atoms of an unknown element ({unknown[0]}): correct the element columns")
    return Model(
        frames[:, dry],
        np.array([atom.element.name for atom in atoms]),
        {name: list(element.c4322.a) for name, element in kinds.items()},
        {name: list(element.c4322.b) for name, element in kinds.items()},
        np.array([atom.occ for atom in atoms]),
        structure,
    )


def _read_structure(path: Path) -> "gemmi.Structure":
    """A structure as gemmi reads it, its entities set up.

    Raises:
        InputError: it is not an atomic model.
    """
    import gemmi

    file_size(path)
    try:
        structure = gemmi.read_structure(str(path))
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(f"{path} is not an atomic model ({' '.join(str(error).split())}): check the file") from None
    structure.setup_entities()
    return structure


def require_trajectory(path: Path) -> str:
    """The ending of a file that may hold a trajectory, which is not opened yet.

    Raises:
        InputError: it isn't there, is empty or a folder, or its name ends in something else, or mdtraj is not
            installed.
    """
    suffix = path.suffix.lower()
    if suffix not in _TRAJECTORIES:
        raise InputError(
            f"{path} ends in {suffix or '(nothing)'}, expected one of {', '.join(_TRAJECTORIES)}: convert it"
        )
    file_size(path)
    if find_spec("mdtraj") is None:
        raise InputError("trajectories need mdtraj, which is not installed: pip install 'scoretomo[trajectories]'")
    return suffix


def _read_trajectory(path: Path, count: int, model: Path) -> np.ndarray:
    """All frames, (frames, n, 3) in Å."""
    suffix = require_trajectory(path)
    from mdtraj import formats

    readers = {
        ".xtc": formats.XTCTrajectoryFile,
        ".trr": formats.TRRTrajectoryFile,
        ".dcd": formats.DCDTrajectoryFile,
        ".nc": formats.NetCDFTrajectoryFile,
    }
    try:
        with readers[suffix](str(path)) as opened:
            frames = np.asarray(opened.read()[0], dtype=np.float64)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a trajectory ({' '.join(str(error).split())}): check the file") from None
    if frames.ndim != 3 or frames.shape[1] != count:
        raise InputError(
            f"{path} has {frames.shape[1] if frames.ndim == 3 else 0} atoms and {model} has {count}: give the model "
            "it was made from"
        )
    return frames * (10.0 if suffix in _IN_NANOMETRES else 1.0)


def select_atoms(model: Model, selection: str) -> np.ndarray:
    """Which atoms a selection names: chains (A or A,B), residues (A/10-50), or gemmi's own words (starting with /);
    (n,) bool.

    Raises:
        InputError: the selection cannot be read.
    """
    import gemmi

    try:
        chosen = gemmi.Selection(selection if selection.startswith("/") else f"/*/{selection}")
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"{selection!r} is not a selection ({text}): write chains (A,B) or residues (A/10-50)"
        ) from None
    mask = np.zeros(len(model.elements) + 1, dtype=bool)
    for chain in chosen.chains(model.structure[0]):
        for residue in chosen.residues(chain):
            mask[[atom.serial for atom in chosen.atoms(residue)]] = True
    return mask[1:]


def read_assembly(model: Model, path: Path) -> Assembly:
    """The first biological assembly that a model's file describes.

    Raises:
        InputError: it describes none.
    """
    if not model.structure.assemblies:
        raise InputError(f"{path} describes no biological assembly: give --symmetry with a point group, or none")
    copies: list[np.ndarray] = []
    members: list[np.ndarray] = []
    for generator in model.structure.assemblies[0].generators:
        atoms = np.array(
            [
                atom.serial - 1
                for chain in model.structure[0]
                for residue in chain
                if chain.name in generator.chains or residue.subchain in generator.subchains
                for atom in residue
                if atom.serial
            ],
            dtype=int,
        )
        for operator in generator.operators:
            members.append(np.stack([atoms, np.full(len(atoms), len(copies))], axis=1))
            turn, offset = operator.transform.mat.tolist(), operator.transform.vec.tolist()
            copies.append(np.concatenate([turn, np.array(offset)[:, None]], axis=1))
    return Assembly(np.array(copies), np.concatenate(members))
