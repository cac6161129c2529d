"""One volume that explains all images: annealed soft matching.

The paper's Algorithm 1 asks that every view of a volume look like some image; here every image must be some view of the volume
(maximum likelihood, the forward Kullback–Leibler divergence). Both read the same table of correlations c of views with turned
images: the score takes a softmax over the images for each view, soft matching takes it over the views for each image,

    w = softmax(c / τ) over all directions, flips and turns,

and the map that fits the images, spread over all poses with these weights, is the next volume. τ falls, so that poses which differ
much are told apart first; the grid of directions is turned anew each time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..alignment import moved_onto
from ..fourier import inscribed, low_pass, radius, resample
from ..images import shift
from ..matching import Matcher, Poses, directions, refine
from ..projection import mirror, project, rotate
from ..reconstruction.least_squares import invert, posed_map
from ..rotations import random_rotations


@dataclass(frozen=True)
class Annealing:
    """How soft matching is annealed; a pair is (first, last) over the run.

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


_FEW = 24  # slices: fewer leave gaps between them
COARSE_SIDE = 24  # pixels, at which random blobs find the shape of the particle
FINE_SIDE = 48  # pixels, up to which images are matched softly
COARSE = Annealing(iterations=40, directions=200, tau=(0.03, 0.003), shells=(0.4, 1.0))
FINE = Annealing(iterations=20, directions=500, tau=(0.01, 0.002), shells=(0.5, 1.0))
_STAYING = 3.0  # the same of few images and of noisy ones, for how far the volume is from that of soft matching
_SOFT = 0.005  # τ at which soft matching ends where images are noisy
_PARTINGS = 3  # how often the images of a mixture choose between two consensuses
_BETTER = 0.8  # one shows the second if that leaves this share of what the first leaves unexplained, or less


class Consensus(NamedTuple):
    """A volume that explains all images, and the pose of each in it."""

    volume: Tensor  # (d, d, d)
    poses: Poses


class Iteration(NamedTuple):
    """The state after one iteration of soft matching."""

    volume: Tensor  # (d, d, d)
    shifts: Tensor  # (n, 2): x, y in pixels, that bring each image to the centre


