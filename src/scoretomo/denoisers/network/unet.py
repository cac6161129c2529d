"""The paper's network: a UNet with attention in its lowest level (§4, "denoiser architecture").

    image ─ lift ─► level 1 ─► level 2 ─► level 3 ─► middle ─► level 3 ─► level 2 ─► level 1 ─ norm, drop ─► image
                       └──────────└──────────└─── skips ───────────┘──────────┘──────────┘

Every block takes the noise level as an input. The numbers of parameters are the paper's: 3.9 million for channels (32,
64, 128), 5.3 million for (32, 64, 96, 128).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

_HEAD = 8  # channels of an attention head


@dataclass(frozen=True)
class Architecture:
    """Shape of a network.

    Attributes:
        channels: of each level, the highest resolution first.
        blocks: residual blocks of each level on the way down; one more on the way up.
        unshuffle: pixels that become one on entry, along each axis: 2 makes four channels of half the side; above 1 it
            grows with the images (`architecture_for`).
        groups: of channels that are normalised together, each over the whole image.
    """

    channels: tuple[int, ...]
    blocks: int
    unshuffle: int
    groups: int

    @property
    def multiple(self) -> int:
        """Sides must be multiples of this."""
        return int(self.unshuffle * 2 ** (len(self.channels) - 1))


# fmt: off
NETWORKS: dict[str, Architecture] = {
    #                              channels             blocks      unshuffle      groups
    "paper":          Architecture((32, 64, 128),       blocks=2,   unshuffle=1,   groups=32),
    "paper-ribosome": Architecture((32, 64, 96, 128),   blocks=2,   unshuffle=1,   groups=32),
    "fast":           Architecture((32, 64, 128),       blocks=1,   unshuffle=2,   groups=8),
}
# fmt: on
_FAST_SIDE = 24  # pixels at which a network that packs them works, at most


def architecture_for(name: str, size: int) -> Architecture:
    """A network for images of a side: one that packs pixels packs so many that it costs about the same at any size."""
    architecture = NETWORKS[name]
    while architecture.unshuffle > 1 and size > _FAST_SIDE * architecture.unshuffle:
        architecture = replace(architecture, unshuffle=2 * architecture.unshuffle)
    return architecture


class UNet(nn.Module):
    """F(x, label): images of shape (b, 1, d, d) and labels of their noise levels, shape (b,), to images.

    Args:
        architecture: its shape; d must be a multiple of ``architecture.multiple``.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels, blocks, groups = architecture.channels, architecture.blocks, architecture.groups
        pixels = architecture.unshuffle**2
        first, last = channels[0], channels[-1]
        label = 4 * first
        self.unshuffle = architecture.unshuffle
        self.label = nn.Sequential(nn.Linear(first, label), nn.SiLU(), nn.Linear(label, label))
        self.lift = nn.Conv2d(pixels, first, 3, padding=1)
        levels = list(enumerate(channels))
        lowest = len(channels) - 1
        self.down = nn.ModuleList(
            Down(channels[max(level - 1, 0)], width, label, blocks, groups, lowest=level == lowest)
            for level, width in levels
        )
        self.middle = nn.ModuleList(
            [Block(last, last, label, groups), Attention(last, groups), Block(last, last, label, groups)]
        )
        self.up = nn.ModuleList(
            Up(
                channels[min(level + 1, lowest)],
                width,
                channels[max(level - 1, 0)],
                label,
                blocks + 1,
                groups,
                lowest=level == lowest,
                highest=level == 0,
            )
            for level, width in reversed(levels)
        )
        self.norm = nn.GroupNorm(groups, first)
        self.drop = nn.Conv2d(first, pixels, 3, padding=1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images and their noise labels → images of the same shape."""
        label = self.label(_waves(labels, self.lift.out_channels).to(images.dtype))
        x = self.lift(functional.pixel_unshuffle(images, self.unshuffle))
        skips = [x]
        for down in self.down:
            outputs = down(x, label)
            skips = [*skips, *outputs]
            x = outputs[-1]
        before, attention, after = self.middle
        x = after(attention(before(x, label)), label)
        for up in self.up:
            x = up(x, skips, label)
        return functional.pixel_shuffle(self.drop(functional.silu(self.norm(x))), self.unshuffle)


class Down(nn.Module):
    """A level on the way down; all but the lowest end at half the side, the lowest alone has attention."""

    def __init__(self, entering: int, width: int, label: int, blocks: int, groups: int, *, lowest: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width if k else entering, width, label, groups) for k in range(blocks))
        self.attention = nn.ModuleList(Attention(width, groups) if lowest else nn.Identity() for _ in range(blocks))
        self.coarser = nn.ModuleList([] if lowest else [nn.Conv2d(width, width, 3, stride=2, padding=1)])

    def forward(self, x: Tensor, label: Tensor) -> list[Tensor]:
        """Features and label → the output of every block and of the halving."""
        outputs = []
        for block, attention in zip(self.blocks, self.attention, strict=True):
            x = attention(block(x, label))
            outputs.append(x)
        for coarser in self.coarser:
            outputs.append(coarser(x))
        return outputs


class Up(nn.Module):
    """A level on the way up: every block also gets the output of one on the way down, the last one first."""

    def __init__(
        self,
        entering: int,
        width: int,
        above: int,
        label: int,
        blocks: int,
        groups: int,
        *,
        lowest: bool,
        highest: bool,
    ) -> None:
        super().__init__()
        coming = [entering] + [width] * (blocks - 1)
        skips = [width] * (blocks - 1) + [above]
        self.blocks = nn.ModuleList(
            Block(come + skip, width, label, groups) for come, skip in zip(coming, skips, strict=True)
        )
        self.attention = nn.ModuleList(Attention(width, groups) if lowest else nn.Identity() for _ in range(blocks))
        self.finer = nn.ModuleList([] if highest else [nn.Conv2d(width, width, 3, padding=1)])

    def forward(self, x: Tensor, skips: list[Tensor], label: Tensor) -> Tensor:
        """Features, outputs of the way down (used up from their end), and label → features."""
        for block, attention in zip(self.blocks, self.attention, strict=True):
            x = attention(block(torch.cat([x, skips.pop()], 1), label))
        for finer in self.finer:
            x = finer(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Block(nn.Module):
    """Two convolutions beside a shortcut; the noise level is added between them."""

    def __init__(self, entering: int, leaving: int, label: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, entering)
        self.conv1 = nn.Conv2d(entering, leaving, 3, padding=1)
        self.label = nn.Linear(label, leaving)
        self.norm2 = nn.GroupNorm(groups, leaving)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, padding=1)
        self.shortcut = nn.Identity() if entering == leaving else nn.Conv2d(entering, leaving, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Features (b, entering, d, d) and labels (b, label) → (b, leaving, d, d)."""
        y = self.conv1(functional.silu(self.norm1(x)))
        y = y + self.label(functional.silu(label))[:, :, None, None]
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(y)))


class Attention(nn.Module):
    """Attention of every place of the image to every other."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.heads = channels // _HEAD
        self.norm = nn.GroupNorm(groups, channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features (b, c, h, w) → the same shape."""
        places = self.norm(x).flatten(2).transpose(1, 2)  # (b, places, c)
        query, key, value = (
            linear(places).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.out(seen).transpose(1, 2).reshape(x.shape)


def _waves(labels: Tensor, count: int) -> Tensor:
    """Cosines and sines of a label at ``count // 2`` frequencies from 1 down to 1/10 000, shape (b, count)."""
    steps = torch.arange(count // 2, dtype=torch.float32, device=labels.device) / (count // 2)
    angles = labels.float()[:, None] * torch.exp(-math.log(10_000) * steps)
    return torch.cat([angles.cos(), angles.sin()], 1)
