"""The content of the files that were read: a file that was changed since is not used in its place."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import files


def remember(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Path, size, time of the last change and digest of each file, once."""
    records = []
    for path in dict.fromkeys(path.absolute() for path in paths):
        status = path.stat()
        times = {"modified": status.st_mtime_ns, "changed": status.st_ctime_ns}
        records.append({"path": str(path), "size": status.st_size, **times, "sha256": digest(path)})
    return records


def require_same_input(record: Path, what_to_do: str = "use another --output, or --force to start afresh") -> None:
    """Refuse to continue from files that were changed since they were read; a file that is gone counts as unchanged.

    Args:
        record: a JSON file with what `remember` returned, under "files".
        what_to_do: instead of putting the file back.

    Raises:
        InputError: a file was changed.
    """
    before = files.read_json(record).get("files", []) if record.exists() else []
    require_unchanged(before, f"put the old file back, or {what_to_do}")


def require_unchanged(before: Iterable[Mapping[str, Any]], what_to_do: str) -> None:
    """Refuse files that were changed since `remember`; a file that is gone counts as unchanged.

    Raises:
        InputError: a file was changed.
    """
    for record in before:
        path = Path(record["path"])
        what = _change(path, record)
        if what:
            raise files.InputError(f"{path} is not what was read here before ({what}): {what_to_do}")


def _change(path: Path, record: Mapping[str, Any]) -> str:
    """How a file differs from its record, or "" where it is the same or gone."""
    try:
        status = path.stat()
    except OSError:
        return ""
    before = record["size"], record["modified"], record["changed"]  # no program can set back the last one
    if (status.st_size, status.st_mtime_ns, status.st_ctime_ns) == before:
        return ""
    if status.st_size != record["size"]:
        return f"it had {record['size']} bytes and has {status.st_size}"
    if digest(path) != record["sha256"]:
        return f"as large, but with other content since {datetime.fromtimestamp(status.st_mtime):%H:%M on %d %B %Y}"
    return ""


def digest(path: Path) -> str:
    """The SHA-256 of the content of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
