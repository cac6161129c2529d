"""All criteria by which a run decides, for its record."""

from dataclasses import asdict
from typing import Any

from ..consensus.cross_validation import ASSIGNMENT
from ..consensus.mixture import MIXTURE
from ..consensus.outliers import OUTLIERS
from ..consensus.soft_assignment import GAPS
from ..consensus.starts import STARTS
from ..consensus.symmetry import SYMMETRY
from ..deformation.flexibility import FLEXIBILITY
from ..deformation.pose_rescue import RESCUE
from ..deformation.principal_modes import MODES
from ..images import JUNK
from ..landscape import COMPONENTS, COUNTING, LANDSCAPE, STATES
from ..reconstruction.algorithm import DIVERGENCE
from ..reconstruction.score_support import SUPPORT
from ..reliability.calibration import RELIABILITY
from ..rundir.directory import RunDirectory
from .bodies import BODIES
from .posed import RESOLUTION
from .reliability import VOLUME
from .volumes import STRENGTH

_CRITERIA: dict[str, Any] = {
    "junk": JUNK,
    "starts": STARTS,
    "gaps": GAPS,
    "symmetry": SYMMETRY,
    "outliers": OUTLIERS,
    "mixture": MIXTURE,
    "flexibility": FLEXIBILITY,
    "assignment": ASSIGNMENT,
    "pose_rescue": RESCUE,
    "modes": MODES,
    "bodies": BODIES,
    "score_support": SUPPORT,
    "resolution": RESOLUTION,
    "divergence": DIVERGENCE,
    "strength": STRENGTH,
    "landscape": LANDSCAPE,
    "components": COMPONENTS,
    "mode_count": COUNTING,
    "states": STATES,
    "volumes": VOLUME,
    "reliability": RELIABILITY,
}


def all_criteria() -> dict[str, Any]:
    """Every threshold that decides something, by method and name."""
    return {name: asdict(criteria) for name, criteria in _CRITERIA.items()}


def record_criteria(run: RunDirectory) -> None:
    """Write them into log.jsonl, once for a run."""
    if not any(record["event"] == "criteria" for record in run.records()):
        run.record("criteria", **all_criteria())
