"""The best rotation, shift and hand of one map onto another.

Both maps are compared by their Fourier coefficients in a ball, each shell brought to power 1, so neither scale nor
offset matter. A pose is a matrix A of O(3), q = Aᵀk: mirroring first is A = R·diag(1, 1, −1), so both hands go through
the same formulas. The search takes every rotation of a grid, with all shifts at once, in the lowest shells by their
mean FSC. Then Levenberg–Marquardt steps lead the best of them, in growing balls, to where the maps share most
information.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .fourier import centred_fft, coordinates, pad_or_crop, radius, resample, transform_at
from .optimise import Slope, State, maximise
from .projection import mirror, rotate
from .rotations import angular_distance, rotation_from_vector, rotation_grid

_SEARCH_SHELLS = 5
_SEARCH_ROTATIONS = 3600  # about 16° apart
_OVERSAMPLING = 6  # of the transform from which the search takes the nearest values
_CHUNK = 256  # rotations at a time
_CONVERGED = 0.1  # nats that no step gains any more
_HOPELESS = 20.0  # nats by which a pose is less likely than the best
_PERFECT = 0.04  # what keeps perfect shells from counting without limit


class Alignment(NamedTuple):
    """How to move a map onto another: ``rotate(mirror(map) if mirrored else map, rotation, shift)``."""

    rotation: Tensor  # (3, 3)
    shift: Tensor  # (3,): x, y, z in voxels
    mirrored: bool
    correlation: float  # of the moved map and the target, in the ball |k| < d/2 without the mean


class _Poses(NamedTuple):
    """Candidates: A of O(3), shape (b, 3, 3); shifts (b, 3) as fractions of the box; how well each does, shape (b,)."""

    matrices: Tensor
    shifts: Tensor
    values: Tensor

    def take(self, which: Tensor) -> "_Poses":
        return _Poses(*(values[which] for values in self))


class _Ball(NamedTuple):
    """Both maps in the shells 1 … s, on the half kx ≥ 0 that real maps need."""

    moving: Tensor  # (m, m, m), Fourier-cropped
    frequency: Tensor  # (p, 3): kx, ky, kz, whole numbers of periods a box
    shell: Tensor  # (p,)
    target: Tensor  # (p,) complex; each shell has power 1
    scale: Tensor  # (p,): brings each shell of the moving map to power 1; 0 in shells empty in either map


def align(moving: Tensor, target: Tensor, *, hands: bool = True) -> Alignment:
    """Find the rotation, shift and hand that bring one map onto another, wherever it starts from.

    Args:
        moving, target: maps on the same grid, shape (d, d, d), axes (z, y, x), any units and background.
        hands: also try the mirror image of the moving map.

    Returns:
        The alignment in which the maps share most information. Of equivalent answers (symmetric maps) any one.

    Raises:
        ValueError: maps of different or odd shapes, or a map that is constant or not finite.
    """
    _check(moving, target)
    half = moving.shape[-1] // 2
    lowest = _ball(moving, target, min(_SEARCH_SHELLS, half))
    poses = _improve(lowest, _distinct(_search(lowest, hands), 32, degrees=12.0), steps=4)
    middle = _ball(moving, target, min(2 * _SEARCH_SHELLS, half))
    poses = _improve(middle, _distinct(poses, 12, degrees=5.0), steps=3)
    poses = _improve(middle, _distinct(poses, 4, degrees=5.0), steps=6)
    return _finish(moving, target, _distinct(poses, 2, degrees=3.0))


def refine_alignment(moving: Tensor, target: Tensor, start: Alignment | None = None) -> Alignment:
    """Improve an alignment that is nearly right (within about 10° and a twentieth of the box), keeping its hand.

    Args:
        moving, target: maps on the same grid, shape (d, d, d).
        start: where to begin; without it the maps are taken to lie on each other already.
    """
    _check(moving, target)
    size = moving.shape[-1]
    if start is None:
        start = Alignment(torch.eye(3), torch.zeros(3), False, 0.0)
    matrices, shifts = start.rotation.to(moving)[None], start.shift.to(moving)[None] / size
    poses = _Poses(_other_hand(matrices) if start.mirrored else matrices, shifts, shifts.new_zeros(1))
    for shells in (_SEARCH_SHELLS, 2 * _SEARCH_SHELLS):
        poses = _improve(_ball(moving, target, min(shells, size // 2)), poses, steps=8)
    return _finish(moving, target, poses)


def place(moving: Tensor, alignment: Alignment) -> Tensor:
    """Move a map as an alignment says, shape (d, d, d); its background should be 0 (`zero_background`)."""
    return rotate(mirror(moving) if alignment.mirrored else moving, alignment.rotation, alignment.shift)


def moved_onto(moving: Tensor, target: Tensor) -> Tensor:
    """A map where it agrees best with another, in whichever hand; both of shape (d, d, d)."""
    return place(moving, align(moving, target))


def zero_background(volume: Tensor) -> Tensor:
    """Bring the median outside the inscribed ball to 0, (d, d, d), since a box of another value would show when it is
    turned.
    """
    size = volume.shape[-1]
    return volume - volume[radius(size, 3, device=volume.device) >= size // 2].median()


def _check(moving: Tensor, target: Tensor) -> None:
    """Refuse maps that can't be aligned."""
    if moving.shape != target.shape or moving.dim() != 3 or len(set(moving.shape)) != 1:
        shapes = " and ".join("×".join(map(str, values.shape)) for values in (moving, target))
        raise ValueError(
            f"alignment needs two cubic maps of the same side, got {shapes}: bring them onto one grid first"
        )
    for name, values in (("map to be aligned", moving), ("map to align to", target)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"the {name} has values that are not finite")
        if float(values.max()) == float(values.min()):
            raise ValueError(f"the {name} is constant")


