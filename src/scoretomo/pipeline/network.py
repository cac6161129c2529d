"""Stage network: the network score is trained on the prepared images, and its denoising error measured."""

from ..compute import best_device, joined_group
from ..rundir.directory import RunDirectory
from .denoising import measure_score
from .job import Job
from .train import train_network


def train_score(run: RunDirectory, job: Job) -> None:
    """Train the network of a run, or continue to, and write score/."""
    with joined_group() as group:
        train_network(run, job.training, group, seed=job.settings.seed, workers=job.workers)
    measure_score(run, best_device())
