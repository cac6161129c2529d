"""What was read, by content: a file that is another one by now is not taken for it."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import files

INPUTS = "inputs.json"  # beside a simulation


def remember(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Path, size, time of the last change and digest of each file, once."""
    known = []
    for path in dict.fromkeys(path.absolute() for path in paths):
        status = path.stat()
        times = {"modified": status.st_mtime_ns, "changed": status.st_ctime_ns}
        known.append({"path": str(path), "size": status.st_size, **times, "sha256": digest(path)})
    return known


def require_same_input(record: Path, what_to_do: str = "use another --output, or --force to start afresh") -> None:
    """Refuse to go on with what was made from files that hold something else by now; a file that is gone is none of them.

    Args:
        record: a file with what `remember` said of them; an earlier version wrote none, or nothing of that.
        what_to_do: instead of putting the file back.

    Raises:
        InputError: a file has changed.
    """
    require_unchanged(
        files.read_json(record).get("files", []) if record.exists() else [], f"put the old file back, or {what_to_do}"
    )


def require_unchanged(known: Iterable[Mapping[str, Any]], what_to_do: str) -> None:
    """Refuse files that hold something else than when `remember` saw them; a file that is gone is none of them.

    Raises:
        InputError: a file has changed.
    """
    for record in known:
        path = Path(record["path"])
        what = _change(path, record)
        if what:
            raise files.InputError(f"{path} is not what was read here before ({what}): {what_to_do}")


def _change(path: Path, record: Mapping[str, Any]) -> str:
    """How a file differs from what is known of it, or "" where it is the same or gone."""
    try:
        status = path.stat()
    except OSError:
        return ""
    same = record["size"], record["modified"], record["changed"]  # the last no program can set back
    if (status.st_size, status.st_mtime_ns, status.st_ctime_ns) == same:
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
