"""How reliable each volume is, predicted from what a run has without a truth.

How much of a volume is wrong, 1 − FSC, is predicted from how much the deformation model leaves of a typical image, ring
by ring, and from what sets this volume apart from a typical one of the run:

    log(1 − FSC_i) = a + b · log(1.02 − rings) + c · log(1 − replicates_i) + d · log(1 − fit_i) + e · log(isolation_i),

the last three minus the logarithms of a typical volume. Fit and isolation are measured for all images of the run, and
typical are their medians; replicates are measured only for images that have a volume, and typical is a number. The
coefficients a … e and the spread of the errors come from simulated molecules with truth (benchmarks/reliability.py);
the interval is that of volumes of molecules that were not used for the coefficients. For a rigid molecule the consensus
replaces the model, and only its rings count: its volumes hardly differ, and all have the same value. FSC and rings are
means over the shells of images of 32 pixels: of larger images, the coarse ones.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Label = Literal["reliable", "caution", "unreliable"]
Reason = Literal["replicates", "fit", "isolation", "good", "coarse"]

_NEIGHBOURS = 20  # other images, to whose conformations the distance is measured
_TINY = 1e-5
_LEAST = 0.02  # of 1 − rings: images that agree better with views make no better volumes
TYPICAL_REPLICATES = 0.9995  # FSC in the shells that images determine
SIDE = 32  # pixels, at which volumes of larger images are judged: the calibration has no finer shells


@dataclass(frozen=True)
class ReliabilityCriteria:
    """When a volume is reliable; source: docs/dev/decisions/reliability-model.md.

    Attributes:
        reliable: lower end of the interval, from which it is.
        unreliable: predicted FSC, below which it is unreliable.
        notable: of a logarithm, from which a predictor sets a volume apart.
        unusual: the same for fit and isolation together, from which a volume needs caution whatever FSC is predicted.
    """

    reliable: float = 0.7
    unreliable: float = 0.5
    notable: float = 0.3
    unusual: float = 0.2


RELIABILITY = ReliabilityCriteria()


@dataclass(frozen=True)
class Calibration:
    """Coefficients from simulated molecules.

    Attributes:
        offset, rings, replicates, fit, isolation: a … e.
        spread: of log(1 − FSC) about its prediction: eight of ten volumes of other molecules are within it.
    """

    offset: float
    rings: float
    replicates: float
    fit: float
    isolation: float
    spread: float


FLEXIBLE = Calibration(offset=-0.168, rings=1.146, replicates=0.140, fit=0.075, isolation=0.265, spread=0.493)
RIGID = Calibration(offset=0.634, rings=1.497, replicates=0.0, fit=0.0, isolation=0.0, spread=0.688)


class Predictors(NamedTuple):
    """What a run measures of its volumes, and of a typical image."""

    replicates: np.ndarray  # (n,): mean FSC of the replicates of each volume, in the shells that images determine
    fit: np.ndarray  # (n,): correlation of its image with the view of the model
    isolation: np.ndarray  # (n,): distance to the conformations of other images; the same for all of a rigid molecule
    typical_rings: float  # mean Fourier ring correlation of an image and its view, the median over all images
    typical_fit: float  # medians, too
    typical_isolation: float


class Predicted(NamedTuple):
    """What is predicted of volumes; (n,) each."""

    fsc: np.ndarray  # mean FSC to the truth, in the shells of images of SIDE pixels
    low: np.ndarray  # of its 80 % interval
    high: np.ndarray
    replicates: (
        np.ndarray
    )  # how far each predictor sets the volume apart, of a logarithm; above 0 is worse than typical
    fit: np.ndarray
    isolation: np.ndarray
    criteria: ReliabilityCriteria = RELIABILITY

    def label(self, place: int) -> Label:
        """How reliable a volume is."""
        if self.fsc[place] < self.criteria.unreliable:
            return "unreliable"
        good = self.low[place] >= self.criteria.reliable and not self.is_unusual(place)
        return "reliable" if good else "caution"

    def is_unusual(self, place: int) -> bool:
        """Whether the image is unlike most: of such volumes more go wrong than is predicted of each."""
        return bool(self.fit[place] + self.isolation[place] > self.criteria.unusual)

    def reason(self, place: int) -> Reason:
        """The predictor that decides: the worst one if it sets the volume apart, else whether all are good."""
        apart: dict[Reason, float] = {
            "replicates": self.replicates[place],
            "fit": self.fit[place],
            "isolation": self.isolation[place],
        }
        worst = max(apart, key=lambda name: apart[name])
        if apart[worst] > self.criteria.notable or self.is_unusual(place):
            return worst
        return "good" if self.label(place) == "reliable" else "coarse"


def isolation(latent: np.ndarray) -> np.ndarray:
    """Mean distance of each conformation to the nearest others, in units of their spread; (n, k) to (n,)."""
    spread = latent.std(0)
    places = latent / np.sqrt(np.square(spread).mean() + _TINY)
    distances = np.sort(np.linalg.norm(places[:, None] - places, axis=2), 1)
    return distances[:, 1 : _NEIGHBOURS + 1].mean(1)


def predict(predictors: Predictors, calibration: Calibration) -> Predicted:
    """The FSC to the truth that is predicted of each volume, with its interval."""
    apart = deviations(predictors) * [calibration.replicates, calibration.fit, calibration.isolation]
    wrong = calibration.offset + calibration.rings * level(predictors) + apart.sum(1)
    fsc, low, high = (
        1 - np.exp(np.minimum(wrong + more, 0.0)) for more in (0.0, calibration.spread, -calibration.spread)
    )
    return Predicted(fsc, low, high, *apart.T)


def level(predictors: Predictors) -> float:
    """log(1.02 − rings) of a typical image."""
    return math.log(1 - predictors.typical_rings + _LEAST)


def deviations(predictors: Predictors) -> np.ndarray:
    """Logarithms of replicates, fit and isolation of each volume, minus those of a typical one, (n, 3); above 0 is
    worse.
    """
    own = np.column_stack([1 - predictors.replicates, 1 - predictors.fit, predictors.isolation])
    typical = np.array([1 - TYPICAL_REPLICATES, 1 - predictors.typical_fit, predictors.typical_isolation])
    difference: np.ndarray = np.log(own + _TINY) - np.log(typical + _TINY)
    return difference
