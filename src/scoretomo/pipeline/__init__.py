"""The stages of a run in their order. Running, resuming, time estimates, watching and the report derive from this
table.

    images ─► network ─► consensus ─► flexibility ─► assignment ─► deformation ─► bodies ─► motion
                        motion ─► score support ─► volumes ─► landscape ─► reliability ─► report

Each stage reads what stages before it wrote, and writes its own files. A stage that is done is not run again, unless
one that it needs has been run. The paper's Algorithm 1 is the short way: images, network, volumes, report.
"""

from collections.abc import Callable
from typing import NamedTuple

from ..config import ReconstructSettings
from ..landscape import LANDSCAPE
from ..rundir.directory import RunDirectory
from ..rundir.stages import StageName
from .assignment import assign_images
from .bodies import find_bodies
from .consensus import find_consensus
from .costs import (
    Costs,
    Plan,
    assignment_cost,
    bodies_cost,
    consensus_cost,
    deformation_cost,
    flexibility_cost,
    motion_cost,
    network_cost,
    support_cost,
    volumes_cost,
)
from .deformation import fit_deformation
from .flexibility import decide_flexibility
from .images import prepare_images
from .job import Job
from .landscape import analyse_volumes, landscape_numbers
from .motion import fit_motion
from .reliability import judge_volumes
from .report import write_report
from .score_support import decide_support
from .train import train_score
from .volumes import make_volumes, volumes_are_made


class Stage(NamedTuple):
    """One stage of a run."""

    name: StageName
    needs: tuple[StageName, ...]  # direct predecessors; the stages before these follow through them
    writes: tuple[str, ...]  # files and folders in the run directory
    applies: Callable[[ReconstructSettings], bool]  # whether a run with these settings has it
    done: Callable[[RunDirectory, ReconstructSettings], bool]
    cost: Callable[[Plan], Costs]  # core-seconds of each of its parts
    run: Callable[[RunDirectory, Job], None]


def _always(settings: ReconstructSettings) -> bool:
    return True


def _ensemble(settings: ReconstructSettings) -> bool:
    return settings.method == "ensemble"


def _network(settings: ReconstructSettings) -> bool:
    return settings.denoiser == "network"


def _closed_form(settings: ReconstructSettings) -> bool:
    return _ensemble(settings) and not _network(settings)


def _no_cost(plan: Plan) -> Costs:
    return {}


def _has_landscape(run: RunDirectory, settings: ReconstructSettings) -> bool:
    return run.landscape.rows.exists() or len(landscape_numbers(run)) < LANDSCAPE.fewest


def _has_deformation(run: RunDirectory, settings: ReconstructSettings) -> bool:
    return run.flexibility.exists() and (run.verdict != "flexible" or run.coarse_model.exists())


def _report(run: RunDirectory, job: Job) -> None:
    write_report(run)


# fmt: off
STAGES = (
    Stage("images",        (),                          ("images.mrcs", "images.csv", "images.json"),
          _always,         lambda run, _: run.images.exists(),          _no_cost,           prepare_images),
    Stage("network",       ("images",),                 ("score",),
          _network,        lambda run, _: run.denoising.exists(),       network_cost,       train_score),
    Stage("consensus",     ("images",),                 ("consensus",),
          _ensemble,       lambda run, _: run.first.poses.exists(),     consensus_cost,     find_consensus),
    Stage("flexibility",   ("consensus",),              ("flexibility",),
          _ensemble,       lambda run, _: run.flexibility.exists(),     flexibility_cost,   decide_flexibility),
    Stage("assignment",    ("flexibility",),            ("assignment", "consensus.mrc", "consensus-2.mrc"),
          _ensemble,       lambda run, _: run.assigned.poses.exists(),  assignment_cost,    assign_images),
    Stage("deformation",   ("assignment",),             ("deformation",),
          _ensemble,       _has_deformation,                            deformation_cost,   fit_deformation),
    Stage("bodies",        ("deformation",),            ("bodies",),
          _ensemble,       lambda run, _: run.bodies_test.exists(),     bodies_cost,        find_bodies),
    Stage("motion",        ("bodies",),                 ("motion", "bodies.csv", "angles.csv", "latent.csv",
                                                         "poses.csv"),
          _ensemble,       lambda run, _: run.poses.exists(),           motion_cost,        fit_motion),
    Stage("score support", ("motion",),                 ("support.json",),
          _closed_form,    lambda run, _: run.support.exists(),         support_cost,       decide_support),
    Stage("volumes",       ("images", "network", "motion", "score support"),
                                                        ("volumes", "differences", "convergence", "mean.mrc",
                                                         "volumes.csv", "volumes.star"),
          _always,         volumes_are_made,                            volumes_cost,       make_volumes),
    Stage("landscape",     ("volumes",),                ("landscape", "landscape.csv"),
          _ensemble,       _has_landscape,                              _no_cost,           analyse_volumes),
    Stage("reliability",   ("landscape",),              ("reliability.csv",),
          _ensemble,       lambda run, _: run.reliability.exists(),     _no_cost,           judge_volumes),
    Stage("report",        ("volumes", "reliability"),  ("report.html",),
          _always,         lambda run, _: run.report.exists(),          _no_cost,           _report),
)
# fmt: on
