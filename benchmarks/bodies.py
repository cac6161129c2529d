"""Rigid bodies, fitted to full-size images from a finished coarse run: mean FSC of twelve volumes with their truths.

    python benchmarks/bodies.py RUN STACK TRUTH [--size 88]         about 15 min on one core at 88 pixels

RUN is a finished run of the ensemble method at 32 pixels, STACK the same images at full size, background 0, TRUTH the
folder of their true volumes:

    scoretomo simulate box --images 300 --size 88 --output box
    scoretomo run box/images.mrcs --size 32 --images 0 --output run

Nothing of this is part of a run yet. It only prints.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.fit import BodySettings, FitStep, fit_bodies, fit_coarse_bodies
from scoretomo.deformation.bodies.grouping import criteria_for, group_points
from scoretomo.deformation.bodies.model import RigidBodies, masks_around_points
from scoretomo.deformation.bodies.modes import body_motions, find_modes
from scoretomo.deformation.bodies.motions import rigid
from scoretomo.evaluation import compare_in_place
from scoretomo.fourier import resample
from scoretomo.pipeline.deformation import read_model
from scoretomo.pipeline.flexibility import read_model_data
from scoretomo.projection import mirror
from scoretomo.rundir.directory import RunDirectory

VOLUMES = 12
SETTINGS = BodySettings()


def bodies_of(run: RunDirectory) -> RigidBodies:
    """The rigid bodies among the paths of the points of a run's deformation model, without densities yet."""
    learned = read_model(run, torch.device("cpu"))
    data = read_model_data(run, run.assigned)
    with torch.no_grad():
        every = torch.arange(len(learned.rotations)).split(50)
        paths = torch.cat([learned.places(some) for some in every]).double()
        shifts = learned.shifts.double() + data.consensus.poses.shifts.double() / (learned.size / 2)
        masses = learned.masses.clamp_min(0).double()
        poses = rigid(learned.poses().double(), torch.nn.functional.pad(shifts, (0, 1)))
    reference = int((paths - paths.mean(0)).square().sum((1, 2)).argmin())
    criteria = criteria_for(paths, masses, random_stream(0, "seeds"))
    *_, grouped = group_points(paths, masses, random_stream(0, "bodies"), criteria, reference=reference)
    world = body_motions(paths, masses, grouped.memberships, poses, reference)
    modes = find_modes(world, paths[reference], masses, grouped.memberships)
    masks = masks_around_points(paths[reference], modes.memberships, SETTINGS.coarse[0].side, 0.1)
    print(f"{grouped.bodies} bodies, {modes.latent.shape[1]} modes", flush=True)
    return RigidBodies(modes.poses, modes.latent, modes.twists, torch.zeros_like(masks), masks)


def fitted(model: RigidBodies, images: Tensor, size: int) -> RigidBodies:
    """The model after all levels."""
    for step in fit_coarse_bodies(model, images, SETTINGS):
        model = shown(step)
    for step in fit_bodies(model, images, SETTINGS.levels(size), SETTINGS):
        model = shown(step)
    return model


def shown(step: FitStep) -> RigidBodies:
    """Print a round; its model."""
    print(
        f"{step.level.side} px, {step.level.shells} shells, round {step.round}: residual {step.residual:.5f}, "
        f"{len(step.model.twists)} bodies, {step.model.latent.shape[1]} modes, 1/q {step.model.saturation:.3g}, "
        f"{time.process_time():.0f} CPU-s",
        flush=True,
    )
    return step.model


def judge(model: RigidBodies, truth: Path) -> None:
    """Print the mean FSC of quarters of the shells, and of all, for volumes spread over the stack."""
    count = len(model.poses)
    numbers = list(range(0, count, max(1, count // VOLUMES)))[:VOLUMES]
    curves = []
    for number, volume in zip(numbers, model.volumes(numbers), strict=True):
        density = torch.from_numpy(files.read_map(truth / f"{number:03d}.mrc").density)
        true = resample(density, volume.shape[-1], 3)
        hands = [compare_in_place(each, true) for each in (volume, mirror(volume))]
        best = max(hands, key=lambda comparison: comparison.mean_fsc)
        curves.append(best.curve)
        print(f"volume {number}: mean FSC {best.mean_fsc:.3f}", flush=True)
    curve = torch.stack(curves).mean(0)[1:]
    quarters = ", ".join(f"{float(part.mean()):.3f}" for part in curve.tensor_split(4))
    print(f"quarters of the shells: {quarters}; mean FSC {float(curve.mean()):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("stack", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--size", type=int, default=88)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.from_numpy(files.read_images(options.stack).images)
    judge(fitted(bodies_of(RunDirectory(options.run)), images, options.size), options.truth)


if __name__ == "__main__":
    main()
