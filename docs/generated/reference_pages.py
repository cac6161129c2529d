"""Reference: the command line from the program's own help, the columns of a run's files from their types."""

import inspect
import re
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from scoretomo.rundir import rows
from scoretomo.rundir.tables import CountedFrom, Decimals, Digits

KINDS = {int: "integer", float: "number", str: "text", bool: "true or false", dict: "object"}


def command_line() -> str:
    """Every command with its options, as `scoretomo COMMAND --help` has them."""
    from scoretomo.cli.app import app

    text = app.generate_docs(output_format="markdown", heading_level=1)
    text = re.sub(r"^# scoretomo\n", "", text)
    text = re.sub(r"## Table of Contents\n.*?(?=\n\*\*Commands)", "", text, flags=re.DOTALL)
    return re.sub(r"\n {8,}", " ", text)  # lines of one option


def tables() -> str:
    """Every table and record of a run: its path, what it holds, its columns."""
    return "\n\n".join(_described(kind) for kind in row_types())


def row_types() -> list[type]:
    """Types of rows and records, in the order of the source."""
    found = [kind for kind in vars(rows).values() if inspect.isclass(kind) and kind.__module__ == rows.__name__]
    return sorted(
        (kind for kind in found if hasattr(kind, "_fields")), key=lambda kind: inspect.getsourcelines(kind)[1]
    )


def field_comments(kind: type) -> dict[str, str]:
    """Comments beside the fields of a class."""
    return dict(re.findall(r"^    (\w+): [^#\n]+?  # (.+)$", inspect.getsource(kind), re.MULTILINE))


def _described(kind: type) -> str:
    file, _, summary = inspect.getdoc(kind).partition(": ")  # type: ignore[union-attr]
    if summary:
        title = re.sub(r"\S+\.\w+", r"`\g<0>`", file)
    else:
        title, summary = f"{kind.__name__}, in a record above", file
    hints, comments = get_type_hints(kind, include_extras=True), field_comments(kind)
    lines = [f"### {title}", "", summary[0].upper() + summary[1:], "", "| column | type | meaning |", "|---|---|---|"]
    for field in kind._fields:  # type: ignore[attr-defined]
        name, text = _column(field, hints[field], table=file.endswith(".csv"))
        lines.append(f"| {name} | {text} | {comments.get(field, '').replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _column(field: str, hint: Any, *, table: bool) -> tuple[str, str]:
    """Name and type of a column, in words."""
    optional, many = False, False
    extras: list[Any] = []
    choices: tuple[str, ...] = ()
    while get_origin(hint) is not None:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            extras += hint.__metadata__
            hint = arguments[0]
        elif origin in (Union, types.UnionType):
            optional = True
            hint = next(part for part in arguments if part is not type(None))
        elif origin is tuple:
            many, hint = True, arguments[0]
        elif origin is Literal:
            choices, hint = arguments, str
        else:
            hint = origin
    kind = " \\| ".join(choices) if choices else KINDS.get(hint, "record")
    if many and table:
        first = next((extra.first for extra in extras if isinstance(extra, CountedFrom)), 1)
        return f"`{field}_{first}`, `{field}_{first + 1}` …", f"{kind}s{_rounding(extras)}"
    return f"`{field}`", f"{f'list of {kind}s' if many else kind}{_rounding(extras)}{' or empty' if optional else ''}"


def _rounding(extras: list[Any]) -> str:
    for extra in extras:
        if isinstance(extra, Decimals):
            return f", {extra.places} decimals"
        if isinstance(extra, Digits):
            return f", {extra.count} digits"
    return ""
