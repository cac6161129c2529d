"""Arrays as small 8-bit pictures inside the page: grey images, differences, shaded surfaces."""

import base64
import io
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from ..fourier import resample

# Dark blue – pale grey – dark orange: told apart in every common form of colour blindness, and in grey print by its middle.
_BELOW, _MIDDLE, _ABOVE = (np.array(colour, float) for colour in ((22, 78, 134), (240, 239, 236), (166, 76, 10)))
_WARM = np.array((255.0, 140.0, 26.0))
SURFACE = (0.16, 0.42, 0.62)  # as in the viewer, before its brightening by a power of 1 / 1.5
LIGHT = (-0.45, -0.70, -0.60)  # towards the key light; x right, y down, z into the page


class Scale(NamedTuple):
    """Values shown as black and as white."""

    low: float
    high: float


def common_scale(*arrays: np.ndarray) -> Scale:
    """One grey scale for several pictures: 0.1 % of the pixels may be clipped at each end."""
    values = np.concatenate([array.ravel() for array in arrays])
    low, high = np.percentile(values, (0.1, 99.9))
    return Scale(float(low), float(high) if high > low else float(low) + 1.0)


def grey(array: np.ndarray, scale: Scale) -> np.ndarray:
    """8-bit greys, shape as given."""
    return np.clip((array - scale.low) * (255 / (scale.high - scale.low)), 0, 255).round().astype(np.uint8)


def diverging(array: np.ndarray, limit: float) -> np.ndarray:
    """Colours of a signed picture on the symmetric scale −limit … limit, shape (y, x, 3)."""
    value = np.clip(array / (limit or 1.0), -1, 1)[..., None]
    return np.where(value < 0, _MIDDLE + value * (_MIDDLE - _BELOW), _MIDDLE + value * (_ABOVE - _MIDDLE)).astype(np.uint8)


def warmed(greys: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """8-bit greys coloured orange by an amount of 0 to 1, shape (y, x, 3)."""
    share = np.clip(amount, 0, 1)[..., None]
    light = 0.35 + 0.65 * greys[..., None] / 255
    return ((1 - share) * greys[..., None] + share * light * _WARM).round().astype(np.uint8)


def at_most(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture Fourier-cropped to a side if it is larger."""
    if len(picture) <= side:
        return picture
    return resample(torch.from_numpy(np.ascontiguousarray(picture, np.float32)), side, 2).numpy()


def data_uri(pixels: np.ndarray, *, quality: int | None = None) -> str:
    """A picture as a data URI (WebP): lossless, or lossy at a quality of 0–100."""
    buffer = io.BytesIO()
    how = {"lossless": True, "quality": 60} if quality is None else {"quality": quality}
    PIL.Image.fromarray(pixels).save(buffer, "webp", method=4, **how)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def otsu_level(values: np.ndarray) -> float:
    """The value that best splits 8-bit densities into two classes (Otsu 1979): where a surface is drawn at first.

    Empty voxels (0) outside the particle do not count as a class of their own: only the sphere inside the box is looked at.
    """
    axis = np.arange(len(values)) - len(values) // 2
    inside = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 <= (len(values) / 2) ** 2
    share = np.bincount(values[inside], minlength=256) / inside.sum()
    weight, mass = np.cumsum(share), np.cumsum(share * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * weight - mass) ** 2 / (weight * (1 - weight))
    return float(np.nan_to_num(between, posinf=0.0).argmax()) + 0.5


def oblique_view() -> Tensor:
    """The rotation in which surfaces are first shown: the view along z, turned 30° to the side and 25° from above."""
    a, b = math.radians(-25), math.radians(30)
    turn = torch.tensor([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    nod = torch.tensor([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    return nod @ turn


def extent(values: np.ndarray, level: float) -> float:
    """Radius about index d // 2 that holds 99 % of the voxels above a level, in box sides."""
    above = np.argwhere(values > level) - len(values) // 2
    return float(np.quantile(np.linalg.norm(above, axis=1), 0.99)) / len(values) if len(above) else 0.5


def surface(values: np.ndarray, level: float, reach: float, side: int) -> np.ndarray:
    """Shaded isosurface as in the viewer's first view, for the thumbnails.

    Args:
        values: 8-bit density, shape (d, d, d), axes (z, y, x).
        level: where the surface is, in the same units.
        reach: half the width of the view, in box sides.
        side: of the picture, in pixels.

    Returns:
        Red, green, blue and opacity, shape (side, side, 4), uint8.
    """
    density = torch.from_numpy(values.astype(np.float32))
    size = len(density)
    smooth = torch.nn.functional.avg_pool3d(density[None, None], 3, 1, 1)
    density = 0.5 * density[None, None] + 0.5 * smooth
    depth, points = _rays(reach, size, side)
    samples = _sample(density, points, size)[0]
    above = samples > level
    first = above.int().argmax(0)
    before = (first - 1).clamp(min=0)
    near, far = samples.gather(0, before[None])[0], samples.gather(0, first[None])[0]
    part = ((level - near) / (far - near).clamp(min=1e-6)).clamp(0, 1)
    index = first[None, ..., None].expand(1, side, side, 3)
    where = points.gather(0, index)[0] + (part - 1)[..., None] * (depth[1] - depth[0]) * oblique_view()[2]
    slope = torch.cat([_sample(g[None, None], where[None], size) for g in torch.gradient(density[0, 0])[::-1]])[:, 0]
    normal = normalize(-slope.permute(1, 2, 0) @ oblique_view().T, dim=-1)
    facing = -normal[..., 2].clamp(max=0)
    key = (normal @ normalize(torch.tensor(LIGHT), dim=0)).clamp(min=0)
    shade = (0.22 + 0.16 * facing + 0.66 * key) * (1 - 0.35 * (first / len(depth) - 0.2).clamp(0, 0.6))
    coverage = ((samples.amax(0) - level) / max(0.25 * level, 1.0) + 0.5).clamp(0, 1) * above.any(0)
    colour = 255 * (torch.tensor(SURFACE) * shade[..., None]) ** (1 / 1.5)
    picture = torch.cat([colour.clamp(0, 255), 255 * coverage[..., None]], -1)
    return picture.round().to(torch.uint8).numpy()


@lru_cache(maxsize=2)
def _rays(reach: float, size: int, side: int) -> tuple[Tensor, Tensor]:
    """Depths (k,) and the points p = Qᵀ(u, v, w) of all rays of a view, shape (k, side, side, 3), in box sides."""
    across = torch.linspace(-reach, reach, side)
    depth = torch.linspace(-1.2 * reach, 1.2 * reach, max(40, round(2.6 * reach * size)))
    w, v, u = torch.meshgrid(depth, across, across, indexing="ij")
    return depth, torch.stack([u, v, w], -1) @ oblique_view()


def _sample(density: Tensor, points: Tensor, size: int) -> Tensor:
    """Trilinear values of (1, 1, d, d, d) at points (a, b, c, 3) in box sides about index d // 2; shape (1, a, b, c)."""
    grid = points * (2 * size / (size - 1)) + (2 * (size // 2) / (size - 1) - 1)
    return grid_sample(density, grid[None], align_corners=True, padding_mode="zeros")[0]
