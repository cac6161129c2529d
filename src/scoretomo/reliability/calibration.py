"""How far each volume can be trusted, from what a run knows without a truth.

How much of a volume is wrong, 1 − FSC, is expected from how much the model of the motion leaves unexplained of a typical image,
ring by ring, and from what sets this volume apart from a typical one of the run:

    log(1 − FSC_i) = a + b · log(1.02 − rings) + c · log(1 − replicas_i) + d · log(1 − fit_i) + e · log(isolation_i),

the last three minus the logarithms of a typical volume. Fit and isolation are known of all images of the run, and typical are their
medians; replicas are known of those alone that have a volume, and typical is a number. The numbers a … e and the spread of what is
left come from simulated molecules with truth (benchmarks/reliability.py); the interval is that of volumes of molecules which they
were not taken from. Of a molecule that is taken as rigid the consensus stands for the model, and its rings alone tell: its volumes
hardly differ, and all have the same number. FSC and rings are means over the shells of images of 32 pixels: of larger images, the
coarse ones.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_LIKE = 20  # other images, to whose conformations the distance is measured
_TINY = 1e-5
_LEAST = 0.02  # of 1 − rings: images that agree better with views make no better volumes
TYPICAL_REPLICAS = 0.9995  # FSC in the shells that images tell of
SIDE = 32  # pixels, at which volumes of larger images are judged: the calibration knows no finer shells
_TRUSTED, _DOUBTED = 0.7, 0.5  # lower end of the interval from which a volume is trusted; FSC below which it is not to be
_APART = 0.3  # of a logarithm: from here on a mark sets a volume apart
ODD = 0.2  # the same for fit and isolation together, from which a volume is not trusted whatever is expected of it


@dataclass(frozen=True)
class Calibration:
    """What simulated molecules say.

    Attributes:
        offset, rings, replicas, fit, isolation: a … e.
        spread: of log(1 − FSC) about what is expected: eight of ten volumes of a molecule that was not known are no farther off.
    """

    offset: float
    rings: float
    replicas: float
    fit: float
    isolation: float
    spread: float


MOVING = Calibration(offset=-0.168, rings=1.146, replicas=0.140, fit=0.075, isolation=0.265, spread=0.493)
RIGID = Calibration(offset=0.634, rings=1.497, replicas=0.0, fit=0.0, isolation=0.0, spread=0.688)


class Marks(NamedTuple):
    """What a run says of its volumes, and of a typical image."""

    replicas: np.ndarray  # (n,): mean FSC of the replicas of each volume, in the shells that images tell of
    fit: np.ndarray  # (n,): correlation of its image with the view of the model
    isolation: np.ndarray  # (n,): distance to the conformations of other images; the same for all of a rigid molecule
    typical_rings: float  # mean Fourier ring correlation of an image and its view, the median over all images
    typical_fit: float  # medians, too
    typical_isolation: float


class Expected(NamedTuple):
    """What is to be expected of volumes; (n,) each."""

    fsc: np.ndarray  # mean FSC to the truth, in the shells of images of SIDE pixels
    low: np.ndarray  # of its 80 % interval
    high: np.ndarray
    replicas: np.ndarray  # how far each mark sets the volume apart, of a logarithm; above 0 is worse than typical
    fit: np.ndarray
    isolation: np.ndarray

    def word(self, place: int) -> str:
        """Whether to trust a volume: trust, with care, or do not."""
        if self.fsc[place] < _DOUBTED:
            return "do not"
        return "trust" if self.low[place] >= _TRUSTED and not self.is_odd(place) else "with care"

    def is_odd(self, place: int) -> bool:
        """Whether the image is unlike most: of such volumes more go wrong than is expected of each."""
        return bool(self.fit[place] + self.isolation[place] > ODD)

    def reason(self, place: int) -> str:
        """The most telling mark of a volume, in a sentence."""
        marks = {
            "its replicas differ more than is usual": self.replicas[place],
            "the model explains its image less well than others": self.fit[place],
            "few images show conformations like it": self.isolation[place],
        }
        worst = max(marks, key=lambda name: marks[name])
        good = self.word(place) == "trust"
        if marks[worst] > _APART or self.is_odd(place):
            return f"though {worst}" if good else worst
        return "its marks are good" if good else "images and views agree only in coarse features"


def isolation(coordinates: np.ndarray) -> np.ndarray:
    """Mean distance of each conformation to the nearest others, in units of their spread; (n, k) to (n,)."""
    spread = coordinates.std(0)
    places = coordinates / np.sqrt(np.square(spread).mean() + _TINY)
    apart = np.sort(np.linalg.norm(places[:, None] - places, axis=2), 1)
    return apart[:, 1 : _LIKE + 1].mean(1)


def expected(marks: Marks, calibration: Calibration) -> Expected:
    """What is to be expected of volumes from their marks."""
    apart = marks_apart(marks) * [calibration.replicas, calibration.fit, calibration.isolation]
    wrong = calibration.offset + calibration.rings * level(marks) + apart.sum(1)
    fsc, low, high = (1 - np.exp(np.minimum(wrong + more, 0.0)) for more in (0.0, calibration.spread, -calibration.spread))
    return Expected(fsc, low, high, *apart.T)


def level(marks: Marks) -> float:
    """log(1.02 − rings) of a typical image."""
    return math.log(1 - marks.typical_rings + _LEAST)


def marks_apart(marks: Marks) -> np.ndarray:
    """Logarithms of what replicas, fit and isolation say of each volume, minus those of a typical one, (n, 3); above 0 is worse."""
    own = np.column_stack([1 - marks.replicas, 1 - marks.fit, marks.isolation])
    typical = np.array([1 - TYPICAL_REPLICAS, 1 - marks.typical_fit, marks.typical_isolation])
    found: np.ndarray = np.log(own + _TINY) - np.log(typical + _TINY)
    return found
