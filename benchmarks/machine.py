"""Records of measurements: what they were made with, and how they are printed and written.

A record, records/NAME.json, holds what describes it (title, commands, columns, plot, note) and what was measured (rows,
commit, machine, cores, Python, seeds, seconds). The first stays as it is; the second comes from the commands it names.
Where a command measures some sets of the rows, "origins" has what each set was measured with. Rows that are older than
their record have no commit, but "published", the commit that first showed the last of them.
"""

import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
RECORDS = ROOT / "records"
Row = dict[str, Any]


def commit() -> str:
    """The commit that is measured; -dirty where the program or a benchmark differs from it, whatever the records do."""
    changed = _git("status", "--porcelain", "--", "src", "benchmarks/*.py")
    return _git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "--no-optional-locks", *words]
    return subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=True).stdout.strip()


def processor() -> str:
    """Name of the processor, where Linux has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def described() -> Row:
    """Commit, processor, cores and Python, as entries of a results file."""
    return {"commit": commit(), "machine": processor(), "cores": os.cpu_count(), "python": platform.python_version()}


def command() -> str:
    """This command as records name it: from the root of the repository, without the folder of the real images."""
    words = " ".join(["python", os.path.relpath(sys.argv[0], ROOT.parent), *sys.argv[1:]])
    return re.sub(r" --data[ =]\S+", "", words)


def shown(row: Row) -> Row:
    """Print a row as soon as it is measured, and return it."""
    values = {name: _plain(value) for name, value in row.items()}
    print("   ".join(f"{name}: {value}" for name, value in values.items() if value not in (None, "")), flush=True)
    return row


def write_record(
    name: str,
    rows: Sequence[Row],
    *,
    seeds: Sequence[int] | None,
    seconds: float,
    cores: int | None = None,
    key: Sequence[str] = (),
) -> None:
    """Write what was measured into a record that names this command; with other options it was only printed.

    Runs in benchmarks/results/ count as measured at this commit: remove them before another version is measured.

    Args:
        name: of the record.
        rows: values by column, None where nothing was measured.
        seeds: of the rows, where they are not those of the script.
        seconds: that the measurement took, wall clock.
        cores: how many it used, if not all of the machine.
        key: columns that name a set of rows, where one command measures some of the sets. Rows of other sets stay, and
            the record has in common what all sets were measured with.

    Raises:
        ValueError: a row has other columns than the record.
    """
    path = RECORDS / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    if command() not in (record["command"] or "").split("; "):
        print(f"{path.name} stays as it is: it holds results of {record['command']}, this is {command()}")
        return
    strange = [row for row in rows if row.keys() != record["columns"].keys()]
    if strange or not rows:
        raise ValueError(f"rows of {path.name} should have the columns {[*record['columns']]}, one has {strange[:1]}")
    origin = described() | {"published": None, "seeds": seeds and [*seeds], "seconds": round(seconds)}
    origin["cores"] = cores or origin["cores"]
    ordered = [{column: _plain(row[column]) for column in record["columns"]} for row in rows]
    save(path, record | (_merged(record, ordered, origin, key) if key else origin | {"rows": ordered}))


def save(path: Path, content: Row) -> None:
    """Write a results file that is committed."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _merged(record: Row, rows: list[Row], origin: Row, key: Sequence[str]) -> Row:
    """Sets of rows in the place of earlier ones, the origin of each set, and what the origins have in common."""
    measured, before = _sets(rows, key), _sets(record["rows"], key)
    earlier = {name: record.get(name) for name in origin}
    origins = dict.fromkeys(before, earlier) | record.get("origins", {}) | dict.fromkeys(measured, origin)
    common = {
        name: value if all(each[name] == value for each in origins.values()) else None for name, value in origin.items()
    }
    merged = [row for group in (before | measured).values() for row in group]
    places = list(dict.fromkeys(row[key[0]] for row in merged))
    return {**common, "rows": sorted(merged, key=lambda row: places.index(row[key[0]])), "origins": origins}


def _sets(rows: Sequence[Row], key: Sequence[str]) -> dict[str, list[Row]]:
    """Rows by the set they belong to."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        sets.setdefault(", ".join(str(row[column]) for column in key), []).append(row)
    return sets


def _plain(value: Any) -> Any:
    """A value as JSON has it: numbers with three digits or, from 100 on, as whole ones; None for what is not finite."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        return None
    return round(number) if abs(number) >= 100 else float(f"{number:.3g}")
