"""STAR files: read as RELION reads them, which is measured with RELION itself, and what their columns mean."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from scoretomo import files
from scoretomo.files import InputError
from scoretomo.files.star_tables import Table, read_star_file

OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
1 opticsGroup1 4.0

"""

# Labels and rows of tables of three programs; columns are an image, a whole number, a number, and texts
Base = tuple[list[str], list[list[str]]]
PARTICLES: Base = (
    ["rlnImageName", "rlnClassNumber", "rlnAngleRot", "rlnMicrographName", "ownThing"],
    [
        ["000001@Extract/a.mrcs", "1", "10.5", "m1.mrc", "x"],
        ["000002@Extract/a.mrcs", "2", "-20.25", "m2.mrc", "y"],
        ["000003@Extract/b.mrcs", "3", "1e2", "m3.mrc", "z"],
    ],
)
CLASSES: Base = (
    ["rlnReferenceImage", "rlnGroupNumber", "rlnClassDistribution", "rlnMicrographName"],
    [["000001@run_it025_classes.mrcs", "0", "0.25", "none"], ["000002@run_it025_classes.mrcs", "4", "0.75", "none"]],
)
SIMPLE: Base = (
    ["rlnImageName", "rlnClassNumber", "rlnDefocusU", "rlnMicrographName", "splStackIndex"],
    [["1@cavgs.mrc", "1", "14321.5", "1_intg.mrc", "1"], ["2@cavgs.mrc", "2", "14322.25", "1_intg.mrc", "2"]],
)
BASES = {"RELION's particles": PARTICLES, "RELION's classes": CLASSES, "SIMPLE's class averages": SIMPLE}


def star(
    labels: Sequence[str], rows: Sequence[Sequence[str]], *, label: str = "_{} #{}", blank: str = " ",
    heading: str = "data_discover", loop: str = "\nloop_\n", end: str = "\n",
) -> str:  # fmt: skip
    """A file with an optics table and one named discover, which is what relion_star_handler --ignore_optics reads."""
    names = "".join(label.format(name, number) + "\n" for number, name in enumerate(labels, start=1))
    return (
        OPTICS
        + "# version 30001\n\n"
        + heading
        + "\n"
        + loop
        + names
        + "".join(blank.join(row) + "\n" for row in rows)
        + end
    )


Mutation = Callable[[list[str], list[list[str]]], str | bytes]


def value(column: int, text: str, row: int = 1) -> Mutation:
    """Another text in one place of a table."""

    def mutated(labels: list[str], rows: list[list[str]]) -> str:
        changed = [list(each) for each in rows]
        changed[row][column] = text
        return star(labels, changed)

    return mutated


def layout(**how: str) -> Mutation:
    """The same table, written in another way."""
    return lambda labels, rows: star(labels, rows, **how)


def before_row(text: str, row: int = 1) -> Mutation:
    """Something between the rows."""

    def mutated(labels: list[str], rows: list[list[str]]) -> str:
        return star(labels, rows).replace("\n" + rows[row][0], "\n" + text + rows[row][0])

    return mutated


def after_row(text: str) -> Mutation:
    """Something at the end of the second row."""

    def mutated(labels: list[str], rows: list[list[str]]) -> str:
        line = " ".join(rows[1]) + "\n"
        return star(labels, rows).replace(line, line[:-1] + text + "\n")

    return mutated


def single(*lines: str) -> str:
    """A block of single values."""
    return OPTICS + "data_discover\n\n" + "\n".join(lines) + "\n"


def before_second_label(text: str) -> Mutation:
    """Something between the labels."""
    return lambda labels, rows: star(labels, rows).replace(f"_{labels[1]}", f"{text}_{labels[1]}")


