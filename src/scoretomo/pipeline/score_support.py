"""The score that a run's volumes are made with: of its images, and where these ask for it of views of its consensus."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from .. import files
from ..compute import best_device, random_stream
from ..consensus.assignment import leave_gaps
from ..denoisers.exact import ExactScore
from ..denoisers.network import NetworkScore
from ..denoisers.tangent import TangentScore
from ..images import disc
from ..monitor.progress import say
from ..monitor.time_estimate import Outlook
from ..projection import project
from ..reconstruction.score_support import ask_left_out_images, consensus_views
from ..rotations import point_group, random_rotations
from ..rundir.directory import RunDirectory, Stopwatch
from .consensus import centred_images, explained_images, read_consensus
from .deformation import conformations
from .images import read_prepared
from .train import open_network

Score = ExactScore | TangentScore | NetworkScore
Known = Literal["unasked", "symmetric", "rigid", "moving", "modelled"]
_VOLUMES, _VIEWS = 16, 4  # of the model of the motion: how many, and how many views of each
_CLOSED: dict[str, type[ExactScore | TangentScore]] = {"exact": ExactScore, "tangent": TangentScore}


def open_score(run: RunDirectory, denoiser: str, *, posed: bool, device: torch.device) -> Score:
    """The score of a run's prepared images.

    Args:
        run: the run.
        denoiser: exact, tangent or network.
        posed: a consensus is there: the images are centred by their poses, and its views may be known, too.
        device: where it computes.
    """
    source = run.weights if denoiser == "network" else run.left_out if posed else run.images
    return _open_score(run.path, denoiser, posed, source.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _open_score(directory: Path, denoiser: str, posed: bool, written: int, device: torch.device) -> Score:
    """Made once by each process for a file as it was written."""
    run = RunDirectory(directory)
    if denoiser == "network":
        return open_network(run, device)
    prepared = read_prepared(run.images)
    mask = disc(prepared.images.shape[-1]).to(device)
    known = prepared.normalised().to(device)
    if posed:
        consensus = read_consensus(run, prepared, prepared.numbers, device)
        known = centred_images(prepared, prepared.numbers, consensus, device)[~consensus.outliers]
        (row,) = files.read_table(run.left_out)
        if row["takes_views"] == "1":
            known = torch.cat([known, *(consensus_views(volume, prepared.background, mask) for volume in consensus.volumes)])
    return _CLOSED[denoiser](known, prepared.background, mask)


def settle_score(run: RunDirectory, denoiser: str, seed: int, outlook: Outlook) -> None:
    """left_out.csv: whether the score should know views of the consensus besides the images; a network never does."""
    if denoiser != "network" and not run.left_out.exists():
        with outlook.stage("left out"):
            _ask(run, denoiser, seed, outlook)


def known_before(run: RunDirectory) -> Known:
    """What is known of the volumes of a run before they are refined, once motion and score are settled.

    Returns:
        The consensus of images too few to say whether the molecule moves ("unasked"; "symmetric", if with its symmetry they leave
        no gaps between their slices) or of a rigid one ("rigid"), or how it moves, in a model whose views do not yet look like
        images ("moving") or do ("modelled").
    """
    if run.motion.exists():
        alike = run.left_out.exists() and files.read_table(run.left_out)[0]["look_alike"] == "1"
        return "modelled" if alike else "moving"
    if run.moves.exists():
        return "rigid"
    (row,) = files.read_table(run.consensus_summary)
    return known_of_few(len(explained_images(run)), row["symmetry"])


def known_of_few(images: int, symmetry: str) -> Known:
    """The same of so many images that show a molecule with a symmetry, if they are not asked whether it moves."""
    return "unasked" if leave_gaps(images, point_group(symmetry)) else "symmetric"


def _ask(run: RunDirectory, denoiser: str, seed: int, outlook: Outlook) -> None:
    clock, prepared, device = Stopwatch(), read_prepared(run.images), best_device()
    consensus = read_consensus(run, prepared, prepared.numbers, device)
    mask, good = disc(prepared.images.shape[-1]).to(device), consensus.teaching
    with outlook.working("asking left-out images what the score should know"):
        images = centred_images(prepared, prepared.numbers, consensus, device)
        views = None
        if run.motion.exists():
            some = good.nonzero()[:, 0][:: max(1, int(good.sum()) // _VOLUMES)][:_VOLUMES].tolist()
            volumes = conformations(run, consensus.of(some), some, images[some] - prepared.background)
            rotations = random_rotations(_VIEWS, random_stream(seed, "left out", "views")).to(device)
            views = project(volumes, rotations).flatten(0, 1) * mask + prepared.background
        verdict = ask_left_out_images(
            images[good],
            consensus.poses.rotations[good],
            lambda known: _CLOSED[denoiser](known, prepared.background, mask),
            prepared.background,
            mask,
            random_stream(seed, "left out"),
            group=consensus.group,
            modelled=views,
        )
    alike = "" if views is None else int(verdict.look_alike)
    flags = {"asked": int(verdict.asked), "takes_views": int(verdict.takes_views), "look_alike": alike}
    files.write_table(run.left_out, [{**verdict._asdict(), **flags}])
    run.record("left out", seconds=clock.seconds())
    asked = "knows views of the consensus" if verdict.takes_views else "knows the images alone, no views of the consensus"
    errors = f"left-out images are denoised with error {verdict.with_views:.3f} with them, {verdict.images:.3f} without"
    say(f"the score {asked}: {errors if verdict.asked else 'so few images leave gaps between them'}")
    if views is not None:
        told = (
            "look like images: refinement will be short"
            if verdict.look_alike
            else "do not yet look like images: refinement will be long"
        )
        change = f"denoising changes them by {verdict.modelled:.3f}, left-out images by {verdict.at_low_noise:.3f}"
        say(f"views of the model of the motion {told} ({change})")
