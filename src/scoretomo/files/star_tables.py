"""The text of a STAR file → its tables, line by line as RELION reads them: these files are not CIF."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .reading import file_size, opened

Table = list[dict[str, str]]

_NO_BLANKS = str.maketrans({"\t": " ", "\v": None, "\b": None, "\r": None, "\f": None, "\a": None})
# A value stands between blanks, or in quotes of which the closing one is followed by a blank; "#" begins a comment
_VALUE = re.compile(
    r"""[ \t]*(?:(?P<comment>\#.*)|(?P<quote>['"])(?P<quoted>.*?)(?<!\a)(?P=quote)(?=[ \t]|$)"""
    r"""|(?P<unclosed>['"].*)|(?P<plain>[^ \t]+))""",
    re.DOTALL,
)


class StarFile(NamedTuple):
    """Tables of a STAR file."""

    tables: dict[str, Table]  # by what follows data_; a block of single values is a table of one row
    labels: dict[str, list[str]]  # columns of each table that is a loop, also of one without rows
    stray: int | None  # the first line, counted from 1, that has something but is in no table


def read_star_file(path: Path) -> StarFile:
    """Read the tables of a STAR file. Of two that have the same name, the first counts, as in RELION.

    A name that is not UTF-8 is kept as Python keeps such file names.

    Raises:
        InputError: it has no tables, or a table that RELION refuses.
    """
    file_size(path)
    with opened(path):
        text = os.fsdecode(path.read_bytes())
    if "\0" in text:
        raise InputError(f"{path} is not a text file, expected a RELION table: give the .star file")
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            reader.take(line, number)
        except _Refused as refused:
            raise InputError(f"line {number} of {path} {refused}") from None
    if not reader.tables:
        raise InputError(f"{path} is not a RELION table (no line begins with data_): check the file")
    tables = reader.tables.items()
    return StarFile(
        {name: each.rows for name, each in tables}, {name: each.labels for name, each in tables}, reader.stray
    )


class _Refused(Exception):
    """What is wrong with a line, and what to do."""


class _Block:
    """What follows a line data_<name>: labels and rows of a loop, or single values."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.rows: Table = []


class _Reader:
    """Takes the lines of a file one by one; ``self._take`` is how the next one is understood."""

    def __init__(self) -> None:
        self.tables: dict[str, _Block] = {}
        self.stray: int | None = None
        self._block = _Block()
        self._take = self._between

    def take(self, line: str, number: int) -> None:
        """Take the next line.

        Raises:
            _Refused: RELION would refuse it.
        """
        taken = self._take(line)
        has_something = line.strip() and not line.lstrip(" \t").startswith(("#", ";"))
        if has_something and not taken and self.stray is None:
            self.stray = number

    def _between(self, line: str) -> bool:
        """A line that is in no table: only data_ means something, wherever it stands."""
        if line.endswith("\r") and len(line) > 1:
            raise _Refused("ends as lines in Windows do, which RELION does not read: convert the table with dos2unix")
        if "data_" not in line or line.lstrip(" ").startswith("#"):
            return False
        self._block = _Block()
        self.tables.setdefault(line.strip(" ").partition("data_")[2], self._block)
        self._take = self._heading
        return True

    def _heading(self, line: str) -> bool:
        """A line after data_: a loop or single values may begin."""
        if self._between(line):
            return True
        if "loop_" in line:
            self._take = self._label
            return True
        if line.lstrip(" \t").startswith("_"):
            self._block.rows.append({})
            self._take = self._single
            return self._single(line)
        return False

    def _single(self, line: str) -> bool:
        """A label and its value, until a loop, which RELION leaves alone, or the next data_."""
        label, *values = _values(line) or [""]
        if label.startswith("data_"):
            return self._between(line)
        if label.startswith("loop_"):
            self._take = self._between
            return False
        if not label.startswith("_"):
            return False
        if not values:
            raise _Refused(f"has no value for {label}: correct the table")
        self._block.rows[0][label[1:]] = values[0]
        return True

    def _label(self, line: str) -> bool:
        """A label of a loop, until the first row."""
        plain = _simplified(line)
        if not plain or plain[0] in "#;":
            return True
        if plain[0] == "_":
            label = plain[1:].partition(" #")[0]
            if label in self._block.labels:
                raise _Refused(f"names the column {label} again: remove one of the two")
            self._block.labels.append(label)
            return True
        self._take = self._row
        return self._row(line)

    def _row(self, line: str) -> bool:
        """A row of a loop, until an empty line. As in RELION, of two columns the last may be missing, of more none."""
        plain = _simplified(line)
        if not plain:
            self._take = self._between
            return True
        values, labels = _values(plain), self._block.labels
        if len(values) > len(labels) or len(values) < len(labels) > 2:
            expected = f"expected {len(labels)}, one for each label above (_…)"
            raise _Refused(f"has {len(values)} values, {expected}: correct the table")
        self._block.rows.append(dict(zip(labels, values + [""] * (len(labels) - len(values)), strict=True)))
        return True


def _simplified(line: str) -> str:
    """A line with one space where there are several blanks, and none at its ends."""
    return " ".join(part for part in line.translate(_NO_BLANKS).split(" ") if part)


def _values(line: str) -> list[str]:
    """Values of a line, without their quotes, up to a comment."""
    if "'" not in line and '"' not in line and "#" not in line:  # as almost always
        return [value for value in line.replace("\t", " ").split(" ") if value]
    values: list[str] = []
    for match in _VALUE.finditer(line):
        if match["comment"] is not None:
            break
        if match["unclosed"] is not None:
            raise _Refused(f"has a quote ({match['unclosed'][0]}) that is not closed: correct the table")
        values.append(match["plain"] if match["quote"] is None else match["quoted"].replace("\a", ""))
    return values
