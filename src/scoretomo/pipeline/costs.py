"""How long each stage takes, before it begins: core-seconds of a usual CPU.

Costs are those of an image at 32 pixels, and the power of the side by which they grow, up to some 100 pixels, from the
log.jsonl of `benchmarks/ensemble.py cost`; those of a network from benchmarks/records/network-budget.json. Once work
has begun, only their ratios count.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..config import ReconstructSettings, TrainSettings
from ..consensus.starts import STARTS
from ..deformation.flexibility import FLEXIBILITY
from ..deformation.schedule import DeformationSettings
from ..presets import TRAININGS
from ..reconstruction.algorithm import Descent
from ..rundir.rows import MotionKind, Verdict
from .schedules import Start, deformation_settings, descent_schedule, start_of_few

_EXAMPLE = {"fast": 0.0075, "paper": 0.036, "paper-ribosome": 0.048}  # of the last, by its parameters
_EXAMPLE_POWER = 2.0
_START = 0.05  # of an image
_START_EACH = 5.5  # of each start, however few images there are
_CONSENSUS = 0.12
_CONSENSUS_ITSELF = 9.0  # however few images there are
_CONSENSUS_POWER = 1.6
_TRIAL = 0.0020  # of an epoch
_TRIALS = 2
_EPOCH = 0.0016
_EPOCH_POWER = 2.2
_EPOCH_THREADS = 2
_PROPOSALS = 3
_PROPOSAL = 0.5  # of an image
_DETAIL = 0.1  # of an image
_DETAIL_POWER = 2.8
_BODIES_VOLUME = 0.12
_BODIES_VOLUME_POWER = 2.4
_ASSIGNMENT = 2  # times the consensus in detail
_SUPPORT = 0.017
_SUPPORT_POWER = 2.6
_STEP = 0.0132  # of a volume, with so many views:
_VIEWS = 8
_STEP_POWER = 1.55

Costs = Mapping[str, float]


class Plan(NamedTuple):
    """What a run has ahead of it."""

    settings: ReconstructSettings
    training: TrainSettings
    images: int
    size: int  # side of the images in pixels
    batches: tuple[int, ...]  # volumes of each batch that is still to be made
    processes: int
    verdict: Verdict  # of the flexibility test, or the one that is expected
    motion: MotionKind = "none"  # what the volumes move by; none before it is decided

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


def network_cost(plan: Plan) -> Costs:
    """The training of a network; each step waits for all its shards, so that more processes than these do not help."""
    training = TRAININGS[plan.training.network]
    examples = training.examples if plan.training.examples is None else plan.training.examples
    cost = _EXAMPLE[plan.training.network] * examples * (plan.size / 32) ** _EXAMPLE_POWER
    return {"network": cost / min(plan.processes, training.shards)}


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
    """The smooth deformation model of a flexible molecule, on small images."""
    if plan.verdict != "flexible":
        return {}
    return {"deformation": _epochs(plan, deformation_settings(plan.settings, plan.size))}


def _epochs(plan: Plan, fitting: DeformationSettings) -> float:
    """The epochs of a level of the deformation model."""
    epochs = fitting.epochs_for(plan.images) * (min(plan.size, fitting.side) / 32) ** _EPOCH_POWER
    return _EPOCH * plan.images * epochs / min(plan.processes, _EPOCH_THREADS)


def bodies_cost(plan: Plan) -> Costs:
    """Rigid bodies by several tolerances, on small images."""
    if plan.verdict != "flexible":
        return {}
    return {"bodies": _PROPOSALS * _PROPOSAL * plan.images / min(plan.processes, _PROPOSALS)}


def motion_cost(plan: Plan) -> Costs:
    """The model of the motion in detail: finer levels of a smooth one, or else rigid bodies."""
    if plan.verdict != "flexible":
        return {}
    if plan.motion == "smooth":
        _, *finer = deformation_settings(plan.settings, plan.size).levels(plan.size)
        return {"motion": sum(_epochs(plan, at) for at in finer)}
    return {"motion": _DETAIL * plan.images * (plan.size / 32) ** _DETAIL_POWER}


def support_cost(plan: Plan) -> Costs:
    """Denoising of held-out images."""
    if plan.settings.denoiser == "network" or plan.motion == "bodies":
        return {}
    return {"score support": _SUPPORT * plan.images * (plan.size / 32) ** _SUPPORT_POWER}


def volumes_cost(plan: Plan) -> Costs:
    """Descents of all volumes that are still to be made."""
    if not plan.batches:
        return {}
    if plan.motion == "bodies":
        cost = _BODIES_VOLUME * (plan.size / 32) ** _BODIES_VOLUME_POWER
        return {"volumes": cost * sum(plan.batches) / min(plan.processes, len(plan.batches))}
    schedule = descent_schedule(plan.settings, plan.size, plan.start)
    views = schedule.views if isinstance(schedule, Descent) else schedule.each.views
    of_a_volume = _STEP * schedule.steps * (sum(views) / 2 / _VIEWS) * (plan.size / 32) ** _STEP_POWER
    return {"volumes": of_a_volume * sum(plan.batches) / min(plan.processes, len(plan.batches))}
