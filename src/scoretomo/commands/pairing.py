"""Maps and truths that belong together, by the numbers in their names."""

import re
from pathlib import Path

from .. import files
from ..rundir.folders import SimulationFolder

MAP_ENDINGS = (".mrc", ".map", ".ccp4", ".hdf", ".npy")


def numbered(path: Path) -> dict[int, Path]:
    """Maps by number, the last one in each file name; a file without one is number 0.

    Raises:
        InputError: there are none, or two have one number.
    """
    if not path.exists():
        raise files.InputError(
            f"there are no maps at {path}: give a run directory with volumes, a folder of maps, or a map"
        )
    if path.is_file():
        digits = re.findall(r"\d+", path.stem)
        return {int(digits[-1]) if digits else 0: path}
    maps: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        digits = re.findall(r"\d+", file.stem)
        if file.suffix.lower() not in MAP_ENDINGS or file.name.startswith(".") or not digits:
            continue
        number = int(digits[-1])
        if number in maps:
            raise files.InputError(f"{maps[number].name} and {file.name} in {path} have the same number: rename one")
        maps[number] = file
    if not maps:
        raise files.InputError(f"{path} should hold maps with numbers in their names, such as 000.mrc, but holds none")
    return maps


def paired(maps: dict[int, Path], truths: dict[int, Path], truth: Path) -> dict[int, Path]:
    """Maps that have a truth, by number; one truth serves all.

    Raises:
        InputError: none has, or numbers do not match.
    """
    if truth.is_file():
        return maps
    pairs = {number: path for number, path in maps.items() if number in truths}
    if not pairs or (len(pairs) < len(maps) and len(maps) == len(truths)):
        raise files.InputError(
            f"maps and truths should have the same numbers, got {min(maps)} … {max(maps)} and {min(truths)} … "
            f"{max(truths)}: "
            "name them alike, such as 007.mrc and 007.mrc"
        )
    return pairs


def poses_beside(truth: Path) -> Path:
    """The table with the poses of a folder of truths; it need not exist."""
    return truth / SimulationFolder(truth).poses.name


def true_poses(truth: Path, truths: dict[int, Path]) -> dict[int, tuple[float, float, float]]:
    """Euler angles by image from the table beside the truths; none where there is no such table.

    Raises:
        InputError: it lacks columns, or the row of a map.
    """
    table = poses_beside(truth)
    if not table.exists():
        return {}
    rows = files.read_table(table)
    try:
        poses = {int(row["image"]): (float(row["rot"]), float(row["tilt"]), float(row["psi"])) for row in rows}
    except (KeyError, ValueError) as error:
        raise files.InputError(
            f"{table} should have columns image, rot, tilt, psi with numbers, got {error}: correct it"
        ) from None
    missing = sorted(truths.keys() - poses.keys())
    if missing:
        raise files.InputError(
            f"{table} has no row for image {missing[0]}, of which there is a map: add it, or remove {table.name}"
        )
    return poses
