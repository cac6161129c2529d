"""Junk classes among good ones: which are excluded, and what the volumes of the good images lose.

    python benchmarks/junk.py detect   seven sets, six kinds of junk, five shares                  3 min
    python benchmarks/junk.py volumes  box (60 images of 24²) and β-galactosidase (16 of 32²)      40 min on two cores

Results go to benchmarks/junk.json, from which docs/benchmarks/junk.md has its tables. Real images, and where runs stay:
see runs.py. The criteria of scoretomo.images.junk were set on other sets, and on the capsid.
"""

import argparse
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from machine import ROOT, Row, described, save, shown
from runs import COMMAND, DATA, betagal_files, judged, only, stage_seconds
from runs import RESULTS as RUNS
from torch import Tensor

from scoretomo.config import ImportSettings
from scoretomo.files import read_images, write_images
from scoretomo.images import prepare
from scoretomo.simulation import JUNK_KINDS, Junk, with_junk

RESULTS, RECORD = RUNS / "junk", ROOT / "junk.json"
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
SEED = 1
_BEADS = ("--images", 60, "--size", 32, "--pixel-size", 10)
SIMULATED = {  # how the images of a set are simulated
    "box": ("box", "--images", 60, "--size", 24, "--pixel-size", 4),
    "capsid": ("capsid", "--images", 60, "--size", 32),  # the criteria were set on it, too
    "large subunit": ("large-subunit", *_BEADS),
    "ribosome, noise 0.3 σ": ("ribosome", *_BEADS, "--noise", 0.3),
    "large subunit, realistic": ("large-subunit", *_BEADS, "--realistic", "--bad-classes", 0),
    "large subunit, noise 2 σ": ("large-subunit", *_BEADS, "--noise", 2),
}
BETAGAL = "β-galactosidase, real"
VOLUMES = 12  # of the box that are made


def good_images(name: str, data: Path) -> Tensor:
    """Class averages without junk, background 0."""
    if name == BETAGAL:
        stack, settings = betagal_files(data)[0], ImportSettings(size=32)
    else:
        folder, settings = RESULTS / name.replace(" ", "-"), ImportSettings()
        stack = folder / "images.mrcs"
        words = [str(word) for word in (*SIMULATED[name], "--seed", SEED, "--output", folder)]
        subprocess.run([*COMMAND, "simulate", *words], check=True, stdout=subprocess.DEVNULL)
    return prepare(torch.from_numpy(read_images(stack).images), settings).images


def counted(good: Tensor, share: float, kinds: tuple[Junk, ...]) -> dict[str, int]:
    """How many good images and how much junk there is, and how much of each is excluded."""
    stack = with_junk(good, share, SEED, kinds)
    included = prepare(stack, ImportSettings()).numbers
    junk = len(stack) - len(good)
    good_included = sum(number < len(good) for number in included)
    return {
        "good": len(good),
        "junk": junk,
        "good excluded": len(good) - good_included,
        "junk excluded": junk - len(included) + good_included,
    }


def mixtures() -> Iterator[tuple[str, float, tuple[Junk, ...]]]:
    """Name, share and kinds: all kinds together, then each alone."""
    for share in SHARES:
        yield "all kinds", share, JUNK_KINDS
    for kind in JUNK_KINDS:
        for share in SHARES[1:]:
            yield kind, share, (kind,)


def detect(data: Path) -> list[Row]:
    """What import excludes from each set and mixture."""
    rows = []
    for name in (*SIMULATED, BETAGAL):
        good = good_images(name, data)
        for kind, share, kinds in mixtures():
            rows.append(shown({"set": name, "kind": kind, "share": share, **counted(good, share, kinds)}))
    return rows


def volumes(data: Path) -> list[Row]:
    """Mean FSC of the volumes of the good images, with and without junk among them.

    Mixtures of which import includes the same images, bit by bit, have the same volumes and are computed once.
    """
    rows: list[Row] = []
    for name in ("box", BETAGAL):
        good, by_images = good_images(name, data), dict[str, Row]()
        for kind, share, kinds in mixtures():
            if kind != "all kinds" and share != 0.2:
                continue
            stack = with_junk(good, share, SEED, kinds)
            same = fingerprint(stack)
            if same not in by_images:
                by_images[same] = measured(name, stack, same, data)
            described = {"set": name, "kind": kind, "share": share, **counted(good, share, kinds)}
            rows.append(shown({**described, **by_images[same], "prepared": same}))
    return rows


def fingerprint(stack: Tensor) -> str:
    """A short name of what import makes of a stack."""
    prepared = prepare(stack, ImportSettings())
    described = repr((prepared.numbers, prepared.mu, prepared.s))
    return hashlib.sha256(prepared.images.numpy().tobytes() + described.encode()).hexdigest()[:12]


def measured(name: str, stack: Tensor, same: str, data: Path) -> Row:
    """Mean FSC of the volumes of the good images, which come first, and the seconds that these took."""
    write_images(RESULTS / f"{same}.mrcs", stack.numpy(), 4.0 if name == "box" else 2 * 3.54)
    options: tuple[object, ...] = ("--symmetry", "D2")
    truth, count = betagal_files(data)[1], 16
    if name == "box":
        options, truth, count = (), RESULTS / "box" / "truth", VOLUMES
    run = judged(RESULTS / f"{same}.mrcs", truth, f"junk/{same}", *only(range(count)), "--workers", 2, *options)
    return {"mean FSC": round(run.summary.mean_fsc, 4), "seconds": round(sum(stage_seconds(run.path).values()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detect", "volumes"))
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    rows = (detect if options.what == "detect" else volumes)(options.data)
    part = {**described(), "seed": SEED, "seconds": round(time.perf_counter() - begin), "rows": rows}
    save(RECORD, json.loads(RECORD.read_text(encoding="utf-8")) | {options.what: part})


if __name__ == "__main__":
    main()
