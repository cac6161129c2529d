"""Asymmetric moving particles with the statistics of ribosomes, made up by a random walk; not the structure of any
molecule.

A strand of beads fills an envelope of ellipsoids: straight stretches like those of RNA helices, which keep clear of
what is there already. A quarter of the beads is sharp and the others are soft, as well and badly ordered parts differ.
The figures were chosen by the radial power spectra of real class averages (benchmarks/realism.py).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .atoms import Atoms, FormFactors, MovingAtoms
from .motions import Motion, motion_of

_STEP = 5.5  # Å from bead to bead
_STRETCH = 9  # beads of a straight stretch, on average
_CLEAR = 11.0  # Å; strands keep about so far from each other
_CHOICES = 16  # next directions that are compared
_ROUGH = 0.07  # of the half axes: bumps of the envelope
_SHARP = 0.25  # share of sharp beads
_WIDTHS = (1.9, 4.8)  # Å; standard deviation of a sharp bead, of a soft one


class Domain(NamedTuple):
    """A part of the envelope, an ellipsoid cut by a plane, filled by a strand of its own."""

    centre: tuple[float, float, float]  # Å
    half_axes: tuple[float, float, float]  # Å, along x, y, z
    beads: int
    cut: float = -math.inf  # Å; nothing of it lies below this z

    def holds(self, points: Tensor) -> Tensor:
        """Which points (…, 3) lie inside."""
        distance = ((points - points.new_tensor(self.centre)) / points.new_tensor(self.half_axes)).norm(dim=-1)
        return (distance < 1 + _ROUGH * _bumps(points)) & (
            points[..., 2] > self.cut + 55 * _ROUGH * _bumps(points + 500)
        )


@lru_cache(maxsize=1)
def _waves() -> tuple[Tensor, Tensor]:
    """Wave vectors (24, 3) in radians per Å, 45 to 90 Å long, and phases (24,)."""
    generator = torch.Generator().manual_seed(2013)
    directions = normalize(torch.randn(24, 3, generator=generator, dtype=torch.float64), dim=1)
    lengths = 45 + 45 * torch.rand(24, 1, generator=generator, dtype=torch.float64)
    return 2 * math.pi * directions / lengths, 2 * math.pi * torch.rand(24, generator=generator, dtype=torch.float64)


def _bumps(points: Tensor) -> Tensor:
    """A smooth random field of variance 1; (…, 3) to (…)."""
    vectors, phases = _waves()
    return torch.cos(points @ vectors.T + phases).mean(-1) * math.sqrt(48)


# fmt: off
#                     centre              half axes          beads
BODY = Domain(        (0, 0, 0),          (95, 88, 84),      2200,   cut=-47)
PROTUBERANCE = Domain((7, 80, 4),         (24, 25, 22),      110)
SIDE_STALK = Domain(  (-93, 35, -5),      (31, 15, 15),      70)
STALK = Domain(       (95, 36, 2),        (35, 13, 13),      70)
SMALL_BODY = Domain(  (9, -20, -86),      (84, 56, 38),      640)
SMALL_HEAD = Domain(  (-20, 56, -89),     (42, 35, 33),      230)
# fmt: on


def _fill(domain: Domain, there: Tensor, generator: torch.Generator) -> Tensor:
    """A strand of beads through a domain, keeping clear of what is there; (beads, 3)."""
    beads = torch.cat([there, there.new_zeros(domain.beads, 3)])
    first = len(there)
    place = there.new_tensor(domain.centre)
    ahead = normalize(torch.randn(3, generator=generator, dtype=there.dtype), dim=0)
    for number in range(first, len(beads)):
        turn = 1.6 if float(torch.rand(1, generator=generator)) < 1 / _STRETCH else 0.25
        choices = normalize(ahead + turn * torch.randn(_CHOICES, 3, generator=generator, dtype=there.dtype), dim=1)
        ends = place + _STEP * choices
        others = beads[: max(0, number - 4)]
        crowd = torch.exp(-torch.cdist(ends, others).square() / (2 * (_CLEAR / 2) ** 2)).sum(1)
        best = int((crowd + 1e3 * ~domain.holds(ends)).argmin())
        if bool(domain.holds(ends[best])):
            place = ends[best]
            ahead = choices[best]
        else:
            ahead = normalize(torch.randn(3, generator=generator, dtype=there.dtype), dim=0)
        beads[number] = place
    return beads[first:]


@lru_cache(maxsize=2)
def _beads(domains: tuple[Domain, ...]) -> tuple[Tensor, Tensor]:
    """Places of all beads (n, 3), and the number of the domain each belongs to."""
    generator = torch.Generator().manual_seed(2014)
    beads = torch.zeros(0, 3, dtype=torch.float64)
    for domain in domains:
        beads = torch.cat([beads, _fill(domain, beads, generator)])
    return beads, torch.repeat_interleave(torch.tensor([domain.beads for domain in domains]))


def _particle(domains: tuple[Domain, ...]) -> tuple[Atoms, Tensor]:
    beads, domain = _beads(domains)
    generator = torch.Generator().manual_seed(2015)
    kind = (torch.rand(len(beads), generator=generator) > _SHARP).long()
    b = 8 * math.pi**2 * torch.tensor(_WIDTHS, dtype=torch.float64)[:, None] ** 2
    return Atoms(
        beads[None], kind, torch.ones(len(beads), dtype=torch.float64), FormFactors(torch.ones_like(b), b)
    ), domain


def large_subunit(pixel_size: float, resolution: float) -> MovingAtoms:
    """A particle like a large ribosomal subunit (220 Å): a domed body with a protuberance and two stalks, one of which
    swings.
    """
    domains = (BODY, PROTUBERANCE, SIDE_STALK, STALK)
    atoms, domain = _particle(domains)
    stalk = motion_of(
        "stalk", "hinge", domain == 3, atoms.frames[0], -35.0, 35.0, direction=torch.tensor([0.0, 0, 1]).double()
    )
    return MovingAtoms(atoms, pixel_size, resolution, (stalk,))


def ribosome(pixel_size: float, resolution: float) -> MovingAtoms:
    """A particle like a whole ribosome (250 Å): the large subunit, and a small one that ratchets on it and nods its
    head.
    """
    domains = (BODY, PROTUBERANCE, SIDE_STALK, STALK, SMALL_BODY, SMALL_HEAD)
    atoms, domain = _particle(domains)
    positions, z = atoms.frames[0], torch.tensor([0.0, 0, 1]).double()
    motions: tuple[Motion, ...] = (
        motion_of("head", "hinge", domain == 5, positions, -15.0, 15.0),
        motion_of("ratchet", "hinge", domain >= 4, positions, -8.0, 8.0, direction=z, point=torch.zeros(3).double()),
        motion_of("stalk", "hinge", domain == 3, positions, -35.0, 35.0, direction=z),
    )
    return MovingAtoms(atoms, pixel_size, resolution, motions)
