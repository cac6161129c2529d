"""Tables (CSV) and run records (JSON lines)."""

import csv
import io
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .reading import opened
from .writing import cannot_write, write_text

csv.field_size_limit(2**31 - 1)  # or a long text of a good table would be taken for damage


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV table; columns in the order of the first row, all rows alike. No rows, an empty file."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV table with a heading: one dictionary per row, values as text."""
    text = read_text(path)
    try:
        reader = csv.reader(io.StringIO(text), strict=True)
        heading = next(reader, [])
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table ({error}): make it again") from None
    for line, row in enumerate(rows, start=2):
        if len(row) != len(heading):
            raise InputError(f"{path} has {len(row)} values in row {line}, expected {len(heading)}: make it again")
    return [dict(zip(heading, row, strict=True)) for row in rows]


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line of JSON. A line that an interrupted write did not finish is removed first."""
    line = (json.dumps(record, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
    try:
        with open(path, "ab+") as file:
            _drop_unfinished(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from None


def _drop_unfinished(file: io.BufferedRandom) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read lines of JSON; a last line without its end was never finished and is skipped. No file, no records."""
    if not path.exists():
        return []
    lines = read_text(path, errors="replace").split("\n")[:-1]
    try:
        return [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:  # also of a number with too many digits, which is no JSONDecodeError
        raise InputError(f"{path} is damaged ({error}): remove it, or the line") from None


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object, one entry a line."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds one object."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): make it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold one JSON object but holds something else: make it again")
    return content


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number with too many digits, which is no TOMLDecodeError
        raise InputError(f"{path} is not TOML ({error}): correct it, or give another file") from None


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Content of a UTF-8 text file."""
    with opened(path):
        try:
            return path.read_text(encoding="utf-8", errors=errors)
        except UnicodeDecodeError:
            raise InputError(f"{path} is not a text file: check that it is the file you meant") from None
