"""In how many ways a molecule moves: what left-out images confirm of those that a model has learned.

A model has as many coordinates as it is given, and from noisy images it learns to move in all of them. What it has learned from
noise explains little of images that did not teach it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .model import Cloud, unexplained
from .schedule import Fitting

_REAL = 0.055  # of what the first ways together leave of left-out images: a way explains more, or it is learned from noise


class Ways(NamedTuple):
    """The principal ways in which a molecule moves, by how far its mass goes in them in the images that taught the model."""

    distances: Tensor  # (n, k): how far it goes in each image, root mean square, in pixels of the model's side
    left: Tensor  # (k + 1, b): share of the squares of some images that is left by none of them, by the first, by two, …

    @property
    def real(self) -> list[int]:
        """Those that it really has, at least one, if it moves at all: they explain images that did not teach the model to move.

        What it has learned from noise explains little of these. A motion along a bent path takes several ways.
        """
        means = self.left.mean(1)
        explained = (means[:-1] - means[1:]) / means[-1].clamp_min(1e-12)
        return (explained > _REAL).nonzero()[:, 0].tolist() or [int(explained.argmax())]


@torch.no_grad()
def principal_ways(
    cloud: Cloud, images: Tensor, fitting: Fitting, done: float, *, taught: Tensor, asked: Tensor, count: int
) -> Ways:
    """The first principal ways of a model, and how much of some images they explain.

    Args:
        cloud: the model.
        images: centred, empty space 0, shape (n, d, d).
        fitting: schedule.
        done: share of the epochs.
        taught: images that taught the model, shape (n,), bool.
        asked: places of those that are asked, shape (b,).
        count: ways.
    """
    everyone = torch.arange(len(images), device=images.device)
    amplitudes, middle = cloud.amplitudes(everyone), cloud.amplitudes(everyone[taught]).mean(0)
    weights = cloud.masses.clamp_min(0) / cloud.masses.clamp_min(0).sum()
    ways = cloud.ways()
    squares = torch.einsum("p,pjx,plx->jl", weights, ways, ways).double()  # of how far the mass goes, by amplitudes
    values, turned = torch.linalg.eigh(squares)
    roots = values.clamp_min(1e-12 * float(values[-1]) + 1e-30).sqrt()
    away = (amplitudes - middle).double() @ turned * roots
    axes = torch.linalg.eigh(away[taught].mT @ away[taught]).eigenvectors.flip(1)[:, :count]
    along, back = away @ axes, axes.mT @ (turned / roots).mT
    left = []
    for most in range(count + 1):
        kept = middle + (along[:, :most] @ back[:most]).to(middle)
        left.append(unexplained(cloud, images, fitting, done, some=asked, instead=kept))
    return Ways(along * (cloud.size / 2), torch.stack(left))