MUTATIONS: dict[str, Mutation] = {
    "nothing": layout(),
    "a value that starts with data_": value(3, "data_2024/m.mrc"),
    "a first value that starts with data_": value(0, "data_2024/1.mrcs"),
    "a first value of the first row that starts with data_": value(0, "data_2024/1.mrcs", row=0),
    "a value that starts with _": value(3, "_Foil/m.mrc"),
    "a first value that starts with _": value(0, "_Foil/1.mrcs"),
    "a first value of the first row that starts with _, like a label": value(0, "_Foil/1.mrcs", row=0),
    "a value that starts with #": value(3, "#m.mrc"),
    "a first value that starts with #": value(0, "#1.mrcs"),
    "a first value of the first row that starts with #": value(0, "#1.mrcs", row=0),
    "a # within a value": value(3, "m#1.mrc"),
    "a value that starts with ;": value(3, ";m.mrc"),
    "a first value that starts with ;": value(0, ";1.mrcs"),
    "a first value of the first row that starts with ;": value(0, ";1.mrcs", row=0),
    "a value that starts with loop_": value(3, "loop_/m.mrc"),
    "a value that starts with save_": value(3, "save_m.mrc"),
    "a value that is stop_": value(3, "stop_"),
    "a value that is ?": value(3, "?"),
    "a value that is .": value(3, "."),
    "a value that starts with $": value(3, "$m.mrc"),
    "a value in [ ]": value(3, "[m.mrc]"),
    "a value in single quotes": value(3, "'m.mrc'"),
    "a value in double quotes": value(3, '"m.mrc"'),
    "a value in quotes with a space": value(3, "'my movies/m.mrc'"),
    "a value in quotes with two spaces": value(3, '"my  movies/m.mrc"'),
    "an empty value in quotes": value(3, '""'),
    "a quote that is not closed": value(3, "'m.mrc"),
    "a quote within a value": value(3, "it's.mrc"),
    "a quote within quotes": value(3, "'it's.mrc'"),
    "a quote at the end of a value": value(3, "m.mrc'"),
    "a hash in quotes": value(3, "'#m.mrc'"),
    "1.0 where a whole number is": value(1, "1.0"),
    "1e0 where a whole number is": value(1, "1e0"),
    "000001 where a whole number is": value(1, "000001"),
    "+3 where a whole number is": value(1, "+3"),
    "-1 where a whole number is": value(1, "-1"),
    "1 where a number is": value(2, "1"),
    "1e0 where a number is": value(2, "1e0"),
    "1.E+01 where a number is": value(2, "1.E+01"),
    ".5 where a number is": value(2, ".5"),
    "tabs": layout(blank="\t"),
    "thirty spaces": layout(blank=" " * 30),
    "blanks before a row": before_row(" \t "),
    "blanks after a row": after_row(" \t "),
    "Windows line ends": lambda labels, rows: star(labels, rows).replace("\n", "\r\n"),
    "a Windows line end in one row": after_row("\r"),
    "no line end at the end": lambda labels, rows: star(labels, rows, end="").removesuffix("\n"),
    "a comment between rows": before_row("# a comment\n"),
    "a comment before the rows": before_row("# a comment\n", row=0),
    "a comment after a row": after_row(" # a comment"),
    "an empty line between rows": before_row("\n"),
    "a line of blanks between rows": before_row(" \t\n"),
    "an empty line before the rows": before_row("\n", row=0),
    "a value too many": after_row(" more"),
    "a value too few": lambda labels, rows: star(labels, [rows[0], rows[1][:-1], *rows[2:]]),
    "a column too few": lambda labels, rows: star(labels, [row[:-1] for row in rows]),
    "a label too few": lambda labels, rows: star(labels[:-1], rows),
    "a label twice": lambda labels, rows: star([*labels, labels[1]], [[*row, "7"] for row in rows]),
    "another order of columns": lambda labels, rows: star(labels[::-1], [row[::-1] for row in rows]),
    "labels without numbers": layout(label="_{}"),
    "labels without numbers, and blanks": layout(label="_{} \t "),
    "labels with thirty spaces": layout(label="_{0:<30} #{1}"),
    "labels with tabs": layout(label="\t_{}\t#{}"),
    "labels with other numbers": layout(label="_{} #7{}"),
    "labels with a comment": layout(label="_{} #{} what it is"),
    "an empty line between labels": before_second_label("\n"),
    "a comment between labels": before_second_label("# a comment\n"),
    "a ; between labels": before_second_label("; a comment\n"),
    "an empty line after loop_": layout(loop="\nloop_\n\n"),
    "blanks around loop_": layout(loop="\n  loop_  \n"),
    "no empty line before loop_": layout(loop="loop_\n"),
    "many empty lines before loop_": layout(loop="\n\n# a comment\n\n\nloop_\n"),
    "upper-case LOOP_": layout(loop="\nLOOP_\n"),
    "upper-case DATA_": layout(heading="DATA_discover"),
    "blanks before data_": layout(heading="  data_discover"),
    "blanks after data_": layout(heading="data_discover   "),
    "a comment after data_": layout(heading="data_discover # mine"),
    "bytes that are UTF-8": value(3, "Å/m.mrc"),
    "bytes that are not UTF-8": lambda labels, rows: str(value(3, "Å/m.mrc")(labels, rows)).encode("latin-1"),
    "other white space": value(3, "m\u00a01\u2028\u0085.mrc"),
    "a form feed": value(3, "m\f.mrc"),
    "a byte order mark": lambda labels, rows: "\ufeff" + star(labels, rows).lstrip(),
    "no rows": lambda labels, rows: star(labels, []),
    "no labels": lambda labels, rows: star([], rows),
    "neither": lambda labels, rows: star([], []),
    "no loop": layout(loop=""),
    "two tables of one name": lambda labels, rows: star(labels, rows) + star(labels, rows[:1]),
    "two of one name, the first empty": lambda labels, rows: star(labels, []) + star(labels, rows),
    "another table after it": lambda labels, rows: star(labels, rows) + star(labels, rows[:1], heading="data_other"),
    "another table after it, no empty line between": lambda labels, rows: star(
        labels, rows, end="data_other\nloop_\n_rlnX\n1\n"
    ),
    "one column": lambda labels, rows: star(labels[:1], [row[:1] for row in rows]),
    "single values": lambda labels, rows: single(
        *(f"_{label:<40} {text} # why\n" for label, text in zip(labels, rows[0], strict=True))
    ),
    "single values, one of them missing": lambda labels, rows: single(f"_{labels[0]} 1@a", f"_{labels[1]}"),
    "single values, one of them twice": lambda labels, rows: single(f"_{labels[1]} 3", f"_{labels[1]} 4"),
    "single values, then a loop": lambda labels, rows: single(f"_{labels[1]} 3", "", "loop_", f"_{labels[0]}", "1@a"),
    "single values, and prose": lambda labels, rows: single(f"_{labels[1]} 3 4", "hello", "; 1", f"  _{labels[0]} 1@a"),
    "single values, blanks before the first": lambda labels, rows: single(f"  _{labels[1]} 3", f"_{labels[0]} 1@a"),
}  # fmt: skip

