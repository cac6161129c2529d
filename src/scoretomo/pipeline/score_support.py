"""Stage score support: whether the score of a run is that of its images alone, or includes views of its consensus
volume.
"""

import math
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..compute import best_device, random_stream
from ..denoisers.exact import ExactScore
from ..denoisers.network import NetworkScore
from ..denoisers.tangent import TangentScore
from ..images import disc
from ..monitor.progress import print_line
from ..projection import project
from ..reconstruction.score_support import ScoreSupport, consensus_views, score_support
from ..rotations import random_rotations
from ..rundir.directory import RunDirectory
from ..rundir.rows import SupportTest
from .images import PreparedStack, read_prepared
from .job import Job
from .motion import start_volumes
from .network import open_network
from .posed import Posed, centred_images, read_final

Score = ExactScore | TangentScore | NetworkScore
_VOLUMES = 16  # of the deformation model
_VIEWS = 4  # of each
_CLOSED: dict[str, type[ExactScore | TangentScore]] = {"exact": ExactScore, "tangent": TangentScore}


def open_score(run: RunDirectory, denoiser: str, *, device: torch.device) -> Score:
    """The score of a run's prepared images as they are.

    Args:
        run: the run.
        denoiser: exact, tangent or network.
        device: where it computes.
    """
    if denoiser == "network":
        return _network_score(run.path, run.weights.stat().st_mtime_ns, device)
    return _score_of_images(run.path, denoiser, run.images.stat().st_mtime_ns, device)


def open_posed_score(run: RunDirectory, denoiser: str, *, device: torch.device) -> Score:
    """The score of a run's images as its consensus volume has them: centred by their poses, without outliers, and with
    views of the volume where support.json has it so. Arguments as of `open_score`.
    """
    if denoiser == "network":  # which was trained on the images as they are
        return open_score(run, denoiser, device=device)
    return _score_of_centred_images(run.path, denoiser, run.support.path.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _network_score(directory: Path, written: int, device: torch.device) -> NetworkScore:
    """Read once by each process for a file as it was written, as the two below."""
    return open_network(RunDirectory(directory), device)


@lru_cache(maxsize=1)
def _score_of_images(directory: Path, denoiser: str, written: int, device: torch.device) -> Score:
    prepared = read_prepared(RunDirectory(directory).images)
    mask = disc(prepared.images.shape[-1]).to(device)
    return _CLOSED[denoiser](prepared.normalised().to(device), prepared.background, mask)


@lru_cache(maxsize=1)
def _score_of_centred_images(directory: Path, denoiser: str, written: int, device: torch.device) -> Score:
    run = RunDirectory(directory)
    prepared = read_prepared(run.images)
    mask = disc(prepared.images.shape[-1]).to(device)
    consensus = read_final(run, prepared, prepared.numbers, device)
    images = centred_images(prepared, prepared.numbers, consensus, device)[~consensus.outliers]
    if run.support.read().includes_views:
        views = (consensus_views(volume, prepared.background, mask) for volume in consensus.volumes)
        images = torch.cat([images, *views])
    return _CLOSED[denoiser](images, prepared.background, mask)


def decide_support(run: RunDirectory, job: Job) -> None:
    """Decide by held-out images whether the score includes views of the consensus volume; writes support.json.

    Nothing is tested where rigid bodies make all volumes.
    """
    if run.motion == "bodies" and all(row.class_number == 1 for row in run.poses.read()):
        run.support.write(SupportTest(False, False, None, None, None, None, None))
        return
    with job.estimate.stage("score support"), job.estimate.working("score support: denoising held-out images"):
        has_model = run.verdict == "flexible"
        support = _measure(run, job, has_model=has_model)
    run.support.write(
        SupportTest(
            tested=support.tested,
            includes_views=support.includes_views,
            held_out_error=support.held_out_error,
            held_out_error_with_views=support.held_out_error_with_views,
            low_noise_error=support.low_noise_error,
            model_error=support.model_error,
            model_is_near=support.model_is_near if has_model else None,
        )
    )
    _print_result(support, has_model=has_model)


def _measure(run: RunDirectory, job: Job, *, has_model: bool) -> ScoreSupport:
    prepared = read_prepared(run.images)
    device = best_device()
    consensus = read_final(run, prepared, prepared.numbers, device)
    mask = disc(prepared.images.shape[-1]).to(device)
    good = consensus.explained
    images = centred_images(prepared, prepared.numbers, consensus, device)
    views = _model_views(run, prepared, consensus, images, mask, job.settings.seed) if has_model else None
    return score_support(
        images[good],
        consensus.poses.rotations[good],
        lambda some: _CLOSED[job.settings.denoiser](some, prepared.background, mask),
        prepared.background,
        mask,
        random_stream(job.settings.seed, "left out"),
        group=consensus.group,
        model_views=views,
    )


def _model_views(
    run: RunDirectory, prepared: PreparedStack, consensus: Posed, images: Tensor, mask: Tensor, seed: int
) -> Tensor:
    """Views of the deformation model from directions that no image has."""
    explained = consensus.explained.nonzero()[:, 0]
    some = explained[:: max(1, len(explained) // _VOLUMES)][:_VOLUMES].tolist()
    volumes = start_volumes(run, consensus.of(some), some, images[some] - prepared.background)
    rotations = random_rotations(_VIEWS, random_stream(seed, "left out", "views")).to(images.device)
    return project(volumes, rotations).flatten(0, 1) * mask + prepared.background


def _print_result(support: ScoreSupport, *, has_model: bool) -> None:
    if math.isfinite(support.held_out_error):
        errors = (
            f"denoising error of held-out images {support.held_out_error_with_views:.3f} with them, "
            f"{support.held_out_error:.3f} without"
        )
    else:
        errors = "so few images leave gaps between them"
    kind = "the images and views of the consensus volume" if support.includes_views else "the images alone"
    print_line(f"score support: {kind} ({errors})")
    if has_model:
        length = "short" if support.model_is_near else "long"
        print_line(
            f"refinement will be {length}: denoising changes views of the deformation model by "
            f"{support.model_error:.3f}, "
            f"held-out images by {support.low_noise_error:.3f}"
        )
