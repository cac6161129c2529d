"""How the cost of the ensemble method grows with the number of images and their side, and where it goes.

    python benchmarks/growth.py                        all sets, one after the other            about 25 min on one core
    python benchmarks/growth.py --sets 300x32,300x88

Of every stage some iterations are timed on one core and multiplied by how many a run has; poses and the volume are the
true ones, so that each stage can be timed without those before it. Not in it: comparing the starts, a second consensus,
pose rescue, ring weights, landscape and report. The memory is that of the
process; a run on two cores has up to three such processes.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
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


class Known(NamedTuple):
    """A stack, and what a run would know of it."""

    images: Tensor  # (n, d, d), empty space 0
    rotations: Tensor  # (n, 3, 3)
    volume: Tensor  # (d, d, d), in the common frame


def boxes(count: int, size: int) -> Known:
    """Images of the moving box, and a volume of it."""
    made = simulate(MovingBox(), count, size, seed=0)
    first = next(made)
    images, rotations = [first.image], [first.rotation]
    for each in made:
        images.append(each.image)
        rotations.append(each.rotation)
    stack, turns = torch.stack(images).float(), torch.stack(rotations).float()
    scale = stack.std()
    return Known(stack / scale, turns, rotate(first.volume.float(), turns[0].mT) / scale)


def clocked(work: Callable[[], object]) -> float:
    """Core-seconds, which other work on the machine changes little."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def of_soft_matching(known: Known, annealing: Annealing, side: int) -> float:
    """Core-seconds of all iterations: the first one prepares, and some centre the images."""
    side = min(side, known.images.shape[-1])
    small = resample(known.images, side, 2) * inscribed(side, 2)
    few = assign_softly(
        small, random_blob(small, torch.Generator()), replace(annealing, iterations=_TIMED), torch.Generator()
    )
    first, second, third, last = (clocked(lambda: next(few)) for _ in range(_TIMED))
    each = min(second, third)
    centring = sum(annealing.centres(number) for number in range(annealing.iterations))
    return first + (annealing.iterations - 1) * each + centring * max(0.0, last - each)


def of_trial(known: Known) -> float:
    """Core-seconds of both trials."""
    training = torch.arange(len(known.images)) >= _HELD_OUT * len(known.images)
    each = of_epoch(first_model(known, DEFORMATION), known, DEFORMATION, DEFORMATION.trial / 2, training=training)
    return 2 * DEFORMATION.trial_epochs(len(known.images)) * each


def of_deformation(known: Known) -> float:
    """Core-seconds of fitting the deformation model at all levels."""
    size, spent, model = known.images.shape[-1], 0.0, None
    for at in DEFORMATION.levels(size):
        model = first_model(known, at) if model is None else sharpened_model(model, size, at, torch.Generator())
        each = sum(of_epoch(model, known, at, moment) for moment in _MOMENTS) / len(_MOMENTS)
        spent += at.epochs_for(len(known.images)) * each
    return spent


def of_epoch(
    model: DeformationModel, known: Known, at: DeformationSettings, moment: float, *, training: Tensor | None = None
) -> float:
    """Core-seconds of an epoch after a share of all, without what a fit prepares once."""
    of = at.epochs_for(len(known.images))
    number = round(moment * of)

    def spent(epochs: int) -> float:
        some = range(number, number + epochs)
        return clocked(
            lambda: list(fit(model, known.images, at, torch.Generator(), epochs=some, of=of, training=training))
        )

    spent(1)
    return (spent(4) - spent(1)) / 3


def first_model(known: Known, fitting: DeformationSettings) -> DeformationModel:
    """The model that a fit begins with."""
    return model_from_consensus(known.volume, known.rotations, fitting, torch.Generator())


def of_volumes(known: Known) -> float:
    """Core-seconds of a volume, without what a process prepares once."""
    size = known.images.shape[-1]
    score, together = TangentScore(known.images, 0.0, inscribed(size, 2)), volumes_together(size)
    starts = torch.stack([rotate(known.volume, turn) for turn in known.rotations[:together]])
    usual = REFINEMENTS["modelled"].at_side(size)

    def streams(_: int) -> Streams:
        return Streams(torch.Generator(), [torch.Generator() for _ in range(together)])

    def spent(steps: int) -> float:
        few = usual.in_steps(steps)
        return clocked(
            lambda: list(refine_volumes(known.images[:together], score, few, starts, background=0.0, streams=streams))
        )

    spent(_FEW)
    return (spent(3 * _FEW) - spent(_FEW)) / (2 * _FEW) * usual.steps / together


def stages(count: int, size: int) -> dict[str, float]:
    """Core-seconds of each stage of a run, and the memory of this process in GiB."""
    torch.set_num_threads(1)
    known = boxes(count, size)
    mask = inscribed(size, 2)
    last = Iteration(FINE.iterations, known.volume, torch.zeros(count, 2))
    coarse = at_size(last, min(size, COARSE_SIDE))
    found = {
        "starts": _STARTS
        * (of_soft_matching(known, COARSE, COARSE_SIDE) + clocked(lambda: assign_hard(known.images, coarse)))
    }
    detail = replace(FINE, directions=fine_directions(min(size, FINE_SIDE)))
    found["detail"] = of_soft_matching(known, detail, FINE_SIDE)
    found["detail"] += clocked(lambda: assign_hard(known.images, last))
    poses = Poses(known.rotations, torch.zeros(count, 2), torch.ones(count))
    found["detail"] += clocked(lambda: cross_validate(known.images, poses))
    found["flexibility"], found["deformation"] = of_trial(known), of_deformation(known)
    views = project(known.volume, known.rotations[:_MODEL_VIEWS]) * mask
    found["support"] = clocked(
        lambda: score_support(
            known.images,
            known.rotations,
            lambda images: TangentScore(images, 0.0, mask),
            0.0,
            mask,
            torch.Generator(),
            modelled=views,
        )
    )
    found["a volume"] = of_volumes(known)
    found["all"] = sum(found.values()) + (count - 1) * found["a volume"]
    return {**found, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=SETS)
    sets = [tuple(map(int, each.split("x"))) for each in parser.parse_args().sets.split(",")]
    names = ("starts", "detail", "flexibility", "deformation", "support", "a volume", "all")
    print("core-seconds:", flush=True)
    print("images  side  " + "  ".join(f"{name:>11}" for name in names) + "  memory of the process", flush=True)
    for count, size in sets:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:  # each has a memory of its own
            found = fresh.apply(stages, (count, size))
        figures = "  ".join(
            f"{found[name]:>11.2f}" if name == "a volume" else f"{found[name]:>11.0f}" for name in names
        )
        print(f"{count:>6}  {size:>4}  {figures}  {found['memory']:>10.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