# relion_star_printtable is a script that goes without RELION's reader and checks nothing: where it goes astray is known
SCRIPT_CHECKS_NOTHING = {
    "a column too few",
    "a comment after data_",
    "a comment between rows",
    "a first value of the first row that starts with _, like a label",
    "a first value that starts with #",
    "a label too few",
    "a label twice",
    "a quote that is not closed",
    "a value that starts with #",
    "a value too few",
    "a value too many",
    "another table after it, no empty line between",
    "no labels",
}
SCRIPT_KNOWS_NO_QUOTES_AND_COMMENTS = {
    "a ; between labels",
    "a Windows line end in one row",
    "a comment after a row",
    "a comment before the rows",
    "a comment between labels",
    "a first value of the first row that starts with #",
    "a first value of the first row that starts with ;",
    "a form feed",
    "a hash in quotes",
    "a quote within quotes",
    "a value in double quotes",
    "a value in quotes with a space",
    "a value in quotes with two spaces",
    "a value in single quotes",
    "an empty value in quotes",
}
SCRIPT_TAKES_IT_FOR_THE_END = {
    "a first value of the first row that starts with data_",
    "a first value that starts with _",
    "a first value that starts with data_",
    "a value that starts with loop_",
    "an empty line after loop_",
    "an empty line before the rows",
    "an empty line between labels",
    "single values",
    "single values, and prose",
    "single values, blanks before the first",
    "single values, one of them twice",
    "single values, then a loop",
}
SCRIPT_READS_ON = {
    "a line of blanks between rows",
}
SCRIPT_ASTRAY = (
    SCRIPT_CHECKS_NOTHING | SCRIPT_KNOWS_NO_QUOTES_AND_COMMENTS | SCRIPT_TAKES_IT_FOR_THE_END | SCRIPT_READS_ON
)

