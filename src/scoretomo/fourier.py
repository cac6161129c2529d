"""Shells and frequencies: FSC, resolution, low-pass, crop, pad.

Every array has its origin (DFT centre) at index ``size // 2`` on each transformed axis.
"""

import math
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor


def centred_fft(array: Tensor, dims: int) -> Tensor:
    """DFT over the last ``dims`` axes, origin at index size // 2 before and after; complex, same shape."""
    axes = tuple(range(-dims, 0))
    return torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(array, dim=axes), dim=axes), dim=axes)


def centred_ifft(array: Tensor, dims: int) -> Tensor:
    """Inverse of `centred_fft`; complex, same shape."""
    axes = tuple(range(-dims, 0))
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(array, dim=axes), dim=axes), dim=axes)


_ACCURACY: dict[torch.dtype, dict[str, float]] = {
    torch.float32: {"eps": 5e-5, "upsampfac": 1.25},
    torch.float64: {"eps": 1e-13, "upsampfac": 2.0},
}


def _nufft(kind: int, values: Tensor, points: Tensor, shape: tuple[int, ...] | None, isign: int) -> Tensor:
    """One batched non-uniform FFT: finufft, or cufinufft on CUDA (the ``cuda`` extra)."""
    dims = points.shape[1]
    axes = [points[:, axis].contiguous() for axis in reversed(range(dims))]  # (z, y, x), as the arrays
    if values.device.type == "cuda":
        modes = tuple(values.shape[-dims:]) if shape is None else shape
        count = values.shape[: -dims if kind == 2 else -1].numel()
        with _planned:
            plan = _cuda_plan(kind, modes, count, isign, points.dtype, values.device.index)
            plan.setpts(*axes)
            return plan.execute(values.contiguous())
    import finufft

    sizes = () if shape is None else (shape,)
    options = {"isign": isign, "modeord": 0, "nthreads": torch.get_num_threads(), **_ACCURACY[points.dtype]}
    transform = getattr(finufft, f"nufft{dims}d{kind}")
    return torch.from_numpy(
        np.asarray(transform(*[axis.numpy() for axis in axes], values.contiguous().numpy(), *sizes, **options))
    )


_planned = Lock()  # a plan has one set of points at a time


@lru_cache(maxsize=8)  # a plan holds a fine grid for each of its transforms
def _cuda_plan(kind: int, modes: tuple[int, ...], count: int, isign: int, dtype: torch.dtype, device: int) -> Any:
    """A plan of cufinufft on a device: making one takes longer than most transforms do."""
    import cufinufft

    name = str(dtype.to_complex()).removeprefix("torch.")
    options = {"modeord": 0, "gpu_device_id": device, **_ACCURACY[dtype]}
    if (
        dtype == torch.float32 and len(modes) == 3
    ):  # faster than the defaults for points at random: H100, cufinufft 2.5.1
        options |= {"upsampfac": 2.0, "gpu_method": 1 if kind == 1 else 2}
    return cufinufft.Plan(kind, modes, count, isign=isign, dtype=name, **options)


def transform_at(arrays: Tensor, points: Tensor) -> Tensor:
    """Fourier transform Σ a(p) exp(−i k·p) of images or volumes at any frequencies k, origin at index size // 2.

    Two real arrays travel as one complex array, a + ib: their transforms come apart again with the values at −k, so
    that the fast Fourier transforms inside, which take most of the time, are half as many.

    Args:
        arrays: real images (b, d, d) or volumes (b, d, d, d).
        points: frequencies (x, y) or (x, y, z) in radians per pixel, within ±π, shape (p, 2) or (p, 3).

    Returns:
        Complex values, shape (b, p); relative error about 5e-5 in float32 and 1e-13 in float64.
    """
    count = len(arrays)
    if count == 1:
        return _nufft(2, arrays.to(arrays.dtype.to_complex()), points, None, -1).reshape(1, -1)
    first, second = arrays[0::2], _even(arrays)[1::2]
    both = _nufft(2, torch.complex(first, second), torch.cat([points, -points]), None, -1).reshape(len(first), -1)
    here, opposite = both.tensor_split(2, dim=1)
    return torch.stack([here + opposite.conj(), (here - opposite.conj()) * -1j], 1).flatten(0, 1)[:count] / 2


