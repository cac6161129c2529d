"""Time until a mistake is reported: CPU-seconds from the command to its message, each in a process of its own.

    python benchmarks/refusals.py  all kinds of tests/refusals.py, the median of three   2 min

The result goes to benchmarks/refusals.json.
"""

import resource
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import ROOT, described, save

sys.path.insert(0, str(ROOT.parent / "tests"))

from refusals import REFUSALS, write_inputs

TIMES = 3


def seconds(command: str, folder: Path) -> float:
    """User and system time of one process that is refused."""
    words = [word.replace("{in}", str(folder)) for word in shlex.split(command)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "scoretomo.cli", *words], capture_output=True, text=True, check=False, cwd=folder.parent
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 2 or not done.stderr.startswith("scoretomo: "):
        sys.exit(f"{' '.join(words)} was not refused as expected: {done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    with TemporaryDirectory() as name:
        write_inputs(folder := Path(name))
        seconds(next(iter(REFUSALS.values())), folder)  # compiles the sources
        measured = {}
        for kind, command in REFUSALS.items():
            measured[kind] = round(statistics.median(seconds(command, folder) for _ in range(TIMES)), 2)
            print(f"{measured[kind]:5.2f} s  {kind}", flush=True)
    save(ROOT / "refusals.json", {**described(), "times": TIMES, "cpu_seconds": measured})
    print(f"at most {max(measured.values())} CPU-seconds, median {statistics.median(measured.values())}")


if __name__ == "__main__":
    main()
