"""Typed rows and their files: what is written is read again, and another table is refused by its name."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest

from scoretomo.errors import InputError
from scoretomo.rundir import rows as all_rows
from scoretomo.rundir.tables import CountedFrom, Decimals, Digits, Record, Table, from_json, to_json

TEXT = ("", "good", "a, b", 'says "no"', "two\nlines", "Å ≤ 3", "true", "nan", " spaces ")


class Everything(NamedTuple):
    """A row with a field of each kind."""

    number: int
    plain: float
    rounded: Annotated[float, Decimals(3)]
    significant: Annotated[float, Digits(4)]
    text: str
    flag: bool
    choice: Literal["one", "two"]
    maybe_number: int | None
    maybe: Annotated[float, Decimals(2)] | None
    maybe_flag: bool | None
    z: tuple[Annotated[float, Decimals(5)], ...]
    shell: Annotated[tuple[float | None, ...], CountedFrom(0)]


class Inner(NamedTuple):
    """A record in a record."""

    name: str
    size: Annotated[float, Decimals(1)] | None


class Outer(NamedTuple):
    """A record with a field of each kind."""

    count: int
    inner: Inner
    several: tuple[Inner, ...]
    anything: dict[str, Any]
    pair: tuple[int, ...]
    missing: float | None
    noted: tuple[str, ...] = ()


def random_rows(seed: int) -> list[Everything]:
    """Rows of any values, all with tuples of one length."""
    random = np.random.default_rng(seed)
    many, shells = random.integers(0, 12, 2).tolist()

    def number() -> float:
        value = float(random.normal() * 10.0 ** random.integers(-8, 9))
        return float(random.choice([value, 0.0, math.inf, -math.inf])) if random.random() < 0.2 else value

    def maybe(value: Any) -> Any:
        return None if random.random() < 0.3 else value

    return [
        Everything(
            number=int(random.integers(-(2**40), 2**40)),
            plain=number(),
            rounded=number(),
            significant=number(),
            text=TEXT[random.integers(len(TEXT))],
            flag=bool(random.integers(2)),
            choice="one" if random.integers(2) else "two",
            maybe_number=maybe(int(random.integers(9))),
            maybe=maybe(number()),
            maybe_flag=maybe(bool(random.integers(2))),
            z=tuple(number() for _ in range(many)),
            shell=tuple(maybe(number()) for _ in range(shells)),
        )
        for _ in range(random.integers(1, 6))
    ]


def rounded(row: Everything) -> Everything:
    """A row as it should come back."""
    return row._replace(
        rounded=round(row.rounded, 3),
        significant=float(f"{row.significant:.4g}"),
        maybe=None if row.maybe is None else round(row.maybe, 2),
        z=tuple(round(value, 5) for value in row.z),
    )


@pytest.mark.parametrize("seed", range(20))
def test_rows_come_back_rounded_and_with_their_types(seed, tmp_path):
    table, rows = Table(tmp_path / "folder" / "a.csv", Everything), random_rows(seed)
    table.write(rows)
    found = table.read()
    assert found == [rounded(row) for row in rows]
    assert [[type(value) for value in row] for row in found] == [[type(value) for value in row] for row in rows]
    written = table.path.read_bytes()
    table.write(found)
    assert table.path.read_bytes() == written


def test_columns_are_the_fields_and_those_of_a_tuple_are_numbered(tmp_path):
    (row,) = random_rows(0)[:1]
    table = Table(tmp_path / "a.csv", Everything)
    table.write([row._replace(z=(1.0, 2.0), shell=(0.5, None), flag=True, maybe_flag=False, maybe=None, text="x")])
    heading, values = table.path.read_text().splitlines()
    assert (
        heading
        == "number,plain,rounded,significant,text,flag,choice,maybe_number,maybe,maybe_flag,z_1,z_2,shell_0,shell_1"
    )
    cells = dict(zip(heading.split(","), values.split(","), strict=True))
    assert [cells[name] for name in ("flag", "maybe_flag", "maybe", "shell_1", "z_2")] == [
        "true",
        "false",
        "",
        "",
        "2.0",
    ]


def test_columns_of_ten_and_more_come_back_in_their_order(tmp_path):
    (row,) = random_rows(0)[:1]
    table = Table(tmp_path / "a.csv", Everything)
    table.write([row._replace(z=tuple(map(float, range(12))))])
    assert table.read()[0].z == tuple(range(12))


def test_table_without_rows_or_without_a_file_has_none(tmp_path):
    table = Table(tmp_path / "a.csv", Everything)
    assert not table.exists()
    assert table.read() == []
    table.write([])
    assert table.exists()
    assert table.read() == []


def test_nan_comes_back_from_a_table(tmp_path):
    table = Table(tmp_path / "a.csv", Inner)
    table.write([Inner("a", math.nan)])
    assert math.isnan(table.read()[0].size)


@pytest.mark.parametrize(
    "content",
    [
        "name\na\n",  # a column is missing
        "name,length\na,1\n",  # it has another name
        "name,size\na,large\n",  # no number
    ],
)
def test_table_with_other_columns_or_values_is_refused_by_its_name(content, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=r"other\.csv"):
        Table(path, Inner).read()


@pytest.mark.parametrize("value", ["1", "True", ""])
def test_flag_is_true_or_false_and_nothing_else(value, tmp_path):
    (row,) = random_rows(0)[:1]
    table = Table(tmp_path / "a.csv", Everything)
    table.write([row._replace(flag=True, z=(), shell=(), text="x")])
    heading, values = table.path.read_text().splitlines()
    cells = values.split(",")
    cells[heading.split(",").index("flag")] = value
    table.path.write_text(f"{heading}\n{','.join(cells)}\n")
    with pytest.raises(InputError, match=r"a\.csv"):
        table.read()


OUTER = Outer(3, Inner("a", 1.26), (Inner("b", None), Inner("c", math.nan)), {"x": [1, {"y": None}]}, (1, 2), None)


def test_records_come_back_rounded_and_what_is_not_finite_as_none(tmp_path):
    record = Record(tmp_path / "folder" / "a.json", Outer)
    assert not record.exists()
    record.write(OUTER)
    assert record.exists()
    expected = OUTER._replace(inner=Inner("a", 1.3), several=(Inner("b", None), Inner("c", None)))
    assert record.read() == expected
    assert from_json(Outer, to_json(expected)) == expected


def test_number_of_a_record_that_is_not_finite_comes_back_as_nan():
    (row,) = random_rows(0)[:1]
    found = from_json(Everything, to_json(row._replace(plain=math.inf, maybe=math.inf)))
    assert math.isnan(found.plain)
    assert found.maybe is None


def test_field_that_a_record_lacks_has_its_default():
    content = to_json(OUTER)
    del content["noted"]
    assert from_json(Outer, content).noted == ()


@pytest.mark.parametrize("content", ["{}", '{"count": 1, "inner": 5}', '{"count": 1, "inner": {"name": "a"}}'])
def test_record_of_something_else_is_refused_by_its_name(content, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"other\.json"):
        Record(path, Outer).read()


def test_record_that_is_not_there_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match=r"missing\.json"):
        Record(tmp_path / "missing.json", Outer).read()


ROWS = [kind for name, kind in vars(all_rows).items() if name.endswith("Row")]


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_columns_of_every_table_of_a_run_differ(kind: type, tmp_path: Path) -> None:
    """Also those of its tuples: two columns of one name, and one of them is lost."""
    numbers = {name: tuple(range(3)) for name in kind._fields if "tuple" in str(kind.__annotations__[name])}
    row = kind(*(numbers.get(name, 1) for name in kind._fields))
    table = Table(tmp_path / "a.csv", kind)
    table.write([row])
    heading = table.path.read_text().splitlines()[0].split(",")
    assert len(set(heading)) == len(heading) == len(kind._fields) + 2 * len(numbers)
