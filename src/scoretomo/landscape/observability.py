"""Observability: how much of each mode the view of an image shows.

The change of a volume as it moves a little along a mode, dV/dm, appears in its image as f(dV/dm, R). A part of that
looks like a small turn or shift of the whole, or like another mode: a wrong pose or the other mode would explain it
instead. The rest is what the image determines of this mode. A view of random direction has, on average over the
directions, ∑ |F(k)|² / (2 |k|) of the energy of F = FFT(dV/dm), because the probability that a plane through the origin
holds a point k falls with |k|.
"""

import numpy as np
import torch
from torch import Tensor

from ..fourier import centred_fft, radius
from ..images import disc
from ..projection import project
from ..rotations import rotation_from_vector
from .components import Components

_NEAR = 25  # volumes from which the change of one of them along a mode is measured, mostly
_TURN = 0.03  # radians: a small turn


def observability(components: Components, coordinates: np.ndarray, rotations: Tensor) -> np.ndarray:
    """How much of each mode the image of each volume shows, beside an average view: 0 nothing, 1 as much or more.

    Args:
        components: of the volumes.
        coordinates: of the volumes along the modes, shape (n, k).
        rotations: poses of their images, shape (n, 3, 3).

    Returns:
        Shape (n, k).
    """
    size = components.mean.shape[-1]
    parts, inside = components.maps.flatten(1), disc(size)
    weight = 1 / (2 * radius(size, 3).clamp_min(0.5))
    shares = np.zeros(coordinates.shape)
    for place, slopes in enumerate(_slopes(components.coordinates, coordinates) if coordinates.shape[1] else []):
        changes = (slopes @ parts).reshape(-1, size, size, size)
        volume = components.mean + (torch.from_numpy(components.coordinates[place]).float() @ parts).reshape(
            changes.shape[1:]
        )
        views = (project(changes, rotations[place, None])[:, 0] * inside).flatten(1)  # (k, d²)
        whole = _as_a_whole(volume, rotations[place], inside)
        average = (centred_fft(changes, 3).abs().square() * weight).sum((1, 2, 3)) / size**2
        for mode, view in enumerate(views):
            others = torch.cat([whole, views[:mode], views[mode + 1 :]])
            basis = torch.linalg.qr(others.T).Q
            own = view - basis @ (basis.T @ view)
            shares[place, mode] = float((own.square().sum() / average[mode].clamp_min(1e-30)).clamp_max(1))
    return shares


def _slopes(places: np.ndarray, coordinates: np.ndarray) -> Tensor:
    """How components change along the modes at each volume: local linear regression; (n, c) and (n, k) to (n, k, c)."""
    apart = np.square(coordinates[:, None] - coordinates).sum(2)
    width = np.sort(apart, 1)[:, min(_NEAR, len(places) - 1)]
    slopes = []
    for place, distances in enumerate(apart):
        weights = np.exp(-2 * distances / max(width[place], 1e-12))[:, None]
        lines = np.column_stack([np.ones(len(places)), coordinates - coordinates[place]])
        slopes.append(np.linalg.lstsq(lines * np.sqrt(weights), places * np.sqrt(weights), rcond=None)[0][1:])
    return torch.from_numpy(np.stack(slopes)).float()


def _as_a_whole(volume: Tensor, rotation: Tensor, inside: Tensor) -> Tensor:
    """How a view changes as the whole turns or shifts a little, (5, d²)."""
    turns = rotation_from_vector(_TURN * torch.cat([torch.eye(3), -torch.eye(3)]))
    views = project(volume, torch.cat([turns @ rotation, rotation[None]]))
    shifts = torch.stack(torch.gradient(views[-1]))
    return (torch.cat([views[:3] - views[3:6], shifts]) * inside).flatten(1)
