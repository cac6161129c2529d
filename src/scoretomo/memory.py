"""How much of a machine this program may use: its cores, and its memory, or less where a container or a job has a
limit.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")  # names the control groups of this process
_LIMITS = Path("/sys/fs/cgroup")  # holds their limits


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory(groups: Path = _GROUPS, limits: Path = _LIMITS) -> int:
    """Bytes that this program and its processes may have together.

    Args:
        groups: file that names the control groups of this process, a line each: number:kinds:path.
        limits: folder under which their limits are.
    """
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits(groups, limits)])


def _limits(groups: Path, limits: Path) -> Iterator[int]:
    """Limits of the control groups, of versions 1 and 2, and of all that hold these."""
    with suppress(OSError):
        for line in groups.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            root, name = (limits / "memory", "memory.limit_in_bytes") if kinds else (limits, "memory.max")
            group = root / path.strip("/")
            for folder in (group, *group.parents):
                with suppress(OSError, ValueError):  # no such group is seen from in here, or it has no limit: "max"
                    yield int((folder / name).read_text(encoding="utf-8"))
                if folder == root:
                    break
