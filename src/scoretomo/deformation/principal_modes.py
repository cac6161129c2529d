"""Principal modes of a deformation model, and which of them held-out images confirm.

A model has as many latent coordinates as it is given, and from noisy images it learns to move in all of them. What it
has learned from noise explains little of held-out images.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .fit import residual_fractions
from .model import DeformationModel
from .schedule import DeformationSettings


@dataclass(frozen=True)
class ModeCriteria:
    """When a mode is confirmed; source: docs/dev/decisions/number-of-modes.md.

    Attributes:
        explained: of what all modes together leave of held-out images, a confirmed mode explains more than this share.
    """

    explained: float = 0.055


MODES = ModeCriteria()


class PrincipalModes(NamedTuple):
    """The principal modes of a model, by how far its mass moves along them in the training images."""

    amplitudes: Tensor  # (n, k): of each image, root mean square over the mass, in pixels of the model's side
    residuals: Tensor  # (k + 1, b): residual fraction of held-out images by none of the modes, by the first, by two, …

    def confirmed(self, criteria: ModeCriteria = MODES) -> list[int]:
        """Modes that explain held-out images; at least the one that explains most. A motion along a bent path takes
        several.
        """
        means = self.residuals.mean(1)
        explained = (means[:-1] - means[1:]) / means[-1].clamp_min(1e-12)
        return (explained > criteria.explained).nonzero()[:, 0].tolist() or [int(explained.argmax())]


@torch.no_grad()
def principal_modes(
    model: DeformationModel,
    images: Tensor,
    fitting: DeformationSettings,
    done: float,
    *,
    training: Tensor,
    held_out: Tensor,
    count: int,
) -> PrincipalModes:
    """The first principal modes of a model, and how much of held-out images they explain.

    Args:
        model: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of the epochs.
        training: images that the model was fitted to, shape (n,), bool.
        held_out: places of the others, shape (b,).
        count: modes.
    """
    everyone = torch.arange(len(images), device=images.device)
    amplitudes, middle = model.amplitudes(everyone), model.amplitudes(everyone[training]).mean(0)
    weights = model.masses.clamp_min(0) / model.masses.clamp_min(0).sum()
    basis = model.basis()
    squares = torch.einsum(
        "p,pjx,plx->jl", weights, basis, basis
    ).double()  # of the displacement of the mass, by amplitudes
    values, turned = torch.linalg.eigh(squares)
    roots = values.clamp_min(1e-12 * float(values[-1]) + 1e-30).sqrt()
    deviations = (amplitudes - middle).double() @ turned * roots
    axes = torch.linalg.eigh(deviations[training].mT @ deviations[training]).eigenvectors.flip(1)[:, :count]
    along, back = deviations @ axes, axes.mT @ (turned / roots).mT
    residuals = []
    for most in range(count + 1):
        projected = middle + (along[:, :most] @ back[:most]).to(middle)
        residuals.append(residual_fractions(model, images, fitting, done, some=held_out, instead=projected))
    return PrincipalModes(along * (model.size / 2), torch.stack(residuals))
