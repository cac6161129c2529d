"""Denoising score matching (Eq. 1): a network learns to take away noise of any level from the images.

    loss = E over x, t, ε of λ(t) ‖D(x + tε, t) − x‖²,    ln t ~ N(P_mean, P_std²)

with the weights λ(t) and noise levels of Karras et al. (2022), or mostly with the noise levels that volumes are made
with. What is drawn for a step depends on the seed and the step alone: a run that is continued goes on as if it had
never stopped. A batch is always made of the same shards, each worked on by one thread, whose gradients are added in
their order: the result does not depend on the threads, and on the processes only by rounding.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..compute import random_stream
from ..images import augment
from .network import PreconditionedUNet, noise_level_weight

LEVELS = (-1.2 - math.log(0.5), 1.2)  # mean and standard deviation of ln(t / σ_d): P_mean = −1.2 belongs to σ_d = 0.5
FOCUS = (math.log(0.67), 0.7)  # the same, where volumes are made
Shares = Callable[[Tensor], None]  # adds up a tensor in place over the processes that share the batches


@dataclass(frozen=True)
class Training:
    """How a network is trained; all lengths scale with the run.

    Attributes:
        examples: noisy images that the network sees.
        batch: noisy images of a step.
        shards: parts of a batch, each worked on by one thread.
        rate: highest learning rate of Adam.
        warm_up: share of the run over which the rate rises from 0.
        decay: share of the run over which it falls to 0 at the end, linearly.
        memory: half-life of the moving average of the weights, as a share of what has been seen so far.
        clip: largest norm of the gradient.
        interpolation: of turned images, "bicubic" or "bilinear".
        focus: share of the examples whose noise level is one that volumes are made with.
        seed: of all random numbers.
    """

    examples: int
    batch: int
    shards: int
    rate: float
    warm_up: float = 0.02
    decay: float = 0.5
    memory: float = 0.05
    clip: float = 1.0
    interpolation: str = "bicubic"
    focus: float = 0.0
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return math.ceil(self.examples / self.batch)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, 0 ≤ step < steps."""
        done = (step + 0.5) / self.steps
        return self.rate * min(1.0, done / self.warm_up, (1 - done) / self.decay)


class TrainingState(NamedTuple):
    """Everything that training goes on from."""

    network: PreconditionedUNet
    average: PreconditionedUNet  # moving average of the weights: what is used in the end
    optimiser: torch.optim.Adam
    step: int  # steps done


class TrainingStep(NamedTuple):
    """What one step of training has done."""

    state: TrainingState
    loss: float  # 1 for a network that knows nothing
    rate: float


class Examples(NamedTuple):
    """A noisy batch: D(noisy, t) should be clean."""

    clean: Tensor  # (b, d, d)
    noisy: Tensor  # (b, d, d)
    t: Tensor  # (b,)


def begin_training(network: PreconditionedUNet) -> TrainingState:
    """The state before the first step."""
    average = copy.deepcopy(network).requires_grad_(False)
    return TrainingState(network, average, torch.optim.Adam(network.parameters(), betas=(0.9, 0.99), fused=True), 0)


def pack(state: TrainingState) -> dict[str, Tensor]:
    """All tensors of a state by name, on the CPU; with ``state.step`` they are all that `unpack` needs."""
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    for number, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": moment for name, moment in moments.items()}
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def unpack(tensors: Mapping[str, Tensor], step: int, state: TrainingState) -> TrainingState:
    """Put packed tensors back into a new state of the same network, of as many steps; they are copied."""
    for name, network in (("network", state.network), ("average", state.average)):
        network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensor.clone()
    state.optimiser.load_state_dict(state.optimiser.state_dict() | {"state": moments})
    return state._replace(step=step)


