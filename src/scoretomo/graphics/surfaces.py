"""Arrays as small 8-bit pictures inside the page: grey images, differences, shaded surfaces."""

import base64
import io
import math
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, grid_sample, max_pool2d, normalize

from ..fourier import resample
from ..images import otsu_level
from . import densities, shading

# Dark blue – pale grey – dark orange: distinct in all common forms of colour blindness, in grey print by its middle.
_BELOW, _MIDDLE, _ABOVE = (np.array(colour, float) for colour in ((22, 78, 134), (240, 239, 236), (166, 76, 10)))
SMALL_DENSITY_SIDE = 48  # longest side, in voxels, of the density behind a thumbnail or along a trajectory
_FINER = 3  # rays along each side of a pixel with an edge
_RAYS = 1 << 16  # at a time


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
    """8-bit greys of a picture (y, x) on a scale; same shape."""
    return np.clip((array - scale.low) * (255 / (scale.high - scale.low)), 0, 255).round().astype(np.uint8)


def diverging(array: np.ndarray, limit: float) -> np.ndarray:
    """Colours of a signed picture on the symmetric scale −limit … limit, shape (y, x, 3)."""
    value = np.clip(array / (limit or 1.0), -1, 1)[..., None]
    return np.where(value < 0, _MIDDLE + value * (_MIDDLE - _BELOW), _MIDDLE + value * (_ABOVE - _MIDDLE)).astype(
        np.uint8
    )


def tint(variability: np.ndarray) -> np.ndarray:
    """How much of each place is orange, by its variability: below 0 none, above 1 all; shape as given."""
    low, high = shading.TINTED
    share: np.ndarray = (variability / variability.max() - low) / (high - low)
    return share


