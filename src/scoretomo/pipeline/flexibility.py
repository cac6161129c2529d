"""Stage flexibility: a deformation model and a rigid one are fitted to most images, and compared on the
held-out ones.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..compute import best_device, processes_for, random_stream, run_tasks
from ..deformation.fit import fit, residual_fractions
from ..deformation.flexibility import FLEXIBILITY, judge_flexibility
from ..deformation.model import DeformationModel, displacements, model_from_consensus
from ..deformation.principal_modes import principal_modes
from ..deformation.schedule import DeformationSettings
from ..monitor.progress import print_line
from ..rundir.directory import RunDirectory
from ..rundir.folders import ConsensusFolder
from ..rundir.rows import FlexibilityTest, HeldOutRow, ModeRow, Verdict
from ..rundir.tables import Table
from .images import read_prepared
from .job import Job
from .posed import Posed, centred_images, read_consensus
from .schedules import deformation_settings


class Trial(NamedTuple):
    """A model that is fitted to most images, and compared with the held-out ones."""

    directory: Path
    seed: int
    fitting: DeformationSettings
    flexible: bool

    @property
    def table(self) -> Table[HeldOutRow]:
        """The residuals of the held-out images."""
        run = RunDirectory(self.directory)
        return run.flexible_trial if self.flexible else run.rigid_trial


class ModelData(NamedTuple):
    """What a model is fitted to."""

    numbers: list[int]  # of the images in the user's stack
    images: Tensor  # centred, empty space 0, (n, d, d)
    consensus: Posed  # with the poses in it


def decide_flexibility(run: RunDirectory, job: Job) -> None:
    """Decide whether the molecule is flexible, where there are images enough; writes flexibility/test.json."""
    data = read_model_data(run, run.first)
    count = len(data.images)
    size = data.images.shape[-1]
    if int(data.consensus.explained.sum()) < FLEXIBILITY.fewest:
        run.flexibility.write(FlexibilityTest(None, None, None, None, FLEXIBILITY.threshold, "undetermined"))
        return
    fitting = deformation_settings(job.settings, size)
    trials = [Trial(run.path, job.settings.seed, fitting, flexible) for flexible in (True, False)]
    tasks = [trial for trial in trials if not trial.table.exists()]
    if tasks:
        with job.estimate.bar("flexibility") as bar:
            shown = bar.add_task("flexibility test: held-out images", total=len(tasks) * fitting.trial_epochs(count))
            for _, done in run_tasks(try_model, tasks, processes_for(job.workers)):
                bar.advance(shown, done)
    _judge(run, fitting, size)


def _judge(run: RunDirectory, fitting: DeformationSettings, size: int) -> None:
    """Write and show the result of the test."""
    flexible = run.flexible_trial.read()
    rigid = run.rigid_trial.read()
    result = judge_flexibility(
        [row.residual_fraction for row in rigid],
        [row.residual_fraction for row in flexible],
        [row.displacement for row in flexible],
    )
    verdict: Verdict = "flexible" if result.flexible else "rigid"
    displacement = result.displacement * size / fitting.side
    run.flexibility.write(
        FlexibilityTest(
            result.rigid_residual,
            result.flexible_residual,
            displacement,
            result.statistic,
            FLEXIBILITY.threshold,
            verdict,
        )
    )
    print_line(
        f"flexibility test: the molecule is {verdict} (statistic {result.statistic:.2g}, threshold "
        f"{FLEXIBILITY.threshold:g}): "
        f"residual fraction of held-out images {100 * result.rigid_residual:.2f} % by a rigid model, "
        f"{100 * result.flexible_residual:.2f} % by a deformation model, displacement {displacement:.2f} pixels"
    )


def read_model_data(run: RunDirectory, folder: ConsensusFolder) -> ModelData:
    """The images, centred by their poses in a consensus volume."""
    prepared = read_prepared(run.images)
    device = best_device()
    consensus = read_consensus(folder, prepared, prepared.numbers, device)
    images = centred_images(prepared, prepared.numbers, consensus, device) - prepared.background
    return ModelData(prepared.numbers, images, consensus)


def try_model(trial: Trial) -> Iterator[int]:
    """Fit a model to four fifths of the images as far as a trial goes, and write how well it explains the others;
    yields each epoch.
    """
    run = RunDirectory(trial.directory)
    data = read_model_data(run, run.first)
    images = data.images
    explained = data.consensus.explained
    model = start_model(data, trial.seed, trial.fitting, flexible=trial.flexible)
    places = explained.nonzero()[:, 0]
    order = torch.randperm(len(places), generator=random_stream(trial.seed, "motion", "left out")).to(places.device)
    held_out = places[order[: round(FLEXIBILITY.held_out * len(places))]]
    training = explained.clone()
    training[held_out] = False
    last = trial.fitting.trial_epochs(len(images))
    of = trial.fitting.epochs_for(len(images))
    stream = random_stream(trial.seed, "motion", "trial")
    for _ in fit(model, images, trial.fitting, stream, epochs=range(last), of=of, training=training):
        yield 1
    done = (last - 1) / (of - 1)
    residuals = residual_fractions(model, images, trial.fitting, done, some=held_out).tolist()
    moved = displacements(model, held_out).tolist()
    if trial.flexible:
        count = trial.fitting.latent_dimensions
        modes = principal_modes(model, images, trial.fitting, done, training=training, held_out=held_out, count=count)
        amplitudes = modes.amplitudes[:, modes.confirmed()].tolist()
        run.trial_modes.write(
            [ModeRow(number, tuple(row)) for number, row in zip(data.numbers, amplitudes, strict=True)]
        )
    columns = zip(held_out.tolist(), residuals, moved, strict=True)
    trial.table.write([HeldOutRow(data.numbers[place], residual, distance) for place, residual, distance in columns])


def start_model(data: ModelData, seed: int, fitting: DeformationSettings, *, flexible: bool) -> DeformationModel:
    """The consensus volume as a model, before it is fitted."""
    consensus = data.consensus
    stream = random_stream(seed, "motion", "start")
    return model_from_consensus(
        consensus.volumes[0], consensus.poses.rotations, fitting, stream, group=consensus.group, flexible=flexible
    )
