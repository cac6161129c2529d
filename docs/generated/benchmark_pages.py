"""Benchmarks: tables and plots of the committed records in benchmarks/, and the table of trials.

A record is a JSON object with title, command, commit, published, machine, cores, seeds, seconds, columns (name →
meaning), rows, and perhaps a plot and a note. What was not recorded is null; so is the command where the rows are those
of other records. Rows have the commit that was measured, or the one that first published them.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
COLOURS = ("#2a6fb0", "#d9822b", "#4d8f5b", "#8a5aa8")


def record(name: str) -> str:
    """A record as a table, with its plot, and what it was measured with."""
    return shown(json.loads((BENCHMARKS / "records" / f"{name}.json").read_text(encoding="utf-8")))


def shown(content: dict[str, Any]) -> str:
    """A record that was read."""
    columns = content["columns"]
    lines = _table(list(columns), [[row.get(column) for column in columns] for row in content["rows"]])
    explained = [f"* *{column}*: {meaning}" for column, meaning in columns.items() if meaning]
    plot = [_plot(content)] if "plot" in content else []
    note = [content["note"]] if content.get("note") else []
    return "\n\n".join(
        ["\n".join(lines), *(["\n".join(explained)] if explained else []), *plot, *note, _origin(content)]
    )


def junk(table: str) -> str:
    """One of the tables of benchmarks/junk.json: detection, kinds or volumes."""
    content = json.loads((BENCHMARKS / "junk.json").read_text(encoding="utf-8"))
    part = content["volumes" if table == "volumes" else "detect"]
    rows = {"detection": _detection, "kinds": _kinds, "volumes": _volumes}[table](part["rows"])
    command = f"python benchmarks/junk.py {'volumes' if table == 'volumes' else 'detect'}"
    return shown(
        {**part, "command": command, "seeds": [part["seed"]], "columns": dict.fromkeys(rows[0], ""), "rows": rows}
    )


def refusals() -> str:
    """Seconds until a mistake is reported, kind by kind, the slowest first."""
    content = json.loads((BENCHMARKS / "refusals.json").read_text(encoding="utf-8"))
    times = sorted(content["cpu_seconds"].items(), key=lambda item: -item[1])
    rows = [{"mistake": mistake, "CPU-seconds": seconds} for mistake, seconds in times]
    columns = {"mistake": "", "CPU-seconds": f"user and system time, median of {content['times']}"}
    return shown({**content, "command": "python benchmarks/refusals.py", "columns": columns, "rows": rows})


def trials(topic: str) -> str:
    """The trials of a topic, one a row."""
    with (ROOT / "docs" / "dev" / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["topic"].replace(" ", "-") == topic]
    names = ["set", "trial", "result", "verdict"]
    return "\n".join(_table(names, [[row[name] for name in names] for row in rows]))


def _detection(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mixed = [row for row in rows if row["kind"] == "all kinds" and row["share"]]
    return [
        {
            "set": row["set"],
            "share of junk / %": round(100 * row["share"]),
            "good": row["good"],
            "junk": row["junk"],
            "recall": _recall(row),
            "precision": _precision(row),
        }
        for row in mixed
    ]


def _kinds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fifth = [row for row in rows if row["share"] == 0.2 and row["kind"] != "all kinds"]
    sets = dict.fromkeys(row["set"] for row in fifth)
    recall = {(row["set"], row["kind"]): _recall(row) for row in fifth}
    kinds = dict.fromkeys(row["kind"] for row in fifth)
    return [{"set": name, **{kind: recall[name, kind] for kind in kinds}} for name in sets]


def _volumes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clean = {row["set"]: row["mean FSC"] for row in rows if not row["share"]}
    return [
        {
            "set": row["set"],
            "share of junk / %": round(100 * row["share"]),
            "kind": row["kind"],
            "junk": row["junk"],
            "excluded": row["junk excluded"],
            "mean FSC": row["mean FSC"],
            "change": row["mean FSC"] - clean[row["set"]],
        }
        for row in rows
    ]


def _recall(row: dict[str, Any]) -> float:
    return round(row["junk excluded"] / row["junk"], 2)


def _precision(row: dict[str, Any]) -> float | None:
    excluded = row["junk excluded"] + row["good excluded"]
    return round(row["junk excluded"] / excluded, 2) if excluded else None


def _table(names: list[str], rows: list[list[Any]]) -> list[str]:
    numeric = [all(not isinstance(row[k], str) for row in rows) for k in range(len(names))]
    rule = ["---:" if right else "---" for right in numeric]
    places = [max((_places(row[k]) for row in rows), default=0) for k in range(len(names))]
    cells = [[_cell(value, count) for value, count in zip(row, places, strict=True)] for row in rows]
    return [_line(names), _line(rule), *map(_line, cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _places(value: Any) -> int:
    """Decimals of a number, four at most; none of one that is shown with a power of ten."""
    if not isinstance(value, float) or 0 < abs(value) < 1e-3:
        return 0
    return len(f"{value:.4f}".rstrip("0").partition(".")[2])


def _cell(value: Any, places: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.{places}f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|")


def _origin(content: dict[str, Any]) -> str:
    """Command, machine, cores, seconds, commits and seeds of a record, as far as they were recorded."""
    command = content.get("command")
    parts = [f"`{command}`" if command else "the commands of other tables"]
    for key, words in (("machine", "{}"), ("cores", "cores: {}"), ("seconds", "{:,} s in all")):
        if content.get(key) is not None:
            parts.append(words.format(content[key]))
    origins = content.get("origins", {"all rows": content}).values()
    for key, words in (("commit", "commit {}"), ("published", "published in commit {}")):
        if commits := dict.fromkeys(each[key] for each in origins if each.get(key)):
            parts.append(words.format(", ".join(commits)))
    if content.get("seeds"):
        parts.append(f"seed {', '.join(map(str, content['seeds']))}")
    return f"*Measured with: {'; '.join(parts)}.*"


def _plot(content: dict[str, Any]) -> str:
    """The plot of a record, as SVG in the page."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plot, rows = content["plot"], content["rows"]
    bars = plot["kind"] == "bars"
    rows = [row for row in rows if all(row.get(name) is not None for name in (plot["x"], *plot["y"]))]
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": content["title"], "font.size": 9}):
        figure, axes = plt.subplots(
            figsize=(6.4, 0.32 * len(rows) * len(plot["y"]) + 0.9 if bars else 3.0), layout="constrained"
        )
        (_bars if bars else _curves)(axes, plot, rows)
        axes.spines[["top", "right"]].set_visible(False)
        if len(plot["y"]) > 1 or plot.get("by"):
            figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
        plt.close(figure)
    drawing = text.getvalue()
    label = f'role="img" aria-label="{content["title"]}" '
    drawing = drawing[drawing.index("<svg") :].replace("<svg ", f"<svg {label}", 1)
    return f'```{{raw}} html\n<div style="max-width: 46em; background: white">\n{drawing}\n</div>\n```'


def _bars(axes: Any, plot: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    height = 0.8 / len(plot["y"])
    for k, name in enumerate(plot["y"]):
        places = [place + k * height for place in range(len(rows))]
        axes.barh(places, [row[name] for row in rows], height * 0.92, color=COLOURS[k], label=name)
    middle = [place + 0.4 - height / 2 for place in range(len(rows))]
    axes.set_yticks(middle, [str(row[plot["x"]]) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(plot["y"][0] if len(plot["y"]) == 1 else plot.get("label", ""))


def _curves(axes: Any, plot: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    groups = dict.fromkeys(row[plot["by"]] for row in rows) if plot.get("by") else {"": None}
    curves = [(group, name) for group in groups for name in plot["y"]]
    for k, (group, name) in enumerate(curves):
        own = [row for row in rows if not group or row[plot["by"]] == group]
        label = ", ".join(filter(None, (str(group), name if len(plot["y"]) > 1 or not group else "")))
        axes.plot(
            [row[plot["x"]] for row in own], [row[name] for row in own], "o-", color=COLOURS[k % 4], label=label, ms=4
        )
    if plot.get("log"):
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel=plot["x"], ylabel=plot["y"][0] if len(plot["y"]) == 1 else plot.get("label", ""))
