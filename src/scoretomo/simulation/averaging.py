"""The class average of a microscope: what 2D classification makes of the particles of a class.

A class holds n particles. Each shows the object from nearly the same direction, a little off centre, through the
contrast transfer function c of its own defocus, in white noise:

    y_i = c_i · exp(−B k²/4) · S_i f(V, R_i) + noise

Its average is weighted as classification programs do, by c (which turns negative lobes the right way round), and
divided by the weights, with as much restraint as the class's own spectral signal-to-noise ratio S asks for, ring by
ring (w = ⟨Σ c_i²⟩ / 2S):

    average = Σ c_i y_i / (Σ c_i² + w)

White noise of n particles, weighted by c_i and summed, is white noise times √(Σ c_i²); it is drawn so. Then follow a
low-pass where the signal ends (S = 1/3, where the two halves of a class correlate by 0.143), the mean of the box to 0,
and a soft circular mask.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from ..compute import random_stream
from ..config import RealismSettings
from ..fourier import radius, soft_edge
from ..projection import project
from ..rotations import random_rotations, rotation_from_vector

Kind = Literal["good", "few", "mixed", "off-centre", "empty"]
_BAD: tuple[Kind, ...] = ("few", "mixed", "off-centre", "empty")
_VOLTAGE = 300.0  # kV
_SPHERICAL_ABERRATION = 2.7  # mm
_AMPLITUDE_CONTRAST = 0.1
_MASK = 0.95  # half sides; where the soft mask ends
_SIGNAL_GAIN = 2.0  # times the estimated signal-to-noise ratio that classification programs use


class ClassAverage(NamedTuple):
    """A class average, and what became of its class."""

    image: Tensor  # (d, d), axes (y, x)
    record: dict[str, object]  # columns of truth.csv


def _wavelength() -> float:
    """Wavelength of the microscope's electrons in Å, relativistic."""
    volts = _VOLTAGE * 1e3
    return 12.2643 / math.sqrt(volts * (1 + 0.978466e-6 * volts))


def contrast_transfer(frequency: Tensor, defocus: Tensor) -> Tensor:
    """Contrast transfer function sin(χ + arcsin A) of a 300 kV microscope, χ = π λ z k² − π/2 Cs λ³ k⁴.

    Args:
        frequency: k in 1/Å, any shape (…).
        defocus: underfocus z in µm, shape (n,).

    Returns:
        Values between −1 and 1, shape (n, …).
    """
    length, k2 = _wavelength(), frequency.square()
    z = defocus.reshape(-1, *[1] * k2.ndim) * 1e4
    phase = math.pi * length * z * k2 - math.pi / 2 * _SPHERICAL_ABERRATION * 1e7 * length**3 * k2.square()
    return torch.sin(phase + math.asin(_AMPLITUDE_CONTRAST))


class _Class(NamedTuple):
    """The particles of one class."""

    kind: Kind
    scatter: float  # degrees
    snr: float
    tilts: Tensor  # rotation of each, (n, 3, 3)
    shifts: Tensor  # (x, y) in pixels, (n, 2)
    defocus: Tensor  # µm, (n,)


def _draw_class(number: int, size: int, seed: int, settings: RealismSettings) -> _Class:
    """Draw the particles of a class, and whether it is a bad one."""
    generator = random_stream(seed, "class", number)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=generator)) if high > low else low

    bad = uniform(0, 1) < settings.bad_classes
    kind: Kind = _BAD[int(uniform(0, len(_BAD)))] if bad else "good"
    fewest, most = (2, 6) if kind == "few" else settings.particles
    count = round(math.exp(uniform(math.log(fewest), math.log(most))))
    scatter, snr = uniform(*settings.orientation_scatter), math.exp(uniform(*map(math.log, settings.snr)))
    low, high = settings.defocus
    defocus = low + (high - low) * torch.rand(count, generator=generator)
    tilts = rotation_from_vector(math.radians(scatter) / math.sqrt(3) * torch.randn(count, 3, generator=generator))
    shifts = settings.shift_scatter / math.sqrt(2) * torch.randn(count, 2, generator=generator)
    if kind == "mixed":
        other = random_rotations(1, generator)
        tilts = torch.where((torch.rand(count, generator=generator) < 0.5)[:, None, None], tilts @ other, tilts)
    if kind == "off-centre":
        angle = uniform(0, 2 * math.pi)
        shifts = shifts + 0.2 * size * torch.tensor([math.cos(angle), math.sin(angle)])
    return _Class(kind, scatter, snr, tilts, shifts, defocus)


