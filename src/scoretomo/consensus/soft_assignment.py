"""Soft assignment: one volume that explains all images, by annealed expectation–maximisation.

The paper's Algorithm 1 demands that every view of a volume look like some image; here every image must be some view of
the volume (maximum likelihood, the forward Kullback–Leibler divergence). Both read the same table of correlations c of
views with turned images: the score takes a softmax over the images for each view, soft assignment takes it over the
views for each image,

    w = softmax(c / τ) over all directions, flips and turns,

and the map that fits the images, spread over all poses with these weights, is the next volume. τ falls, so that poses
which differ much are separated first; the grid of directions is turned anew in each iteration.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..fourier import inscribed, low_pass, radius, resample
from ..images import shift
from ..matching import Matcher, Poses, directions, refine
from ..projection import project, rotate
from ..reconstruction.least_squares import invert
from ..rotations import random_rotations
from . import Consensus, Iteration


@dataclass(frozen=True)
class Annealing:
    """How soft assignment is annealed; a pair is (first, last) over the run.

    Attributes:
        iterations: how many.
        directions: of views, over half a sphere.
        tau: softness of the match, in correlation; geometric from first to last.
        shells: of the volume that are used, as shares of d / 2; linear, the last reached after four fifths.
        steps: of the inversion in each iteration.
        reach: farthest that an image may be moved, as a share of its side.
    """

    iterations: int
    directions: int
    tau: tuple[float, float]
    shells: tuple[float, float]
    steps: int = 8
    reach: float = 0.1

    def centres(self, iteration: int) -> bool:
        """Whether images are moved after an iteration: every fourth one of the second half."""
        return 2 * iteration >= self.iterations and iteration % 4 == 3

    def at(self, iteration: int) -> tuple[float, float]:
        """Softness τ and share of the shells of an iteration, 0 ≤ iteration < iterations."""
        done = iteration / max(1, self.iterations - 1)
        tau = self.tau[0] * (self.tau[1] / self.tau[0]) ** done
        return tau, self.shells[0] + (self.shells[1] - self.shells[0]) * min(1.0, 1.25 * done)


@dataclass(frozen=True)
class GapCriteria:
    """When images are few; source: docs/dev/decisions/few-images.md.

    Attributes:
        fewest_slices: with fewer there are gaps between them. With a symmetry of g turns each image gives g slices.
    """

    fewest_slices: int = 24


GAPS = GapCriteria()
_LEAST = -60.0  # exponent of a weight: smaller ones change nothing, and processors are slow with numbers below 1e-38
COARSE_SIDE = 24  # pixels, at which random blobs find the shape of the particle
FINE_SIDE = 48  # pixels, up to which images are matched softly
COARSE = Annealing(iterations=40, directions=200, tau=(0.03, 0.003), shells=(0.4, 1.0))
FINE = Annealing(iterations=20, directions=500, tau=(0.01, 0.002), shells=(0.5, 1.0))
_SOFT = 0.005  # τ at which soft assignment ends where images are noisy


def assign_softly(
    images: Tensor,
    volume: Tensor,
    annealing: Annealing,
    grids: torch.Generator,
    *,
    shifts: Tensor | None = None,
    group: Tensor | None = None,
    noise: float = 0.05,
) -> Iterator[Iteration]:
    """Anneal one volume, one iteration for each `next`.

    Args:
        images: empty space 0, shape (n, d, d).
        volume: where to begin, shape (d, d, d).
        annealing: schedule.
        grids: random stream that turns the grid of directions.
        shifts: that bring each image to the centre, 0 if not given, shape (n, 2).
        group: rotations under which the volume stays the same, shape (g, 3, 3); it has no symmetry if not given.
        noise: λ, noise over signal in every shell.
    """
    size = images.shape[-1]
    shifts = images.new_zeros(len(images), 2) if shifts is None else shifts
    centred = CentredImages(images, shifts)
    for number in range(annealing.iterations):
        tau, share = annealing.at(number)
        grid = directions(annealing.directions, turn=random_rotations(1, grids, dtype=torch.float64)[0]).to(images)
        sums, masses = _spread_over_poses(centred, project(volume, grid), tau)
        damping = _damping(size, share, noise).to(images)
        volume = invert(sums, masses, grid, damping, group=group, start=volume, steps=annealing.steps)
        if annealing.centres(number):
            poses = refine(volume, centred.images, centred.matcher.match(volume, grid))
            shifts = (shifts - poses.shifts).clamp(-annealing.reach * size, annealing.reach * size)
            centred = CentredImages(images, shifts)
        yield Iteration(volume, shifts)


def _spread_over_poses(centred: "CentredImages", views: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """The images spread over all poses with the weights w = softmax(c / τ), the E-step.

    Args:
        centred: the n images.
        views: of the volume, shape (v, d, d).
        tau: softness of the match.

    Returns:
        For each view, Σ w × turned image, shape (v, d, d), and Σ w, shape (v,).
    """
    masses = views.new_zeros(len(views))
    levels = views.new_zeros(len(views))
    spread = torch.zeros((), dtype=views.dtype.to_complex(), device=views.device)  # as components
    for likeness in centred.matcher.likeness(views):
        weights = likeness.values / tau
        below = weights - weights.amax((0, 2, 3), keepdim=True)
        weights = below.clamp_(min=_LEAST).exp_()
        weights /= weights.sum((0, 2, 3), keepdim=True)
        each = weights.sum((2, 3))  # (v, n)
        masses += each.sum(1)
        levels += each @ centred.levels[likeness.images]
        weights *= centred.strengths[likeness.images][None, :, None, None]
        spread = spread + likeness.turned.weighted_components(weights)
    sums = centred.matcher.turned.image(spread) + levels[:, None, None] * centred.matcher.mask
    return sums, masses


class CentredImages:
    """Images moved to the centre, and what their unit images lack: mean inside the mask and norm."""

    def __init__(self, images: Tensor, shifts: Tensor) -> None:
        moved = shift(images, shifts)
        self.matcher = Matcher(moved)
        mask = self.matcher.mask
        self.images = moved * mask
        self.levels = self.images.sum((1, 2)) / mask.sum()
        self.strengths = ((self.images - self.levels[:, None, None]) * mask).flatten(1).norm(dim=1)

    def poses_in(self, volume: Tensor) -> Poses:
        """The best pose of each image in a volume, shape (d, d, d)."""
        grid = directions(fine_directions(volume.shape[-1])).to(volume)
        return refine(volume, self.images, self.matcher.match(volume, grid))


def _damping(size: int, share: float, noise: float) -> Tensor:
    """λ of every shell: constant up to a share of d / 2, growing steeply beyond."""
    shell = torch.arange(size // 2 + 1)
    cutoff = share * size / 2
    return noise * (1 + torch.exp(((shell - cutoff) * 4).clamp(-20, 12)))


def random_blob(images: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth random volume of the images' mean mass: where soft assignment begins, shape (d, d, d)."""
    size = images.shape[-1]
    noise = low_pass(torch.randn(size, size, size, generator=generator), 2.0, 3, width=2.0).to(images)
    envelope = torch.exp(-((radius(size, 3, device=images.device) / (0.2 * size)).square()))
    blob = envelope * (1 + 0.6 * noise / noise.std())
    return blob * (images.sum() / len(images) / blob.sum())


