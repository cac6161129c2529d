"""Volumes as points of a plane in which neighbours stay together (UMAP; McInnes, Healy & Melville, 2018)."""

import atexit
import os
import shutil
import warnings
from collections.abc import Callable
from tempfile import mkdtemp
from typing import Any

import numpy as np

from .components import Components

_NEIGHBOURS = 15  # that stay together


def umap_embedding(components: Components) -> np.ndarray:
    """Places of the volumes in a plane, from their significant components, shape (n, 2); distances far apart mean
    little.

    Volumes that are all the same are in one place.

    Raises:
        ImportError: umap-learn is not installed.
        OSError: there is no folder to which compiled code can be written.
    """
    places = components.coordinates[:, : max(2, components.significant)]
    if not places.any():
        return np.zeros((len(places), 2))
    umap = _umap()
    neighbours = min(_NEIGHBOURS, len(places) - 1)
    start = (
        places[:, :2] / places[:, :2].std() if len(places) < 10 else "spectral"
    )  # fewer have no spectrum to begin from
    embedded: np.ndarray = umap(n_neighbors=neighbours, init=start, random_state=0, n_jobs=1).fit_transform(places)
    return embedded


def _umap() -> Callable[..., Any]:
    """UMAP, whose compiled code goes to a temporary folder where its own and the user's can't be written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # of what it could do with yet another library
        try:
            from umap import UMAP
        except RuntimeError:
            from numba.core import config

            os.environ["NUMBA_CACHE_DIR"] = folder = mkdtemp(prefix="scoretomo-")
            config.reload_config()
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            from umap import UMAP
    return UMAP
