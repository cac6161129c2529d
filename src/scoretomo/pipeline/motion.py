"""Stage motion: the chosen model of the motion in full detail, and the final pose of each image."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..compute import processes_for, random_stream, shared_by
from ..consensus.outliers import find_outliers
from ..deformation.bodies.fit import Level, Shares, fit_bodies, half_densities
from ..deformation.bodies.overlap import bodies_views
from ..deformation.bodies.parts import Part, masses, named_parts
from ..deformation.bodies.standard_errors import standard_errors
from ..deformation.bodies.views import band_of
from ..deformation.model import model_views, model_volumes, sharpened_model
from ..fourier import low_pass, resample
from ..images import correlation, disc
from ..matching import Poses, choose
from ..projection import rotate
from ..rundir.directory import RunDirectory
from ..rundir.rows import AngleRow, BodyRow, LatentRow
from .bodies import BODY_FIT, read_bodies, read_halves, write_bodies, write_halves
from .deformation import fit_model, read_model, write_model
from .flexibility import ModelData, read_model_data
from .images import read_prepared
from .job import Job
from .posed import Posed, pose_rows
from .replicates import DIFFERENCE_SIDE
from .schedules import deformation_settings

_FIRST_ROUNDS, _LAST_ROUNDS = 2, 4


def fit_motion(run: RunDirectory, job: Job) -> None:
    """Fit the model of the motion to images of full size; writes motion/, latent.csv and poses.csv, and of rigid bodies
    bodies.csv and angles.csv.
    """
    if run.motion == "none":
        run.poses.write(run.assigned.poses.read())
        return
    data = read_model_data(run, run.assigned)
    if not run.model.exists():
        (_fit_bodies if run.motion == "bodies" else _fit_smooth)(run, data, job)
    if run.motion == "bodies":
        _write_parts(run, data)
    _write_poses(run, data)


def _fit_smooth(run: RunDirectory, data: ModelData, job: Job) -> None:
    """Level by level in more detail, each on images of twice the side."""
    size = data.images.shape[-1]
    levels = deformation_settings(job.settings, size).levels(size)
    model = read_model(run.coarse_model, data.images.device)
    with job.estimate.bar("motion") as bar:
        for level, at in enumerate(levels):
            path = run.finer_model(level)
            if path.exists():
                model = read_model(path, data.images.device)
            elif level > 0:
                stream = random_stream(job.settings.seed, "motion", "sharper", level)
                model = sharpened_model(model, size, at, stream)
                stream = random_stream(job.settings.seed, "motion", "all", level)
                what = f"deformation model at {min(size, at.side)} pixels"
                fit_model(model, data, at, stream, bar, what, job.workers)
                write_model(path, model, at)
    write_model(run.model, model, levels[-1])


def _fit_bodies(run: RunDirectory, data: ModelData, job: Job) -> None:
    """Level by level to more shells, first once more to all images at the size at which bodies were found."""
    size = data.images.shape[-1]
    explained = data.consensus.explained
    shares = Shares(explained, explained)
    levels = _levels(size)
    model = read_bodies(run.coarse_bodies, data.images.device)
    with job.estimate.bar("motion") as bar:
        shown = bar.add_task("rigid bodies in detail", total=sum(level.rounds * level.side**2 for level in levels))
        for number, level in enumerate(levels):
            path = run.finer_model(number)
            if path.exists():
                model = read_bodies(path, data.images.device)
                bar.advance(shown, level.rounds * level.side**2)
                continue
            with shared_by(processes_for(job.workers)):
                for step in fit_bodies(model, data.images, [level], BODY_FIT, shares=shares):
                    model = step.model
                    bar.advance(shown, level.side**2)
            write_bodies(path, model, {})
    side = min(DIFFERENCE_SIDE, size)
    with shared_by(processes_for(job.workers)):
        halves = half_densities(model, data.images, Level(side, side // 2), BODY_FIT, shares=shares)
    write_halves(run.halves, halves)
    write_bodies(run.model, model, {})


def _levels(size: int) -> list[Level]:
    """From the last coarse level to all shells of images of a size; the last of them in more rounds."""
    first = replace(BODY_FIT.coarse_levels(size)[-1], rounds=_FIRST_ROUNDS)
    *before, last = [first, *BODY_FIT.levels(size)]
    return [*before, replace(last, rounds=_LAST_ROUNDS)]


@torch.no_grad()
def _write_parts(run: RunDirectory, data: ModelData) -> None:
    """bodies.csv and angles.csv: which parts turn about which axes, and how far they have in each image."""
    model = read_bodies(run.model, data.images.device)
    parts = named_parts(model)
    unit = model.size / 2 * (read_prepared(run.images).pixel_size or 1.0)
    first = BodyRow(1, float(masses(model)[0]), *(None,) * 10)
    run.body_rows.write([first, *(_body_row(number, part, unit) for number, part in enumerate(parts, start=2))])
    errors = standard_errors(model, band_of(data.images, model.size, model.size / 2)).latent
    turns = [model.twists[body, part.mode, :3].norm() for body, part in enumerate(parts, start=1)]
    columns = zip(
        data.numbers,
        torch.stack([part.angles for part in parts], 1).rad2deg().tolist(),
        torch.stack([errors[:, part.mode] * turn for part, turn in zip(parts, turns, strict=True)], 1)
        .rad2deg()
        .tolist(),
        strict=True,
    )
    run.angles.write([AngleRow(number, tuple(angles), tuple(spread)) for number, angles, spread in columns])


def _body_row(number: int, part: Part, unit: float) -> BodyRow:
    """The row of a body; lengths of half sides are so many units long."""
    screw = part.screw
    axis_x, axis_y, axis_z = screw.axis.tolist()
    pivot_x, pivot_y, pivot_z = (screw.pivot * unit).tolist()
    return BodyRow(
        body=number,
        mass=part.mass,
        mode=part.mode + 1,
        degrees=math.degrees(float(screw.angle)),
        slide=float(screw.slide) * unit,
        axis_x=axis_x,
        axis_y=axis_y,
        axis_z=axis_z,
        pivot_x=pivot_x,
        pivot_y=pivot_y,
        pivot_z=pivot_z,
        displacement=part.displacement * unit,
    )


@torch.no_grad()
def _write_poses(run: RunDirectory, data: ModelData) -> None:
    """latent.csv, and poses.csv: in its own conformation an image has a better pose."""
    device = data.images.device
    size = data.images.shape[-1]
    in_class_1 = ~data.consensus.in_class_2
    before = data.consensus.poses
    turns, shifts, latent = _own(run, device)
    views = motion_views(run, size, device)
    fits = correlation(views, data.images, disc(size).to(data.images))
    poses = choose(in_class_1, Poses(turns, before.shifts + shifts * (size / 2), fits), before)
    columns = zip(data.numbers, latent.tolist(), in_class_1.tolist(), strict=True)
    run.latent.write([LatentRow(number, tuple(z)) for number, z, is_class_1 in columns if is_class_1])
    outliers = data.consensus.outliers.clone()
    outliers[in_class_1] = find_outliers(poses.of(in_class_1))
    run.poses.write(pose_rows(data.numbers, poses, outliers, data.consensus.in_class_2))


def _own(run: RunDirectory, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations (n, 3, 3), shifts (n, 2) in half sides and latent coordinates (n, k) of the images."""
    if run.motion == "bodies":
        bodies = read_bodies(run.model, device)
        return bodies.poses[:, :3, :3].float(), bodies.poses[:, :2, 3].float(), bodies.latent
    model = read_model(run.model, device)
    return model.poses(), model.shifts, model.latent


