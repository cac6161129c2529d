"""The network score: its training, its denoising error, its samples."""

import statistics
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..graphics import charts, surfaces
from ..graphics.surfaces import at_most
from ..rundir.results import NetworkScore, Run, Samples
from ..rundir.rows import SampleRow

_PANEL = 18  # samples, and class averages beside them
_PAIRS = 36
_SIDE = 96  # pixels of a picture
_FEW = 10  # held-out images, below which their error is a rough estimate
_COPY = 0.5  # of the usual distance between class averages: a sample that is closer to one counts as a copy
_DISTANT = 2.0  # times that distance: from here on samples are unlike class averages
_LEVELS = (0.1, 2.0)  # noise levels of reconstruction
_GENERALISES = 1.1  # ratio of held-out to training error, up to which a network generalises


class Generalisation(NamedTuple):
    """Denoising error of held-out images beside that of training images, at the noise levels of reconstruction."""

    percent: int  # by which it is larger; below 0, smaller
    low: float  # noise level t
    high: float
    few: bool  # held-out images
    generalises: bool


class AtOne(NamedTuple):
    """Denoising errors at about t = 1."""

    t: float
    network: float
    exact: float
    held_out: bool  # of held-out images


class Pair(NamedTuple):
    """A sample and the class average nearest to it."""

    row: SampleRow
    sample: str  # picture
    nearest: str  # picture


class Similarity(NamedTuple):
    """Correlation of samples with the class averages nearest to them."""

    samples: int
    median: float
    low: float
    high: float
    distinct: int  # nearest class averages
    trained: int  # class averages in the training
    natural: float  # median correlation of those class averages with the ones nearest to them
    copies: int  # samples that are much closer than that
    verdict: str  # copies | distant | similar


class Panels(NamedTuple):
    """Samples beside class averages, all on one grey scale."""

    samples: list[str]
    averages: list[str]
    pairs: list[Pair]
    similarity: Similarity


class NetworkSection(NamedTuple):
    """The section about the network score."""

    name: str  # of the network; empty while it is being trained
    examples: int  # noisy images it was trained on, so far
    held_out: list[int]
    loss: charts.Chart | None
    errors: charts.Chart | None
    generalisation: Generalisation | None
    at_one: AtOne | None
    exact_floor: float | None  # the least error of the exact score
    exact_held_out: bool
    panels: Panels | None


def network_section(run: Run) -> NetworkSection | None:
    """The section about the network score of a run; None if it has none."""
    network = run.network
    if network is None:
        return None
    curves = charts.denoising_curves(network.denoising)
    exact = curves.get("exact_training")
    record = network.record
    return NetworkSection(
        name=record.network if record else "",
        examples=record.examples if record else (network.loss[-1].images_seen if network.loss else 0),
        held_out=_held_out(network),
        loss=charts.training_loss(network.loss),
        errors=charts.denoising_error(network.denoising),
        generalisation=_generalisation(network, curves),
        at_one=_at_one(curves),
        exact_floor=min(exact.values()) if exact else None,
        exact_held_out="exact_held_out" in curves,
        panels=_panels(run, network, network.samples) if network.samples else None,
    )


def _held_out(network: NetworkScore) -> list[int]:
    return list(network.record.held_out) if network.record else []


def _generalisation(network: NetworkScore, curves: Mapping[str, Mapping[float, float]]) -> Generalisation | None:
    held_out, trained = curves.get("network_held_out"), curves.get("network_training")
    if not held_out or not trained:
        return None
    low, high = _LEVELS
    ratios = [error / trained[t] for t, error in held_out.items() if t in trained and low <= t <= high]
    ratio = statistics.geometric_mean(ratios or [1.0])
    few = len(_held_out(network)) < _FEW
    return Generalisation(round((ratio - 1) * 100), low, high, few, ratio < _GENERALISES)


def _at_one(curves: Mapping[str, Mapping[float, float]]) -> AtOne | None:
    if not {"network_training", "exact_training"} <= set(curves):
        return None
    held_out = {"network_held_out", "exact_held_out"} <= set(curves)
    kind = "held_out" if held_out else "training"
    network, exact = curves[f"network_{kind}"], curves[f"exact_{kind}"]
    t = min(network, key=lambda level: abs(level - 1))
    return AtOne(t, network[t], exact[t], held_out)


def _panels(run: Run, network: NetworkScore, samples: Samples) -> Panels:
    held_out = _held_out(network)
    trained = [image.pixels for image in run.images if image.pixels is not None and image.number not in held_out]
    shown = [at_most(image, _SIDE) for image in samples.images[: max(_PANEL, _PAIRS)]]
    beside = [at_most(trained[place], _SIDE) for place in _spread(len(trained), min(_PANEL, len(samples.images)))]
    scale = surfaces.common_scale(*shown, *beside)
    order = sorted(range(min(len(shown), _PAIRS)), key=lambda place: -samples.rows[place].correlation)
    return Panels(
        samples=[_uri(image, scale) for image in shown[:_PANEL]],
        averages=[_uri(image, scale) for image in beside],
        pairs=[
            Pair(samples.rows[place], _uri(shown[place], scale), _uri(at_most(samples.nearest[place], _SIDE), scale))
            for place in order
        ],
        similarity=_similarity(samples.rows, len(trained)),
    )


def _uri(image: np.ndarray, scale: surfaces.Scale) -> str:
    return surfaces.data_uri(surfaces.grey(image, scale))


def _spread(count: int, wanted: int) -> list[int]:
    """So many of the numbers below a count, evenly spread."""
    return [place * count // wanted for place in range(min(wanted, count))]


def _similarity(rows: list[SampleRow], trained: int) -> Similarity:
    correlations = [row.correlation for row in rows]
    distance = statistics.median((1 - row.correlation) / max(1 - row.natural_correlation, 1e-6) for row in rows)
    copies = sum(1 - row.correlation < _COPY * (1 - row.natural_correlation) for row in rows)
    verdict = "distant" if distance > _DISTANT else "similar"
    return Similarity(
        samples=len(rows),
        median=statistics.median(correlations),
        low=min(correlations),
        high=max(correlations),
        distinct=len({row.nearest for row in rows}),
        trained=trained,
        natural=statistics.median(row.natural_correlation for row in rows),
        copies=copies,
        verdict="copies" if copies > len(rows) / 2 else verdict,
    )
