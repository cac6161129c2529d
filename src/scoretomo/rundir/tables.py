"""Typed rows ⇄ tables, typed records ⇄ JSON: the fields of a NamedTuple are the columns of a file, in their order.

A field may be an int, a float, a text or a bool, each of these or None (empty in a table, null in JSON), or a tuple of
them; in JSON also named tuples and plain objects. A tuple takes a column for each value: `z: tuple[float, ...]` those
of z_1, z_2, … How a number is rounded stands beside its type: `rot: Annotated[float, Decimals(4)]`.
"""

import math
import types
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from .. import files

Row = TypeVar("Row", bound=tuple[Any, ...])  # a NamedTuple


@dataclass(frozen=True)
class Decimals:
    """Round to so many places after the point."""

    places: int

    def __call__(self, value: float) -> float:
        """The number as it is written."""
        return round(value, self.places)


@dataclass(frozen=True)
class Digits:
    """Round to so many significant digits."""

    count: int

    def __call__(self, value: float) -> float:
        """The number as it is written."""
        return float(f"{value:.{self.count}g}")


@dataclass(frozen=True)
class CountedFrom:
    """The number of the first column of a tuple, instead of 1."""

    first: int


@dataclass(frozen=True)
class _TypedFile(Generic[Row]):
    path: Path  # of the file; it need not exist
    kind: type[Row]

    def exists(self) -> bool:
        """Whether it was written."""
        return self.path.exists()


class Table(_TypedFile[Row]):
    """A CSV file of typed rows."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write all rows, and make the folder if need be."""
        files.make_folder(self.path.parent)
        files.write_table(self.path, [dict(_cells(row)) for row in rows])

    def read(self) -> list[Row]:
        """All rows; none where there is no file.

        Raises:
            InputError: its columns are not those of the rows.
        """
        return self.parsed(files.read_table(self.path)) if self.exists() else []

    def parsed(self, table: Sequence[dict[str, str]]) -> list[Row]:
        """Typed rows of texts by column."""
        if not table:
            return []
        readers = [_reader(field, table[0]) for field in _fields(self.kind)]
        try:
            return [self.kind(*(read(row) for read in readers)) for row in table]
        except (KeyError, ValueError) as error:
            raise files.InputError(
                f"{self.path} is not such a table as this version writes ({error}): begin the run afresh"
            ) from None


class Record(_TypedFile[Row]):
    """A JSON file of one typed record."""

    def write(self, record: Row) -> None:
        """Write it, and make the folder if need be."""
        files.make_folder(self.path.parent)
        files.write_json(self.path, to_json(record))

    def read(self) -> Row:
        """What was written.

        Raises:
            InputError: there is no such file, or it holds something else.
        """
        return record_in(self.path, self.kind, files.read_json(self.path))


def record_in(path: Path, kind: type[Row], content: Mapping[str, Any]) -> Row:
    """The record that a file holds.

    Args:
        path: of the file.
        kind: of the record.
        content: of the file, with the version of scoretomo that wrote it, where it has one.

    Raises:
        InputError: it holds something else.
    """
    try:
        return from_json(kind, content)
    except (KeyError, TypeError) as error:
        writer = f", but one of scoretomo {content['scoretomo']}" if "scoretomo" in content else ""
        raise files.InputError(
            f"{path} is not such a record as this version writes ({error}){writer}: begin the run afresh"
        ) from None


def to_json(record: tuple[Any, ...]) -> dict[str, Any]:
    """A record as JSON has it: numbers rounded, what is not finite null, records in records the same."""
    return {field.name: _plain(field, value) for field, value in zip(_fields(type(record)), record, strict=True)}


def from_json(kind: type[Row], content: Mapping[str, Any]) -> Row:
    """A record of a JSON object; of a field that it lacks the default."""
    values = {}
    for field in _fields(kind):
        if field.name in content:
            values[field.name] = _typed(field, content[field.name])
        elif field.name not in _defaults(kind):
            raise KeyError(field.name)
    return kind(**values)


def _defaults(kind: type) -> dict[str, Any]:
    defaults: dict[str, Any] = getattr(kind, "_field_defaults", {})
    return defaults


class _Field(NamedTuple):
    name: str
    kind: Any  # int | float | str | bool, or a type of records
    many: bool  # a tuple of such
    optional: bool
    rounded: Callable[[float], float] | None
    first: int


@lru_cache
def _fields(kind: Hashable) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    names: tuple[str, ...] = getattr(kind, "_fields")  # noqa: B009
    return tuple(_field(name, hints[name]) for name in names)


def _field(name: str, hint: Any) -> _Field:
    extras: list[Any] = []
    optional = many = False
    while True:
        if get_origin(hint) is Annotated:
            extras += hint.__metadata__
            hint = hint.__origin__
        elif get_origin(hint) in (Union, types.UnionType):
            (hint,) = (part for part in get_args(hint) if part is not type(None))
            optional = True
        elif get_origin(hint) is tuple:
            many, hint = True, get_args(hint)[0]
        elif get_origin(hint) is Literal:
            hint = str
        else:
            break
    rounded = next((extra for extra in extras if isinstance(extra, Decimals | Digits)), None)
    first = next((extra.first for extra in extras if isinstance(extra, CountedFrom)), 1)
    return _Field(name, hint, many, optional, rounded, first)


def _cells(row: tuple[Any, ...]) -> Iterator[tuple[str, object]]:
    """Columns of a row, and what stands in them."""
    for field, value in zip(_fields(type(row)), row, strict=True):
        if field.many:
            yield from (
                (f"{field.name}_{place}", _text(field, each)) for place, each in enumerate(value, start=field.first)
            )
        else:
            yield field.name, _text(field, value)


def _text(field: _Field, value: Any) -> object:
    if value is None:
        return ""
    if field.kind is bool:
        return "true" if value else "false"
    return field.rounded(value) if field.rounded else value


def _reader(field: _Field, columns: dict[str, str]) -> Callable[[dict[str, str]], Any]:
    """What reads a field of a row."""
    if not field.many:
        return lambda row: _value(field, row[field.name])
    names = [name for name in columns if name.startswith(f"{field.name}_") and name[len(field.name) + 1 :].isdigit()]
    return lambda row: tuple(_value(field, row[name]) for name in names)


def _value(field: _Field, text: str) -> Any:
    if text == "" and field.optional:
        return None
    if field.kind is bool:
        return {"true": True, "false": False}[text]
    return field.kind(text)


def _plain(field: _Field, value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if field.many:
        return [_plain(field._replace(many=False), each) for each in value]
    if hasattr(value, "_fields"):
        return to_json(value)
    return field.rounded(value) if field.rounded else value


def _typed(field: _Field, value: Any) -> Any:
    if value is None:
        return None if field.optional else math.nan
    if field.many:
        return tuple(_typed(field._replace(many=False), each) for each in value)
    return from_json(field.kind, value) if hasattr(field.kind, "_fields") else value
