"""States: groups of volumes that are alike."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .components import Components


@dataclass(frozen=True)
class StateCriteria:
    """How many states volumes may have; source: chosen without a benchmark.

    Attributes:
        most: states at most.
        mean_per_state: volumes for one state, on average, at least.
        fewest_per_state: volumes of the smallest state, at least.
    """

    most: int = 6
    mean_per_state: int = 10
    fewest_per_state: int = 3

    def most_of(self, volumes: int) -> int:
        """How many states so many volumes may have."""
        return max(1, min(self.most, volumes // self.mean_per_state))


STATES = StateCriteria()


class States(NamedTuple):
    """Volumes in groups."""

    members: np.ndarray  # (n,): number of the state of each volume, the largest first
    representatives: np.ndarray  # (c,): the volume nearest to the middle of each


def find_states(components: Components, count: int, criteria: StateCriteria = STATES) -> States:
    """Group volumes by k-means on their significant components.

    Args:
        components: of the volumes.
        count: groups at most; fewer where one would have fewer than three volumes.
        criteria: fewest volumes of a group.
    """
    from sklearn.cluster import KMeans  # not earlier: it takes a while

    places = components.coordinates[:, : max(1, components.significant)]
    for groups in range(min(count, len(places)), 0, -1):
        clusters = KMeans(groups, n_init=10, random_state=0).fit(places)
        if np.bincount(clusters.labels_).min() >= criteria.fewest_per_state:
            break
    order = np.argsort(-np.bincount(clusters.labels_), kind="stable")
    centres = clusters.cluster_centers_[order]
    members = np.argsort(order)[clusters.labels_]
    distances = np.linalg.norm(places[None] - centres[:, None], axis=2)
    return States(members, distances.argmin(1))
