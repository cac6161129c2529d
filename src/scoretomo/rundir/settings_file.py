"""Settings as TOML: written once, compared when the same directory is used again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from .. import files


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings by command, making the folder if need be; what is not set is left out."""
    files.make_folder(path.parent)
    files.write_text(path, tomli_w.dumps(_plain(settings)))


def check_settings(path: Path, settings: Mapping[str, Any], *, force: bool, beside: Sequence[str] | None = ()) -> bool:
    """Whether work with these settings has begun and is to be continued.

    Args:
        path: the settings it began with, if it has.
        settings: those of the command now.
        force: begin afresh, whatever is there.
        beside: names of files that may lie there before it begins; None for any.

    Raises:
        InputError: it began with other settings, or the place is taken by something else.
    """
    folder = path.parent
    if path.exists() and not force:
        different = _differences(files.read_toml(path), _plain(settings))
        if different:
            raise files.InputError(
                f"{folder} was begun with other settings ({'; '.join(different)}): "
                "repeat them to continue, use another directory, or --force to start afresh"
            )
        return True
    if folder.exists() and not folder.is_dir():
        raise files.InputError(f"{folder} should be a directory but is a file: use another one")
    if beside is not None and not path.exists() and folder.is_dir() and _others(folder, beside):
        raise files.InputError(f"{folder} should be a new or empty directory but holds other files: use another one")
    return False


def _others(folder: Path, beside: Sequence[str]) -> bool:
    files.remove_unfinished(folder)
    return any(path.name not in beside for path in folder.iterdir())


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            plain[name] = _plain(value)
        elif value is not None:
            plain[name] = (
                files.legible(str(value))
                if isinstance(value, Path)
                else list(value)
                if isinstance(value, tuple)
                else value
            )
    return plain


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two settings, in words."""
    differences = []
    for section in sorted({*before, *now}):
        old, new = before.get(section, {}), now.get(section, {})
        differences += [
            f"{name.replace('_', '-')} was {old.get(name, 'not set')} and is now {new.get(name, 'not set')}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
    return differences
