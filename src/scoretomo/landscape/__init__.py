"""Many volumes together: what moves, in how many ways, which volumes are alike, and which can be trusted."""

from .components import Components, motion_map, principal_components, soft_mask
from .embedding import umap_embedding
from .extent import Travel, travel
from .modes import FEWEST, States, Tour, Way, confirmed, dimensions, independent_ways, states, unrolled, way_along, way_between
from .observability import seen_motions

__all__ = [
    "FEWEST",
    "Components",
    "States",
    "Tour",
    "Travel",
    "Way",
    "confirmed",
    "dimensions",
    "independent_ways",
    "motion_map",
    "principal_components",
    "seen_motions",
    "soft_mask",
    "states",
    "travel",
    "umap_embedding",
    "unrolled",
    "way_along",
    "way_between",
]