def _other_hand(matrices: Tensor) -> Tensor:
    """Mirror z → −z before turning."""
    return matrices * matrices.new_tensor([1.0, 1.0, -1.0])


def _ball(moving: Tensor, target: Tensor, shells: int) -> _Ball:
    """The two maps in shells 1 … ``shells``; in the last shell of the full grid only what lies inside |k| < d/2."""
    size = moving.shape[-1]
    side = min(2 * shells + 2, size)
    k = coordinates(side, 3, device=moving.device).flatten(1).T
    length = k.norm(dim=1)
    keep = (k[:, 0] >= 0) & (length > 0) & (length < min(shells + 0.5, size / 2))
    k, shell = k[keep], length[keep].round().long()
    cropped, aim = (resample(zero_background(values.float()), side, 3) for values in (moving, target))
    coefficients = [centred_fft(values, 3).flatten()[keep] for values in (cropped, aim)]
    powers = [_per_shell(values.abs().square() * _weight(k), shell) for values in coefficients]
    counts = _per_shell(_weight(k), shell)
    empty = torch.stack([power < 1e-8 * counts * power.sum() / counts.sum() for power in powers]).any(0)
    scales = [torch.where(empty, 0, power.clamp(min=1e-30).rsqrt())[shell] for power in powers]
    return _Ball(cropped, k, shell, coefficients[1] * scales[1], scales[0])


def _weight(frequency: Tensor) -> Tensor:
    """How many coefficients of the whole ball each one of the half kx ≥ 0 stands for."""
    return torch.where(frequency[:, 0] > 0, 2.0, 1.0)


def _per_shell(values: Tensor, shell: Tensor) -> Tensor:
    """Sums over shells 0, 1, …, shape (…, p) to (…, shells)."""
    return values.new_zeros(*values.shape[:-1], int(shell.max()) + 1).index_add_(-1, shell, values)


