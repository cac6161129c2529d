"""The names of the stages of a run, in their order; `pipeline` has the table of what they do."""

from typing import Literal, get_args

StageName = Literal[
    "images",
    "network",
    "consensus",
    "flexibility",
    "assignment",
    "deformation",
    "bodies",
    "motion",
    "score support",
    "volumes",
    "landscape",
    "reliability",
    "report",
]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
TRAINING: tuple[StageName, ...] = ("images", "network", "report")  # of a network that is trained without volumes
UP_TO_VOLUMES: tuple[StageName, ...] = STAGE_NAMES[: STAGE_NAMES.index("volumes") + 1]
