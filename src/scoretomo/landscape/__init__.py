"""The conformational landscape of many volumes: significant components, modes, trajectories, states, observability."""

from .components import COMPONENTS, ComponentCriteria, Components, principal_components, soft_mask, variability_map
from .criteria import LANDSCAPE, LandscapeCriteria
from .embedding import umap_embedding
from .extent import Extent, motion_extent
from .modes import (
    COUNTING,
    CountCriteria,
    confirmed_modes,
    count_independent_modes,
    count_modes,
    mode_coordinates,
)
from .observability import observability
from .states import STATES, StateCriteria, States, find_states
from .trajectories import FramePath, StateTour, path_along_mode, path_between_states

__all__ = [
    "COMPONENTS",
    "COUNTING",
    "LANDSCAPE",
    "STATES",
    "ComponentCriteria",
    "Components",
    "CountCriteria",
    "Extent",
    "FramePath",
    "LandscapeCriteria",
    "StateCriteria",
    "StateTour",
    "States",
    "confirmed_modes",
    "count_independent_modes",
    "count_modes",
    "find_states",
    "mode_coordinates",
    "motion_extent",
    "observability",
    "path_along_mode",
    "path_between_states",
    "principal_components",
    "soft_mask",
    "umap_embedding",
    "variability_map",
]
