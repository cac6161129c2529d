"""The best pose of every image in a volume, and how well the volume explains the stack.

The views of a volume from a grid of directions are compared with all turns and flips of every image, first by their
lowest harmonics, then, where that promises most, in full. A view from behind is the flipped view from the front, so
half a sphere of directions does. Levenberg–Marquardt steps on the turn and the shift of each image refine the poses.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .fourier import coordinates, inscribed, transform_at
from .harmonics import TurnedImages, circle_top
from .optimise import Slope, State, maximise
from .projection import half_plane, project, spectrum
from .rotations import rotation_about_z, rotation_from_vector

_FEWEST_HARMONICS = 8  # of the first comparison
_CANDIDATES = 24  # directions and flips of it that are compared in full
_BEHIND = (-1.0, 1.0, -1.0)  # half a turn about y: what it shows is flipped, x → −x


class Poses(NamedTuple):
    """Where each image stands in a volume: image ≈ f(V, R) moved by the shift."""

    rotations: Tensor  # (n, 3, 3)
    shifts: Tensor  # (n, 2): x, y in pixels
    correlations: Tensor  # (n,): normalised, of the image and its view

    def of(self, some: Tensor | list[int]) -> "Poses":
        """Those of some images, by their places or (n,), bool."""
        return Poses(*(values[some] for values in self))


def choose(first: Tensor, poses: Poses, others: Poses) -> Poses:
    """The poses where ``first`` is true, else the others; first is (n,), bool."""
    rotations = torch.where(first[:, None, None], poses.rotations, others.rotations)
    shifts = torch.where(first[:, None], poses.shifts, others.shifts)
    return Poses(rotations, shifts, torch.where(first, poses.correlations, others.correlations))


def directions(count: int, *, turn: Tensor | None = None) -> Tensor:
    """Spread view directions evenly over half a sphere (a Fibonacci spiral).

    Args:
        count: how many; neighbours are about 145° / √count apart.
        turn: rotation of the whole grid, shape (3, 3).

    Returns:
        Rotations that bring each direction to z, shape (count, 3, 3).
    """
    step = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - step / count
    angle = math.pi * (1 + math.sqrt(5)) * step
    across = (1 - z.square()).sqrt()
    direction = torch.stack([across * angle.cos(), across * angle.sin(), z], 1)
    helper = torch.where(direction[:, 2:].abs() < 0.9, torch.eye(3).double()[2], torch.eye(3).double()[0])
    first = normalize(torch.linalg.cross(helper.expand_as(direction), direction), dim=1)
    grid = torch.stack([first, torch.linalg.cross(direction, first), direction], 1)
    return (grid if turn is None else grid @ turn.double()).float()


def unit(images: Tensor, mask: Tensor) -> Tensor:
    """Images of mean 0 and norm 1 inside the mask and 0 outside, so that inner products are correlations; (…, d, d)."""
    inside = images * mask
    centred = inside - mask * (inside.sum((-2, -1), keepdim=True) / mask.sum())
    return centred / centred.flatten(-2).norm(dim=-1)[..., None, None].clamp_min(1e-12)


class Likeness(NamedTuple):
    """Correlations of some of the images with views from a grid of directions."""

    images: slice  # which images
    turned: TurnedImages
    values: Tensor  # (directions, n, 2, turns)


class Matcher:
    """Compares a stack of images with views of volumes.

    Args:
        images: empty space 0, shape (n, d, d).
        tolerance: largest share of an image's squared norm that the compression may lose.
        working_memory: bytes for the correlations of a tile of images.
    """

    def __init__(self, images: Tensor, *, tolerance: float = 1e-4, working_memory: float = 3e8) -> None:
        self.size = images.shape[-1]
        self.mask = inscribed(self.size, 2, dtype=images.dtype, device=images.device)
        self.images = unit(images, self.mask)
        self.working_memory = working_memory
        self.turned = TurnedImages(self.images, tolerance=tolerance)

    def likeness(self, views: Tensor) -> Iterator[Likeness]:
        """Correlations of views with all turned and flipped images, tile by tile.

        Args:
            views: shape (directions, d, d).

        Yields:
            The correlations of some of the images, the next ones for each `next`.
        """
        per_image = len(views) * 2 * self.turned.turns * views.element_size() * 4
        tile = max(1, int(self.working_memory / per_image))
        components = self.turned.components(unit(views, self.mask))
        for first in range(0, len(self.images), tile):
            some = slice(first, min(first + tile, len(self.images)))
            turned = self.turned.take(some)
            yield Likeness(some, turned, turned.products_of_components(components))

    def match(self, volume: Tensor, grid: Tensor) -> Poses:
        """The best pose of every image among a grid of directions, flips and turns.

        Only directions with a high correlation in the lowest harmonics are compared in full.

        Args:
            volume: shape (d, d, d).
            grid: rotations that bring each direction to z, shape (directions, 3, 3).

        Returns:
            The poses of the n images; all shifts are 0.
        """
        behind = torch.diag(grid.new_tensor(_BEHIND))
        components = self.turned.components(unit(project(volume, grid), self.mask))
        lowest = self.turned.coarse(max(_FEWEST_HARMONICS, len(components) // 3))
        each = max(len(grid) * 2 * lowest.turns, _CANDIDATES * len(components) * components.shape[2] * 4)
        memory = each * components.real.element_size() * 4
        rotations, correlations = [], []
        for some in torch.arange(len(self.images), device=grid.device).split(max(1, int(self.working_memory / memory))):
            low = lowest.take(slice(int(some[0]), int(some[-1]) + 1))
            promise = low.products_of_components(components[: len(low.basis)]).amax(3)  # (directions, n, 2)
            best = promise.transpose(0, 1).flatten(1).topk(min(_CANDIDATES, 2 * len(grid))).indices  # (n, candidates)
            circles = self.turned.circles(
                components, best.flatten() // 2, some.repeat_interleave(best.shape[1]), best.flatten() % 2
            ).unflatten(0, best.shape)
            tops = circles.max(2)
            chosen = tops.values.argmax(1)
            rows = torch.arange(len(some), device=grid.device)
            direction, flip = best[rows, chosen] // 2, best[rows, chosen] % 2
            angle = circle_top(circles[rows, chosen], tops.indices[rows, chosen])
            seen = rotation_about_z(-angle) @ grid[direction]
            rotations.append(torch.where(flip[:, None, None] > 0, behind @ seen, seen))
            correlations.append(tops.values[rows, chosen])
        turns = torch.cat(rotations)
        return Poses(turns, turns.new_zeros(len(turns), 2), torch.cat(correlations))


def mean_correlation(poses: Poses) -> float:
    """How well a volume explains a stack: the mean over images of the best correlation with any of its views."""
    return float(poses.correlations.mean())


def refine(volume: Tensor, images: Tensor, poses: Poses, *, steps: int = 6) -> Poses:
    """Improve poses that are nearly right by Levenberg–Marquardt steps on turn and shift, all images at once.

    Args:
        volume: shape (d, d, d).
        images: empty space 0, shape (n, d, d).
        poses: where to begin.
        steps: how many.
    """
    compared = _compared(volume, images)
    reach = images.new_tensor([2 / images.shape[-1]] * 3 + [1.0] * 2)

    def move(state: State, step: Tensor) -> State:
        """A turn by two pixels at the rim, and a shift by one, at most."""
        rotations, shifts = state
        step = step * (reach / step.abs().clamp_min(1e-12)).clamp(max=1).amin(1, keepdim=True)
        return rotation_from_vector(step[:, :3]) @ rotations, shifts + step[:, 3:]

    start = (poses.rotations, poses.shifts)
    (rotations, shifts), correlations = maximise(start, partial(_correlation_slope, compared), move, steps=steps)
    return Poses(rotations, shifts, correlations)


class _Compared(NamedTuple):
    """A volume and images as Fourier coefficients at the points of the half plane, without the zero frequency."""

    points: Tensor  # (p, 3)
    weight: Tensor  # (p,): root of how often each counts in the norm of an image
    aim: Tensor  # (n, p): of the images, of norm 1
    moments: Tensor  # (4, d, d, d): the volume, and it times x, y and z, for the derivatives


def _compared(volume: Tensor, images: Tensor) -> _Compared:
    """A volume (d, d, d) and images (n, d, d) as coefficients."""
    plane = half_plane(images.shape[-1], images.dtype, images.device)
    weight = plane.weight[1:].sqrt()
    aim = spectrum(images)[:, 1:] * weight
    aim = aim / aim.norm(dim=1, keepdim=True).clamp_min(1e-12)
    position = coordinates(volume.shape[-1], 3, dtype=volume.dtype, device=volume.device)
    return _Compared(plane.points[1:], weight, aim, torch.cat([volume[None], position * volume]))


def _correlation_slope(compared: _Compared, state: State) -> Slope:
    """Correlations of unit views with the images, and derivatives by turn and shift, (n, 5)."""
    rotations, shifts = state
    points = compared.points
    values = transform_at(compared.moments, (points @ rotations).reshape(-1, 3)).reshape(4, len(rotations), -1)
    values = values * compared.weight * torch.exp(-1j * (shifts @ points[:, :2].T))
    by_frequency = torch.einsum("nij,jnp->npi", rotations.to(values), values[1:]) * -1j
    by_turn = torch.linalg.cross(by_frequency, points.to(values)[None].expand_as(by_frequency))
    derivative = torch.cat([by_turn, -1j * points[:, :2] * values[0][..., None]], -1)
    norm = values[0].norm(dim=1).clamp_min(1e-12)[:, None]
    view = values[0] / norm
    derivative = derivative / norm[..., None]
    derivative = derivative - view[..., None] * (view.conj()[..., None] * derivative).real.sum(1, keepdim=True)
    correlations = (view.conj() * compared.aim).real.sum(1)
    residual = compared.aim - correlations[:, None] * view
    derivative = derivative * correlations[:, None, None]
    parts = torch.view_as_real(derivative).movedim(-1, 1).flatten(1, 2)
    gradient = (derivative.conj() * residual[..., None]).real.sum(1)
    return Slope(correlations, gradient, parts.mT @ parts)