def coarse_level(images: Tensor, generator: torch.Generator, *, group: Tensor | None = None) -> Iterator[Iteration]:
    """From a random blob to the shape of the particle, at 24 pixels.

    Args:
        images: empty space 0, shape (n, d, d).
        generator: random stream of the blob and the grids.
        group: symmetry, shape (g, 3, 3).
    """
    small = resized_images(images, min(COARSE_SIDE, images.shape[-1]))
    blob = random_blob(small, generator)
    blob = blob if group is None else symmetrised(blob, group)
    return assign_softly(small, blob, COARSE, generator, group=group)


def symmetrised(volume: Tensor, group: Tensor) -> Tensor:
    """The mean of a volume in all turns of a group, shape (g, 3, 3)."""
    return torch.stack([rotate(volume, turn) for turn in group]).mean(0)


def fine_level(
    images: Tensor,
    coarse: Iteration,
    generator: torch.Generator,
    *,
    group: Tensor | None = None,
    ends_soft: bool = False,
) -> Iterator[Iteration]:
    """From the shape of the particle to 48 pixels, or the size of the images if they are smaller.

    The grid of directions is as fine as a pixel needs. Finer detail comes from hard assignment. Where images are noisy,
    it ends softer: many poses explain each of them nearly as well as the best one.

    Args:
        images: empty space 0, shape (n, d, d).
        coarse: from `coarse_level`, at any size.
        generator: random stream of the grids.
        group: symmetry, shape (g, 3, 3).
        ends_soft: whether it ends softer.
    """
    start = at_size(coarse, min(FINE_SIDE, images.shape[-1]))
    size = start.volume.shape[-1]
    annealing = replace(FINE, directions=fine_directions(size), tau=(FINE.tau[0], _SOFT if ends_soft else FINE.tau[1]))
    return assign_softly(
        resized_images(images, size), start.volume, annealing, generator, shifts=start.shifts, group=group
    )


def at_size(iteration: Iteration, size: int) -> Iteration:
    """The state at another size of the images."""
    ratio = size / iteration.volume.shape[-1]
    volume = resample(iteration.volume, size, 3) / ratio  # a view sums over more voxels
    return iteration._replace(volume=volume, shifts=iteration.shifts * ratio)


def leave_gaps(images: int, group: Tensor | None, criteria: GapCriteria = GAPS) -> bool:
    """Whether images are so few that there are gaps between their slices.

    Args:
        images: how many.
        group: symmetry, shape (g, 3, 3), by which each image gives several slices; None if there is none.
        criteria: when they are few.
    """
    return images * (1 if group is None else len(group)) < criteria.fewest_slices


def fine_directions(size: int) -> int:
    """As many as a pixel at the rim needs."""
    return max(FINE.directions, size**2 // 2)


def resized_images(images: Tensor, size: int) -> Tensor:
    """Images (n, d, d) at another side, 0 outside the disc; (n, size, size)."""
    return resample(images, size, 2) * inscribed(size, 2, dtype=images.dtype, device=images.device)


def assign_softly_again(
    images: Tensor,
    consensus: Consensus,
    generator: torch.Generator,
    *,
    group: Tensor | None = None,
    ends_soft: bool = False,
) -> Iterator[Iteration]:
    """Soft assignment in detail once more, from what a consensus shows at 24 pixels.

    `assign_hard` makes a consensus of the last iteration.

    Args:
        images: empty space 0, shape (n, d, d).
        consensus: the volume, (e, e, e), and the poses of the images in it.
        generator: random stream of the grids.
        group: symmetry, shape (g, 3, 3).
        ends_soft: whether it ends softer, for noisy images.
    """
    size = consensus.volume.shape[-1]
    coarse = at_size(Iteration(consensus.volume, -consensus.poses.shifts), min(COARSE_SIDE, size))
    return fine_level(images, coarse, generator, group=group, ends_soft=ends_soft)
