"""Simulated molecules with truth, moving and still: the paper's, made-up ribosomes, and random ones that nobody
chose."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from runs import RESULTS, only, scoretomo
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans

from scoretomo import files

_BRIGHT = 0.2  # of the highest value: voxels of the molecule
_SIDE, _RADIUS = 32, 13.0  # of a random molecule, in voxels, and how far from the middle the molecule goes
_PIXEL = 8.0  # Å
_POPULATION = 12
SEEN = ("noise-free", "noise", "realistic")  # how each third of the random molecules is seen


class ImageSet(NamedTuple):
    """Images with truth.

    Attributes:
        simulate: makes them in a folder.
        title: the set, as records name it.
        molecule: its name; sets of one molecule are never used to judge each other.
        asymmetric: whether each image has one pose only.
        volumes: images of which a volume is made; None is all.
    """

    simulate: Callable[[Path], None]
    title: str
    molecule: str
    asymmetric: bool
    volumes: range | None = None


def box(folder: Path, side: int = _SIDE) -> None:
    scoretomo("simulate", "box", "--images", 300, "--size", side, "--output", folder)


def capsid(folder: Path) -> None:
    scoretomo("simulate", "capsid", "--images", 200, "--size", _SIDE, "--output", folder)


def arm(folder: Path) -> None:
    """A made-up ribosome of which a third turns."""
    source = _still("ribosome", folder)
    (mask,) = _parts(source, 3)[:1]
    _moving(source, folder, (f"{mask} hinge -25 25",))


def two_arms(folder: Path, *more: object) -> None:
    """A made-up large subunit of which two parts turn."""
    source = _still("large-subunit", folder)
    first, second = _parts(source, 4)[:2]
    _moving(source, folder, (f"{first} hinge -20 20", f"{second} hinge -30 30"), *more)


def noisy_arm(folder: Path, *more: object) -> None:
    """The ribosome in another conformation, of which another third turns, less far, in noise."""
    source = _still("ribosome", folder, seed=1)
    (mask,) = _parts(source, 3)[:1]
    _moving(source, folder, (f"{mask} hinge -15 15",), *(more or ("--noise", 0.1)))


def realistic_box(folder: Path) -> None:
    """Boxes as a microscope and 2D classification would show them."""
    scoretomo(
        "simulate", "box", "--images", 300, "--size", _SIDE, "--realistic", "--pixel-size", _PIXEL, "--output", folder
    )


def realistic_arm(folder: Path) -> None:
    """The ribosome of noisy_arm as a microscope and 2D classification would show it."""
    noisy_arm(folder, "--realistic")


def realistic_two(folder: Path) -> None:
    """The large subunit of two_arms as a microscope and 2D classification would show it."""
    two_arms(folder, "--realistic")


def random_molecule(number: int, *, still: bool = False) -> Callable[[Path], None]:
    """One of a population: ellipsoids with a rough inside, grown onto each other; one or two of the last ones turn, or
    none.

    A third of the population is seen without noise, a third with noise, and a third as realistic class averages.
    """

    def simulate(folder: Path) -> None:
        random = np.random.default_rng(number)
        home = folder.with_name(f"{folder.name}-still")
        files.make_folder(home)
        density, part_of = _grown(random)
        moves = []
        for part in range(part_of.max(), part_of.max() - random.integers(1, 3), -1):
            mask, most = home / f"part-{part}.mrc", int(random.integers(12, 31))
            files.write_map(mask, (part_of == part).astype(np.float32), _PIXEL)
            moves.append(f"{mask} hinge {-most} {most}")
        source = home / "map.mrc"
        files.write_map(source, density, _PIXEL)
        noise = ("--noise", round(float(random.uniform(0.05, 0.3)), 2))
        _moving(source, folder, () if still else tuple(moves), *((), noise, ("--realistic",))[number % 3], images=120)

    return simulate


def _grown(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Density of a random molecule (d, d, d), and the number of the ellipsoid that each voxel is nearest to."""
    count = int(random.integers(3, 6))
    axes = random.uniform(0.6, 1.0, (count, 3)) * np.linspace(1.4, 0.9, count)[:, None]
    centres = np.zeros((count, 3))
    for number in range(1, count):
        onto = random.integers(number)
        away = random.normal(size=3)
        centres[number] = centres[onto] + away / np.linalg.norm(away) * 0.9 * (axes[number].mean() + axes[onto].mean())
    centres -= centres.mean(0)
    scale = _RADIUS / (np.linalg.norm(centres, axis=1) + axes.max(1)).max()
    places = np.moveaxis(np.indices((_SIDE,) * 3) - _SIDE // 2, 0, -1)[..., None, :] / scale
    apart = np.linalg.norm((places - centres) / axes, axis=-1)  # (d, d, d, count); 1 on the surface
    rough = gaussian_filter(random.normal(size=(_SIDE,) * 3), 1.2)
    inside = (apart.min(-1) < 1) * np.clip(1 + 0.7 * rough / rough.std(), 0, None)
    return gaussian_filter(inside, 0.8).astype(np.float32), apart.argmin(-1)


def _still(what: str, folder: Path, seed: int = 0) -> Path:
    """One map of a rigid molecule."""
    home = folder.with_name(f"{folder.name}-still")
    scoretomo("simulate", what, "--images", 24, "--size", _SIDE, "--seed", seed, "--output", home)
    return home / "truth" / "000.mrc"


def _parts(source: Path, count: int) -> list[Path]:
    """Masks of the parts that a molecule falls into, the smallest first."""
    read = files.read_map(source)
    places = np.argwhere(read.density > _BRIGHT * read.density.max())
    clusters = KMeans(count, n_init=10, random_state=0).fit(places)
    grid = np.indices(read.density.shape).reshape(3, -1).T
    nearest = clusters.predict(grid).reshape(read.density.shape)
    masks = []
    for rank, part in enumerate(np.argsort(np.bincount(clusters.labels_))):
        masks.append(source.parent.parent / f"part-{rank}.mrc")
        files.write_map(masks[-1], (nearest == part).astype(np.float32), read.pixel_size)
    return masks


def _moving(source: Path, folder: Path, moves: tuple[str, ...], *more: object, images: int = 200) -> None:
    options = [word for move in moves for word in ("--move", move)]
    scoretomo("simulate", source, "--images", images, "--size", _SIDE, *options, *more, "--output", folder)


def few_ribosomes(folder: Path, more: tuple[object, ...]) -> None:
    """A made-up ribosome in few images, of which small parts move: the best single map has a mean FSC of 0.95."""
    scoretomo("simulate", "ribosome", "--images", 100, "--size", _SIDE, *more, "--output", folder)


_FIFTY, _EIGHT = range(0, 200, 4), range(0, 100, 13)
_NOISY, _REALISTIC = (partial(few_ribosomes, more=more) for more in (("--noise", 0.3), ("--realistic",)))

# fmt: off
MOVING = {
    "box32":              ImageSet(box,           "box",                              "box",           False),
    "capsid32":           ImageSet(capsid,        "capsid",                           "capsid",        False),
    "arm32":              ImageSet(arm,           "ribosome, a third turns ± 25°",    "ribosome",      True),
    "twoarms32":          ImageSet(two_arms,      "large subunit, two parts turn",    "large subunit", True),
    "noisyarm32":         ImageSet(noisy_arm,     "ribosome ± 15°, noise 0.1 σ",      "ribosome",      True),
    "realisticbox32":     ImageSet(realistic_box, "box, realistic",                   "box",           False, _FIFTY),
    "realisticarm32":     ImageSet(realistic_arm, "ribosome ± 15°, realistic",        "ribosome",      True,  _FIFTY),
    "realistictwo32":     ImageSet(realistic_two, "large subunit, realistic",         "large subunit", True,  _FIFTY),
    "particle-noise":     ImageSet(_NOISY,        "ribosome, moves less, noise 0.3 σ", "ribosome",     True,  _EIGHT),
    "particle-realistic": ImageSet(_REALISTIC,    "ribosome, moves less, realistic",  "ribosome",      True,  _EIGHT),
    "box88": ImageSet(partial(box, side=88),     "box of 88², every tenth",          "box",   False, range(0, 300, 10)),
} | {
    f"random{number:02d}": ImageSet(
        random_molecule(number), f"random {number:02d}, {SEEN[number % 3]}",
        f"random molecule {number}", True, range(0, 120, 4))
    for number in range(_POPULATION)
}

STILL = {
    f"random-still{number:02d}": ImageSet(
        random_molecule(number, still=True), f"random {number:02d} held still, {SEEN[number % 3]}",
        f"random molecule {number}", True, range(0, 120, 15))
    for number in range(_POPULATION)
}
# fmt: on

SETS = MOVING | STILL


def whole_run(name: str) -> tuple[Path, Path]:
    """The images of a set with their truth, and a run of them."""
    data, run, images = RESULTS / name, RESULTS / f"{name}-all", SETS[name]
    images.simulate(data)
    some = () if images.volumes is None else only(images.volumes)
    scoretomo("run", data / "images.mrcs", "--output", run, *some)
    return data, run