needs_handler = pytest.mark.skipif(
    shutil.which("relion_star_handler") is None, reason="needs RELION (relion_star_handler)"
)
needs_script = pytest.mark.skipif(
    shutil.which("relion_star_printtable") is None, reason="needs RELION (relion_star_printtable)"
)


def mutated(folder: Path, name: str, base: Base) -> Path:
    text = MUTATIONS[name](*base)
    path = folder / "a.star"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def ours(path: Path) -> Table | None:
    """Rows as we read them; None where we refuse, or find nothing."""
    try:
        return read_star_file(path).tables.get("discover") or None
    except InputError:
        return None


def by_relion(path: Path) -> Table | None:
    """Rows as RELION's own reader takes them, from the file that it writes; None where it refuses or finds nothing."""
    command = ["relion_star_handler", "--ignore_optics", "--i", path.name, "--o", "out.star"]
    written = path.parent / "out.star"
    if subprocess.run(command, cwd=path.parent, check=False, capture_output=True).returncode or not written.exists():
        return None
    lines = os.fsdecode(written.read_bytes()).split("\n")
    quoted_or_not = re.compile(r'"((?:[^"]|"(?=[^ ]))*)"(?= |$)|([^ ]+)')
    values = [
        [found[1] if found[1] is not None else found[2] for found in quoted_or_not.finditer(line)] for line in lines
    ]
    values = [line for line in values if line and line[0] != "#" and not line[0].startswith("data_discover")]
    if ["loop_"] not in values:
        return [{line[0][1:]: line[1] for line in values}] if values else None
    labels = [line[0][1:] for line in values if line[-1].startswith("#") and line[0].startswith("_")]
    return [dict(zip(labels, line, strict=True)) for line in values[len(labels) + 1 :]]


def by_script(path: Path) -> list[list[str]]:
    """Rows as relion_star_printtable prints them, values as they stand between blanks."""
    command = ["relion_star_printtable", path.name, "data_discover"]
    printed = subprocess.run(
        command, cwd=path.parent, check=True, capture_output=True, env=os.environ | {"LC_ALL": "C"}
    ).stdout
    return [
        [value for value in re.split("[ \t]+", line) if value]
        for line in os.fsdecode(printed).split("\n")
        if line.strip(" \t")
    ]


def plain(text: str) -> str | float:
    """A number where RELION may have written it in its own way, else the text."""
    return (
        round(float(text), 4)
        if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]+)?", text) and text.strip("+-.")
        else text
    )


@needs_handler
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_table_is_read_or_refused_as_relion_does(name: str, tmp_path: Path) -> None:
    for base in BASES.values():
        path = mutated(tmp_path, name, base)
        theirs = by_relion(path)
        mine = ours(path)
        assert (mine is None) == (theirs is None)
        for found, expected in zip(mine or [], theirs or [], strict=True):
            assert {label: plain(text) for label, text in found.items()} == {
                label: plain(text) for label, text in expected.items()
            }
        (tmp_path / "out.star").unlink(missing_ok=True)


@needs_script
@pytest.mark.parametrize("name", sorted(set(MUTATIONS) - SCRIPT_ASTRAY))
def test_a_table_has_the_values_that_relion_prints(name: str, tmp_path: Path) -> None:
    path = mutated(tmp_path, name, PARTICLES)
    assert [list(row.values()) for row in ours(path) or []] == by_script(path)


@needs_script
@pytest.mark.parametrize("name", sorted(SCRIPT_ASTRAY))
def test_what_relion_prints_without_reading_it_differs(name: str, tmp_path: Path) -> None:
    path = mutated(tmp_path, name, PARTICLES)
    assert [list(row.values()) for row in ours(path) or []] != by_script(path)


def images_of(count: int = 4, side: int = 8) -> np.ndarray:
    return np.arange(count * side * side, dtype=np.float32).reshape(count, side, side)


