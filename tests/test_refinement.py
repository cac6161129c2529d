"""Refinement of a posed start: symmetry, replicates and their mean, the share of the start, schedules."""

import pytest
import torch
from molecules import SIZE, blobs, likeness, stream

from scoretomo.fourier import fourier_shell_correlation, radius
from scoretomo.projection import project, rotate
from scoretomo.reconstruction.algorithm import Descent, Step, descent_direction
from scoretomo.reconstruction.refinement import Refined, Refinement, Streams, refine_volumes
from scoretomo.rotations import point_group, random_rotations


def test_descent_step_with_symmetry_is_symmetric_and_as_steep_along_symmetric_volumes():
    turns, frames = point_group("C3").float(), random_rotations(2, stream(1))
    groups = torch.stack([frame @ turns @ frame.mT for frame in frames])
    volumes = torch.stack([rotate(blobs("C3"), frame) for frame in frames])
    images, noise = torch.zeros(2, SIZE, SIZE), torch.zeros(2, 3, SIZE, SIZE)
    arguments = (volumes, images, lambda views, t: 0.5 * views, random_rotations(4, stream()), 1.0, noise)
    plain = descent_direction(*arguments, background=0.0).volumes
    imposed = descent_direction(*arguments, background=0.0, groups=groups).volumes
    for volume, step, expected, group in zip(volumes, imposed, plain, groups, strict=True):
        assert float((step * volume).sum()) == pytest.approx(float((expected * volume).sum()), rel=1e-3)
        plain_step, step = (each * (radius(SIZE, 3) < SIZE / 2) for each in (expected, step))  # as the descent takes it
        assert likeness(rotate(plain_step, group[1]), plain_step) < 0.8
        assert likeness(rotate(step, group[1]), step) > 0.93


def test_replicates_differ_and_the_last_descent_begins_at_their_mean():
    images = project(blobs(), torch.eye(3)[None]).repeat(2, 1, 1)
    refinement = Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), Descent(2, (0.5, 0.5), (3, 3), rate=1e-6))

    def streams(descent: int) -> Streams:
        return Streams(stream(10 + descent), [stream(20 + descent), stream(30 + descent)])

    starts = blobs().expand(2, SIZE, SIZE, SIZE)
    *steps, last = refine_volumes(
        images, lambda views, t: 0.9 * views, refinement, starts, background=0.0, streams=streams
    )
    assert [step.number for step in steps] == list(range(1, 11))
    assert refinement.steps == 10
    first, second = steps[3].volumes, steps[7].volumes
    assert not torch.allclose(first, second)
    torch.testing.assert_close(steps[8].volumes, (first + second) / 2, rtol=0, atol=1e-4)
    assert isinstance(last, Refined)
    assert torch.equal(last.volumes, steps[-1].volumes)
    torch.testing.assert_close(last.replicate_curves, fourier_shell_correlation(first, second))
    torch.testing.assert_close(last.difference, (first - second) / 2)


def refined(start_weight: float) -> tuple[list[Step], Refined]:
    """Steps and end of a short refinement of the blobs."""
    *steps, last = refine_volumes(
        project(blobs(), torch.eye(3)[None]),
        lambda views, t: 0.9 * views,
        Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), None, start_weight),
        blobs()[None],
        background=0.0,
        streams=lambda descent: Streams(stream(10 + descent), [stream(20 + descent)]),
    )
    return steps, last


def test_volume_without_a_last_descent_is_the_mean_of_the_replicates():
    steps, last = refined(0.0)
    first, second = steps[3], steps[7]
    torch.testing.assert_close(last.volumes, (first.volumes + second.volumes) / 2)
    torch.testing.assert_close(last.anchor_residual, (first.anchor_residual + second.anchor_residual) / 2)
    torch.testing.assert_close(last.difference, (first.volumes - second.volumes) / 2)


def test_start_weight_is_the_share_of_the_start_in_the_volume():
    descended, mixed = refined(0.0)[1], refined(0.25)[1]
    assert not torch.allclose(descended.volumes, blobs()[None], atol=1e-2)
    torch.testing.assert_close(mixed.volumes, 0.75 * descended.volumes + 0.25 * blobs())
    torch.testing.assert_close(mixed.difference, 0.75 * descended.difference)
    torch.testing.assert_close(mixed.replicate_curves, descended.replicate_curves)


def test_volume_of_which_one_replicate_diverged_has_diverged():
    """The denoiser is far off in the first descent only."""
    calls: list[float] = []

    def denoise(views: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return views * (1e4 if len(calls) <= 4 else 0.9)

    *_, last = refine_volumes(
        project(blobs(), torch.eye(3)[None]),
        denoise,
        Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), None),
        blobs()[None],
        background=0.0,
        streams=lambda descent: Streams(stream(10 + descent), [stream(20 + descent)]),
    )
    assert last.diverged.tolist() == [True]


def test_start_weight_is_refused_where_a_last_descent_follows():
    with pytest.raises(ValueError, match="descent"):
        Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), Descent(2, (0.5, 0.5), (3, 3)), 0.5)


def test_refinement_in_fewer_steps_has_the_same_proportions():
    refinement = Refinement(2, Descent(200, (1.0, 0.3), (8, 8)), Descent(100, (0.3, 0.2), (8, 8)))
    shorter = refinement.in_steps(50)
    assert (shorter.each.steps, shorter.last.steps, shorter.steps) == (20, 10, 50)
    assert refinement.in_steps(1).steps == 3


def test_larger_images_are_refined_in_more_steps():
    refinement = Refinement(2, Descent(30, (0.2, 0.05), (8, 8)), None)
    assert refinement.at_side(64).steps == 2 * refinement.steps
    assert refinement.at_side(24) == refinement.at_side(32) == refinement
