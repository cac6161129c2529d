"""How the cost of the ensemble method grows with the number of images and their side, and where it goes.

    python benchmarks/growth.py                       all sets, one after the other   25 min on one core
    python benchmarks/growth.py --sets 300x32,300x88  these sets, without a record

Of every stage some iterations are timed on one core and multiplied by how many a run has; poses and the volume are the
true ones, so that each stage can be timed without those before it. Not in it: comparing the starts, a second consensus,
pose rescue, ring weights, landscape and report. The memory is that of the process; a run on two cores has up to three
such processes.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from machine import Row, shown, write_record
from torch import Tensor

from scoretomo.compute import volumes_together
from scoretomo.consensus import Iteration
from scoretomo.consensus.cross_validation import cross_validate
from scoretomo.consensus.hard_assignment import assign_hard
from scoretomo.consensus.soft_assignment import (
    COARSE,
    COARSE_SIDE,
    FINE,
    FINE_SIDE,
    Annealing,
    assign_softly,
    at_size,
    fine_directions,
    random_blob,
)
from scoretomo.deformation.fit import fit
from scoretomo.deformation.model import DeformationModel, model_from_consensus, sharpened_model
from scoretomo.deformation.schedule import DeformationSettings
from scoretomo.denoisers.tangent import TangentScore
from scoretomo.fourier import inscribed, resample
from scoretomo.matching import Poses
from scoretomo.phantoms import MovingBox
from scoretomo.presets import DEFORMATION, REFINEMENTS
from scoretomo.projection import project, rotate
from scoretomo.reconstruction.refinement import Streams, refine_volumes
from scoretomo.reconstruction.score_support import score_support
from scoretomo.simulation import simulate

SETS = "100x32,300x32,1000x32,3000x32,300x64,300x88,300x136"
_STARTS = 4  # of a run
_MOMENTS = (0.0, 0.25, 0.5, 0.75)  # of a level, at which an epoch is timed: images are blurred, and small, at first
_HELD_OUT = 0.2  # share of the images that a trial holds out
_MODEL_VIEWS = 64  # views of the deformation model that are denoised for the score support
_FEW = 4  # steps of a volume
_TIMED = 4  # iterations of soft assignment that are timed, the last of which centres the images


class Posed(NamedTuple):
    """A stack with its true poses and volume."""

    images: Tensor  # (n, d, d), empty space 0
    rotations: Tensor  # (n, 3, 3)
    volume: Tensor  # (d, d, d), in the common frame


def boxes(count: int, size: int) -> Posed:
    """Images of the moving box, and a volume of it."""
    made = simulate(MovingBox(), count, size, seed=0)
    first = next(made)
    views, rotations = [first.image], [first.rotation]
    for each in made:
        views.append(each.image)
        rotations.append(each.rotation)
    images, turns = torch.stack(views).float(), torch.stack(rotations).float()
    scale = images.std()
    return Posed(images / scale, turns, rotate(first.volume.float(), turns[0].mT) / scale)


def clocked(work: Callable[[], object]) -> float:
    """Core-seconds, which other work on the machine changes little."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def of_soft_matching(stack: Posed, annealing: Annealing, side: int) -> float:
    """Core-seconds of all iterations: the first one prepares, and some centre the images."""
    side = min(side, stack.images.shape[-1])
    small = resample(stack.images, side, 2) * inscribed(side, 2)
    few = assign_softly(
        small, random_blob(small, torch.Generator()), replace(annealing, iterations=_TIMED), torch.Generator()
    )
    first, second, third, last = (clocked(lambda: next(few)) for _ in range(_TIMED))
    each = min(second, third)
    centring = sum(annealing.centres(number) for number in range(annealing.iterations))
    return first + (annealing.iterations - 1) * each + centring * max(0.0, last - each)


def of_hard_matching(stack: Posed, last: Iteration) -> float:
    """Core-seconds after the last iteration of soft assignment, where the images leave no gaps."""
    return clocked(lambda: assign_hard(stack.images, last, keep_near=False))


def of_trial(stack: Posed) -> float:
    """Core-seconds of both trials."""
    training = torch.arange(len(stack.images)) >= _HELD_OUT * len(stack.images)
    each = of_epoch(first_model(stack, DEFORMATION), stack, DEFORMATION, DEFORMATION.trial / 2, training=training)
    return 2 * DEFORMATION.trial_epochs(len(stack.images)) * each


def of_deformation(stack: Posed) -> float:
    """Core-seconds of fitting the deformation model at all levels."""
    size, spent, model = stack.images.shape[-1], 0.0, None
    for at in DEFORMATION.levels(size):
        model = first_model(stack, at) if model is None else sharpened_model(model, size, at, torch.Generator())
        each = sum(of_epoch(model, stack, at, moment) for moment in _MOMENTS) / len(_MOMENTS)
        spent += at.epochs_for(len(stack.images)) * each
    return spent