def table(folder: Path, text: str, *, pixel_size: float | None = None, count: int = 4, side: int = 8) -> Path:
    """A table beside its stack."""
    folder.mkdir(exist_ok=True, parents=True)
    files.write_images(folder / "classes.mrcs", images_of(count, side), pixel_size)
    path = folder / "classes.star"
    path.write_text(text)
    return path


def particles(groups: str, rows: str, *, columns: str = "_rlnImageName\n_rlnOpticsGroup\n") -> str:
    """A 3.1 table of groups and their pixel sizes, and of images."""
    optics = f"data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n{groups}\n\n"
    return f"{optics}data_particles\n\nloop_\n{columns}{rows}\n"


ODD_NUMBERS = {"nan": 0, "inf": 0, "1e": 0, "0x10": 0, "text": 0, "1,5": 1, "3a": 3, "1_0": 1}


@needs_handler
@pytest.mark.parametrize(("text", "relion"), ODD_NUMBERS.items())
def test_what_is_no_number_is_refused_where_relion_reads_its_first_digits_or_0(
    text: str, relion: float, tmp_path: Path
) -> None:
    path = table(tmp_path, f"data_discover\n\nloop_\n_rlnImageName\n_rlnPixelSize\n1@classes.mrcs {text}\n")
    assert by_relion(path) == [{"rlnImageName": "1@classes.mrcs", "rlnPixelSize": f"{relion:.6f}"}]
    with pytest.raises(InputError, match=re.escape(repr(text))):
        files.read_images(path)


