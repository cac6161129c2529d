"""Levenberg–Marquardt steps on many small problems at once, and conjugate gradients on one large linear problem."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

State = tuple[Tensor, ...]
_LEAST = 1e-30  # divisor of conjugate gradients


class Slope(NamedTuple):
    """A value to maximise, its gradient, and minus its Gauss–Newton second derivatives, of b problems with k
    parameters.
    """

    values: Tensor  # (b,)
    gradient: Tensor  # (b, k)
    curvature: Tensor  # (b, k, k)


def maximise(
    state: State,
    slope_of: Callable[[State], Slope],
    move: Callable[[State, Tensor], State],
    *,
    steps: int,
    block: int = 1,
    tolerance: float = 0.0,
) -> tuple[State, Tensor]:
    """Take damped Newton steps; a step that gains nothing is not taken, and the next one is damped more.

    Args:
        state: where to begin, tensors whose first axis is that of the problems.
        slope_of: value and derivatives in a state.
        move: a state moved by steps, shape (b, k), as far as they may go.
        steps: how many.
        block: parameters in a row that are damped alike, as those of a rotation.
        tolerance: it ends when no problem gains or loses as much.

    Returns:
        The best state, and its values, shape (b,).
    """
    best = slope_of(state)
    damping = torch.full_like(best.values, 1e-2)
    for _ in range(steps):
        trial_state = move(state, _newton_step(best, damping, block))
        trial = slope_of(trial_state)
        gain = trial.values - best.values
        state = _chosen(gain > 0, trial_state, state)
        best = Slope(*_chosen(gain > 0, trial, best))
        damping = torch.where(gain > 0, damping / 10, damping * 10)
        if float(gain.abs().max()) < tolerance:
            break
    return state, best.values


def _newton_step(slope: Slope, damping: Tensor, block: int) -> Tensor:
    """The damped Newton step, (b, k)."""
    blocks = slope.curvature.diagonal(dim1=1, dim2=2).unflatten(1, (-1, block)).mean(2)
    ridge = (damping[:, None] * blocks + 1e-6 * blocks.amax(1, keepdim=True) + 1e-20).repeat_interleave(block, 1)
    return torch.linalg.solve(slope.curvature + torch.diag_embed(ridge), slope.gradient)


def _chosen(better: Tensor, new: State, old: State) -> State:
    """The new state of the problems that are better with it, the old one of the others."""
    pairs = zip(new, old, strict=True)
    return tuple(torch.where(better.reshape(-1, *[1] * (one.dim() - 1)), one, other) for one, other in pairs)


class Approximation(NamedTuple):
    """A step of conjugate gradients."""

    solution: Tensor
    residual: Tensor  # what is left of the right side


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor,
    steps: int,
) -> Iterator[Approximation]:
    """Solve normal(x) = right by preconditioned conjugate gradients; yields the start, and x after each step.

    Args:
        normal: symmetric and positive, linear.
        precondition: about its inverse, symmetric and positive.
        right: right side, of any shape.
        start: where to begin, of the same shape.
        steps: how many.
    """
    solution = start
    residual = right - normal(start) if start.any() else right
    yield Approximation(solution, residual)
    direction = torch.zeros_like(right)
    gain = right.new_tensor(torch.inf)
    for _ in range(steps):
        ahead = precondition(residual)
        before = gain
        gain = (residual * ahead).sum()
        direction = ahead + (gain / before.clamp_min(_LEAST)) * direction
        response = normal(direction)
        length = gain / (direction * response).sum().clamp_min(_LEAST)
        solution = solution + length * direction
        residual = residual - length * response
        yield Approximation(solution, residual)
