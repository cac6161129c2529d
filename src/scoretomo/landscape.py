"""Many volumes together: what moves, in how many ways, and which volumes are alike.

The volumes v_i of one frame, inside a mask and without what their replicas do not agree on, minus their mean, have principal
components; what chance alone does to a volume is known from its two replicas, whose half difference has the spread of their mean.
Variance that is not more than that is no motion.

A motion of large parts bends: its volumes lie on a curved sheet that needs many components, but has few dimensions. How many, the
distances between near neighbours say (Levina & Bickel, 2004), and distances along the graph of neighbours unroll it (Tenenbaum et
al., 2000).
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import Isomap
from sklearn.neighbors import kneighbors_graph
from torch import Tensor

from .fourier import low_pass

_COMPONENTS = 20  # at most
_BRIGHT = 0.15  # of the highest value: what counts as the molecule
_GROWN, _EDGE = 2, 3  # voxels that the mask is wider, and of its soft edge
_NEIGHBOURS = (6, 20)  # from which to which nearest neighbour the dimension is measured
_GRAPH = 10  # neighbours of each volume in the graph that is unrolled
_CLEARLY = 2.0  # times the variance of chance, from which a component is a motion
FEWEST = 12  # volumes whose dimension can be asked
_ENDS = (0.04, 0.96)  # of a way along a motion, as quantiles
_NEAR = 4  # volumes that a frame of it is made of, mostly


class Components(NamedTuple):
    """Principal components of volumes, and what chance alone would give."""

    mean: Tensor  # (d, d, d)
    maps: Tensor  # (k, d, d, d), of norm 1
    coordinates: np.ndarray  # (n, k): volume = mean + Σ coordinate × map
    variances: np.ndarray  # (k,)
    chance: np.ndarray  # (k,): variances of the components of what replicas differ in
    total: float  # variance of all components together

    @property
    def clear(self) -> int:
        """Leading components with clearly more variance than chance gives to any."""
        above = self.variances > _CLEARLY * self.chance.max(initial=0.0)
        return int(np.argmin(above)) if not above.all() else len(above)


def soft_mask(volumes: Tensor) -> Tensor:
    """Where any of the volumes is bright, a little wider and with a soft edge; (n, d, d, d) to (d, d, d)."""
    mean = volumes.mean(0)
    bright = low_pass(mean + 2 * (volumes - mean).square().mean(0).sqrt(), volumes.shape[-1] / 4, 3)
    inside = binary_dilation((bright > _BRIGHT * bright.max()).cpu().numpy(), iterations=_GROWN)
    outside = torch.from_numpy(distance_transform_edt(~inside)).to(volumes)
    return 0.5 * (1 + torch.cos(math.pi * (outside / _EDGE).clamp(0, 1)))


def principal_components(volumes: Tensor, differences: Tensor, mask: Tensor) -> Components:
    """What volumes differ in most, beside what chance makes them differ in.

    Args:
        volumes: in one frame, shape (n, d, d, d), at least two.
        differences: half the difference of the replicas of each, shape (n, d, d, d).
        mask: shape (d, d, d).
    """
    place = mask > 0
    count = min(_COMPONENTS, len(volumes) - 1)
    inside = (volumes * mask)[:, place].numpy()
    found = PCA(count, svd_solver="full").fit(inside)
    noise = (differences * mask)[:, place].double().numpy()
    chance = np.linalg.eigvalsh(noise @ noise.T / len(noise))[::-1][:count]
    maps = torch.zeros(count, *mask.shape)
    maps[:, place] = torch.from_numpy(found.components_).float()
    mean = torch.zeros(mask.shape)
    mean[place] = torch.from_numpy(found.mean_).float()
    coordinates = found.transform(inside)
    total = float(found.explained_variance_.sum() / max(found.explained_variance_ratio_.sum(), 1e-12))
    return Components(mean, maps, coordinates, found.explained_variance_, np.maximum(chance, 0.0), total)


def motion_map(volumes: Tensor, differences: Tensor) -> Tensor:
    """Standard deviation of each voxel beyond what chance gives it; (n, d, d, d) twice to (d, d, d)."""
    return (volumes.var(0) - differences.square().mean(0)).clamp_min(0).sqrt()


def dimensions(components: Components) -> int:
    """In how many independent ways the volumes differ; 0 if they don't, beyond chance; fewer than 12 can't tell more than 2."""
    clear = components.clear
    if clear == 0 or len(components.coordinates) < FEWEST:
        return min(clear, 2)
    first, last = _NEIGHBOURS
    places = torch.from_numpy(components.coordinates[:, :clear]).double()
    near = torch.cdist(places, places).sort(1).values[:, 1 : min(last, len(places) - 1) + 1]
    logs = near.clamp_min(1e-12).log()
    estimates = [k / float((logs[:, k : k + 1] - logs[:, :k]).sum(1).mean()) for k in range(first - 1, near.shape[1])]
    return max(1, min(clear, round(float(np.mean(estimates)))))


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
    """Group volumes by k-means on their clear components."""
    places = components.coordinates[:, : max(1, components.clear)]
    found = KMeans(min(count, len(places)), n_init=10, random_state=0).fit(places)
    order = np.argsort(-np.bincount(found.labels_), kind="stable")
    centres = found.cluster_centers_[order]
    members = np.argsort(order)[found.labels_]
    apart = np.linalg.norm(places[None] - centres[:, None], axis=2)
    return States(members, apart.argmin(1))


class Way(NamedTuple):
    """A way along one motion, and how much of each volume is in each of its frames."""

    places: np.ndarray  # (frames,): along the motion
    weights: np.ndarray  # (frames, n), each frame's sum is 1


def way_along(coordinates: np.ndarray, motion: int, frames: int) -> Way:
    """The way along one motion from one end to the other, the other motions held at their middle.

    A frame is the mean of the volumes that are near, so that it shows what they have in common.

    Args:
        coordinates: of the volumes along the motions, shape (n, k).
        motion: which, from 0.
        frames: how many.
    """
    first, last = np.quantile(coordinates[:, motion], _ENDS)
    places = np.linspace(first, last, frames)
    way = np.zeros((frames, coordinates.shape[1]))
    way[:, motion] = places
    apart = np.linalg.norm(way[:, None] - coordinates[None], axis=2)
    width = np.sort(apart, 1)[:, min(_NEAR, len(coordinates)) - 1 :][:, :1]
    weights = np.exp(-0.5 * (2 * apart / np.maximum(width, 1e-6)) ** 2)
    return Way(places, weights / weights.sum(1, keepdims=True))
