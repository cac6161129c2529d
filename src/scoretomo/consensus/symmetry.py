"""Which symmetry a consensus has by itself, in which frame.

A volume with a symmetry agrees with itself after any turn of its group. For each group all orientations of its axes are
tried in the lowest shells, by the mean FSC of the volume with its turned self, and the best one is improved in more
shells.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..fourier import coordinates, transform_at
from ..projection import rotate
from ..rotations import point_group, rotation_from_vector, rotation_grid
from . import Consensus, Iteration
from .soft_assignment import symmetrised

_GROUPS = ("C2", "C3", "C4", "C5", "C6", "C7", "C8", "D2", "D3", "D4", "D5", "D6", "D7", "T", "O", "I")
_SEARCH_SHELLS, _LAST_SHELLS = 3, 6
_ORIENTATIONS = 6000  # of the axes; about 13° apart
_BRIGHT = 0.3  # of the highest value: what counts for the centre of mass


@dataclass(frozen=True)
class SymmetryCriteria:
    """When a symmetry is proposed; source: docs/dev/decisions/symmetry.md. Held-out images decide on what is proposed.

    Attributes:
        likely: mean FSC of the volume with its turned self in the lowest six shells, at least.
    """

    likely: float = 0.75


SYMMETRY = SymmetryCriteria()


class Proposal(NamedTuple):
    """A symmetry of a volume."""

    name: str
    agreement: float  # mean FSC with the turned self, in the lowest six shells
    frame: Tensor  # rotation that brings the group's axes to those of the volume, (3, 3)
    centre: Tensor  # (x, y, z) in voxels, where the axes meet
    group: Tensor  # (g, 3, 3), in the standard frame


def propose(
    volume: Tensor, *, names: tuple[str, ...] = _GROUPS, criteria: SymmetryCriteria = SYMMETRY
) -> list[Proposal]:
    """Groups whose turns leave a volume much as it is, the largest last.

    Args:
        volume: empty space 0, shape (d, d, d).
        names: groups to try.
        criteria: when one is proposed.
    """
    centre = _centre_of_mass(volume)
    centred = rotate(volume, torch.eye(3, device=volume.device), -centre)
    grid = rotation_grid(_ORIENTATIONS).to(volume)
    steps = torch.cartesian_prod(*[torch.linspace(-1, 1, 4)] * 3).to(volume)
    proposals = []
    for name in names:
        group = point_group(name).to(volume)
        turns = torch.cat([group[1:3], group[3:][-3:]])  # the smallest and the largest: about all of the group's axes
        frames = grid[_self_fsc(centred, grid, turns, _SEARCH_SHELLS).topk(4).indices]
        for reach in (8.0, 4.0, 2.0, 1.0):
            small = rotation_from_vector(steps * math.radians(reach))
            near = torch.cat([frames, (frames[:, None] @ small).flatten(0, 1)])
            frames = near[_self_fsc(centred, near, turns, _LAST_SHELLS).topk(4).indices]
        value = float(_self_fsc(centred, frames[:1], group[1:], _LAST_SHELLS))
        if value >= criteria.likely:
            proposals.append(Proposal(name, value, frames[0], centre, group))
    return sorted(proposals, key=lambda proposal: len(proposal.group))


def _centre_of_mass(volume: Tensor) -> Tensor:
    """(x, y, z) of what is bright, in voxels."""
    mass = torch.where(volume > _BRIGHT * volume.max(), volume, 0)
    return (coordinates(volume.shape[-1], 3, dtype=volume.dtype, device=volume.device) * mass).flatten(1).sum(
        1
    ) / mass.sum()


def symmetric_start(consensus: Consensus, proposal: Proposal) -> Iteration:
    """A consensus with a symmetry imposed, in the standard frame of its group, for images that are to be matched with
    it.
    """
    upright = rotate(rotate(consensus.volume, torch.eye(3).to(consensus.volume), -proposal.centre), proposal.frame.mT)
    across = (consensus.poses.rotations @ proposal.centre)[:, :2]
    return Iteration(symmetrised(upright, proposal.group), -consensus.poses.shifts - across)


def _self_fsc(volume: Tensor, frames: Tensor, turns: Tensor, shells: int) -> Tensor:
    """Mean FSC over shells of a volume with its turned selves, the axes of the turns in each of the frames; (f, 3, 3)
    to (f,).
    """
    size = volume.shape[-1]
    k = coordinates(2 * shells + 2, 3, dtype=volume.dtype, device=volume.device).flatten(1).T
    length = k.norm(dim=1)
    k = k[(k[:, 0] >= 0) & (length > 0.5) & (length < shells + 0.5)]
    shell = k.norm(dim=1).round().long() - 1
    members = torch.nn.functional.one_hot(shell, shells).to(volume)
    scale = 2 * math.pi / size
    own = transform_at(volume[None], k * scale)[0]
    power = (own.abs().square() @ members).clamp_min(1e-30)
    values = []
    for some in frames.split(max(1, 500_000 // (len(k) * len(turns)))):
        turned = some[:, None] @ turns @ some[:, None].mT  # (f, g, 3, 3)
        seen = transform_at(volume[None], (k @ turned).reshape(-1, 3) * scale)[0].reshape(*turned.shape[:2], -1)
        across = (own.conj() * seen).real @ members
        values.append((across / (power * (seen.abs().square() @ members).clamp_min(1e-30)).sqrt()).mean((1, 2)))
    return torch.cat(values)