def in_light(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """A colour of a surface as it looks where light falls on it: red, green and blue, 0 to 1."""
    red, green, blue = (min(1.0, part) ** shading.POWER for part in colour)
    return red, green, blue


def colour_in_light(shown: str) -> tuple[float, float, float]:
    """The colour of a surface that looks like this one, in hexadecimal, where light falls on it."""
    red, green, blue = ((int(shown[k : k + 2], 16) / 255) ** (1 / shading.POWER) for k in (1, 3, 5))
    return red, green, blue


def warmed(greys: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """8-bit greys coloured orange by an amount of 0 to 1, shape (y, x, 3)."""
    share = np.clip(amount, 0, 1)[..., None]
    light = 0.35 + 0.65 * greys[..., None] / 255
    return (
        ((1 - share) * greys[..., None] + share * light * (255 * np.array(in_light(shading.ORANGE))))
        .round()
        .astype(np.uint8)
    )


def at_most(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture (y, x), both equal, Fourier-cropped to a side if it is larger."""
    if len(picture) <= side:
        return picture
    return resample(torch.from_numpy(np.ascontiguousarray(picture, np.float32)), side, 2).numpy()


def data_uri(pixels: np.ndarray, *, quality: int | None = None) -> str:
    """A picture, (y, x) or (y, x, 3 or 4) uint8, as a data URI (WebP): lossless, or lossy at a quality of 0–100."""
    buffer = io.BytesIO()
    how = {"lossless": True, "quality": 60} if quality is None else {"quality": quality}
    PIL.Image.fromarray(pixels).save(buffer, "webp", method=4, **how)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def oblique_view() -> Tensor:
    """The rotation in which surfaces are first shown: the view along z, turned to the side and from above."""
    a, b = math.radians(shading.NOD), math.radians(shading.TURN)
    turn = torch.tensor([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    nod = torch.tensor([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    return nod @ turn


def extent(values: np.ndarray, level: float) -> float:
    """Radius about index d // 2 that holds 99 % of the voxels (d, d, d) above a level, in box sides."""
    above = np.argwhere(values > level) - len(values) // 2
    return float(np.quantile(np.linalg.norm(above, axis=1), 0.99)) / len(values) if len(above) else 0.5


def thumbnail(density: np.ndarray, reach: float, side: int) -> str:
    """The surface of a volume (d, d, d) at its own level, in the first view, as a data URI; `reach` as in `surface`."""
    values = densities.quantise(density, SMALL_DENSITY_SIDE).values
    return data_uri(surface(values, otsu_level(values), reach, side), quality=80)


def surface(
    values: np.ndarray,
    level: float,
    reach: float,
    side: int,
    *,
    view: Tensor | None = None,
    paint: np.ndarray | None = None,
) -> np.ndarray:
    """Shaded isosurface, lit as in the viewer; where an edge crosses a pixel, it is drawn from several rays.

    Args:
        values: density, shape (d, d, d), axes (z, y, x); the thumbnails give 8 bits.
        level: where the surface is, in the same units.
        reach: half the width of the view, in box sides.
        side: of the picture, in pixels.
        view: rotation that turns the density into view, shape (3, 3); the viewer's first view if not given.
        paint: how much of the surface's pale grey is orange, 0 to 1, (e, e, e) over the same box; or its colour in
            each place, (3, e, e, e); blue without it.

    Returns:
        Red, green, blue and opacity, shape (side, side, 4), uint8.
    """
    scene = _turned(values, level, reach, oblique_view() if view is None else view, paint)
    centres = (torch.arange(side) + 0.5) * (2 / side) - 1
    places = torch.stack(torch.meshgrid(centres, centres, indexing="ij")[::-1], -1).reshape(-1, 2)
    pixels, depth = _cast(scene, places)
    edges = _edges(depth.reshape(side, side), 12 * reach / side).flatten()
    within = (torch.arange(_FINER) + 0.5) * (2 / _FINER / side) - 1 / side
    finer = torch.stack(torch.meshgrid(within, within, indexing="ij"), -1).reshape(1, -1, 2)
    pixels[edges] = _cast(scene, (places[edges][:, None] + finer).reshape(-1, 2))[0].reshape(-1, _FINER**2, 4).mean(1)
    opacity = pixels[:, 3:]
    picture = torch.cat([pixels[:, :3] / opacity.clamp(min=1e-6), opacity], -1)
    return (255 * picture).round().to(torch.uint8).reshape(side, side, 4).numpy()


class _Scene(NamedTuple):
    """A density turned into view: rays are its columns."""

    columns: Tensor  # (k, s, s): depth, y, x
    depth: Tensor  # (k,), in box sides
    level: float
    reach: float
    view: Tensor
    density: Tensor  # (d, d, d)
    slope: Tensor  # (3, d, d, d): x, y, z
    paint: Tensor | None


def _turned(values: np.ndarray, level: float, reach: float, view: Tensor, paint: np.ndarray | None) -> _Scene:
    density = torch.from_numpy(values.astype(np.float32))
    density = 0.5 * density + 0.5 * avg_pool3d(density[None, None], 3, 1, 1)[0, 0]
    across = torch.linspace(-reach, reach, max(2, round(2 * reach * len(density))))
    depth = torch.linspace(-1.2 * reach, 1.2 * reach, max(40, round(2.6 * reach * len(density))))
    w, v, u = torch.meshgrid(depth, across, across, indexing="ij")
    return _Scene(
        columns=_sample(density[None], torch.stack([u, v, w], -1) @ view)[0],
        depth=depth,
        level=level,
        reach=reach,
        view=view,
        density=density,
        slope=torch.stack(torch.gradient(density)[::-1]),
        paint=None if paint is None else torch.from_numpy(paint.astype(np.float32)),
    )


def _cast(scene: _Scene, places: Tensor) -> tuple[Tensor, Tensor]:
    """Rays from places (n, 2), −1 to 1 over the picture: pixels (n, 4), depth (n,); transparent, inf without a hit."""
    pixels, depth = torch.zeros(len(places), 4), torch.full((len(places),), math.inf)
    for first in range(0, len(places), _RAYS):
        part = places[first : first + _RAYS]
        samples = grid_sample(scene.columns[None], part[None, None], align_corners=True)[0, :, 0]
        hit = (samples.amax(0) > scene.level).nonzero()[:, 0]
        samples = samples[:, hit]
        step = (samples > scene.level).to(torch.uint8).argmax(0)
        near, far = samples.gather(0, (step - 1).clamp(min=0)[None])[0], samples.gather(0, step[None])[0]
        back = (1 - (scene.level - near) / (far - near).clamp(min=1e-6)).clamp(0, 1)
        deep = scene.depth[step] - back * (scene.depth[1] - scene.depth[0])
        depth[first + hit] = deep
        pixels[first + hit, :3] = _shaded(scene, torch.cat([part[hit] * scene.reach, deep[:, None]], 1))
        pixels[first + hit, 3] = 1
    return pixels, depth


def _shaded(scene: _Scene, hit: Tensor) -> Tensor:
    """Colour of points of the surface, (n, 3), 0 to 1; as in the viewer."""
    points = hit @ scene.view
    normal = normalize(-_sample(scene.slope, points).T, dim=-1)
    facing_us = normal @ scene.view.T
    light = normalize(torch.tensor(shading.LIGHT), dim=0)
    key, facing = (facing_us @ light).clamp(min=0), -facing_us[:, 2].clamp(max=0)
    shine = (facing_us @ normalize(light + torch.tensor((0, 0, -1)), dim=0)).clamp(min=0) ** shading.SHININESS
    hidden = shading.SKY_HIDDEN + (1 - shading.SKY_HIDDEN) * _openness(scene, points, normal)
    sky = hidden * (shading.SKY_MIDDLE + shading.SKY_SLOPE * facing_us[:, 1])
    cue = 1 - shading.DEPTH_CUE * _smoothstep(*shading.DEPTH_RANGE, hit[:, 2])
    colour = torch.tensor(shading.SURFACE)
    if scene.paint is not None and scene.paint.ndim == 4:
        colour = _sample(scene.paint, points).T
    elif scene.paint is not None:
        share = _sample(scene.paint[None], points).T.clamp(0, 1)
        colour = (1 - share) * torch.tensor(shading.PALE) + share * torch.tensor(shading.ORANGE)
    lit = key * (shading.KEY_IN_CREVICES + (1 - shading.KEY_IN_CREVICES) * sky)
    bright = (shading.AMBIENT * sky + shading.FACING * facing + shading.KEY * lit) * cue
    return (colour * bright[:, None] + shading.SHINE * shine[:, None]).clamp(0, 1) ** shading.POWER


def _openness(scene: _Scene, points: Tensor, normal: Tensor) -> Tensor:
    """How much of the sky above points of the surface is free of density, 0 to 1: crevices are darker."""
    least = torch.nn.functional.one_hot(normal.abs().argmin(1), 3).to(normal)
    aside = normalize(torch.linalg.cross(normal, least), dim=-1)
    other = torch.linalg.cross(normal, aside)
    angles = [2 * math.pi / shading.OPENNESS_DIRECTIONS * k for k in range(shading.OPENNESS_DIRECTIONS)]
    around = [normalize(normal + math.cos(angle) * aside + math.sin(angle) * other, dim=-1) for angle in angles]
    steps = torch.tensor(shading.OPENNESS_STEPS)[:, None, None, None]
    above = _sample(scene.density[None], points + steps * torch.stack([*around, normal]))[0]
    low, high = (share * scene.level for share in shading.OPENNESS_RANGE)
    return 1 - _smoothstep(low, high, above).mean((0, 1))


def _smoothstep(low: float, high: float, values: Tensor) -> Tensor:
    part = ((values - low) / (high - low)).clamp(0, 1)
    return part * part * (3 - 2 * part)


def _edges(depth: Tensor, jump: float) -> Tensor:
    """Pixels among whose neighbours the depth jumps: what they show is not one colour."""
    far = depth.clamp(max=1e3)[None]
    return (max_pool2d(far, 3, 1, 1) + max_pool2d(-far, 3, 1, 1))[0] > jump


def _sample(fields: Tensor, points: Tensor) -> Tensor:
    """Trilinear values of (c, d, d, d) at points (..., 3) in box sides about index d // 2; shape (c, ...)."""
    size = fields.shape[-1]
    grid = points * (2 * size / (size - 1)) + (2 * (size // 2) / (size - 1) - 1)
    return grid_sample(fields[None], grid.reshape(1, 1, 1, -1, 3), align_corners=True)[0].reshape(
        len(fields), *points.shape[:-1]
    )