@needs_handler
def test_an_empty_table_does_not_take_the_rows_of_the_next_as_in_relion(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_discover\n\ndata_other\n\nloop_\n_rlnImageName\n1@classes.mrcs\n")
    assert by_relion(path) == [{"rlnImageName": "1@classes.mrcs"}]
    assert read_star_file(path).tables == {"discover": [], "other": [{"rlnImageName": "1@classes.mrcs"}]}


@needs_handler
def test_a_column_of_another_program_twice_is_refused_unlike_in_relion(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_discover\n\nloop_\n_ownThing\n_ownThing\n1 2\n")
    assert by_relion(path) is not None
    with pytest.raises(InputError, match=r"line 5 of .* ownThing"):
        read_star_file(path)


def test_a_line_that_relion_refuses_is_named(tmp_path: Path, wording: Callable[[object], None]) -> None:
    path = tmp_path / "a.star"
    path.write_text(star(*PARTICLES, end="one more\n"))
    with pytest.raises(InputError, match=r"line 25 of .*a\.star") as raised:
        read_star_file(path)
    wording(raised.value)
    path.write_text(MUTATIONS["Windows line ends"](*PARTICLES))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="dos2unix"):
        read_star_file(path)


def test_rows_after_an_empty_line_are_ignored_with_a_note(tmp_path: Path, wording: Callable[[object], None]) -> None:
    stack = files.read_images(
        table(tmp_path, "data_\n\nloop_\n_rlnImageName\n1@classes.mrcs\n\n2@classes.mrcs\n3@classes.mrcs\n")
    )
    assert len(stack.images) == 1
    (note,) = stack.notes
    wording(note)


@pytest.mark.parametrize(
    ("groups", "rows"),
    [
        ("1 4.0", "1@classes.mrcs 1.000000"),
        ("1.000000 4.0", "1@classes.mrcs 1"),
        ("01 4.0\n2 4.0", "1@classes.mrcs 1\n2@classes.mrcs 2.0"),
        ("7 4.0", "1@classes.mrcs 1"),
        ("1 4.0\n2 4.0", "1@classes.mrcs 3"),
    ],
)
def test_optics_groups_are_numbers(groups: str, rows: str, tmp_path: Path) -> None:
    stack = files.read_images(table(tmp_path, particles(groups, rows), pixel_size=1.0))
    assert stack.pixel_size == 4.0


def test_a_missing_optics_group_is_noted(tmp_path: Path, wording: Callable[[object], None]) -> None:
    stack = files.read_images(table(tmp_path, particles("1 4.0", "1@classes.mrcs 2")))
    (note,) = stack.notes
    wording(note)
    with pytest.raises(InputError, match="optics group 3") as raised:
        files.read_images(table(tmp_path, particles("1 4.0\n2 5.0", "1@classes.mrcs 3")))
    wording(raised.value)


def test_images_without_an_optics_group_have_the_pixel_size_of_all_groups(tmp_path: Path) -> None:
    one_column = "_rlnImageName\n"
    stack = files.read_images(table(tmp_path, particles("1 4.0", "1@classes.mrcs", columns=one_column)))
    assert stack.pixel_size == 4.0
    with pytest.raises(InputError, match="pixel sizes"):
        files.read_images(table(tmp_path, particles("1 4.0\n2 5.0", "1@classes.mrcs", columns=one_column)))


@pytest.mark.parametrize(
    "name", ["data_2024/m.mrcs", "_Foil/m.mrcs", "#1/m.mrcs", "it's/m.mrcs", "my movies/m.mrcs", ";/m.mrcs"]
)
def test_a_stack_may_have_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir()
    files.write_images(tmp_path / name, images_of(), 4.0)
    path = tmp_path / "a.star"
    path.write_text(f'data_\n\nloop_\n_rlnClassNumber\n_rlnImageName\n1 "3@{name}"\n')
    np.testing.assert_array_equal(files.read_images(path).images, images_of()[2:3])


def test_a_stack_may_have_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    files.write_images(tmp_path / os.fsdecode(b"caf\xe9.mrcs"), images_of(), 1.0)
    path = tmp_path / "a.star"
    path.write_bytes(b"data_\n\nloop_\n_rlnImageName\n2@caf\xe9.mrcs\n")
    stack = files.read_images(path)
    assert stack.sources == [f"000002@{tmp_path}/caf\\xe9.mrcs"]
    assert stack.notes[0].startswith("caf\\xe9.mrcs has a pixel size of 1 Å")


def test_the_class_averages_of_simple_are_read(tmp_path: Path) -> None:
    text = f"""
data_optics

loop_
_rlnOpticsGroupName
_rlnOpticsGroup
_rlnImagePixelSize
{"opticsgroup1":>42}{"1":>30}{"4.0000":>30}

data_model_classes

loop_
_rlnReferenceImage
_rlnEstimatedResolution
_rlnClassDistribution
{"2@classes.mrcs":>44}{"8.1234":>30}{"112":>30}
{"1@classes.mrcs":>44}{"9.4321":>30}{"0":>30}
"""
    stack = files.read_images(table(tmp_path, text))
    np.testing.assert_array_equal(stack.images, images_of()[[1, 0]])
    assert stack.pixel_size == 4.0
    assert stack.unused == {1: "no particle is in this class (rlnClassDistribution 0)"}


def classes(*shares: str, column: str = "rlnClassDistribution") -> str:
    rows = "".join(f"{number}@classes.mrcs {share}\n" for number, share in enumerate(shares, start=1))
    return f"data_model_classes\n\nloop_\n_rlnReferenceImage #1\n_{column} #2\n{rows}\n"


@pytest.mark.parametrize("column", ["rlnClassDistribution", "rlnParticleNr"])
def test_a_class_without_particles_is_unused(column: str, tmp_path: Path) -> None:
    stack = files.read_images(table(tmp_path, classes("0.5", "0.000000", "1e-8", "0", column=column)))
    why = f"no particle is in this class ({column} 0)"
    assert stack.unused == {1: why, 3: why}


def test_a_table_that_counts_no_particles_has_no_unused_images(tmp_path: Path) -> None:
    assert files.read_images(table(tmp_path, classes("0", "0.0"))).unused == {}
    assert files.read_images(table(tmp_path, classes("nan", "few"))).unused == {}
    assert files.read_images(tmp_path / "classes.mrcs").unused == {}


def test_references_of_a_3d_classification_are_maps(tmp_path: Path, wording: Callable[[object], None]) -> None:
    files.write_map(tmp_path / "run_class001.mrc", images_of(8), 4.0)
    model = "data_model_general\n\n_rlnReferenceDimensionality 3\n\n"
    classes_of_it = "data_model_classes\n\nloop_\n_rlnReferenceImage\nrun_class001.mrc\n"
    path = table(tmp_path, model + classes_of_it)
    with pytest.raises(InputError) as raised:
        files.read_images(path)
    wording(raised.value)
    path.write_text(classes_of_it)
    with pytest.raises(InputError, match=r"run_class001\.mrc \(8×8×8\)"):
        files.read_images(path)


def test_a_map_without_a_flag_that_a_table_names_is_recognised_by_its_values(tmp_path: Path) -> None:
    z, y, x = np.mgrid[:16, :16, :16] - 8
    ball = np.exp(-(z**2 + y**2 + x**2) / 8).astype(np.float32)
    for name in ("run_class001.mrc", "run_class001.mrcs"):
        files.write_images(tmp_path / name, ball, 4.0)
        with open(tmp_path / name, "r+b") as file:
            file.seek(36)
            file.write((16).to_bytes(4, "little"))  # as deep as there are sections, as many programs write maps
        (tmp_path / f"{name}.star").write_text(f"data_\n\nloop_\n_rlnReferenceImage\n{name}\n")
    with pytest.raises(InputError, match=r"run_class001\.mrc \(16×16×16\)"):
        files.find_images(tmp_path / "run_class001.mrc.star")
    with pytest.raises(InputError, match=r"run_class001\.mrcs.* 16 images"):
        files.find_images(tmp_path / "run_class001.mrcs.star")


def test_subtomograms_are_maps(tmp_path: Path) -> None:
    text = particles("1 4.0", "1@classes.mrcs 1").replace(
        "_rlnImagePixelSize\n1 4.0", "_rlnImagePixelSize\n_rlnImageDimensionality\n1 4.0 3"
    )
    with pytest.raises(InputError, match="subtomograms"):
        files.read_images(table(tmp_path, text))


def test_a_stack_without_the_number_of_an_image_is_refused_and_a_single_image_is_read(tmp_path: Path) -> None:
    text = "data_\n\nloop_\n_rlnImageName\nclasses.mrcs\n"
    with pytest.raises(InputError, match="4 images"):
        files.read_images(table(tmp_path, text))
    stack = files.read_images(table(tmp_path, text, count=1))
    np.testing.assert_array_equal(stack.images, images_of(1))
    assert stack.sources == [f"000001@{tmp_path / 'classes.mrcs'}"]


def project(folder: Path) -> Path:
    """A table in the folder of a job, which names a stack of another job from the folder of the project."""
    table(folder / "project" / "Class2D" / "job003", "", pixel_size=4.0)
    path = folder / "project" / "Select" / "job004" / "run.star"
    path.parent.mkdir(parents=True)
    path.write_text("data_\n\nloop_\n_rlnImageName\n3@Class2D/job003/classes.mrcs\n")
    return path


def link_job(path: Path, folder: Path) -> None:
    """Move the folder of a job elsewhere and leave a symbolic link in its place."""
    shutil.move(path.parent, folder)
    path.parent.symlink_to(folder)


def test_a_table_that_is_a_link_into_a_project_finds_its_stack(tmp_path: Path) -> None:
    link = tmp_path / "here.star"
    link.symlink_to(project(tmp_path))
    np.testing.assert_array_equal(files.read_images(link).images, images_of()[2:3])


def test_a_table_finds_its_stack_by_the_path_that_was_given(tmp_path: Path) -> None:
    path = project(tmp_path)
    link_job(path, tmp_path / "scratch")
    np.testing.assert_array_equal(files.read_images(path).images, images_of()[2:3])


def test_a_table_in_a_linked_working_folder_finds_its_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project(tmp_path)
    link_job(path, tmp_path / "scratch")
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("PWD", str(path.parent))  # as a shell has it after cd
    np.testing.assert_array_equal(files.read_images(Path("run.star")).images, images_of()[2:3])


def test_a_named_working_folder_that_is_another_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project(tmp_path)
    link_job(path, tmp_path / "scratch")
    monkeypatch.chdir(tmp_path / "scratch")
    for named in (path.parent.parent, tmp_path / "nowhere", "run.star", ""):
        monkeypatch.setenv("PWD", str(named))
        with pytest.raises(InputError, match=r"Class2D/job003/classes\.mrcs"):
            files.read_images(Path("run.star"))


def test_a_table_from_elsewhere_finds_its_stack_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project(tmp_path)
    (tmp_path / "downloads").mkdir()
    moved = path.rename(tmp_path / "downloads" / "run.star")
    monkeypatch.chdir(tmp_path / "project")
    np.testing.assert_array_equal(files.read_images(moved).images, images_of()[2:3])


def test_a_side_that_differs_from_the_stack_s_is_noted(tmp_path: Path, wording: Callable[[object], None]) -> None:
    text = particles("1 4.0", "1@classes.mrcs 1").replace(
        "_rlnImagePixelSize\n1 4.0", "_rlnImagePixelSize\n_rlnImageSize\n1 4.0 {}"
    )
    (note,) = files.read_images(table(tmp_path, text.format(16))).notes
    wording(note)
    assert files.read_images(table(tmp_path, text.format(8))).notes == []
    model = "data_model_general\n_rlnPixelSize 4\n_rlnOriginalImageSize 16\n\n" + classes("1")
    assert files.read_images(table(tmp_path, model)).notes == [note]


@pytest.mark.parametrize(("side", "notes"), [(16, 1), (8, 0)])
def test_a_side_in_a_cryosparc_table_that_differs_from_the_stack_s_is_noted(
    side: int, notes: int, tmp_path: Path, wording: Callable[[object], None]
) -> None:
    files.write_images(tmp_path / "classes.mrcs", images_of(), None)
    fields = [("blob/path", "S60"), ("blob/idx", "u4"), ("blob/shape", "u4", (2,)), ("blob/psize_A", "f4")]
    with open(tmp_path / "a.cs", "wb") as file:
        np.save(file, np.array([(b"classes.mrcs", 0, (side, side), 4.0)], dtype=fields))
    found = files.read_images(tmp_path / "a.cs").notes
    assert len(found) == notes
    for note in found:
        wording(note)


@pytest.mark.parametrize(
    "column", ["_rlnMagnification\n_rlnDetectorPixelSize\n1@classes.mrcs 10000 1", "_rlnPixelSize\n1@classes.mrcs 1.0"]
)
def test_a_pixel_size_of_one_in_a_table_is_doubted(
    column: str, tmp_path: Path, wording: Callable[[object], None]
) -> None:
    stack = files.read_images(table(tmp_path, f"data_\n\nloop_\n_rlnImageName\n{column}\n"))
    assert stack.pixel_size == 1.0
    (note,) = stack.notes
    wording(note)


@pytest.mark.parametrize(
    "column",
    [
        "_rlnPixelSize\n1@classes.mrcs 1e4",
        "_rlnImagePixelSize\n1@classes.mrcs 4e-10",
        "_rlnMagnification\n_rlnDetectorPixelSize\n1@classes.mrcs 50000 5e9",
    ],
)
def test_a_pixel_size_in_a_table_that_no_image_has_is_refused(
    column: str, tmp_path: Path, wording: Callable[[object], None]
) -> None:
    with pytest.raises(InputError) as raised:
        files.find_images(table(tmp_path, f"data_\n\nloop_\n_rlnImageName\n{column}\n"))
    wording(raised.value)


def cryosparc(folder: Path) -> Path:
    """A .cs table that names two images of a stack."""
    files.write_images(folder / "classes.mrcs", images_of(), 4.0)
    rows = [(b"classes.mrcs", number) for number in (2, 0)]
    with open(folder / "a.cs", "wb") as file:
        np.save(file, np.array(rows, dtype=[("blob/path", "S60"), ("blob/idx", "u4")]))
    return folder / "a.cs"


@pytest.mark.parametrize(
    "named",
    [
        cryosparc,
        lambda folder: table(folder, classes("0.5", "0.5").replace("1@", "3@").replace("2@", "1@"), pixel_size=4.0),
    ],
)
def test_images_that_a_table_names_are_found_without_reading_a_pixel(
    named: Callable[[Path], Path], tmp_path: Path
) -> None:
    found = files.find_images(named(tmp_path))
    assert (found.shape, found.pixel_size) == ((2, 8, 8), 4.0)
    files.write_images(tmp_path / "classes.mrcs", 2 * images_of(), 4.0)
    np.testing.assert_array_equal(found.read(), 2 * images_of()[[2, 0]])
