"""Names of point groups."""

import re


def point_group_name(group: str) -> str:
    """The Schoenflies name of a point group: C7, D2, T, O or I.

    Raises:
        ValueError: there is no such group.
    """
    name = group.strip().upper()
    if not re.fullmatch(r"T|O|I|[CD][1-9]\d?", name):
        raise ValueError(f"{group!r} is no point group such as C3, D2, T, O or I")
    return name
