"""What was asked for, as TOML: written once, compared when the same place is used again."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from .. import files


def read_settings(path: Path) -> dict[str, Any]:
    """Settings by command.

    Raises:
        InputError: the file is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise files.InputError(
            f"{path} should hold settings as TOML but cannot be read ({error}): give another file or directory"
        ) from None


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings by command, making the folder if need be; what is not set is left out."""
    files.make_folder(path.parent)
    files.write_text(path, tomli_w.dumps(_plain(settings)))


def check_settings(path: Path, settings: Mapping[str, Any], *, force: bool, beside: Sequence[str] = ()) -> bool:
    """Whether work with these settings has begun and is to be continued.

    Args:
        path: the settings it began with, if it has.
        settings: what is asked for now.
        force: begin afresh, whatever is there.
        beside: names of files that may lie there before it begins.

    Raises:
        InputError: it began with other settings, or the place is taken by something else.
    """
    folder = path.parent
    if path.exists() and not force:
        different = _differences(read_settings(path), _plain(settings))
        if different:
            raise files.InputError(
                f"{folder} was begun with other settings ({'; '.join(different)}): "
                "repeat them to continue, give another --output, or --force to start afresh"
            )
        return True
    if folder.exists() and not folder.is_dir():
        raise files.InputError(f"{folder} should be a directory but is a file: give another --output")
    if not path.exists() and folder.is_dir() and any(found.name not in beside for found in folder.iterdir()):
        raise files.InputError(f"{folder} should be a new or empty directory but holds other files: give another --output")
    return False


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            plain[name] = _plain(value)
        elif value is not None:
            plain[name] = str(value) if isinstance(value, Path) else value
    return plain


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two settings, in words."""
    found = []
    for section in sorted({*before, *now}):
        old, new = before.get(section, {}), now.get(section, {})
        found += [
            f"{name.replace('_', '-')} was {old.get(name, 'not set')} and is now {new.get(name, 'not set')}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
    return found