def average_class(volume: Tensor, number: int, pixel_size: float, seed: int, settings: RealismSettings) -> ClassAverage:
    """The class average of an object seen along z.

    It depends on the seed and the number alone. All particles of a class are projected together.

    Args:
        volume: the truth in the frame of the image, shape (d, d, d).
        number: of the image.
        pixel_size: Å.
        seed: of all random numbers.
        settings: what the particles are like.
    """
    size = volume.shape[-1]
    members = _draw_class(number, size, seed, settings)
    count = len(members.tilts)
    k = _frequencies(size)
    transfer = contrast_transfer(k.norm(dim=0) / pixel_size, members.defocus)
    envelope = torch.exp(-settings.b_factor / 4 * (k.norm(dim=0) / pixel_size).square())
    moved = torch.exp(-2j * math.pi * torch.einsum("nc,cyx->nyx", members.shifts, k))
    seen = (
        torch.fft.rfft2(torch.fft.ifftshift(project(volume, members.tilts), dim=(-2, -1))) * moved * transfer * envelope
    )
    level = _noise_level(seen, members.snr)
    power = transfer.square().sum(0)
    white = torch.fft.rfft2(torch.randn(size, size, generator=random_stream(seed, "class noise", number)))
    signal = (seen * transfer).sum(0) * float(members.kind != "empty")
    weighted = signal + level * power.sqrt() * white
    ratio = _signal_to_noise(weighted, level * power.sqrt())
    cutoff = _first_below(ratio, 1 / 3, size)
    shell = _shell(size)
    restraint = _ring_means(power)[shell] / (_SIGNAL_GAIN * ratio[shell]).clamp(min=1e-6)
    edge = soft_edge(_frequencies(size).norm(dim=0) * size, float(cutoff), 0.1 * size)
    average = torch.fft.fftshift(torch.fft.irfft2(weighted / (power + restraint) * edge, s=(size, size)), dim=(-2, -1))
    record: dict[str, object] = {
        "class": members.kind,
        "particles": count,
        "orientation_scatter": round(members.scatter, 3),
        "snr": round(members.snr, 4),
        "low_pass": round(size * pixel_size / cutoff, 2),
    }
    return ClassAverage(_masked(average), record)


def _frequencies(size: int) -> Tensor:
    """(kx, ky) in cycles per pixel on the layout of rfft2, shape (2, d, d // 2 + 1)."""
    ky, kx = torch.meshgrid(torch.fft.fftfreq(size), torch.fft.rfftfreq(size), indexing="ij")
    return torch.stack([kx, ky])


def _noise_level(seen: Tensor, snr: float) -> float:
    """Standard deviation of the noise that gives particles (transforms as of rfft2) this mean signal-to-noise ratio."""
    size = seen.shape[-2]
    inside = torch.fft.ifftshift(radius(size, 2)) < _MASK * size / 2
    variance = torch.fft.irfft2(seen[:32], s=(size, size))[:, inside].var(1).mean()
    return math.sqrt(float(variance) / snr)


def _shell(size: int) -> Tensor:
    """Ring of each frequency on the layout of rfft2, the nearest whole radius."""
    return (_frequencies(size).norm(dim=0) * size).round().long()


def _ring_means(values: Tensor) -> Tensor:
    """Mean over each ring and its neighbours, of values on the layout of rfft2."""
    shell = _shell(values.shape[-2]).flatten()
    sums = torch.zeros(2, int(shell.max()) + 1).index_add(
        1, shell, torch.stack([values.flatten(), torch.ones(len(shell))])
    )
    total, count = conv1d(sums[:, None], torch.ones(1, 1, 3), padding=1)[:, 0]
    return total / count


def _signal_to_noise(weighted: Tensor, noise: Tensor) -> Tensor:
    """Spectral signal-to-noise ratio of each ring of a weighted sum.

    Args:
        weighted: its transform, (d, d // 2 + 1).
        noise: amplitude of the noise in it, relative to that of the transform of white noise of variance 1, (d, d // 2
            + 1).
    """
    size = weighted.shape[-2]
    expected = (_ring_means(noise.square()) * size**2).clamp(min=1e-30)
    return (_ring_means(weighted.abs().square()) / expected - 1).clamp(min=0)


def _first_below(ratio: Tensor, threshold: float, size: int) -> int:
    """First ring, from 1 up to the Nyquist frequency of images of this side, whose ratio is below a threshold."""
    nyquist = size // 2
    below = (ratio[1:nyquist] < threshold).nonzero()
    return 1 + int(below[0]) if len(below) else nyquist


def _masked(image: Tensor) -> Tensor:
    """The mean of the box to 0, as particles are normalised when they are extracted, then the soft circular mask."""
    size = image.shape[-1]
    edge, width = _MASK * size / 2, max(3.0, 0.05 * size)
    return (image - image.mean()) * soft_edge(radius(size, 2), edge - width, width)
