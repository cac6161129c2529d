"""Stage deformation: the smooth deformation model of a flexible molecule, fitted to small images."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch
from rich.progress import Progress

from .. import files
from ..compute import processes_for, random_stream
from ..deformation.fit import fit
from ..deformation.model import DeformationModel
from ..deformation.pose_rescue import RESCUE, rescue_poses
from ..deformation.schedule import DeformationSettings
from ..monitor.progress import print_line
from ..rundir.directory import RunDirectory
from .flexibility import ModelData, read_model_data, start_model
from .job import Job
from .schedules import deformation_settings


def fit_deformation(run: RunDirectory, job: Job) -> None:
    """Fit the deformation model of a flexible molecule to all images: deformation/model.safetensors.

    It begins anew: going on from the flexibility test, held-out images ended in wrong conformations, a whole corner of
    them.
    """
    if run.verdict != "flexible":
        return
    data = read_model_data(run, run.assigned)
    seed = job.settings.seed
    fitting = deformation_settings(job.settings, data.images.shape[-1])
    model = start_model(data, seed, fitting, flexible=True)
    stream = random_stream(seed, "motion", "all", 0)
    with job.estimate.bar("deformation") as bar:
        rescued = fit_model(model, data, fitting, stream, bar, "deformation model", job.workers, RESCUE.at)
    run.record("pose rescue", images=rescued)
    if rescued:
        print_line(f"pose rescue moved {rescued} images to other poses and conformations")
    write_model(run.coarse_model, model, fitting)


def fit_model(
    model: DeformationModel,
    data: ModelData,
    fitting: DeformationSettings,
    stream: torch.Generator,
    bar: Progress,
    what: str,
    workers: int | None,
    rescue_at: Sequence[float] = (),
) -> int:
    """Fit a model to all images; rescue poses after some shares of the epochs. Returns how many images were moved."""
    count = fitting.epochs_for(len(data.images))
    in_class_1 = ~data.consensus.in_class_2
    moved_before = (model.rotations != data.consensus.poses.rotations).flatten(1).any(1)  # at the level before
    training = data.consensus.explained | moved_before
    moved = torch.zeros_like(in_class_1)
    at = [round(share * count) for share in rescue_at]
    shown = bar.add_task(what, total=count)
    threads = processes_for(workers)
    epochs = fit(model, data.images, fitting, stream, epochs=range(count), of=count, training=training, threads=threads)
    for epoch in epochs:
        if epoch in at:
            rescued = rescue_poses(model, data.images, fitting, (epoch - 1) / (count - 1), some=in_class_1)
            moved |= rescued
            training |= rescued  # from here on the model is fitted to them, too
        bar.advance(shown)
    return int(moved.sum())


def write_model(path: Path, model: DeformationModel, fitting: DeformationSettings) -> None:
    """Write a deformation model and how it was fitted."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    files.make_folder(path.parent)
    files.write_weights(path, arrays, {"fitting": asdict(fitting), "moves": model.flexible, "voxel": model.voxel})


def read_model(path: Path, device: torch.device) -> DeformationModel:
    """A deformation model, read once by each process for a file as it was written."""
    return _read_once(path, path.stat().st_mtime_ns, device)


@lru_cache(maxsize=2)
def _read_once(path: Path, written: int, device: torch.device) -> DeformationModel:
    arrays, record = files.read_weights(path)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    model = DeformationModel(
        state["points"],
        state["masses"],
        state["rotations"],
        DeformationSettings(**record["fitting"]),
        voxel=record["voxel"],
        generator=torch.Generator(),
        group=state["group"],
        flexible=record["moves"],
    )
    model.load_state_dict(state)
    return model.to(device)
