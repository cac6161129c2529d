"""Trajectories: paths through the volumes, along a mode or from state to state, and the volumes on them."""

from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
from scipy.sparse.csgraph import shortest_path

from .components import Components
from .modes import connected_neighbours
from .states import States

_ENDS = (0.04, 0.96)  # of a trajectory along a mode, as quantiles
_NEAR = 4  # volumes that a frame of it is made of, mostly


class FramePath(NamedTuple):
    """A path through the volumes, and the weight of each in each frame: a frame shows what volumes nearby have in
    common.
    """

    places: np.ndarray  # (frames, k): in the space that it leads through
    weights: np.ndarray  # (frames, n), each frame's sum is 1


def path_along_mode(coordinates: np.ndarray, mode: int, frames: int) -> FramePath:
    """The path along one mode from one end to the other, the other modes at their middle.

    Args:
        coordinates: of the volumes along the modes, shape (n, k).
        mode: which, from 0.
        frames: how many.
    """
    places = np.zeros((frames, coordinates.shape[1]))
    first, last = np.quantile(coordinates[:, mode], _ENDS)
    places[:, mode] = np.linspace(first, last, frames)
    return _through(places, coordinates)


class StateTour(NamedTuple):
    """A path that visits every state once."""

    order: list[int]  # the states as they are visited, from 0; the i-th is at frame i × legs
    path: FramePath


def path_between_states(components: Components, states: States, legs: int) -> StateTour:
    """The shortest path from state to state through volumes that are alike.

    Between two states it goes along the graph of neighbours, so through conformations that were seen, not straight
    across.

    Args:
        components: of the volumes.
        states: their states.
        legs: frames from one state to the next.
    """
    from sklearn.neighbors import kneighbors_graph  # not earlier: it takes a while

    places = components.coordinates[:, : max(1, components.significant)]
    graph = kneighbors_graph(places, connected_neighbours(places), mode="distance", include_self=False)
    ends = states.representatives
    distances, before = shortest_path(graph, directed=False, indices=ends, return_predecessors=True)
    between = distances[:, ends]
    order = min(permutations(range(len(ends))), key=lambda tour: (sum(between[leg] for leg in pairwise(tour)), tour))
    frames = [places[ends[order[0]]][None]]
    for first, last in pairwise(order):
        nodes = [ends[last]]
        while nodes[-1] != ends[first]:
            nodes.append(before[first, nodes[-1]])
        frames.append(_evenly(places[nodes[::-1]], legs))
    return StateTour(list(order), _through(np.concatenate(frames), places))


def _evenly(line: np.ndarray, count: int) -> np.ndarray:
    """So many places along a broken line (m, k), equally far from each other, without its beginning."""
    lengths = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at = np.linspace(0, lengths[-1], count + 1)[1:]
    return np.column_stack([np.interp(at, lengths, column) for column in line.T])


def _through(places: np.ndarray, coordinates: np.ndarray) -> FramePath:
    apart = np.linalg.norm(places[:, None] - coordinates[None], axis=2)
    width = np.sort(apart, 1)[:, min(_NEAR, len(coordinates)) - 1 :][:, :1]
    weights = np.exp(-0.5 * (2 * apart / np.maximum(width, 1e-6)) ** 2)
    return FramePath(places, weights / weights.sum(1, keepdims=True))
