"""How a molecule moves: one model of all its conformations, learned from all images at once.

The molecule is a cloud of Gaussians, as in DynaMight (Schwab et al., 2024) and e2gmm (Chen & Ludtke, 2021). In the conformation of
image i, point c stands at

    c + Σ_j a_j(z_i) B_j(c),

where the fields B_j say how the parts of the molecule can move, and the amplitudes a_j, which depend on a few coordinates z_i, how
far they have moved in this image. Fields (a small network of c), amplitudes (a small network of z), points and their masses are
shared by all images; coordinates and a correction of the pose belong to one image each. All are found together, by gradient descent
on the squared differences between images and views, from blurred images to sharp ones and, once the molecule is known to move,
each ring weighed by how little the model leaves of it: what one image can't show, others do.

A cloud moves where matter moves and can't mix shapes as averages of volumes do. Where images are larger than it is asked to see at
first, it goes on with smaller and more Gaussians, which move in the same ways.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..fourier import centred_fft, centred_ifft, coordinates, inscribed, low_pass, radius, resample
from ..rotations import rotation_from_vector
from .ring_weights import filtered, whitening
from .schedule import Fitting
from .splatting import density, splat

_WIDTH = 0.7  # of a Gaussian, standard deviation in voxels of the model's side
_WAVES = (0.5 * math.pi, math.pi, 2 * math.pi)  # frequencies by which a point tells its place to the fields, per half side
_FAINT = 0.12  # of the brightest voxel: what is below is empty
_SHARDS = 2  # parts of a batch, each worked on by one thread; on a GPU a batch is one part
_OWN = 3  # kinds of parameters that belong to one image each: turn, shift, coordinates
_TILE = 16  # images whose views are made at a time
_WEIGHED = 20  # epochs after which rings are weighed anew; sooner where there are few
MANY = 0.8  # share of left-out images that need not show that the molecule moves
_START = 0.3  # standard deviation of the coordinates before the first step


class Cloud(nn.Module):
    """The cloud, its ways to move, and where each image stands in them.

    Args:
        points: shape (p, 3), (x, y, z) in half sides.
        masses: shape (p,), mean 1.
        rotations: poses of the images, shape (n, 3, 3).
        fitting: sizes.
        voxel: standard deviation of a Gaussian in voxels of the model's side.
        generator: random stream.
        group: rotations under which every conformation stays the same, shape (g, 3, 3).
        moves: whether it moves; if not, all coordinates are 0.
    """

    rotations: Tensor
    group: Tensor

    def __init__(
        self,
        points: Tensor,
        masses: Tensor,
        rotations: Tensor,
        fitting: Fitting,
        *,
        voxel: float,
        generator: torch.Generator,
        group: Tensor | None = None,
        moves: bool = True,
    ) -> None:
        super().__init__()
        count, inputs = len(rotations), 3 + 6 * len(_WAVES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            last = nn.Linear(fitting.width, 3 * fitting.fields)
            nn.init.normal_(last.weight, std=0.05 / (fitting.side / 2))
            nn.init.zeros_(last.bias)
            hidden = [nn.Linear(inputs, fitting.width), nn.SiLU(), nn.Linear(fitting.width, fitting.width), nn.SiLU()]
            self.fields = nn.Sequential(*hidden, last)
            self.straight = nn.Linear(fitting.coordinates, fitting.fields, bias=False)
            self.bent = nn.Sequential(nn.Linear(fitting.coordinates, 32), nn.SiLU(), nn.Linear(32, fitting.fields))
        self.points, self.masses = nn.Parameter(points.clone()), nn.Parameter(masses.clone())
        spread = _START if moves else 0.0
        self.coordinates = nn.Parameter(spread * torch.randn(count, fitting.coordinates, generator=generator))
        self.turns, self.shifts = nn.Parameter(torch.zeros(count, 3)), nn.Parameter(torch.zeros(count, 2))
        self.register_buffer("rotations", rotations.clone())
        self.register_buffer("group", torch.eye(3)[None] if group is None else group.clone())
        self.voxel, self.moves, self.size = voxel, moves, fitting.side

    def poses(self) -> Tensor:
        """Poses of the images as corrected, shape (n, 3, 3)."""
        return rotation_from_vector(self.turns) @ self.rotations

    def conformations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Where the points are in the conformations of some images: places (b, g · p, 3) in half sides, masses (b, g · p).

        Args:
            images: their places in the stack, shape (b,).
        """
        return self._all_units(self.places(images))

    def _all_units(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Points of one asymmetric unit as those of all: places (b, g · p, 3), masses (b, g · p)."""
        copies = places[:, None] @ self.group.mT  # (b, g, p, 3)
        masses = self.masses.clamp_min(0).repeat(len(places), len(self.group))
        return copies.flatten(1, 2), masses / len(self.group)

    def places(self, images: Tensor, amplitudes: Tensor | None = None) -> Tensor:
        """Where the points of one asymmetric unit are in these conformations, shape (b, p, 3), in half sides.

        Args:
            images: their places in the stack, shape (b,).
            amplitudes: other ones than theirs, shape (b, j).
        """
        far = self.amplitudes(images) if amplitudes is None else amplitudes
        return self.points + torch.einsum("bj,pjx->bpx", far, self.ways())

    def amplitudes(self, images: Tensor) -> Tensor:
        """a_j of some images, shape (b, j)."""
        at = self.coordinates[images]
        return self.straight(at) + self.bent(at)

    def ways(self) -> Tensor:
        """B_j of every point, shape (p, j, 3)."""
        waves = (self.points[:, None] * self.points.new_tensor(_WAVES)[:, None]).flatten(1)
        return self.fields(torch.cat([self.points, waves.sin(), waves.cos()], 1)).unflatten(1, (-1, 3))

    def views(self, images: Tensor, side: int, width: float, amplitudes: Tensor | None = None) -> Tensor:
        """Views of the conformations of some images in their poses, shape (b, side, side).

        Args:
            images: places in the stack, shape (b,).
            side: of the views, in pixels.
            width: of a Gaussian, standard deviation in these pixels.
            amplitudes: other ones than theirs, shape (b, j).
        """
        places, masses = self._all_units(self.places(images, amplitudes))
        turned = rotation_from_vector(self.turns[images]) @ self.rotations[images]
        across = places @ turned[:, :2].mT + self.shifts[images][:, None]
        return splat(across * (side / 2), masses, side, width)


def condense(
    consensus: Tensor,
    rotations: Tensor,
    fitting: Fitting,
    generator: torch.Generator,
    *,
    group: Tensor | None = None,
    moves: bool = True,
) -> Cloud:
    """Make the consensus a cloud of Gaussians, which has not learned to move yet.

    Args:
        consensus: empty space 0, shape (d, d, d).
        rotations: poses of the images in it, shape (n, 3, 3).
        fitting: sizes.
        generator: random stream.
        group: symmetry, shape (g, 3, 3).
        moves: whether it may.
    """
    side = min(fitting.side, consensus.shape[-1])
    small = resample(consensus, side, 3)
    bright = (small > _FAINT * small.max()) & (inscribed(side, 3, device=small.device) > 0)
    places = coordinates(side, 3, dtype=small.dtype, device=small.device).movedim(0, -1)[bright]
    masses = small[bright]
    if group is not None:  # one of each set of equivalent points
        generic = places.new_tensor([0.53, 0.31, 0.79])
        unit = (places @ generic)[:, None] >= torch.einsum("pi,gij,j->pg", places, group, generic) - 1e-4
        places, masses = places[unit.all(1)], masses[unit.all(1)]
        copies = torch.einsum("gij,pj->pgi", group, places)
        masses = masses / ((copies - places[:, None]).norm(dim=2) < 0.5).sum(1)  # a place on an axis is met several times
    most = max(1, fitting.points // (1 if group is None else len(group)))
    share = min(1.0, most / len(places))
    if share < 1:
        some = torch.randperm(len(places), generator=generator)[:most].to(places.device)
        places, masses = places[some], masses[some]
    return Cloud(
        places / (side / 2),
        masses / masses.mean(),
        rotations,
        fitting,
        voxel=_WIDTH * share ** (-1 / 3) * fitting.side / side,
        generator=generator,
        group=group,
        moves=moves,
    ).to(consensus.device)


@torch.no_grad()
def sharpened(cloud: Cloud, size: int, fitting: Fitting, generator: torch.Generator) -> Cloud:
    """The same motion of smaller Gaussians, on a finer grid where those before were dense.

    Args:
        cloud: the model.
        size: of the images that it is to see, in pixels.
        fitting: sizes; those of the fields are as before.
        generator: random stream.
    """
    side = min(fitting.side, size)
    copies = (cloud.points @ cloud.group.mT).flatten(0, 1)
    masses = cloud.masses.clamp_min(0).repeat(len(cloud.group))
    width = math.sqrt(max(0, (cloud.voxel * side / cloud.size) ** 2 - _WIDTH**2))  # those to come add theirs
    volume = density(copies * (side / 2), masses, side, width)
    group = cloud.group if len(cloud.group) > 1 else None
    finer = condense(volume, cloud.rotations, fitting, generator, group=group, moves=cloud.moves)
    own = {name: value for name, value in finer.state_dict().items() if name in ("points", "masses")}
    finer.load_state_dict({**cloud.state_dict(), **own})
    return finer


def fit(
    cloud: Cloud,
    images: Tensor,
    fitting: Fitting,
    generator: torch.Generator,
    *,
    epochs: range,
    of: int,
    taught: Tensor | None = None,
    threads: int = 1,
) -> Iterator[int]:
    """Fit the model to images; it is changed in place. Yields the number of each epoch, from 1.

    Args:
        cloud: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        generator: random stream of the order of the images.
        epochs: which of all epochs these are.
        of: how many epochs there are in all.
        taught: images that teach what is shared, shape (n,), bool; all if not given. The others are only fitted.
        threads: that work at the same time, each computing with one; they do not change the result.
    """
    count, device = len(images), images.device
    shards = 1 if images.is_cuda else _SHARDS
    everyone = torch.ones(count, dtype=torch.bool, device=device) if taught is None else taught
    kinds = _parameters(cloud, fitting)
    weights = [weight for kind in kinds for weight in kind["params"]]
    optimiser = torch.optim.Adam(kinds)
    batch = max(_SHARDS, min(fitting.batch, count // 10))
    small = resample(images, min(images.shape[-1], fitting.side), 2)
    unweighed, gains = round(fitting.trial * of), None

    def gradient(some: Tensor) -> list[Tensor]:
        """Gradient of every parameter."""
        parts = [torch.zeros_like(weight) for weight in weights]
        teach = everyone[some]
        for which, wanted in ((some[teach], len(weights)), (some[~teach], _OWN)):
            if len(which):
                left = _unexplained(cloud, which, aims[which], width, gains)
                calm = fitting.stiffness * cloud.coordinates[which].square().mean(1)
                slopes = torch.autograd.grad((left + calm).sum() / batch, weights[:wanted], materialize_grads=True)
                for part, slope in zip(parts, slopes, strict=False):
                    part += slope
        return parts

    with ThreadPoolExecutor(threads) as pool:
        for epoch in epochs:
            done = epoch / max(1, of - 1)
            aims, width = aims_at(small, fitting, done, cloud.voxel)
            if epoch >= unweighed:
                if gains is None or epoch % min(_WEIGHED, max(1, of // 6)) == 0:
                    teachers = (everyone if everyone.any() else ~everyone).nonzero()[:, 0]
                    gains = _weigh(cloud, small[teachers], teachers, fitting)
                aims = filtered(aims, gains)
            for kind in optimiser.param_groups:
                kind["lr"] = kind["top"] * (0.51 + 0.49 * math.cos(math.pi * done))
            for some in torch.randperm(count, generator=generator).to(device).split(batch):
                found = [sum(parts) for parts in zip(*pool.map(gradient, some.tensor_split(shards)), strict=True)]
                for weight, part in zip(weights, found, strict=True):
                    weight.grad = part
                optimiser.step()
            yield epoch + 1


def _parameters(cloud: Cloud, fitting: Fitting) -> list[dict[str, Any]]:
    """What is fitted, with its highest rates: first what each image has of its own."""
    voxel = 2 / fitting.side
    still = [([cloud.turns], 2e-3), ([cloud.shifts], 5e-3 * voxel)]
    shared = [([cloud.points], 5e-3 * voxel), ([cloud.masses], 1e-2)]
    networks = [*cloud.fields.parameters(), *cloud.straight.parameters(), *cloud.bent.parameters()]
    coordinates = 2e-2 if cloud.moves else 0.0  # which are 0 and stay there
    kinds = [*still, ([cloud.coordinates], coordinates), *shared, (networks, 2e-3 if cloud.moves else 0.0)]
    return [{"params": weights, "top": fitting.rate * rate, "lr": fitting.rate * rate} for weights, rate in kinds]


def aims_at(images: Tensor, fitting: Fitting, done: float, voxel: float) -> tuple[Tensor, float]:
    """Images as the model should show them after a share of the epochs, and the width of its Gaussians in their pixels.

    Args:
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of the epochs.
        voxel: of the model.

    Returns:
        Blurred images, no larger than they need be, shape (n, s, s), and the width.
    """
    blur = fitting.blur_at(done)
    width = math.hypot(voxel, blur)  # in pixels of the model's side
    side = min(images.shape[-1], fitting.side, 4 * math.ceil(fitting.side * _WIDTH / width / 4 + 1e-6) + 4)
    small, pixel = resample(images, side, 2), fitting.side / side
    k = radius(side, 2, dtype=images.dtype, device=images.device) * (2 * math.pi / side)
    blurred = centred_ifft(centred_fft(small, 2) * torch.exp(-0.5 * (k * blur / pixel).square()), 2).real
    return blurred * inscribed(side, 2, dtype=images.dtype, device=images.device), width / pixel


def _unexplained(
    cloud: Cloud, some: Tensor, aims: Tensor, width: float, gains: Tensor | None = None, *, instead: Tensor | None = None
) -> Tensor:
    """‖view − image‖² / ‖image‖² of some images, each view as bright as fits best, and filtered as they are; (b,).

    The molecule may have moved by other amplitudes than each image's own instead, shape (b, j).
    """
    views = _masked_views(cloud, some, aims.shape[-1], width, instead)
    if gains is not None:
        views = filtered(views, gains)
    across = (views * aims).sum((1, 2)).square() / views.square().sum((1, 2)).clamp_min(1e-12)
    return 1 - across / aims.square().sum((1, 2)).clamp_min(1e-12)


def _masked_views(cloud: Cloud, some: Tensor, side: int, width: float, instead: Tensor | None = None) -> Tensor:
    return cloud.views(some, side, width, instead) * inscribed(side, 2, dtype=cloud.points.dtype, device=cloud.points.device)


@torch.no_grad()
def _weigh(cloud: Cloud, images: Tensor, places: Tensor, fitting: Fitting) -> Tensor:
    """Gains of the rings, by what sharp views leave of images, each of these as strong as the others.

    Args:
        cloud: the model.
        images: of the side that it sees, shape (b, s, s).
        places: theirs in the stack, shape (b,).
        fitting: schedule.
    """
    aims, width = aims_at(images, fitting, 1.0, cloud.voxel)
    left = []
    for image, some in zip(aims.split(_TILE), places.split(_TILE), strict=True):
        view = _masked_views(cloud, some, image.shape[-1], width)
        bright = (view * image).sum((1, 2)) / view.square().sum((1, 2)).clamp_min(1e-12)
        strength = image.square().sum((1, 2)).sqrt().clamp_min(1e-6)
        left.append((image - bright[:, None, None] * view) / strength[:, None, None])
    return whitening(torch.cat(left))


@torch.no_grad()
def unexplained(
    cloud: Cloud, images: Tensor, fitting: Fitting, done: float, *, some: Tensor | None = None, instead: Tensor | None = None
) -> Tensor:
    """Share of the square of some images, or of all, that their views leave, at the blur after a share of the epochs; (b,).

    Args:
        cloud: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of the epochs.
        some: places of those images, shape (b,); all if not given.
        instead: amplitudes by which the molecule has moved instead of each image's own, shape (n, j).
    """
    asked = torch.arange(len(images), device=images.device) if some is None else some
    aims, width = aims_at(images[asked], fitting, done, cloud.voxel)
    left = []
    for aim, few in zip(aims.split(_TILE), asked.split(_TILE), strict=True):
        left.append(_unexplained(cloud, few, aim, width, instead=None if instead is None else instead[few]))
    return torch.cat(left)


@torch.no_grad()
def displacements(cloud: Cloud, some: Tensor) -> Tensor:
    """How far the molecule has moved in some images: root mean square distance of its mass from the median place of each point.

    Args:
        cloud: the model.
        some: places of the images in the stack, shape (b,).

    Returns:
        In pixels of the model's side, shape (b,).
    """
    places = torch.cat([cloud.places(few) for few in some.split(_TILE)])  # (b, p, 3)
    weights = cloud.masses.clamp_min(0) / cloud.masses.clamp_min(0).sum()
    return ((places - places.median(0).values).square().sum(2) @ weights).sqrt() * (cloud.size / 2)


def evidence(still: Sequence[float], moving: Sequence[float], displaced: Sequence[float]) -> float:
    """Evidence that a molecule moves, from images that taught neither of two models: one shape, and one that moves.

    A model that moves leaves less unexplained of a rigid molecule's images, too: it bends a little to their noise, or to what
    each average has wrong. Where the molecule moves, it explains more and moves farther, so the product of both tells.

    Args:
        still: share of each image that one shape leaves unexplained.
        moving: the same of the model that moves.
        displaced: how far that moves for each image, in pixels of the model's side.

    Returns:
        The share of what one shape leaves that motion explains, times the displacement, in these pixels. One image in five has
        more, so that neither a few bad images decide, nor many that all show one state of two.
    """
    shares = np.array([(by_one - left) / max(by_one, 1e-12) for by_one, left in zip(still, moving, strict=True)])
    return float(np.quantile(shares.clip(0) * np.asarray(displaced), MANY))


@torch.no_grad()
def views_of(cloud: Cloud, size: int) -> Tensor:
    """Views of all conformations in the poses of their images, shape (n, size, size)."""
    order = torch.arange(len(cloud.rotations), device=cloud.rotations.device).split(_TILE)
    return torch.cat([cloud.views(some, size, cloud.voxel * size / cloud.size) for some in order])


@torch.no_grad()
def volumes_of(cloud: Cloud, numbers: Sequence[int], images: Tensor) -> Tensor:
    """The volumes of some images in the frames of these, on the grid of the images, as dense as the images ask.

    Args:
        cloud: the model.
        numbers: places of the images in the stack.
        images: these images, centred, empty space 0, shape (b, d, d).

    Returns:
        Shape (b, d, d, d).
    """
    size = images.shape[-1]
    mask, ball = (inscribed(size, dims, dtype=images.dtype, device=images.device) for dims in (2, 3))
    places, masses = cloud.conformations(torch.tensor(numbers, device=images.device))
    turned = places @ cloud.poses()[list(numbers)].mT
    volumes = []
    for points, mass, image in zip(turned, masses, images, strict=True):
        volume = density(points * (size / 2), mass, size, cloud.voxel * size / cloud.size)
        if size > cloud.size:  # the model has seen nothing finer
            volume = low_pass(volume, cloud.size / 2, 3)
        volume *= ball
        view = volume.sum(0) * mask
        volumes.append(volume * ((view * image).sum() / view.square().sum().clamp_min(1e-12)))
    return torch.stack(volumes)