def draw_examples(
    images: Tensor,
    background: float,
    mask: Tensor,
    sigma_data: float,
    count: int,
    generator: torch.Generator,
    *,
    interpolation: str = "bicubic",
    focus: float = 0.0,
) -> Examples:
    """Images at random, turned, flipped and shifted, with noise of random levels.

    Args:
        images: normalised training images, shape (n, d, d).
        background: value of empty space.
        mask: circular mask, shape (d, d).
        sigma_data: standard deviation of the images' pixels; the noise levels scale with it.
        count: how many.
        generator: random stream, on the CPU.
        interpolation: of turned images, "bicubic" or "bilinear".
        focus: share of the noise levels that are drawn near those that volumes are made with.
    """
    chosen = torch.randint(len(images), (count,), generator=generator)
    near = torch.rand(count, generator=generator) < focus
    mean, deviation = (torch.where(near, *pair) for pair in zip(FOCUS, LEVELS, strict=True))
    t = (sigma_data * (mean + deviation * torch.randn(count, generator=generator)).exp()).to(images)
    noise = torch.randn(count, *images.shape[1:], generator=generator).to(images)
    clean = augment(images[chosen.to(images.device)], background, mask, generator, interpolation=interpolation)
    return Examples(clean, clean + t[:, None, None] * noise, t)


def loss_of(network: PreconditionedUNet, examples: Examples) -> Tensor:
    """Weighted squared error of every example, a mean over its pixels, shape (b,)."""
    error = (network(examples.noisy, examples.t) - examples.clean).square().mean((1, 2))
    return noise_level_weight(examples.t, network.preconditioning.sigma_data) * error


def train(
    images: Tensor,
    background: float,
    mask: Tensor,
    state: TrainingState,
    training: Training,
    *,
    threads: int = 1,
    rank: int = 0,
    processes: int = 1,
    add_up: Shares | None = None,
) -> Iterator[TrainingStep]:
    """Go on training to the end, one step for each `next`; the state's tensors are changed in place.

    Args:
        images: normalised training images, shape (n, d, d), on the device to work on.
        background: value of empty space.
        mask: circular mask, shape (d, d).
        state: where to go on from.
        training: length, rates and seed.
        threads: that work on shards at the same time, each computing with one.
        rank, processes: of the processes that share each batch, which this is and how many there are.
        add_up: adds up a tensor in place over these processes.
    """
    own_shards = range(training.shards)[rank::processes]
    weights = list(state.network.parameters())
    sigma = state.network.preconditioning.sigma_data

    def gradient(step: int, shard: int) -> Tensor:
        """Gradient over a shard."""
        stream = random_stream(training.seed, "training", step, shard)
        count = training.batch // training.shards
        examples = draw_examples(
            images, background, mask, sigma, count, stream, interpolation=training.interpolation, focus=training.focus
        )
        return _gradient_over(state.network, weights, examples, training.batch)

    with ThreadPoolExecutor(threads) as pool:
        for step in range(state.step, training.steps):
            sums = _sum_in_order(pool.map(gradient, repeat(step), own_shards))
            if add_up:
                add_up(sums)
            rate = training.rate_at(step)
            _descend(state, weights, sums[:-1], rate, training.clip)
            _remember(state, training, step)
            state = state._replace(step=step + 1)
            yield TrainingStep(state, float(sums[-1]) / training.batch, rate)


def _gradient_over(network: PreconditionedUNet, weights: Sequence[Tensor], examples: Examples, batch: int) -> Tensor:
    """Gradient of the weights over some examples of a batch, then the sum of their losses, in one vector."""
    with torch.autocast("cuda", torch.bfloat16) if examples.noisy.is_cuda else nullcontext():
        loss = loss_of(network, examples).sum()
    parts = torch.autograd.grad(loss / batch, weights)
    return torch.cat([*(part.flatten() for part in parts), loss.detach()[None]])


def _sum_in_order(parts: Iterator[Tensor]) -> Tensor:
    """The sum of tensors, added in their order."""
    total = next(parts)
    for part in parts:
        total += part
    return total


def _descend(state: TrainingState, weights: Sequence[nn.Parameter], gradient: Tensor, rate: float, clip: float) -> None:
    gradient = gradient * (clip / gradient.norm().clamp_min(clip))
    for weight, part in zip(weights, gradient.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = part.view_as(weight)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()


@torch.no_grad()
def _remember(state: TrainingState, training: Training, step: int) -> None:
    """Move the average of the weights towards the weights."""
    forgotten = 1 - 0.5 ** (1 / (training.memory * (step + 1)))
    torch._foreach_lerp_(list(state.average.parameters()), list(state.network.parameters()), forgotten)
