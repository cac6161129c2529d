"""Stage deformation: the deformation model of a flexible molecule, and the final pose of each image."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from .. import files
from ..compute import processes_for, random_stream
from ..consensus.outliers import find_outliers
from ..deformation.fit import fit
from ..deformation.model import DeformationModel, model_views, model_volumes, sharpened_model
from ..deformation.pose_rescue import RESCUE, rescue_poses
from ..deformation.schedule import DeformationSettings
from ..fourier import low_pass
from ..images import correlation, disc
from ..matching import Poses, choose
from ..monitor.progress import print_line
from ..projection import rotate
from ..rundir.directory import RunDirectory
from ..rundir.rows import LatentRow
from .flexibility import ModelData, read_model_data, start_model
from .job import Job
from .posed import Posed, pose_rows
from .schedules import deformation_settings


def fit_deformation(run: RunDirectory, job: Job) -> None:
    """Fit the deformation model of a flexible molecule, and write the final poses: latent.csv and poses.csv."""
    if run.verdict != "flexible":
        run.poses.write(run.assigned.poses.read())
        return
    data = read_model_data(run, run.assigned)
    if not run.model.exists():
        _fit_levels(run, data, job)
    _write_poses(run, data)


def _fit_levels(run: RunDirectory, data: ModelData, job: Job) -> None:
    """Fit to all images, and to larger ones level by level in more detail.

    It begins anew: going on from the flexibility test, held-out images ended in wrong conformations, a whole corner of
    them.
    """
    device = data.images.device
    size = data.images.shape[-1]
    seed = job.settings.seed
    levels = deformation_settings(job.settings, size).levels(size)
    for level, at in enumerate(levels):
        path = run.model if at is levels[-1] else run.coarse_model(level)
        if path.exists():
            continue
        if level == 0:
            model = start_model(data, seed, at, flexible=True)
        else:
            stream = random_stream(seed, "motion", "sharper", level)
            model = sharpened_model(_read(run.coarse_model(level - 1), device), size, at, stream)
        stream = random_stream(seed, "motion", "all", level)
        detail = f" at {min(size, at.side)} pixels" if len(levels) > 1 else ""
        threads = processes_for(job.workers)
        rescue_at = RESCUE.at if level == 0 else ()
        with job.estimate.bar(f"deformation {level}") as bar:
            rescued = _fit(model, data, at, stream, bar, f"deformation model{detail}", threads, rescue_at)
        if level == 0:
            run.record("pose rescue", images=rescued)
            if rescued:
                print_line(f"pose rescue moved {rescued} images to other poses and conformations")
        _write(path, model, at)


def _fit(
    model: DeformationModel,
    data: ModelData,
    fitting: DeformationSettings,
    stream: torch.Generator,
    bar: Progress,
    what: str,
    threads: int,
    rescue_at: Sequence[float],
) -> int:
    """Fit a model to all images; rescue poses after some shares of the epochs. Returns how many images were moved."""
    count = fitting.epochs_for(len(data.images))
    in_class_1 = ~data.consensus.in_class_2
    moved_before = (model.rotations != data.consensus.poses.rotations).flatten(1).any(1)  # at the level before
    training = data.consensus.explained | moved_before
    moved = torch.zeros_like(in_class_1)
    at = [round(share * count) for share in rescue_at]
    shown = bar.add_task(what, total=count)
    epochs = fit(model, data.images, fitting, stream, epochs=range(count), of=count, training=training, threads=threads)
    for epoch in epochs:
        if epoch in at:
            rescued = rescue_poses(model, data.images, fitting, (epoch - 1) / (count - 1), some=in_class_1)
            moved |= rescued
            training |= rescued  # from here on the model is fitted to them, too
        bar.advance(shown)
    return int(moved.sum())


@torch.no_grad()
def _write_poses(run: RunDirectory, data: ModelData) -> None:
    """latent.csv, and poses.csv: in its own conformation an image has a better pose."""
    model = read_model(run, data.images.device)
    size = data.images.shape[-1]
    in_class_1 = ~data.consensus.in_class_2
    before = data.consensus.poses
    fits = correlation(model_views(model, size), data.images, disc(size).to(data.images))
    poses = choose(in_class_1, Poses(model.poses(), before.shifts + model.shifts * (size / 2), fits), before)
    columns = zip(data.numbers, model.latent.tolist(), in_class_1.tolist(), strict=True)
    run.latent.write([LatentRow(number, tuple(z)) for number, z, is_class_1 in columns if is_class_1])
    outliers = data.consensus.outliers.clone()
    outliers[in_class_1] = find_outliers(poses.of(in_class_1))
    run.poses.write(pose_rows(data.numbers, poses, outliers, data.consensus.in_class_2))


@torch.no_grad()
def start_volumes(run: RunDirectory, consensus: Posed, places: Sequence[int], images: Tensor) -> Tensor:
    """What the volumes of some images start from before they are refined, in the poses of these.

    Args:
        run: the run.
        consensus: the consensus and these images in it.
        places: of these images among the prepared ones.
        images: these images, centred, empty space 0, shape (b, d, d).

    Returns:
        Shape (b, d, d, d).
    """
    which = zip(consensus.in_class_2.tolist(), consensus.poses.rotations, strict=True)
    starts = torch.stack([rotate(consensus.volumes[int(is_class_2)], turn) for is_class_2, turn in which])
    if run.verdict != "flexible":
        return starts
    model = read_model(run, images.device)
    moved = model_volumes(model, places, images)
    if images.shape[-1] > model.size:  # what is finer than the model's side is as in the consensus
        moved += starts - low_pass(starts, model.size / 2, 3)
    return torch.where(consensus.in_class_2[:, None, None, None], starts, moved)


def read_model(run: RunDirectory, device: torch.device) -> DeformationModel:
    """The deformation model of a run."""
    return _read_once(run.model, run.model.stat().st_mtime_ns, device)


@lru_cache(maxsize=1)
def _read_once(path: Path, written: int, device: torch.device) -> DeformationModel:
    """Read once by each process for a file as it was written."""
    return _read(path, device)


def _write(path: Path, model: DeformationModel, fitting: DeformationSettings) -> None:
    arrays = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    files.make_folder(path.parent)
    files.write_weights(path, arrays, {"fitting": asdict(fitting), "moves": model.flexible, "voxel": model.voxel})


def _read(path: Path, device: torch.device) -> DeformationModel:
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
