"""Volumes as points of a plane in which neighbours stay together (UMAP; McInnes, Healy & Melville, 2018)."""

import warnings

import numpy as np

from .components import Components

_NEIGHBOURS = 15  # that stay together


def umap_embedding(components: Components) -> np.ndarray:
    """Places of the volumes in a plane, from their clear components, shape (n, 2); distances far apart mean little.

    Raises:
        ImportError: umap-learn is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # of what it could do with yet another library
        from umap import UMAP
    places = components.coordinates[:, : max(2, components.clear)]
    neighbours = min(_NEIGHBOURS, len(places) - 1)
    start = places[:, :2] / places[:, :2].std() if len(places) < 10 else "spectral"  # fewer have no spectrum to begin from
    embedded: np.ndarray = UMAP(n_neighbors=neighbours, init=start, random_state=0, n_jobs=1).fit_transform(places)
    return embedded