def _search(ball: _Ball, hands: bool) -> _Poses:
    """The best shift for every rotation of a grid and each hand, by the correlation at all shifts at once."""
    grid = rotation_grid(_SEARCH_ROTATIONS).to(ball.frequency)
    matrices = torch.cat([grid, _other_hand(grid)]) if hands else grid
    side = ball.moving.shape[-1]
    table = centred_fft(pad_or_crop(ball.moving, _OVERSAMPLING * side, 3), 3).flatten()
    kx, ky, kz = (ball.frequency.long() % side).T
    where = (kz * side + ky) * (side // 2 + 1) + kx
    aim = torch.where(ball.scale > 0, ball.target, 0)
    twice, members = _weight(ball.frequency), torch.nn.functional.one_hot(ball.shell).float()
    shifts, values = [], []
    for some in matrices.split(_CHUNK):
        spectrum = aim.new_zeros(len(some), side * side * (side // 2 + 1))
        turned = table[_nearest(ball.frequency @ some, side)]
        power = (turned.abs().square() * twice) @ members
        spectrum[:, where] = aim * turned.conj() * power.clamp(min=1e-30).rsqrt()[:, ball.shell]
        correlation = torch.fft.irfftn(spectrum.reshape(-1, side, side, side // 2 + 1), s=(side,) * 3).flatten(1)
        best = correlation.max(1)
        values.append(best.values)
        shifts.append(torch.stack([best.indices % side, best.indices // side % side, best.indices // side**2], 1))
    signed = (torch.cat(shifts) + side // 2) % side - side // 2
    return _Poses(matrices, signed.to(grid) / side, torch.cat(values))


def _nearest(points: Tensor, side: int) -> Tensor:
    """Numbers of the nearest coefficients in the oversampled transform; points (…, 3) in periods a box."""
    fine = _OVERSAMPLING * side
    x, y, z = (((points * _OVERSAMPLING).round().long() + fine // 2) % fine).unbind(-1)
    return (z * fine + y) * fine + x


def _distinct(poses: _Poses, count: int, *, degrees: float) -> _Poses:
    """The best poses, at most ``count``, that differ in hand or by more than an angle."""
    order = poses.values.argsort(descending=True, stable=True)
    poses = poses.take(order[: 40 * count])
    hand = torch.linalg.det(poses.matrices).sign()
    matrices = torch.where(hand[:, None, None] < 0, _other_hand(poses.matrices), poses.matrices)
    free = torch.ones(len(hand), dtype=torch.bool, device=hand.device)
    chosen: list[int] = []
    while len(chosen) < count and bool(free.any()):
        best = int(free.int().argmax())
        chosen.append(best)
        free &= (angular_distance(matrices, matrices[best]) > degrees) | (hand != hand[best])
    return poses.take(torch.tensor(chosen, device=hand.device))


def _improve(ball: _Ball, poses: _Poses, *, steps: int) -> _Poses:
    """Levenberg–Marquardt steps on all poses at once, until none gains any more; their values become the
    information.
    """
    reach = 1 / (4 * int(ball.shell.max()))

    def move(state: State, step: Tensor) -> State:
        """A pose moved by at most ``reach`` of the box, and as far at the box's edge when turning."""
        matrices, shifts = state
        turn, shift = step[:, :3], step[:, 3:]
        turn = turn * (2 * reach / turn.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        shift = shift * (reach / shift.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        return rotation_from_vector(turn) @ matrices, shifts + shift

    (matrices, shifts), values = maximise(
        (poses.matrices, poses.shifts),
        lambda state: _information(ball, *state),
        move,
        steps=steps,
        block=3,
        tolerance=_CONVERGED,
    )
    return _Poses(matrices, shifts, values)


def _information(ball: _Ball, matrices: Tensor, shifts: Tensor) -> Slope:
    """The information the maps share in each pose, −½ Σ n log(1 − FSC²) over shells of n coefficients, and its
    derivatives.

    It is the log-likelihood of two maps with Gaussian coefficients whose correlation in each shell is the FSC: shells
    in which the maps disagree hardly count. A constant beside the 1 keeps perfect shells from counting without limit.
    """
    value, derivative = _moved(ball, matrices, shifts)
    twice = _weight(ball.frequency)
    curves = _per_shell((ball.target.conj() * value).real * twice, ball.shell)
    count, agreeing = _per_shell(twice, ball.shell), curves.clamp(min=0)
    doubt = 1 + _PERFECT - agreeing.square()
    weights = count * agreeing / doubt
    residual = ball.target - curves[:, ball.shell] * value  # the FSC's own derivative: every shell keeps power 1
    each = weights[:, ball.shell] * twice
    gradient = torch.einsum("bp,bpj->bj", each, (residual.conj()[..., None] * derivative).real)
    each = (weights * agreeing)[:, ball.shell] * twice
    parts = torch.view_as_real(derivative * each.sqrt()[..., None]).movedim(-1, 1).flatten(1, 2)
    information = -0.5 * (count * (doubt / (1 + _PERFECT)).log()).sum(1)
    return Slope(information, gradient, parts.mT @ parts)


def _moved(ball: _Ball, matrices: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients of the moved map, each shell of power 1, shape (b, p); derivatives by turn and shift, shape (b, p,
    6).
    """
    side, count = ball.moving.shape[-1], len(matrices)
    position = coordinates(side, 3, device=ball.moving.device)
    weighted = torch.cat([ball.moving[None], position * ball.moving])
    points = (ball.frequency @ matrices).reshape(-1, 3) * (2 * math.pi / side)
    found = transform_at(weighted, points).reshape(4, count, -1)
    power = _per_shell(found[0].abs().square() * _weight(ball.frequency), ball.shell)
    scale = torch.where(ball.scale > 0, power.clamp(min=1e-30).rsqrt()[:, ball.shell], 0)
    found = found * (scale * torch.exp(-2j * math.pi * (shifts @ ball.frequency.T)))
    by_frequency = torch.einsum("bij,jbp->bpi", matrices.to(found), found[1:]) * (-2j * math.pi / side)
    by_turn = torch.linalg.cross(by_frequency, ball.frequency.to(found)[None].expand_as(by_frequency))
    by_shift = -2j * math.pi * found[0][..., None] * ball.frequency
    return found[0], torch.cat([by_turn, by_shift], -1)


def _finish(moving: Tensor, target: Tensor, poses: _Poses) -> Alignment:
    """Refine in balls of twice the size each, up to all shells; the most likely pose wins."""
    size = moving.shape[-1]
    shells = [size // 2]
    while shells[0] // 2 > 3 * _SEARCH_SHELLS:
        shells.insert(0, shells[0] // 2)
    for count in shells:
        poses = _improve(_ball(moving, target, count), poses, steps=10)
        poses = poses.take(poses.values > poses.values.max() - _HOPELESS)
    best = poses.take(poses.values.argmax()[None])
    mirrored = bool(torch.linalg.det(best.matrices[0]) < 0)
    rotation = (_other_hand(best.matrices) if mirrored else best.matrices)[0]
    alignment = Alignment(rotation.to(moving), best.shifts[0].to(moving) * size, mirrored, 0.0)
    return alignment._replace(correlation=_correlation(place(zero_background(moving), alignment), target))


def _correlation(first: Tensor, second: Tensor) -> float:
    """Normalised correlation of two maps without their means."""
    a, b = first - first.mean(), second - second.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))
