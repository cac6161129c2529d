"""The deformation model: all conformations of a molecule, learned from all images at once.

The molecule is a set of Gaussians, as in DynaMight (Schwab et al., 2024) and e2gmm (Chen & Ludtke, 2021). In the
conformation of image i, Gaussian c is at

    c + Σ_j a_j(z_i) B_j(c).

The deformation basis B (a small network of c) describes how parts of the molecule can move, the mode amplitudes a (a
small network of the latent coordinates z) how far they have moved. Basis, amplitudes, Gaussians and their masses are
shared by all images; latent coordinates and a correction of the pose belong to one image each. `fit` finds all of them
together.

Gaussians move where matter moves and cannot mix shapes as averages of volumes do. Where images are larger than the
model's side, the fit goes on with smaller and more Gaussians and the same basis.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..fourier import coordinates, inscribed, low_pass, resample
from ..rotations import rotation_from_vector
from .schedule import DeformationSettings
from .splatting import density, splat

GAUSSIAN_WIDTH = 0.7  # of a Gaussian, standard deviation in voxels of the model's side
_WAVES = (0.5 * math.pi, math.pi, 2 * math.pi)  # frequencies of a point's place in the basis network, per half side
_FAINT = 0.12  # of the brightest voxel: what is below is empty
TILE = 16  # images whose views are made at a time
_START = 0.3  # standard deviation of the latent coordinates before the first step


class DeformationModel(nn.Module):
    """Gaussians, their deformation basis, and the latent coordinates and pose of each image.

    Args:
        points: shape (p, 3), (x, y, z) in half sides.
        masses: shape (p,), mean 1.
        rotations: poses of the images, shape (n, 3, 3).
        fitting: sizes.
        voxel: standard deviation of a Gaussian in voxels of the model's side.
        generator: random stream.
        group: rotations under which every conformation stays the same, shape (g, 3, 3).
        flexible: whether it moves; if not, all latent coordinates are 0.
    """

    rotations: Tensor
    group: Tensor

    def __init__(
        self,
        points: Tensor,
        masses: Tensor,
        rotations: Tensor,
        fitting: DeformationSettings,
        *,
        voxel: float,
        generator: torch.Generator,
        group: Tensor | None = None,
        flexible: bool = True,
    ) -> None:
        super().__init__()
        count, inputs = len(rotations), 3 + 6 * len(_WAVES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            last = nn.Linear(fitting.width, 3 * fitting.basis_functions)
            nn.init.normal_(last.weight, std=0.05 / (fitting.side / 2))
            nn.init.zeros_(last.bias)
            hidden = [nn.Linear(inputs, fitting.width), nn.SiLU(), nn.Linear(fitting.width, fitting.width), nn.SiLU()]
            self.basis_network = nn.Sequential(*hidden, last)
            self.linear_amplitudes = nn.Linear(fitting.latent_dimensions, fitting.basis_functions, bias=False)
            self.nonlinear_amplitudes = nn.Sequential(
                nn.Linear(fitting.latent_dimensions, 32), nn.SiLU(), nn.Linear(32, fitting.basis_functions)
            )
        self.points, self.masses = nn.Parameter(points.clone()), nn.Parameter(masses.clone())
        spread = _START if flexible else 0.0
        self.latent = nn.Parameter(spread * torch.randn(count, fitting.latent_dimensions, generator=generator))
        self.turns, self.shifts = nn.Parameter(torch.zeros(count, 3)), nn.Parameter(torch.zeros(count, 2))
        self.register_buffer("rotations", rotations.clone())
        self.register_buffer("group", torch.eye(3)[None] if group is None else group.clone())
        self.voxel, self.flexible, self.size = voxel, flexible, fitting.side

    def poses(self) -> Tensor:
        """Poses of the images as corrected, shape (n, 3, 3)."""
        return rotation_from_vector(self.turns) @ self.rotations

    def conformations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Where the points are in the conformations of some images: places (b, g · p, 3) in half sides, masses (b, g ·
        p).

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
        moved = self.amplitudes(images) if amplitudes is None else amplitudes
        return self.points + torch.einsum("bj,pjx->bpx", moved, self.basis())

    def amplitudes(self, images: Tensor) -> Tensor:
        """a_j of some images, shape (b, j)."""
        at = self.latent[images]
        return self.linear_amplitudes(at) + self.nonlinear_amplitudes(at)

    def basis(self) -> Tensor:
        """B_j of every Gaussian, shape (p, j, 3)."""
        waves = (self.points[:, None] * self.points.new_tensor(_WAVES)[:, None]).flatten(1)
        return self.basis_network(torch.cat([self.points, waves.sin(), waves.cos()], 1)).unflatten(1, (-1, 3))

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

    def masked_views(self, images: Tensor, side: int, width: float, amplitudes: Tensor | None = None) -> Tensor:
        """The same inside the inscribed disc, 0 outside."""
        mask = inscribed(side, 2, dtype=self.points.dtype, device=self.points.device)
        return self.views(images, side, width, amplitudes) * mask


def model_from_consensus(
    consensus: Tensor,
    rotations: Tensor,
    fitting: DeformationSettings,
    generator: torch.Generator,
    *,
    group: Tensor | None = None,
    flexible: bool = True,
) -> DeformationModel:
    """Make the consensus a model of Gaussians, which has not learned to move yet.

    Args:
        consensus: empty space 0, shape (d, d, d).
        rotations: poses of the images in it, shape (n, 3, 3).
        fitting: sizes.
        generator: random stream.
        group: symmetry, shape (g, 3, 3).
        flexible: whether it may move.
    """
    side = min(fitting.side, consensus.shape[-1])
    small = resample(consensus, side, 3)
    bright = (small > _FAINT * small.max()) & (inscribed(side, 3, device=small.device) > 0)
    places = coordinates(side, 3, dtype=small.dtype, device=small.device).movedim(0, -1)[bright]
    masses = small[bright]
    if group is not None:
        places, masses = _asymmetric_unit(places, masses, group)
    most = max(1, fitting.points // (1 if group is None else len(group)))
    share = min(1.0, most / len(places))
    if share < 1:
        some = torch.randperm(len(places), generator=generator)[:most].to(places.device)
        places, masses = places[some], masses[some]
    return DeformationModel(
        places / (side / 2),
        masses / masses.mean(),
        rotations,
        fitting,
        voxel=GAUSSIAN_WIDTH * share ** (-1 / 3) * fitting.side / side,
        generator=generator,
        group=group,
        flexible=flexible,
    ).to(consensus.device)


def _asymmetric_unit(places: Tensor, masses: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """One of each set of equivalent points; places (p, 3) in voxels, masses (p,), group (g, 3, 3)."""
    generic = places.new_tensor([0.53, 0.31, 0.79])
    unit = (places @ generic)[:, None] >= torch.einsum("pi,gij,j->pg", places, group, generic) - 1e-4
    places = places[unit.all(1)]
    copies = torch.einsum("gij,pj->pgi", group, places)
    times = ((copies - places[:, None]).norm(dim=2) < 0.5).sum(1)  # a place on an axis is its own copy
    return places, masses[unit.all(1)] / times


@torch.no_grad()
def sharpened_model(
    model: DeformationModel, size: int, fitting: DeformationSettings, generator: torch.Generator
) -> DeformationModel:
    """The same motion of smaller Gaussians, on a finer grid where those before were dense.

    Args:
        model: the model.
        size: of the images that it is to see, in pixels.
        fitting: sizes; those of the fields are as before.
        generator: random stream.
    """
    side = min(fitting.side, size)
    copies = (model.points @ model.group.mT).flatten(0, 1)
    masses = model.masses.clamp_min(0).repeat(len(model.group))
    width = math.sqrt(max(0, (model.voxel * side / model.size) ** 2 - GAUSSIAN_WIDTH**2))  # those to come add theirs
    volume = density(copies * (side / 2), masses, side, width)
    group = model.group if len(model.group) > 1 else None
    finer = model_from_consensus(volume, model.rotations, fitting, generator, group=group, flexible=model.flexible)
    own = {name: value for name, value in finer.state_dict().items() if name in ("points", "masses")}
    finer.load_state_dict({**model.state_dict(), **own})
    return finer


@torch.no_grad()
def displacements(model: DeformationModel, some: Tensor) -> Tensor:
    """How far the molecule has moved in some images: root mean square distance of its mass from the median place of
    each point.

    Args:
        model: the model.
        some: places of the images in the stack, shape (b,).

    Returns:
        In pixels of the model's side, shape (b,).
    """
    places = torch.cat([model.places(few) for few in some.split(TILE)])  # (b, p, 3)
    weights = model.masses.clamp_min(0) / model.masses.clamp_min(0).sum()
    return ((places - places.median(0).values).square().sum(2) @ weights).sqrt() * (model.size / 2)


@torch.no_grad()
def model_views(model: DeformationModel, size: int) -> Tensor:
    """Views of all conformations in the poses of their images, shape (n, size, size)."""
    order = torch.arange(len(model.rotations), device=model.rotations.device).split(TILE)
    return torch.cat([model.views(some, size, model.voxel * size / model.size) for some in order])


@torch.no_grad()
def model_volumes(model: DeformationModel, numbers: Sequence[int], images: Tensor) -> Tensor:
    """The volumes of some images in the frames of these, on the grid of the images, with the brightness that fits them
    best.

    Args:
        model: the model.
        numbers: places of the images in the stack.
        images: these images, centred, empty space 0, shape (b, d, d).

    Returns:
        Shape (b, d, d, d).
    """
    size = images.shape[-1]
    mask, ball = (inscribed(size, dims, dtype=images.dtype, device=images.device) for dims in (2, 3))
    places, masses = model.conformations(torch.tensor(numbers, device=images.device))
    turned = places @ model.poses()[list(numbers)].mT
    volumes = []
    for points, mass, image in zip(turned, masses, images, strict=True):
        volume = density(points * (size / 2), mass, size, model.voxel * size / model.size)
        if size > model.size:  # the model has seen nothing finer
            volume = low_pass(volume, model.size / 2, 3)
        volume *= ball
        view = volume.sum(0) * mask
        volumes.append(volume * ((view * image).sum() / view.square().sum().clamp_min(1e-12)))
    return torch.stack(volumes)
