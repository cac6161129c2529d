"""Runs of simulated molecules with truth: what a volume's own marks say of its quality.

    python benchmarks/reliability.py runs           images, runs and evaluations of all sets            about 50 min on 2 cores

Results stay in benchmarks/results/; what is finished there is not computed again.
"""

import argparse
from pathlib import Path

import numpy as np
from cold import RESULTS, scoretomo
from sklearn.cluster import KMeans

from scoretomo import files

_BRIGHT = 0.2  # of the highest value: voxels of the molecule


def box(folder: Path) -> None:
    scoretomo("simulate", "box", "--images", 300, "--size", 32, "--output", folder)


def noisy_box(folder: Path) -> None:
    scoretomo("simulate", "box", "--images", 200, "--size", 32, "--noise", 0.3, "--seed", 1, "--output", folder)


def capsid(folder: Path) -> None:
    scoretomo("simulate", "capsid", "--images", 200, "--size", 32, "--output", folder)


def arm(folder: Path) -> None:
    """A made-up ribosome of which a third turns."""
    source = _still("ribosome", folder)
    (mask,) = _parts(source, 3)[:1]
    _moving(source, folder, (f"{mask} hinge -25 25",))


def two_arms(folder: Path) -> None:
    """A made-up large subunit of which two parts turn."""
    source = _still("large-subunit", folder)
    first, second = _parts(source, 4)[:2]
    _moving(source, folder, (f"{first} hinge -20 20", f"{second} hinge -30 30"))


def noisy_arm(folder: Path) -> None:
    """Like arm, seen by a microscope."""
    source = _still("ribosome", folder, seed=1)
    (mask,) = _parts(source, 3)[:1]
    _moving(source, folder, (f"{mask} hinge -15 15",), "--realistic")


SETS = {"box32": box, "boxnoise32": noisy_box, "capsid32": capsid, "arm32": arm, "twoarms32": two_arms, "noisyarm32": noisy_arm}


def _still(what: str, folder: Path, seed: int = 0) -> Path:
    """One map of a rigid molecule."""
    home = folder.with_name(f"{folder.name}-still")
    scoretomo("simulate", what, "--images", 24, "--size", 32, "--seed", seed, "--output", home)
    return home / "truth" / "000.mrc"


def _parts(source: Path, count: int) -> list[Path]:
    """Masks of the parts that a molecule falls into, the smallest first."""
    read = files.read_map(source)
    places = np.argwhere(read.density > _BRIGHT * read.density.max())
    found = KMeans(count, n_init=10, random_state=0).fit(places)
    grid = np.indices(read.density.shape).reshape(3, -1).T
    nearest = found.predict(grid).reshape(read.density.shape)
    masks = []
    for rank, part in enumerate(np.argsort(np.bincount(found.labels_))):
        masks.append(source.parent.parent / f"part-{rank}.mrc")
        files.write_map(masks[-1], (nearest == part).astype(np.float32), read.pixel_size)
    return masks


def _moving(source: Path, folder: Path, moves: tuple[str, ...], *more: object) -> None:
    options = [word for move in moves for word in ("--move", move)]
    scoretomo("simulate", source, "--images", 200, "--size", 32, *options, *more, "--output", folder)


def runs(names: list[str]) -> None:
    for name in names:
        data, run = RESULTS / name, RESULTS / f"{name}-all"
        SETS[name](data)
        scoretomo("run", data / "images.mrcs", "--output", run, *(("--recentre",) if name == "noisyarm32" else ()))
        if not (run / "evaluation" / "summary.json").exists():
            scoretomo("evaluate", run, "--truth", data / "truth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs"])
    parser.add_argument("--sets", default=",".join(SETS))
    asked = parser.parse_args()
    runs(asked.sets.split(","))


if __name__ == "__main__":
    main()
