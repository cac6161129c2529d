"""The ways in which volumes differ: how many, where each volume stands along them, maps on the way, and states.

A motion of large parts bends: its volumes lie on a curved sheet that needs many components, but has few dimensions m. How many, the
distances between near neighbours say, whose number grows as N ∝ rᵐ (as in Levina & Bickel, 2004); those no farther than chance puts
them are not asked, for chance makes the sheet a cloud of many dimensions. Distances along the graph of neighbours unroll it
(Tenenbaum et al., 2000).
"""

import math
import warnings
from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components, shortest_path
from sklearn.cluster import KMeans
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import Isomap
from sklearn.neighbors import kneighbors_graph

from .components import Components

_NEIGHBOURS = (6, 20)  # from which to which nearest neighbour the dimension is measured, or
_BEYOND = 6.0  # from so many times the distance that chance alone puts between volumes
_WIDER = 2.5  # … to so many times as many
_IN_A_STATE = 3  # volumes at least
_GRAPH = 10  # neighbours of each volume in the graph that is unrolled
FEWEST = 12  # volumes whose dimension can be asked
_ENDS = (0.04, 0.96)  # of a way along a motion, as quantiles
_NEAR = 4  # volumes that a frame of it is made of, mostly


def dimensions(components: Components) -> int:
    """In how many independent ways the volumes differ; 0 if they don't, beyond chance.

    Fewer than 12 volumes can't tell more than 2, and five or more ways may be told as fewer.
    """
    clear = components.clear
    if clear == 0 or len(components.coordinates) < FEWEST:
        return min(clear, 2)
    far = _sorted_distances(components.coordinates[:, :clear])
    noise = _BEYOND * math.sqrt(2 * float(components.chance.sum()))
    near, most = _NEIGHBOURS
    first = min(max(near, int(np.median((far < noise).sum(1)))), len(far) // 4)
    last = min(max(most, round(_WIDER * first)), len(far) - 1)
    return min(clear, _dimension(far, first, last))


def independent_ways(ways: np.ndarray) -> int:
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


def unrolled(components: Components, count: int) -> np.ndarray:
    """Coordinates of the volumes along the motions, each with mean 0 and standard deviation 1; that of most variance first.

    Distances along the graph of neighbours unroll the cloud (Isomap), and axes that are as independent as can be tell the motions
    apart (independent component analysis): parts that move each on their own come out each on its own.

    Args:
        components: of the volumes.
        count: how many motions.

    Returns:
        Shape (n, count).
    """
    places = components.coordinates[:, : components.clear]
    if count == 0 or len(places) < FEWEST:
        found = places[:, :count]
    elif components.clear <= count:
        found = _independent(places)
    else:
        found = _independent(Isomap(n_neighbors=_neighbours(places), n_components=count).fit_transform(places))
    found = found - found.mean(0)
    found = found / np.maximum(found.std(0), 1e-12)
    explained = found.T @ components.coordinates / len(found)  # (count, k), covariances
    first = np.abs(explained).argmax(1)
    signs = np.sign(explained[np.arange(count), first])  # the same way each time
    return (found * signs)[:, np.argsort(-np.square(explained).sum(1))]


def confirmed(coordinates: np.ndarray, ways: np.ndarray, most: int) -> np.ndarray:
    """Of more motions than images confirm those that the real ways to move explain best; all, if there are no more.

    Args:
        coordinates: of the volumes along the motions, mean 0 and standard deviation 1, shape (n, m).
        ways: how far the molecule has moved in each real way in the same images, by a model of its own, shape (n, k).
        most: motions that are confirmed.

    Returns:
        Shape (n, min(m, most)).
    """
    if coordinates.shape[1] <= most:
        return coordinates
    known = np.column_stack([np.ones(len(ways)), ways])
    left = np.square(coordinates - known @ np.linalg.lstsq(known, coordinates, rcond=None)[0]).sum(0)
    return coordinates[:, np.sort(np.argsort(left, kind="stable")[:most])]


def _neighbours(places: np.ndarray) -> int:
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


class States(NamedTuple):
    """Volumes in groups."""

    members: np.ndarray  # (n,): number of the state of each volume, the largest first
    representatives: np.ndarray  # (c,): the volume nearest to the middle of each


def states(components: Components, count: int) -> States:
    """Group volumes by k-means on their clear components: so many groups at most, and none of a volume or two that stand apart."""
    places = components.coordinates[:, : max(1, components.clear)]
    for groups in range(min(count, len(places)), 0, -1):
        found = KMeans(groups, n_init=10, random_state=0).fit(places)
        if np.bincount(found.labels_).min() >= _IN_A_STATE:
            break
    order = np.argsort(-np.bincount(found.labels_), kind="stable")
    centres = found.cluster_centers_[order]
    members = np.argsort(order)[found.labels_]
    apart = np.linalg.norm(places[None] - centres[:, None], axis=2)
    return States(members, apart.argmin(1))


class Way(NamedTuple):
    """A way through the volumes, and how much of each is in each frame: a frame shows what volumes nearby have in common."""

    places: np.ndarray  # (frames, k): in the space that it leads through
    weights: np.ndarray  # (frames, n), each frame's sum is 1


def way_along(coordinates: np.ndarray, motion: int, frames: int) -> Way:
    """The way along one motion from one end to the other, the other motions held at their middle.

    Args:
        coordinates: of the volumes along the motions, shape (n, k).
        motion: which, from 0.
        frames: how many.
    """
    places = np.zeros((frames, coordinates.shape[1]))
    first, last = np.quantile(coordinates[:, motion], _ENDS)
    places[:, motion] = np.linspace(first, last, frames)
    return _through(places, coordinates)


class Tour(NamedTuple):
    """A way that visits every state once."""

    order: list[int]  # the states as they are visited, from 0; the i-th stands at frame i × legs
    way: Way


def way_between(components: Components, found: States, legs: int) -> Tour:
    """The shortest way from state to state through volumes that are alike.

    Between two states it goes along the graph of neighbours, so through conformations that were seen, not straight across.

    Args:
        components: of the volumes.
        found: their states.
        legs: frames from one state to the next.
    """
    places = components.coordinates[:, : max(1, components.clear)]
    graph = kneighbors_graph(places, _neighbours(places), mode="distance", include_self=False)
    ends = found.representatives
    far, before = shortest_path(graph, directed=False, indices=ends, return_predecessors=True)
    between = far[:, ends]
    order = min(permutations(range(len(ends))), key=lambda tour: (sum(between[leg] for leg in pairwise(tour)), tour))
    frames = [places[ends[order[0]]][None]]
    for first, last in pairwise(order):
        nodes = [ends[last]]
        while nodes[-1] != ends[first]:
            nodes.append(before[first, nodes[-1]])
        frames.append(_evenly(places[nodes[::-1]], legs))
    return Tour(list(order), _through(np.concatenate(frames), places))


def _evenly(line: np.ndarray, count: int) -> np.ndarray:
    """So many places along a broken line (m, k), equally far from each other, its beginning left out."""
    lengths = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at = np.linspace(0, lengths[-1], count + 1)[1:]
    return np.column_stack([np.interp(at, lengths, column) for column in line.T])


def _through(places: np.ndarray, coordinates: np.ndarray) -> Way:
    apart = np.linalg.norm(places[:, None] - coordinates[None], axis=2)
    width = np.sort(apart, 1)[:, min(_NEAR, len(coordinates)) - 1 :][:, :1]
    weights = np.exp(-0.5 * (2 * apart / np.maximum(width, 1e-6)) ** 2)
    return Way(places, weights / weights.sum(1, keepdims=True))
