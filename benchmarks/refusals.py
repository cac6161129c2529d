"""How long a mistake takes to be told: CPU-seconds from the command to its sentence, each in a process of its own.

    python benchmarks/refusals.py         all kinds of tests/refusals.py, the median of three          about two minutes

The result goes to benchmarks/refusals.json.
"""

import json
import resource
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import described

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent / "tests"))

from refusals import REFUSALS, Refusal, write_inputs  # noqa: E402

TIMES = 3


def seconds(refusal: Refusal, folder: Path) -> float:
    """User and system time of one process that is refused."""
    words = [word.replace("{in}", str(folder)) for word in shlex.split(refusal.words)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "scoretomo.cli", *words], capture_output=True, text=True, check=False, cwd=folder.parent
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 2 or refusal.says not in done.stderr:
        sys.exit(f"{' '.join(words)} was not refused as expected: {done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    with TemporaryDirectory() as name:
        write_inputs(folder := Path(name))
        seconds(next(iter(REFUSALS.values())), folder)  # compiles the sources
        measured = {}
        for kind, refusal in REFUSALS.items():
            measured[kind] = round(statistics.median(seconds(refusal, folder) for _ in range(TIMES)), 2)
            print(f"{measured[kind]:5.2f} s  {kind}", flush=True)
    record = {
        **described(),
        "times": TIMES,
        "cpu_seconds": measured,
    }
    (ROOT / "refusals.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(f"at most {max(measured.values())} CPU-seconds, median {statistics.median(measured.values())}")


if __name__ == "__main__":
    main()
