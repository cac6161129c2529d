"""How long each stage takes, before it begins: core-seconds on the README's machine.

Costs are those of an image at 32 pixels, and the power of the side by which they grow, up to some 100 pixels, from the
log.jsonl of `benchmarks/ensemble.py cost`. Once work has begun, only their ratios count.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..config import ReconstructSettings
from ..consensus.starts import STARTS
from ..deformation.flexibility import FLEXIBILITY
from ..rundir.rows import Verdict
from .schedules import Start, deformation_settings, descent_schedule, start_of_few

_START, _START_EACH = 0.05, 5.5  # of an image, and of each start however few images there are
_CONSENSUS, _CONSENSUS_ITSELF, _CONSENSUS_POWER = 0.12, 9.0, 1.6
_TRIAL, _TRIALS = 0.0020, 2  # of an epoch
_EPOCH, _EPOCH_POWER, _EPOCH_THREADS = 0.0016, 2.2, 2
_ASSIGNMENT = 2  # times the consensus in detail
_SUPPORT, _SUPPORT_POWER = 0.017, 2.6
_STEP, _STEP_POWER = 0.0132, 1.55  # of a volume

Costs = Mapping[str, float]


class Plan(NamedTuple):
    """What a run has ahead of it."""

    settings: ReconstructSettings
    images: int
    size: int  # side of the images in pixels
    batches: tuple[int, ...]  # volumes of each batch that is still to be made
    processes: int
    verdict: Verdict  # of the flexibility test, or the one that is expected

    @property
    def start(self) -> Start:
        """What the volumes probably start from."""
        if self.verdict == "undetermined":
            symmetry = self.settings.symmetry
            return start_of_few(self.images, "C1" if symmetry == "auto" else symmetry)
        if self.verdict == "rigid":
            return "rigid"
        return "flexible" if self.settings.denoiser == "network" else "modelled"


def likely_verdict(images: int) -> Verdict:
    """What is expected of so many images before the flexibility test."""
    return "flexible" if images >= FLEXIBILITY.fewest else "undetermined"


def consensus_cost(plan: Plan) -> Costs:
    """Random starts at low resolution, and the best one in detail."""
    starts = STARTS.count * (_START_EACH + _START * plan.images) / min(plan.processes, STARTS.count)
    return {"starts": starts, "consensus": _detail(plan)}


def _detail(plan: Plan) -> float:
    return (_CONSENSUS_ITSELF + _CONSENSUS * plan.images) * (plan.size / 32) ** _CONSENSUS_POWER


def flexibility_cost(plan: Plan) -> Costs:
    """Two models, fitted as far as a trial goes."""
    if plan.verdict == "undetermined":
        return {}
    epochs = deformation_settings(plan.settings, plan.size).trial_epochs(plan.images)
    return {"flexibility": _TRIALS * _TRIAL * plan.images * epochs / min(plan.processes, _TRIALS)}


def assignment_cost(plan: Plan) -> Costs:
    """Two consensus volumes in detail, of a rigid molecule."""
    return {"assignment": _ASSIGNMENT * _detail(plan)} if plan.verdict == "rigid" else {}


def deformation_cost(plan: Plan) -> Costs:
    """The deformation model of a flexible molecule, level by level."""
    if plan.verdict != "flexible":
        return {}
    costs = {}
    for level, at in enumerate(deformation_settings(plan.settings, plan.size).levels(plan.size)):
        epochs = at.epochs_for(plan.images) * (min(plan.size, at.side) / 32) ** _EPOCH_POWER
        costs[f"deformation {level}"] = _EPOCH * plan.images * epochs / min(plan.processes, _EPOCH_THREADS)
    return costs


def support_cost(plan: Plan) -> Costs:
    """Denoising of held-out images."""
    if plan.settings.denoiser == "network":
        return {}
    return {"score support": _SUPPORT * plan.images * (plan.size / 32) ** _SUPPORT_POWER}


def volumes_cost(plan: Plan) -> Costs:
    """Descents of all volumes that are still to be made."""
    if not plan.batches:
        return {}
    steps = descent_schedule(plan.settings, plan.size, plan.start).steps * sum(plan.batches)
    return {"volumes": _STEP * steps * (plan.size / 32) ** _STEP_POWER / min(plan.processes, len(plan.batches))}
