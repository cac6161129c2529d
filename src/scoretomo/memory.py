"""How much memory there is for this program: the machine's, or less where a container or a cluster's job may have only some."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")  # in which Linux says whose share this process lives on
_LIMITS = Path("/sys/fs/cgroup")


def usable_memory() -> int:
    """Bytes that this program and its processes may have together."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits(_GROUPS, _LIMITS)])


def _limits(groups: Path, limits: Path) -> Iterator[int]:
    """Limits of the control groups that a process is in, of versions 1 and 2, and of all that hold these.

    Args:
        groups: file that names them, a line each: number:kinds:path.
        limits: folder under which they are.
    """
    with suppress(OSError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds not in ("", "memory"):
                continue
            root, name = (limits / kinds, "memory.limit_in_bytes") if kinds else (limits, "memory.max")
            group = root / path.strip("/")
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):  # no such group is seen from in here, or it has no limit: "max"
                    yield int((folder / name).read_text(encoding="utf-8"))
                if folder == root:
                    break
