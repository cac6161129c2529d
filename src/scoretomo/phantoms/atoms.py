"""Movable objects made of atoms, or of anything else that scatters like a few Gaussians.

The density of atoms at a resolution is written down in Fourier space, at whole frequencies of the volume's grid:

    F(k) = exp(−k² d²) Σ_kinds f(k) Σ_atoms w exp(−2πi k·x),        f(k) = Σ a exp(−b k²/4),        k in 1/Å

so that a turned object is made of turned atoms, and its volume is exact for every rotation. The resolution d is where
the blurring has fallen to 1/e: the same as a real Gaussian of standard deviation d/(π√2) = 0.225 d around every atom.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ..fourier import centred_ifft, radius, transform_of_points
from .motions import Motion, draw_between


class FormFactors(NamedTuple):
    """How each kind of atom scatters: f(k) = Σ a exp(−b k²/4), with k in 1/Å."""

    a: Tensor  # (kinds, terms)
    b: Tensor  # Å², (kinds, terms)


class Atoms(NamedTuple):
    """Where atoms are, in one or several conformations, and what they are."""

    frames: Tensor  # (x, y, z) in Å, (frames, n, 3)
    kind: Tensor  # row of the form factors, (n,)
    weight: Tensor  # occupancy, (n,)
    forms: FormFactors


@dataclass(frozen=True)
class MovingAtoms:
    """Atoms with parts that move, in one of several frames, repeated by symmetry.

    A conformation is the frame's number, if there are several, and the amount of each motion. The parts move first,
    then the copies of a symmetric assembly are made: all of them move alike.
    """

    atoms: Atoms
    pixel_size: float  # Å
    resolution: float  # Å
    motions: tuple[Motion, ...] = ()
    copies: Tensor | None = None  # rotation and translation (Å) of each copy, (c, 3, 4); one, as it is, if not given
    which: Tensor | None = (
        None  # (atom, copy) of what is in the assembly, (m, 2); every atom in every copy if not given
    )

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the numbers in a conformation."""
        return (*(("frame",) if len(self.atoms.frames) > 1 else ()), *(motion.name for motion in self.motions))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw conformations: any of the frames, every motion uniform in its range; shape (count, k)."""
        frames = len(self.atoms.frames)
        ranges = [(motion.low, motion.high) for motion in self.motions]
        drawn = draw_between([*([(0.0, float(frames))] if frames > 1 else []), *ranges], count, generator)
        if frames > 1:
            drawn[:, 0] = drawn[:, 0].floor()
        return drawn

    def positions(self, conformation: Tensor) -> Tensor:
        """All atoms of one conformation, copies and all, about their mean; (m, 3) in Å."""
        return self._placed(conformation) - self._middle

    def _placed(self, conformation: Tensor) -> Tensor:
        amounts = conformation.tolist()
        frame = int(amounts.pop(0)) if len(self.atoms.frames) > 1 else 0
        positions = self.atoms.frames[frame]
        for motion, amount in zip(self.motions, amounts, strict=True):
            positions = motion.move(positions, amount)
        if self.copies is None:
            return positions
        turn, offset = self.copies[..., :3], self.copies[..., 3]
        atom, copy = self._members
        return torch.einsum("mij,mj->mi", turn[copy], positions[atom]) + offset[copy]

    @cached_property
    def _members(self) -> tuple[Tensor, Tensor]:
        """Number of the atom and of the copy of everything in the assembly."""
        count = 1 if self.copies is None else len(self.copies)
        atoms = torch.arange(len(self.atoms.kind))
        which = torch.cartesian_prod(torch.arange(count), atoms).flip(1) if self.which is None else self.which
        return which[:, 0], which[:, 1]

    @cached_property
    def _middle(self) -> Tensor:
        """Mean of the atoms of the middle conformation: the same for all, so that what does not move stays put."""
        middle = [0.0] * (len(self.atoms.frames) > 1) + [(motion.low + motion.high) / 2 for motion in self.motions]
        return self._placed(torch.tensor(middle, dtype=torch.float64)).mean(0)

    def reach(self) -> float:
        """Largest distance of an atom from their mean, in Å, over some frames and the ends of the motions."""
        frames = len(self.atoms.frames)
        numbers = [range(0, frames, max(1, frames // 20))] if frames > 1 else []
        ends = [(motion.low, motion.high) for motion in self.motions]
        corners = list(itertools.islice(itertools.product(*numbers, *ends), 64))
        return max(float(self.positions(torch.tensor(row, dtype=torch.float64)).norm(dim=1).max()) for row in corners)

    def volume(self, size: int, conformation: Tensor, rotation: Tensor) -> Tensor:
        """Density of a turned conformation, in the ball |k| < d/2; (d, d, d), float32, its sum Σ w f(0)."""
        turned = self.positions(conformation) @ rotation.to(torch.float64).T
        points = (turned * (2 * math.pi / (size * self.pixel_size))).float()
        atom, _ = self._members
        kind, weight = self.atoms.kind[atom], self.atoms.weight[atom].float()
        shell = radius(size, 3)
        k2 = (shell / (size * self.pixel_size)).square()
        spectrum = torch.zeros(size, size, size, dtype=torch.complex64)
        for number in kind.unique().tolist():
            a, b = self.atoms.forms.a[number].tolist(), self.atoms.forms.b[number].tolist()
            form = sum(
                (amount * torch.exp(-width / 4 * k2) for amount, width in zip(a, b, strict=True)), torch.zeros_like(k2)
            )
            here = kind == number
            spectrum += form * transform_of_points(weight[here], points[here], size)
        spectrum *= torch.exp(-k2 * self.resolution**2) * (shell < size / 2 * (1 - 1e-6))
        return centred_ifft(spectrum, 3).real