def soft_match(
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
        shifts: that bring each image to the centre, as far as they are known, shape (n, 2).
        group: rotations under which the volume stays the same, shape (g, 3, 3); it has no symmetry if not given.
        noise: λ, noise over signal in every shell.
    """
    size = images.shape[-1]
    shifts = images.new_zeros(len(images), 2) if shifts is None else shifts
    centred = _Centred(images, shifts)
    for number in range(annealing.iterations):
        tau, share = annealing.at(number)
        grid = directions(annealing.directions, turn=random_rotations(1, grids, dtype=torch.float64)[0]).to(images)
        masses, levels = images.new_zeros(len(grid)), images.new_zeros(len(grid))
        spread = torch.zeros((), dtype=images.dtype.to_complex(), device=images.device)  # images over directions, as components
        for likeness in centred.matcher.likeness(project(volume, grid)):
            weights = likeness.values / tau
            weights = (weights - weights.amax((0, 2, 3), keepdim=True)).exp_()
            weights /= weights.sum((0, 2, 3), keepdim=True)
            each = weights.sum((2, 3))  # (directions, n)
            masses += each.sum(1)
            levels += each @ centred.levels[likeness.images]
            weights *= centred.strengths[likeness.images][None, :, None, None]
            spread = spread + likeness.turned.weighted_components(weights)
        sums = centred.matcher.turned.image(spread) + levels[:, None, None] * centred.matcher.mask
        damping = _damping(size, share, noise).to(images)
        volume = invert(sums, masses, grid, damping, group=group, start=volume, steps=annealing.steps)
        if annealing.centres(number):
            poses = refine(volume, centred.images, centred.matcher.match(volume, grid))
            shifts = (shifts - poses.shifts).clamp(-annealing.reach * size, annealing.reach * size)
            centred = _Centred(images, shifts)
        yield Iteration(volume, shifts)


class _Centred:
    """Images moved to the centre, and what their unit images lack: mean inside the mask and norm."""

    def __init__(self, images: Tensor, shifts: Tensor) -> None:
        moved = shift(images, shifts)
        self.matcher = Matcher(moved)
        mask = self.matcher.mask
        self.images = moved * mask
        self.levels = self.images.sum((1, 2)) / mask.sum()
        self.strengths = ((self.images - self.levels[:, None, None]) * mask).flatten(1).norm(dim=1)

    def poses_in(self, volume: Tensor) -> Poses:
        """The best pose of each in a volume."""
        grid = directions(fine_directions(volume.shape[-1])).to(volume)
        return refine(volume, self.images, self.matcher.match(volume, grid))


def best_poses(volume: Tensor, images: Tensor, shifts: Tensor) -> Poses:
    """The best pose of each image in a volume.

    Args:
        volume: shape (d, d, d).
        images: empty space 0, shape (n, d, d).
        shifts: of the images, about, shape (n, 2).
    """
    poses = _Centred(_at(images, volume.shape[-1]), -shifts).poses_in(volume)
    return poses._replace(shifts=poses.shifts + shifts)


def _damping(size: int, share: float, noise: float) -> Tensor:
    """λ of every shell: constant up to a share of d / 2, growing steeply beyond."""
    shell = torch.arange(size // 2 + 1)
    cutoff = share * size / 2
    return noise * (1 + torch.exp(((shell - cutoff) * 4).clamp(-20, 12)))


def random_blob(images: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth random volume of the images' mean mass: where soft matching begins, shape (d, d, d)."""
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
    small = _at(images, min(COARSE_SIDE, images.shape[-1]))
    blob = random_blob(small, generator)
    blob = blob if group is None else symmetrised(blob, group)
    return soft_match(small, blob, COARSE, generator, group=group)


def symmetrised(volume: Tensor, group: Tensor) -> Tensor:
    """The mean of a volume in all turns of a group, shape (g, 3, 3)."""
    return torch.stack([rotate(volume, turn) for turn in group]).mean(0)


def fine_level(
    images: Tensor, coarse: Iteration, generator: torch.Generator, *, group: Tensor | None = None, soft: bool = False
) -> Iterator[Iteration]:
    """From the shape of the particle to 48 pixels, or the size of the images if they are smaller.

    The grid of directions is as fine as a pixel needs. What is finer `settle` finds, from single poses. Where images are noisy,
    it ends softer: many poses explain each of them nearly as well as the best one.
    """
    start = enlarged(coarse, min(FINE_SIDE, images.shape[-1]))
    size = start.volume.shape[-1]
    annealing = replace(FINE, directions=fine_directions(size), tau=(FINE.tau[0], _SOFT if soft else FINE.tau[1]))
    return soft_match(_at(images, size), start.volume, annealing, generator, shifts=start.shifts, group=group)


def enlarged(iteration: Iteration, size: int) -> Iteration:
    """The state at another size of the images."""
    ratio = size / iteration.volume.shape[-1]
    volume = resample(iteration.volume, size, 3) / ratio  # a view sums over more voxels
    return iteration._replace(volume=volume, shifts=iteration.shifts * ratio)


def leave_gaps(images: int, group: Tensor | None) -> bool:
    """Whether so few images leave gaps between their slices; with a symmetry, shape (g, 3, 3), each has several."""
    return images * (1 if group is None else len(group)) < _FEW


def settle(images: Tensor, last: Iteration, *, stays: bool, group: Tensor | None = None, rounds: int = 2) -> Consensus:
    """The single best pose of each image, and the volume that fits the images in these, in turn.

    Few images in single poses leave gaps between their slices, and fitting them alone undoes what many poses, tried on the way,
    have put there; the best poses of noisy images are those that suit their noise. Then the volume should stay near that of soft
    matching where no image says otherwise.

    Args:
        images: empty space 0, shape (n, d, d).
        last: of soft matching, at any size.
        stays: whether the volume stays near it.
        group: symmetry, shape (g, 3, 3).
        rounds: how often.
    """
    size = last.volume.shape[-1]
    moved = _Centred(_at(images, size), last.shifts)
    volume, poses = last.volume, moved.poses_in(last.volume)
    for _ in range(rounds):
        good = ~outliers(poses)
        centred, rotations = shift(moved.images, -poses.shifts)[good], poses.rotations[good]
        if stays:
            missing = (centred - project(last.volume, rotations)) * moved.matcher.mask
            volume = last.volume + posed_map(missing, rotations, group=group, damping=_STAYING)
        else:
            volume = posed_map(centred, rotations, group=group, start=volume)
        poses = refine(volume, moved.images, poses)
    return Consensus(volume, poses._replace(shifts=poses.shifts - last.shifts))


def anew(
    images: Tensor, found: Consensus, generator: torch.Generator, *, group: Tensor | None = None, soft: bool = False
) -> Iterator[Iteration]:
    """Soft matching in detail once more, from what a consensus shows at 24 pixels; `settle` makes a consensus of the last."""
    size = found.volume.shape[-1]
    coarse = enlarged(Iteration(found.volume, -found.poses.shifts), min(COARSE_SIDE, size))
    return fine_level(images, coarse, generator, group=group, soft=soft)


def average(images: Tensor, found: Sequence[Consensus], *, group: Tensor | None = None) -> Consensus:
    """The mean of several answers to the same images, in the frame of the first, and the pose of each image in it.

    A map of few images fits what is wrong in them, too, and from each start in another way: the mean has less of it.

    Args:
        images: empty space 0, shape (n, d, d).
        found: volumes of the same size as the images.
        group: symmetry, shape (g, 3, 3).
    """
    first = found[0]
    reference = first.volume.cpu()
    moved = [moved_onto(other.volume.cpu(), reference) for other in found[1:]]
    mean = torch.stack([reference, *moved]).mean(0).to(images)
    mean = mean if group is None else symmetrised(mean, group)
    return Consensus(mean, best_poses(mean, images, first.poses.shifts))


def parted(
    images: Tensor, first: Consensus, second: Consensus, *, group: Tensor | None = None
) -> tuple[Consensus, Consensus, Tensor]:
    """Two consensuses of a mixture, each made again from the images that it explains better.

    The first was made of all images, so it explains those of the second too well at the beginning.

    Args:
        images: empty space 0, shape (n, d, d).
        first: of most images, with the poses of all.
        second: of some of the others, with the poses of all.
        group: symmetry of the first, shape (g, 3, 3).

    Returns:
        Both with the poses of all images, and which images show the second, shape (n,), bool.
    """
    theirs = _explained_better(second, first)
    for _ in range(_PARTINGS):
        first, second = _made_of(images, first, ~theirs, group), _made_of(images, second, theirs, None)
        theirs = _explained_better(second, first)
    return first, second, theirs


def _explained_better(one: Consensus, other: Consensus) -> Tensor:
    """Which images one consensus explains better than another, (n,), bool."""
    return 1 - one.poses.correlations < _BETTER * (1 - other.poses.correlations)


def _made_of(images: Tensor, found: Consensus, some: Tensor, group: Tensor | None) -> Consensus:
    """A consensus made again from some of the images, unless they are few, with the poses of all in it."""
    volume, shifts = found.volume, found.poses.shifts
    if not leave_gaps(int(some.sum()), group):
        volume = settle(images[some], Iteration(volume, -shifts[some]), stays=False, group=group).volume
    return Consensus(volume, best_poses(volume, images, shifts))


def fine_directions(size: int) -> int:
    """As many as a pixel at the rim needs."""
    return max(FINE.directions, size**2 // 2)


_ODD = 4.5  # robust standard deviations below the median, from which an image is not like the others
_EXPLAINED = 0.95  # correlation from which an image is explained, however well the others are


def outliers(poses: Poses) -> Tensor:
    """Images that no view explains nearly as well as views explain the others, by Fisher's z of the correlations; (n,), bool."""
    z = torch.atanh(poses.correlations.double().clamp(-1 + 1e-9, 1 - 1e-9))
    spread = 1.4826 * (z - z.median()).abs().median()
    return (z < z.median() - _ODD * spread) & (poses.correlations < _EXPLAINED)


def other_hand(consensus: Consensus) -> Consensus:
    """The mirror image, which has the same views in mirrored poses."""
    across = torch.diag(consensus.volume.new_tensor([1.0, 1.0, -1.0]))
    return Consensus(mirror(consensus.volume), consensus.poses._replace(rotations=across @ consensus.poses.rotations @ across))


def _at(images: Tensor, size: int) -> Tensor:
    """Images at another size, 0 outside the disc."""
    return resample(images, size, 2) * inscribed(size, 2, dtype=images.dtype, device=images.device)
