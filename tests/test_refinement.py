"""Refinement of a posed start: symmetry, replicates and their mean, the share of the start, schedules."""

from itertools import pairwise

import pytest
import torch
from molecules import SIZE, blobs, likeness, stream

from scoretomo.fourier import fourier_shell_correlation, radius
from scoretomo.projection import project, rotate
from scoretomo.reconstruction.algorithm import Descent, descent_direction
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
    volume = blobs()
    images = project(volume, torch.eye(3)[None]).repeat(2, 1, 1)
    refinement = Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), Descent(2, (0.5, 0.5), (3, 3), rate=1e-6))

    def streams(descent: int) -> Streams:
        return Streams(stream(10 + descent), [stream(20 + descent), stream(30 + descent)])

    starts = volume.expand(2, SIZE, SIZE, SIZE)
    steps = list(refine_volumes(images, lambda views, t: 0.9 * views, refinement, starts, background=0.0, streams=streams))
    assert [state.step.number for state in steps] == list(range(1, 11))
    assert refinement.steps == 10
    assert all(later.step.number == earlier.step.number + 1 for earlier, later in pairwise(steps))
    assert [state.agreement is not None for state in steps] == [False] * 8 + [True] * 2
    first, second = steps[3].step.volumes, steps[7].step.volumes
    assert not torch.allclose(first, second)
    torch.testing.assert_close(steps[8].step.volumes, (first + second) / 2, rtol=0, atol=1e-4)
    assert steps[-1].agreement is not None
    torch.testing.assert_close(steps[-1].agreement, fourier_shell_correlation(first, second))


def refined(start_weight: float) -> Refined:
    """The end of a short refinement of the blobs."""
    volume = blobs()
    *_, last = refine_volumes(
        project(volume, torch.eye(3)[None]),
        lambda views, t: 0.9 * views,
        Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), None, start_weight),
        volume[None],
        background=0.0,
        streams=lambda descent: Streams(stream(10 + descent), [stream(20 + descent)]),
    )
    return last


def test_start_weight_is_the_share_of_the_start_in_the_volume():
    descended, mixed = refined(0.0), refined(0.25)
    assert not torch.allclose(descended.step.volumes, blobs()[None], atol=1e-2)
    torch.testing.assert_close(mixed.step.volumes, 0.75 * descended.step.volumes + 0.25 * blobs())
    torch.testing.assert_close(mixed.difference, 0.75 * descended.difference)
    torch.testing.assert_close(mixed.agreement, descended.agreement)


def test_start_weight_is_refused_where_a_last_descent_follows():
    with pytest.raises(ValueError, match="last descent"):
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
