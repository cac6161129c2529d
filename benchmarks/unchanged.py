"""Whether a change of the code changed what is computed: hashes of five short runs, before and after.

    python benchmarks/unchanged.py write FILE        hash the results of this version                 about six minutes
    python benchmarks/unchanged.py compare FILE      the same again, and say what differs from FILE

Hashes of one machine say nothing about another one: its processor may round another way. FILE records both.
"""

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import described
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[1]
BETAGAL = ROOT.parent / "shared" / "data" / "betagal_relion16" / "betagal_cavgs16_64px_3.54A.mrcs"
RUNS = {
    "box with motion": "run {box}/images.mrcs --output {here} --seed 1",
    "box, some volumes, rough": "run {box}/images.mrcs --output {here} --images 0,3,5-9 --steps 20 --hand flip",
    "box, the paper's method": "run {box}/images.mrcs --output {here} --method paper --images 0-3 --steps 60",
    "box, network": "train {box}/images.mrcs --output {here} --examples 200",
    "beta-galactosidase": "run {betagal} --output {here} --size 32 --recentre",
}


def hashes(folder: Path) -> dict[str, str]:
    """A digest of each volume, of the consensus, and of the weights of a network, by the end of its path."""
    found = {}
    for path in sorted(folder.rglob("*.mrc")):
        if path.parent.name == "volumes" or path.parent == folder:
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("weights.safetensors")):
        digest = hashlib.sha256()
        for name, array in sorted(load_file(path).items()):
            digest.update(name.encode() + array.tobytes())
        found[path.name] = digest.hexdigest()
    return found


def measure() -> tuple[dict[str, dict[str, str]], dict[str, float]]:
    """Hashes and seconds of all runs."""
    found, seconds = {}, {}
    with TemporaryDirectory() as name:
        box = Path(name) / "box"
        _call(f"simulate box --output {box} --images 40 --size 24 --seed 0")
        for number, (what, words) in enumerate(RUNS.items()):
            if "{betagal}" in words and not BETAGAL.exists():
                print(f"{what}: left out, there is no {BETAGAL}")
                continue
            here, start = Path(name) / str(number), time.monotonic()
            _call(words.format(box=box, here=here, betagal=BETAGAL))
            seconds[what] = round(time.monotonic() - start, 1)
            found[what] = hashes(here)
            print(f"{what}: {len(found[what])} files, {seconds[what]} s", flush=True)
    return found, seconds


def _call(words: str) -> None:
    threads = {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "scoretomo.cli", *shlex.split(words), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | threads)
    if done.returncode != 0:
        sys.exit(f"{words}\n{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    found, seconds = measure()
    if asked.what == "write":
        asked.file.write_text(json.dumps(described() | {"seconds": seconds, "sha256": found}, indent=1) + "\n")
        return
    before = json.loads(asked.file.read_text())
    differ = [
        f"{what}: {name}"
        for what, files in before["sha256"].items()
        for name in sorted(files.keys() | found.get(what, {}).keys())
        if files.get(name) != found.get(what, {}).get(name)
    ]
    for what, took in before["seconds"].items():
        print(f"{what}: {took} s before, {seconds.get(what)} s now")
    print("\n".join(["these differ:", *differ]) if differ else f"the same bytes as at {before['commit']}")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
