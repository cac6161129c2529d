"""A run's settings, machine and log, as names and values."""

from collections.abc import Mapping, Sequence
from typing import Any


def in_sections(settings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """config.toml as sections of names and values."""
    loose = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    sections = ([("", loose)] if loose else []) + [
        (name, value) for name, value in settings.items() if isinstance(value, Mapping)
    ]
    return [(title, [(name, _value(value)) for name, value in section.items()]) for title, section in sections]


def last_start(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Program and machine of the last session in the log; empty before anything is logged."""
    return next((record for record in reversed(records) if record.get("event") == "start"), {})


def machine(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Versions and machine, as the last ``start`` of the log has them."""
    entries = []
    for name, value in last_start(records).items():
        if isinstance(value, Mapping):
            entries += [(key, _value(each)) for key, each in value.items()]
        elif name not in ("time", "event"):
            entries.append((name, _value(value)))
    return entries


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def in_one_line(record: Mapping[str, Any]) -> str:
    """Names and values of a log record, cut where they are many."""
    text = "; ".join(f"{name} {_value(value)}" for name, value in record.items() if name not in ("time", "event"))
    return text if len(text) <= 200 else text[:199] + "…"
