"""Junk classes, as 2D classification leaves them among good class averages."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from ..compute import random_stream
from ..fourier import coordinates, radius
from ..images import shift

Junk = Literal["dark blob", "white noise", "ice ring", "edge", "empty", "two particles"]
JUNK_KINDS: tuple[Junk, ...] = get_args(Junk)
_RING, _RING_WIDTH = 0.35, 0.04  # cycles per pixel
_FAINT = 0.05  # of the standard deviation of good images: noise of an empty class
_APART = 0.25  # of the side: how far each of two particles is from the centre


def junk_class(kind: Junk, images: Tensor, number: int, seed: int) -> Tensor:
    """One junk class that fits a stack in size and grey scale, shape (d, d).

    A dark blob is a negative Gaussian as strong as the brightest image. White noise and the ice ring (noise of one
    spatial frequency) have the standard deviation of the images. An edge is a ramp (even numbers) or a step (odd ones)
    across the whole image, as carbon makes it. An empty class is faint noise. Two particles are two images of the stack
    side by side.

    Args:
        kind: of junk.
        images: good class averages, bright on dark, background 0, shape (n, d, d).
        number: of the junk class; each is another one.
        seed: of all random numbers.
    """
    stream = random_stream(seed, "junk", kind, number)
    size = images.shape[-1]
    noise = torch.randn(size, size, generator=stream)
    angle = 2 * math.pi * float(torch.rand(1, generator=stream))
    strength = images.std()
    if kind == "dark blob":
        width = size * (0.2 + 0.1 * float(torch.rand(1, generator=stream)))
        return -images.max() * torch.exp(-((radius(size, 2) / width).square()))
    if kind == "white noise":
        return strength * noise
    if kind == "ice ring":
        frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.fftfreq(size))
        ring = torch.exp(-(((frequency - _RING) / _RING_WIDTH).square()))
        texture = torch.fft.ifft2(torch.fft.fft2(noise) * ring).real
        return strength * texture / texture.std()
    if kind == "edge":
        x, y = coordinates(size, 2)
        across = x * math.cos(angle) + y * math.sin(angle)
        profile = torch.sigmoid(across / 2) if number % 2 else across / size
        return images.max() / 2 * profile + _FAINT * strength * noise
    if kind == "empty":
        return _FAINT * strength * noise
    pair = images[torch.randint(len(images), (2,), generator=stream)]
    aside = torch.tensor([math.cos(angle), math.sin(angle)]) * _APART * size
    return shift(pair, torch.stack([aside, -aside])).sum(0)


def with_junk(images: Tensor, share: float, seed: int, kinds: tuple[Junk, ...] = JUNK_KINDS) -> Tensor:
    """Good images first, then junk classes, the kinds in turn, until they are this share of all; shape (n +
    m, d, d).
    """
    count = round(share / (1 - share) * len(images))
    junk = [junk_class(kinds[number % len(kinds)], images, number, seed) for number in range(count)]
    return torch.stack([*images, *junk])