def adjoint_transform_at(values: Tensor, points: Tensor, size: int) -> Tensor:
    """Exact adjoint of `transform_at` on real arrays: Re Σ v exp(+i k·p), shape (b, p) to (b, d, d) or (b, d, d, d)."""
    shape, count = (size,) * points.shape[1], len(values)
    if count == 1:
        return _nufft(1, values, points, shape, 1).reshape(1, *shape).real.contiguous()
    first, second = values[0::2], _even(values)[1::2]
    both = torch.cat([first + 1j * second, first.conj() + 1j * second.conj()], 1) / 2
    arrays = _nufft(1, both, torch.cat([points, -points]), shape, 1).reshape(-1, *shape)
    return torch.stack([arrays.real, arrays.imag], 1).flatten(0, 1)[:count]


def transform_of_points(weights: Tensor, points: Tensor, size: int) -> Tensor:
    """Fourier coefficients Σ w exp(−i m·p) of point masses at the whole frequencies m of a centred grid.

    Args:
        weights: masses, shape (n,).
        points: places (x, y) or (x, y, z) as angles, the period 2π, shape (n, 2) or (n, 3).
        size: side of the grid.

    Returns:
        Complex values on the layout of `centred_fft`, shape (size, size) or (size, size, size).
    """
    shape = (size,) * points.shape[1]
    return _nufft(1, weights.to(weights.dtype.to_complex()), points, shape, -1).reshape(shape)


def adjoint_transform_of_points(coefficients: Tensor, points: Tensor) -> Tensor:
    """Sums Σ c exp(+i m·p) at any points, over the whole frequencies m of a centred grid; accurate as `transform_at`.

    Args:
        coefficients: complex, on the layout of `centred_fft`, shape (b, size, …).
        points: places (x, y) or (x, y, z) as angles, shape (n, 2) or (n, 3).

    Returns:
        Complex values, shape (b, n).
    """
    return _nufft(2, coefficients, points, None, 1).reshape(len(coefficients), -1)


def _even(batch: Tensor) -> Tensor:
    """A batch, with a last entry of zeros if their number is odd."""
    return batch if len(batch) % 2 == 0 else torch.cat([batch, torch.zeros_like(batch[:1])])


