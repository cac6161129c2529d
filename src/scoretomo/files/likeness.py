"""A map or a stack of images? By the values, where a cube of them may be either and the file does not say."""

from typing import Literal

import numpy as np

from .reading import StoredArray

# Over maps of two proteins and a box, simulated ones among them, at 24 to 100 pixels: up to 0.30 and 0.02 (0.36 and 0.07 with noise
# of 0.3 standard deviations). Over eight stacks of class averages and particles, cut to as many images as pixels: from 0.92 and
# 0.86; put in the order of their likeness, from 0.25 and 0.94.
_ALIKE, _NOT_ALIKE = 0.6, 0.8
_EMPTY = 0.25
_SIDE = 64  # pixels in a row and rows of a section that are looked at, about


def resembles_map(array: StoredArray) -> Literal["yes", "perhaps", "no"]:
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
