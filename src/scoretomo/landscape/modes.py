"""The ways in which volumes differ: how many, where each volume stands along them, maps on the way, and find_states.

A motion of large parts bends: its volumes lie on a curved sheet that needs many components, but has few count_modes m. How many, the
distances between near neighbours say, whose number grows as N ∝ rᵐ (as in Levina & Bickel, 2004); those no farther than noise_floor puts
them are not asked, for noise_floor makes the sheet a cloud of many count_modes. Distances along the graph of neighbours unroll it
(Tenenbaum et al., 2000).
"""

import math
import warnings

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import Isomap
from sklearn.neighbors import kneighbors_graph

from .components import Components

_NEIGHBOURS = (6, 20)  # from which to which nearest neighbour the dimension is measured, or
_BEYOND = 6.0  # from so many times the distance that noise_floor alone puts between volumes
_WIDER = 2.5  # … to so many times as many
_GRAPH = 10  # neighbours of each volume in the graph that is mode_coordinates
FEWEST = 12  # volumes whose dimension can be asked


def count_modes(components: Components) -> int:
    """In how many independent ways the volumes differ; 0 if they don't, beyond noise_floor.

    Fewer than 12 volumes can't tell more than 2, and five or more ways may be told as fewer.
    """
    significant = components.significant
    if significant == 0 or len(components.coordinates) < FEWEST:
        return min(significant, 2)
    far = _sorted_distances(components.coordinates[:, :significant])
    noise = _BEYOND * math.sqrt(2 * float(components.noise_floor.sum()))
    near, most = _NEIGHBOURS
    first = min(max(near, int(np.median((far < noise).sum(1)))), len(far) // 4)
    last = min(max(most, round(_WIDER * first)), len(far) - 1)
    return min(significant, _dimension(far, first, last))


def count_independent_modes(ways: np.ndarray) -> int:
    """In how many independent ways a molecule moves that has real ways to move: a motion along a bent path takes several of these.

    Args:
        ways: how far the molecule has moved in each real way in all images, shape (n, k).
    """
    far = _sorted_distances(ways)
    near, most = (min(number, len(far) - 1) for number in _NEIGHBOURS)
    return min(ways.shape[1], _dimension(far, near, most)) if near < most else ways.shape[1]


def _sorted_distances(places: np.ndarray) -> np.ndarray:
    """Of each place (n, k) to all, itself first, (n, n)."""
    found = torch.from_numpy(places)
    return torch.cdist(found, found).sort(1).values.numpy()


def _dimension(far: np.ndarray, first: int, last: int) -> int:
    """Of a sheet, from the sorted distances of each place to all others, by how they grow from one neighbour to another."""
    growth = np.log(np.maximum(far[:, last], 1e-12) / np.maximum(far[:, first], 1e-12)).mean()
    return max(1, round(math.log(last / first) / max(float(growth), 1e-6)))


def mode_coordinates(components: Components, count: int) -> np.ndarray:
    """Coordinates of the volumes along the motions, each with mean 0 and standard deviation 1; that of most variance first.

    Distances along the graph of neighbours unroll the cloud (Isomap), and axes that are as independent as can be tell the motions
    apart (independent component analysis): parts that move each on their own come out each on its own.

    Args:
        components: of the volumes.
        count: how many motions.

    Returns:
        Shape (n, count).
    """
    places = components.coordinates[:, : components.significant]
    if count == 0 or len(places) < FEWEST:
        found = places[:, :count]
    elif components.significant <= count:
        found = _independent(places)
    else:
        found = _independent(Isomap(n_neighbors=connected_neighbours(places), n_components=count).fit_transform(places))
    found = found - found.mean(0)
    found = found / np.maximum(found.std(0), 1e-12)
    explained = found.T @ components.coordinates / len(found)  # (count, k), covariances
    first = np.abs(explained).argmax(1)
    signs = np.sign(explained[np.arange(count), first])  # the same way each time
    return (found * signs)[:, np.argsort(-np.square(explained).sum(1))]


def confirmed_modes(coordinates: np.ndarray, ways: np.ndarray, most: int) -> np.ndarray:
    """Of more motions than images confirm those that the real ways to move explain best; all, if there are no more.

    Args:
        coordinates: of the volumes along the motions, mean 0 and standard deviation 1, shape (n, m).
        ways: how far the molecule has moved in each real way in the same images, by a model of its own, shape (n, k).
        most: motions that are confirmed_modes.

    Returns:
        Shape (n, min(m, most)).
    """
    if coordinates.shape[1] <= most:
        return coordinates
    known = np.column_stack([np.ones(len(ways)), ways])
    left = np.square(coordinates - known @ np.linalg.lstsq(known, coordinates, rcond=None)[0]).sum(0)
    return coordinates[:, np.sort(np.argsort(left, kind="stable")[:most])]


def connected_neighbours(places: np.ndarray) -> int:
    """As few neighbours as hold all volumes together in a graph, ten at least."""
    for count in range(min(_GRAPH, len(places) - 1), len(places)):
        graph = kneighbors_graph(places, count, include_self=False)
        if connected_components(graph, directed=False)[0] == 1:
            break
    return count


def _independent(places: np.ndarray) -> np.ndarray:
    """The same places by axes that are as independent as can be."""
    if places.shape[1] < 2:
        return places
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of several axes that are all independent any will do
        return FastICA(whiten="unit-variance", fun="cube", max_iter=1000, random_state=0).fit_transform(places)
