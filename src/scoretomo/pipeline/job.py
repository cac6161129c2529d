"""What a stage is given beside the run directory."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..config import ImportRequest, ReconstructSettings, TrainSettings
from ..monitor.time_estimate import TimeEstimate


class Job(NamedTuple):
    """The settings of a run, and how it is worked on."""

    images: ImportRequest | None  # class averages to prepare; None where the prepared images are there
    settings: ReconstructSettings
    training: TrainSettings
    record: Mapping[str, Any]  # the settings as config.toml holds them
    workers: int | None  # processes; None for as many as there are cores
    estimate: TimeEstimate