def coordinates(
    size: int, dims: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Integer coordinates about index size // 2, last axis first: (x, y) or (x, y, z); shape (dims, size, …)."""
    axis = torch.arange(size, dtype=dtype, device=device) - size // 2
    return torch.stack(torch.meshgrid(*[axis] * dims, indexing="ij")[::-1])


def radius(size: int, dims: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """Distance of every pixel (dims 2) or voxel (dims 3) from index size // 2, in pixels; shape (size,) * dims.

    It is not to be modified: those of images, which each step of a fit needs, are made once.
    """
    if dims == 2:
        return _radius_of_pixels(size, dtype, torch.device(device))
    return coordinates(size, dims, dtype=dtype, device=device).norm(dim=0)


@lru_cache(maxsize=32)
def _radius_of_pixels(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return coordinates(size, 2, dtype=dtype, device=device).norm(dim=0)


def pad_or_crop(array: Tensor, size: int, dims: int) -> Tensor:
    """Zero-pad or crop the last axes, keeping index size // 2 at the origin. Never stretches.

    Args:
        array: images (…, d, d) or volumes (…, d, d, d).
        size: new side in pixels.
        dims: 2 for images, 3 for volumes.

    Returns:
        Shape (…, size, size) or (…, size, size, size).
    """
    out = array
    for axis in range(-dims, 0):
        have = out.shape[axis]
        shape = list(out.shape)
        shape[axis] = size
        first = size // 2 - have // 2
        if size >= have:
            padded = out.new_zeros(shape)
            padded.narrow(axis, first, have).copy_(out)
            out = padded
        else:
            out = out.narrow(axis, -first, size)
    return out.contiguous()


def resample(array: Tensor, size: int, dims: int) -> Tensor:
    """Resample to ``size`` by cropping or padding the Fourier transform: the field of view stays, values keep their
    scale.

    A projection that sums over z must be scaled by size / old size as well, since its voxels become longer.

    Args:
        array: images (…, d, d) or volumes (…, d, d, d).
        size: new side in pixels.
        dims: 2 for images, 3 for volumes.
    """
    old = array.shape[-1]
    if size == old:
        return array.clone()
    spectrum = pad_or_crop(centred_fft(array, dims), size, dims)
    smaller = min(size, old)
    if smaller % 2 == 0:  # the unpaired Nyquist plane of the smaller grid has no real counterpart
        first = size // 2 - smaller // 2
        for axis in range(-dims, 0):
            spectrum.narrow(axis, first, 1).zero_()
    return centred_ifft(spectrum, dims).real * (size / old) ** dims


def low_pass(array: Tensor, cutoff: float, dims: int, *, width: float = 1.0) -> Tensor:
    """Keep frequencies below a cutoff, with a soft edge (a Fermi function); same shape.

    Args:
        array: images (…, d, d) or volumes (…, d, d, d).
        cutoff: in shells.
        dims: 2 for images, 3 for volumes.
        width: of the edge, in shells.
    """
    shell = radius(array.shape[-1], dims, dtype=array.dtype, device=array.device)
    return centred_ifft(centred_fft(array, dims) * torch.sigmoid((cutoff - shell) * 4 / width), dims).real


def inscribed(
    size: int, dims: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """1 inside the inscribed disc or ball, closer than size / 2 to index size // 2, else 0; shape (size, …)."""
    return (radius(size, dims, device=device) < size / 2).to(dtype)


def shell_index(size: int, dims: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Shell number (nearest whole radius) of every Fourier coefficient on the centred grid, int64."""
    return radius(size, dims, device=device).round().long()


def shell_means(values: Tensor, dims: int) -> Tensor:
    """Mean over each shell, corners included, of values on the centred grid, shape (size,) * dims; one for each number
    of `shell_index`."""
    shell = shell_index(values.shape[-1], dims, device=values.device).flatten()
    return torch.bincount(shell, values.flatten().double()).to(values.dtype) / torch.bincount(shell)


def fourier_shell_correlation(first: Tensor, second: Tensor, dims: int = 3) -> Tensor:
    """Fourier shell correlation of two maps, or Fourier ring correlation of two images.

    Args:
        first, second: (…, d, d, d) volumes, or (…, d, d) images; the leading axes broadcast.
        dims: 3 or 2.

    Returns:
        FSC at shells 0 … d // 2, shape (…, d // 2 + 1). A shell empty in one of the maps has FSC 0.
    """
    size = first.shape[-1]
    a, b = centred_fft(first.double(), dims), centred_fft(second.double(), dims)
    shell = shell_index(size, dims, device=first.device).flatten()
    count = size // 2 + 1
    keep = shell < count

    def per_shell(values: Tensor) -> Tensor:
        """Sums over the shells, (…, d, d, d) or (…, d, d) to (…, shells)."""
        flat = values.flatten(-dims)[..., keep]
        return flat.new_zeros(*flat.shape[:-1], count).index_add_(-1, shell[keep], flat)

    cross = per_shell((a * b.conj()).real)
    power = per_shell(a.abs().square()) * per_shell(b.abs().square())
    floor = torch.finfo(power.dtype).tiny
    return torch.where(power > floor, cross / power.clamp(min=floor).sqrt(), torch.zeros_like(cross))


def mean_fsc(curve: Tensor) -> Tensor:
    """Mean of the FSC over shells 1 … d/2; curve (…, shells) as from `fourier_shell_correlation`."""
    return curve[..., 1:].mean(-1)


def frequency_at(curve: Tensor, size: int, threshold: float) -> float:
    """Where an FSC curve first falls below a threshold, linearly interpolated between shells.

    Args:
        curve: FSC of one map, shape (size // 2 + 1,).
        size: side of the map.
        threshold: FSC.

    Returns:
        Frequency in cycles per pixel; 0.5 (Nyquist) where the curve never falls below.
    """
    values = curve.tolist()
    for shell in range(1, len(values)):
        if values[shell] < threshold:
            above = values[shell - 1] if shell > 1 else 1.0
            below = values[shell]
            fraction = (above - threshold) / (above - below) if above > below else 0.0
            return (shell - 1 + max(fraction, 0.0)) / size
    return 0.5


def area_under_fsc(curve: Tensor, size: int) -> float:
    """Area under the FSC from 0 to 0.5 cycles per pixel by trapezoids, FSC(0) = 1; a perfect map of even
    size has 0.5.
    """
    values = curve.double().clone()
    values[..., 0] = 1.0
    return float(torch.trapezoid(values, dx=1.0 / size)) * (0.5 * size / (len(values) - 1) if size % 2 else 1.0)


def soft_edge(distance: Tensor, edge: float, width: float) -> Tensor:
    """Raised cosine: 1 where distance ≤ edge, 0 beyond edge + width, all in one unit; the shape is that of the
    distance.
    """
    return 0.5 + 0.5 * torch.cos(math.pi * ((distance - edge) / width).clamp(0, 1))
