"""States: groups of volumes that are alike."""

from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from .components import Components

_IN_A_STATE = 3  # volumes at least


class States(NamedTuple):
    """Volumes in groups."""

    members: np.ndarray  # (n,): number of the state of each volume, the largest first
    representatives: np.ndarray  # (c,): the volume nearest to the middle of each


def find_states(components: Components, count: int) -> States:
    """Group volumes by k-means on their significant components: so many groups at most, none of one or two volumes."""
    places = components.coordinates[:, : max(1, components.significant)]
    for groups in range(min(count, len(places)), 0, -1):
        clusters = KMeans(groups, n_init=10, random_state=0).fit(places)
        if np.bincount(clusters.labels_).min() >= _IN_A_STATE:
            break
    order = np.argsort(-np.bincount(clusters.labels_), kind="stable")
    centres = clusters.cluster_centers_[order]
    members = np.argsort(order)[clusters.labels_]
    distances = np.linalg.norm(places[None] - centres[:, None], axis=2)
    return States(members, distances.argmin(1))