def of_epoch(
    model: DeformationModel, stack: Posed, at: DeformationSettings, moment: float, *, training: Tensor | None = None
) -> float:
    """Core-seconds of an epoch after a share of all, without what a fit prepares once."""
    of = at.epochs_for(len(stack.images))
    number = round(moment * of)

    def spent(epochs: int) -> float:
        some = range(number, number + epochs)
        return clocked(
            lambda: list(fit(model, stack.images, at, torch.Generator(), epochs=some, of=of, training=training))
        )

    spent(1)
    return (spent(4) - spent(1)) / 3


def first_model(stack: Posed, fitting: DeformationSettings) -> DeformationModel:
    """The model that a fit begins with."""
    return model_from_consensus(stack.volume, stack.rotations, fitting, torch.Generator())


def of_volumes(stack: Posed) -> float:
    """Core-seconds of a volume, without what a process prepares once."""
    size = stack.images.shape[-1]
    score, together = TangentScore(stack.images, 0.0, inscribed(size, 2)), volumes_together(size)
    starts = torch.stack([rotate(stack.volume, turn) for turn in stack.rotations[:together]])
    usual = REFINEMENTS["modelled"].at_side(size)

    def streams(_: int) -> Streams:
        return Streams(torch.Generator(), [torch.Generator() for _ in range(together)])

    def spent(steps: int) -> float:
        few = usual.in_steps(steps)
        return clocked(
            lambda: list(refine_volumes(stack.images[:together], score, few, starts, background=0.0, streams=streams))
        )

    spent(_FEW)
    return (spent(3 * _FEW) - spent(_FEW)) / (2 * _FEW) * usual.steps / together


def stages(count: int, size: int) -> Row:
    """A row of the record: core-seconds of each stage of a run, and the memory of this process."""
    torch.set_num_threads(1)
    stack = boxes(count, size)
    mask = inscribed(size, 2)
    last = Iteration(stack.volume, torch.zeros(count, 2))
    detail = replace(FINE, directions=fine_directions(min(size, FINE_SIDE)))
    poses = Poses(stack.rotations, torch.zeros(count, 2), torch.ones(count))
    views = project(stack.volume, stack.rotations[:_MODEL_VIEWS]) * mask
    coarse = at_size(last, min(size, COARSE_SIDE))
    start = of_soft_matching(stack, COARSE, COARSE_SIDE) + of_hard_matching(stack, coarse)
    consensus = of_soft_matching(stack, detail, FINE_SIDE) + of_hard_matching(stack, last)
    seconds = {
        "four starts": _STARTS * start,
        "consensus at full size": consensus + clocked(lambda: cross_validate(stack.images, poses)),
        "flexibility test": of_trial(stack),
        "deformation model": of_deformation(stack),
        "score support": clocked(lambda: support(stack, views, mask)),
        "a volume": of_volumes(stack),
    }
    return {
        "images": count,
        "side / px": size,
        **seconds,
        "all": sum(seconds.values()) + (count - 1) * seconds["a volume"],
        "memory / GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def support(stack: Posed, views: Tensor, mask: Tensor) -> object:
    """Decide the support of the score; views are those of the deformation model."""
    return score_support(
        stack.images,
        stack.rotations,
        lambda images: TangentScore(images, 0.0, mask),
        0.0,
        mask,
        torch.Generator(),
        model_views=views,
    )


def write(rows: list[Row], seconds: float) -> None:
    """All rows, and those of one side or of one number of images with the largest parts."""
    by_images = [
        {
            "images": row["images"],
            "all": row["all"],
            "deformation model": row["deformation model"],
            "consensus": row["four starts"] + row["consensus at full size"],
        }
        for row in rows
        if row["side / px"] == 32
    ]
    shown_by_side = ("side / px", "all", "deformation model", "a volume")
    by_side = [{name: row[name] for name in shown_by_side} for row in rows if row["images"] == 300]
    for name, part in (("growth", rows), ("growth-images", by_images), ("growth-side", by_side)):
        write_record(name, part, seeds=[0], seconds=seconds, cores=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=SETS)
    sets = [tuple(map(int, each.split("x"))) for each in parser.parse_args().sets.split(",")]
    begin, rows = time.monotonic(), []
    for count, size in sets:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:  # each has a memory of its own
            rows.append(shown(fresh.apply(stages, (count, size))))
    write(rows, time.monotonic() - begin)


if __name__ == "__main__":
    main()