@torch.no_grad()
def motion_views(
    run: RunDirectory, size: int, device: torch.device, places: Sequence[int] | slice = slice(None)
) -> Tensor:
    """Views of the conformations of images in their poses, shape (n, size, size).

    Args:
        run: a run with a motion.
        size: of the views, in pixels.
        device: where it computes.
        places: of the images among the prepared ones; all if not given.
    """
    if run.motion == "bodies":
        return resample(bodies_views(read_bodies(run.model, device).of_images(places)), size, 2)
    return model_views(read_model(run.model, device), size)[places]


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
    if run.motion == "none":
        return starts
    if run.motion == "bodies":
        moved = read_bodies(run.model, images.device).volumes(places)
    else:
        model = read_model(run.model, images.device)
        moved = model_volumes(model, places, images)
        if images.shape[-1] > model.size:  # what is finer than the model's side is as in the consensus
            moved += starts - low_pass(starts, model.size / 2, 3)
    return torch.where(consensus.in_class_2[:, None, None, None], starts, moved)


@torch.no_grad()
def body_volume(run: RunDirectory, place: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The volume of an image in the common frame, and half the difference of those by half of the images each.

    Args:
        run: a run whose motion is that of rigid bodies.
        place: of the image among the prepared ones.
        device: where it computes.

    Returns:
        Shapes (d, d, d) and, at 64 pixels at most, (e, e, e).
    """
    model = read_bodies(run.model, device).in_common_frame()
    halves = read_halves(run.halves, device)
    first, second = (replace(model, densities=half).volumes([place])[0] for half in halves)
    return model.volumes([place])[0], (first - second) / 2
