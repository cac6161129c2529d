"""Junk classes among good ones: which are left out, and what the volumes of the good images lose.

    python benchmarks/junk.py detect           seven sets, six kinds of junk, five shares                   about 3 min
    python benchmarks/junk.py volumes   box (60 images of 24²) and β-galactosidase (16 of 32²)   about 40 min on 2 cores
    python benchmarks/junk.py table            the tables of docs/junk.md from the results

--data names the folder with betagal_cavgs16_64px_3.54A.mrcs and betaGal_map_64px_3.54A.mrc (both MIT, see
benchmarks/cold.py). Runs stay in benchmarks/results/; what is finished there is not computed again. Results go to
benchmarks/junk.json. The criteria of scoretomo.images.junk were set on other sets, and on the capsid.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from cold import judged, stage_seconds
from machine import described
from torch import Tensor

from scoretomo.config import ImportSettings
from scoretomo.files import read_images, write_images
from scoretomo.images import prepare
from scoretomo.simulation import JUNK_KINDS, Junk, with_junk

ROOT = Path(__file__).resolve().parent
RESULTS, RECORD = ROOT / "results" / "junk", ROOT / "junk.json"
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
SEED = 1
SIMULATED = {  # images of a set, and how they are simulated
    "box": ("box", "--images", 60, "--size", 24, "--pixel-size", 4),
    "capsid": ("capsid", "--images", 60, "--size", 32),  # the criteria were set on it, too
    "large subunit": ("large-subunit", "--images", 60, "--size", 32, "--pixel-size", 10),
    "ribosome, noise 0.3 σ": ("ribosome", "--images", 60, "--size", 32, "--pixel-size", 10, "--noise", 0.3),
    "large subunit, realistic": (
        "large-subunit",
        "--images",
        60,
        "--size",
        32,
        "--pixel-size",
        10,
        "--realistic",
        "--bad-classes",
        0,
    ),
    "large subunit, noise 2 σ": ("large-subunit", "--images", 60, "--size", 32, "--pixel-size", 10, "--noise", 2),
}
BETAGAL = "β-galactosidase, real"
VOLUMES = 12  # of the box that are made


def good_images(name: str, data: Path) -> Tensor:
    """Class averages without junk, background 0."""
    if name == BETAGAL:
        stack, settings = data / "betagal_cavgs16_64px_3.54A.mrcs", ImportSettings(size=32)
    else:
        folder, settings = RESULTS / name.replace(" ", "-"), ImportSettings()
        stack = folder / "images.mrcs"
        words = [str(word) for word in (*SIMULATED[name], "--seed", SEED, "--output", folder)]
        subprocess.run(
            [sys.executable, "-m", "scoretomo.cli", "simulate", *words], check=True, stdout=subprocess.DEVNULL
        )
    return prepare(torch.from_numpy(read_images(stack).images), settings).images


def counted(good: Tensor, share: float, kinds: tuple[Junk, ...]) -> dict[str, int]:
    """How many good images and how much junk there is, and how much of each is left out."""
    stack = with_junk(good, share, SEED, kinds)
    kept = prepare(stack, ImportSettings()).numbers
    junk = len(stack) - len(good)
    good_kept = sum(number < len(good) for number in kept)
    return {
        "good": len(good),
        "junk": junk,
        "good left out": len(good) - good_kept,
        "junk left out": junk - len(kept) + good_kept,
    }


def mixtures() -> Iterator[tuple[str, float, tuple[Junk, ...]]]:
    """Name, share and kinds: all kinds together, then each alone."""
    for share in SHARES:
        yield "all kinds", share, JUNK_KINDS
    for kind in JUNK_KINDS:
        for share in SHARES[1:]:
            yield kind, share, (kind,)


def detect(data: Path) -> list[dict[str, Any]]:
    """What import leaves out of each set and mixture."""
    rows = []
    for name in (*SIMULATED, BETAGAL):
        good = good_images(name, data)
        for kind, share, kinds in mixtures():
            rows.append({"set": name, "kind": kind, "share": share, **counted(good, share, kinds)})
            print(rows[-1], flush=True)
    return rows


def volumes(data: Path) -> list[dict[str, Any]]:
    """Mean FSC of the volumes of the good images, with and without junk among them.

    Mixtures of which import leaves the same images, bit by bit, have the same volumes and are computed once.
    """
    rows: list[dict[str, Any]] = []
    for name in ("box", BETAGAL):
        good, known = good_images(name, data), dict[str, dict[str, Any]]()
        for kind, share, kinds in mixtures():
            if kind != "all kinds" and share != 0.2:
                continue
            stack = with_junk(good, share, SEED, kinds)
            same = fingerprint(stack)
            if same not in known:
                known[same] = measured(name, stack, same, data)
            rows.append(
                {
                    "set": name,
                    "kind": kind,
                    "share": share,
                    **counted(good, share, kinds),
                    **known[same],
                    "prepared": same,
                }
            )
            print(rows[-1], flush=True)
    return rows


def fingerprint(stack: Tensor) -> str:
    """A short name of what import makes of a stack."""
    left = prepare(stack, ImportSettings())
    return hashlib.sha256(left.images.numpy().tobytes() + repr((left.numbers, left.mu, left.s)).encode()).hexdigest()[
        :12
    ]


def measured(name: str, stack: Tensor, same: str, data: Path) -> dict[str, Any]:
    """Mean FSC of the volumes of the good images, which come first, and the seconds that these took."""
    write_images(RESULTS / f"{same}.mrcs", stack.numpy(), 4.0 if name == "box" else 2 * 3.54)
    options: tuple[object, ...] = ("--symmetry", "D2")
    truth, count = data / "betaGal_map_64px_3.54A.mrc", 16
    if name == "box":
        options, truth, count = (), RESULTS / "box" / "truth", VOLUMES
    chosen = ",".join(map(str, range(count)))
    found = judged(RESULTS / f"{same}.mrcs", truth, f"junk/{same}", "--images", chosen, "--workers", 2, *options)
    return {
        "mean FSC": round(float(str(found["mean_fsc"])), 4),
        "seconds": round(sum(stage_seconds(RESULTS / same).values())),
    }


def tables(record: dict[str, Any]) -> Iterator[str]:
    """Lines of the tables of docs/junk.md: recall and precision by share, recall by kind, and what volumes lose."""
    rows = record["detect"]["rows"]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    found = {(row["set"], row["kind"], row["share"]): row for row in rows}
    yield from _heading("set", *(f"{share:.0%}" for share in SHARES[1:]))
    for name in sets:
        cells = [found[name, "all kinds", share] for share in SHARES[1:]]
        yield _line(name, *(f"{_recall(cell)}, {_precision(cell)}" for cell in cells))
    yield ""
    yield from _heading("set", *JUNK_KINDS)
    for name in sets:
        yield _line(name, *(_recall(found[name, kind, 0.2]) for kind in JUNK_KINDS))
    yield ""
    yield from _heading("set", "share of junk", "kind", "junk left out", "mean FSC", "change")
    clean = {row["set"]: row["mean FSC"] for row in record["volumes"]["rows"] if not row["share"]}
    for row in record["volumes"]["rows"]:
        left_out, change = f"{row['junk left out']} of {row['junk']}", row["mean FSC"] - clean[row["set"]]
        yield _line(
            row["set"], f"{row['share']:.0%}", row["kind"], left_out, f"{row['mean FSC']:.3f}", f"{change:+.3f}"
        )


def _heading(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield _line(*["---"] * len(cells))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _recall(row: dict[str, Any]) -> str:
    return f"{row['junk left out'] / row['junk']:.2f}"


def _precision(row: dict[str, Any]) -> str:
    left_out = row["junk left out"] + row["good left out"]
    return f"{row['junk left out'] / left_out:.2f}" if left_out else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detect", "volumes", "table"))
    parser.add_argument("--data", type=Path, default=ROOT)
    asked = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if asked.what == "table":
        print("\n".join(tables(record)))
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    rows = (detect if asked.what == "detect" else volumes)(asked.data)
    record[asked.what] = {**described(), "seed": SEED, "seconds": round(time.perf_counter() - begin), "rows": rows}
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
