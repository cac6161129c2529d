"""A map or a stack of images? By the name and the flags, else by the values: a cube of them may be either."""

from typing import Literal

import numpy as np

from .reading import HDF_ENDINGS, STACK_ENDINGS, StoredArray

# Over maps of two proteins and a box, simulated ones among them, at 24 to 100 pixels: up to 0.30 and 0.02 (0.36 and
# 0.07 with noise of 0.3 standard deviations). Over eight stacks of class averages and particles, cut to as many images
# as pixels: from 0.92 and 0.86; put in the order of their likeness, from 0.25 and 0.94.
_ALIKE, _NOT_ALIKE = 0.6, 0.8
_EMPTY = 0.25
_SIDE = 64  # pixels in a row and rows of a section that are looked at, about


def kind_of(suffix: str, array: StoredArray) -> Literal["map", "perhaps a map", "stack"]:
    """What a file holds. Programs that write maps often flag none, so that a cube without a flag is judged by its
    values.

    Args:
        suffix: ending of its name, in lower case.
        array: what is in it.
    """
    if suffix in STACK_ENDINGS or not _is_cube(array.shape) or (suffix in HDF_ENDINGS and array.is_map is False):
        return "stack"
    if array.is_map:
        return "map"
    resembles = _resembles_map(array)
    if resembles == "yes" and array.is_map is None:
        return "map"
    return "stack" if resembles == "no" else "perhaps a map"


def _is_cube(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] > 1 and len(set(shape)) == 1


def _resembles_map(array: StoredArray) -> Literal["yes", "perhaps", "no"]:
    """Whether a cube of values is one map: neighbouring sections are alike, and the first and last ones are empty.

    Class averages are in no order; were they put into one, those at its ends would show the particle all the same.
    """
    step = max(1, array.shape[0] // _SIDE)
    sections = array.read()[:, ::step, ::step].reshape(array.shape[0], -1).astype(np.float64)
    if not np.isfinite(sections).all() or not (sections != sections[0]).any():
        return "no"
    differ = _neighbours_differ(sections)
    if differ > _NOT_ALIKE:
        return "no"
    return "yes" if differ < _ALIKE and _filled_at_ends(sections) < _EMPTY else "perhaps"


def _neighbours_differ(sections: np.ndarray) -> float:
    """Mean squared difference of neighbouring sections, relative to that of any two: 1 where they are in no order."""
    any_two = 2 * sections.var(0, ddof=1).sum()
    return float(np.square(np.diff(sections, axis=0)).sum(1).mean() / any_two)


def _filled_at_ends(sections: np.ndarray) -> float:
    """Variance inside the outermost sections at the fuller end, relative to that of the fuller half of all sections."""
    variance, count = sections.var(1), max(1, len(sections) // 12)
    full = np.median(np.sort(variance)[len(variance) // 2 :])
    return float(max(variance[:count].mean(), variance[-count:].mean()) / full) if full > 0 else 0.0
