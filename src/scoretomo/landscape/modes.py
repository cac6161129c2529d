"""Modes of motion: how many there are, and where each volume is along them.

A motion of large parts bends: its volumes lie on a curved sheet that needs many components, but has few dimensions m.
The distances between near neighbours give m, because their number grows as N ∝ rᵐ (as in Levina & Bickel, 2004).
Neighbours within the noise floor do not count, for noise makes the sheet a cloud of many dimensions. Distances along
the graph of neighbours unroll the sheet (Tenenbaum et al., 2000).
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from .components import Components


@dataclass(frozen=True)
class CountCriteria:
    """How modes are counted; source: docs/dev/decisions/number-of-modes.md, and axes-of-motion.md there for the graph.

    Attributes:
        fewest: volumes whose dimension can be measured.
        neighbours: from which to which nearest neighbour it is measured, or
        beyond: from so many times the distance that the noise floor alone puts between volumes,
        wider: to so many times as many neighbours.
        graph: neighbours of each volume in the graph along which distances are measured, at least.
    """

    fewest: int = 12
    neighbours: tuple[int, int] = (6, 20)
    beyond: float = 6.0
    wider: float = 2.5
    graph: int = 10


COUNTING = CountCriteria()


def count_modes(components: Components, criteria: CountCriteria = COUNTING) -> int:
    """How many independent modes the volumes have; 0 if their differences are within the noise floor.

    Fewer than 12 volumes give at most 2, and five or more modes may be counted as fewer.
    """
    significant = components.significant
    if significant == 0 or len(components.coordinates) < criteria.fewest:
        return min(significant, 2)
    distances = _sorted_distances(components.coordinates[:, :significant])
    noise = criteria.beyond * math.sqrt(2 * float(components.noise_floor.sum()))
    near, most = criteria.neighbours
    first = min(max(near, int(np.median((distances < noise).sum(1)))), len(distances) // 4)
    last = min(max(most, round(criteria.wider * first)), len(distances) - 1)
    return min(significant, _dimension(distances, first, last))


def count_independent_modes(amplitudes: np.ndarray, criteria: CountCriteria = COUNTING) -> int:
    """How many independent modes a deformation model has: a motion along a bent path takes several of its linear ones.

    Args:
        amplitudes: of all images along each confirmed mode of the model, shape (n, k).
        criteria: how they are counted.
    """
    distances = _sorted_distances(amplitudes)
    near, most = (min(number, len(distances) - 1) for number in criteria.neighbours)
    return min(amplitudes.shape[1], _dimension(distances, near, most)) if near < most else amplitudes.shape[1]


def _sorted_distances(places: np.ndarray) -> np.ndarray:
    """Of each place (n, k) to all, itself first, (n, n)."""
    points = torch.from_numpy(places)
    return torch.cdist(points, points).sort(1).values.numpy()


def _dimension(distances: np.ndarray, first: int, last: int) -> int:
    """Of a sheet, from the sorted distances of each place to all others, by how they grow from one neighbour to
    another.
    """
    growth = np.log(np.maximum(distances[:, last], 1e-12) / np.maximum(distances[:, first], 1e-12)).mean()
    return max(1, round(math.log(last / first) / max(float(growth), 1e-6)))


def mode_coordinates(components: Components, count: int, criteria: CountCriteria = COUNTING) -> np.ndarray:
    """Coordinates of the volumes along the modes, each with mean 0 and standard deviation 1; that of most variance
    first.

    Distances along the graph of neighbours unroll the sheet (Isomap), and axes that are as independent as possible
    separate the modes (independent component analysis): parts that move independently get modes of their own.

    Args:
        components: of the volumes.
        count: how many modes.
        criteria: fewest volumes for a graph.

    Returns:
        Shape (n, count).
    """
    from sklearn.manifold import Isomap  # not earlier: it takes a while

    places = components.coordinates[:, : components.significant]
    if count == 0 or len(places) < criteria.fewest:
        modes = places[:, :count]
    elif components.significant <= count:
        modes = _independent(places)
    else:
        modes = _independent(Isomap(n_neighbors=connected_neighbours(places), n_components=count).fit_transform(places))
    modes = modes - modes.mean(0)
    modes = modes / np.maximum(modes.std(0), 1e-12)
    explained = modes.T @ components.coordinates / len(modes)  # (count, k), covariances
    first = np.abs(explained).argmax(1)
    signs = np.sign(explained[np.arange(count), first])  # the same way each time
    return (modes * signs)[:, np.argsort(-np.square(explained).sum(1))]


def confirmed_modes(coordinates: np.ndarray, amplitudes: np.ndarray, most: int) -> np.ndarray:
    """Of more modes than held-out images confirm, those that the confirmed modes of the model explain best; all, if
    there are no more.

    Args:
        coordinates: of the volumes along the modes, mean 0 and standard deviation 1, shape (n, m).
        amplitudes: of the same images along each confirmed mode of the deformation model, shape (n, k).
        most: modes that are confirmed.

    Returns:
        Shape (n, min(m, most)).
    """
    if coordinates.shape[1] <= most:
        return coordinates
    predictors = np.column_stack([np.ones(len(amplitudes)), amplitudes])
    fitted = predictors @ np.linalg.lstsq(predictors, coordinates, rcond=None)[0]
    residuals = np.square(coordinates - fitted).sum(0)
    return coordinates[:, np.sort(np.argsort(residuals, kind="stable")[:most])]


def connected_neighbours(places: np.ndarray, criteria: CountCriteria = COUNTING) -> int:
    """As few neighbours as connect all volumes, at places of shape (n, k), in a graph; ten at least."""
    from sklearn.neighbors import kneighbors_graph  # not earlier: it takes a while

    for count in range(min(criteria.graph, len(places) - 1), len(places)):
        graph = kneighbors_graph(places, count, include_self=False)
        if connected_components(graph, directed=False)[0] == 1:
            break
    return count


def _independent(places: np.ndarray) -> np.ndarray:
    """The same places by axes that are as independent as possible."""
    from sklearn.decomposition import FastICA  # not earlier: it takes a while
    from sklearn.exceptions import ConvergenceWarning

    if places.shape[1] < 2:
        return places
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of several axes that are all independent any will do
        return FastICA(whiten="unit-variance", fun="cube", max_iter=1000, random_state=0).fit_transform(places)
