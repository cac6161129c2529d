"""The support of the score: whether held-out images are denoised better with views of the consensus volume."""

import math

import pytest
import torch
from molecules import MASK, SIZE, blobs, gaussians, stream

from scoretomo.denoisers.exact import ExactScore
from scoretomo.denoisers.tangent import TangentScore
from scoretomo.projection import project
from scoretomo.reconstruction.least_squares import posed_map
from scoretomo.reconstruction.score_support import SUPPORT, ScoreSupport, consensus_views, score_support
from scoretomo.rotations import random_rotations


def exact(images: torch.Tensor) -> ExactScore:
    return ExactScore(images, 0.0, MASK)


def tangent(images: torch.Tensor) -> TangentScore:
    return TangentScore(images, 0.0, MASK)


def turning(count: int, most: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of a molecule with an arm that turns by an angle up to the most; images and rotations."""
    rotations, amounts = random_rotations(count, stream(5)), torch.rand(count, generator=stream(6)) * most
    images = []
    for rotation, amount in zip(rotations, amounts.tolist(), strict=True):
        x, y = 5 * math.cos(amount), 5 * math.sin(amount)
        volume = gaussians((0, 0, 0), (0, 0, 5), (x, y, 0), (0.6 * x, 0.6 * y, 0), (-3, 2, -3))
        images.append(project(volume, rotation[None])[0] * MASK)
    stack = torch.stack(images)
    return stack / stack.std(), rotations


def test_support_of_few_images_of_a_rigid_molecule_includes_views_of_the_consensus():
    support = score_support(*turning(12, 0.0), exact, 0.0, MASK, stream())
    assert support.includes_views
    assert support.held_out_error_with_views < 0.8 * support.held_out_error


def test_support_of_many_images_of_a_flexible_molecule_gains_little_from_views_of_the_consensus():
    support = score_support(*turning(150, 2 * math.pi), exact, 0.0, MASK, stream())
    assert support.held_out_error_with_views > 0.9 * support.held_out_error


@pytest.mark.parametrize("count", [2, 3])
def test_support_of_too_few_images_for_a_test_includes_views(count):
    rotations = random_rotations(count, stream())
    support = score_support(project(blobs(), rotations) * MASK, rotations, tangent, 0.0, MASK, stream())
    assert support.includes_views
    assert not support.tested


@pytest.mark.slow
def test_views_of_a_model_are_near_images_only_where_it_has_the_conformations():
    images, rotations = turning(300, 2 * math.pi)
    images, unseen, rotations = images[:240], images[240:], rotations[:240]
    smeared = consensus_views(posed_map(images, rotations), 0.0, MASK)
    supports = [
        score_support(images, rotations, tangent, 0.0, MASK, stream(), model_views=views) for views in (unseen, smeared)
    ]
    assert [support.model_is_near for support in supports] == [True, False]


def test_views_of_the_consensus_are_normalised_like_images():
    views = consensus_views(blobs(), -0.3, MASK)
    assert views.shape == (6 * SIZE, SIZE, SIZE)
    assert bool((views[:, MASK == 0] == -0.3).all())
    images = project(blobs(), random_rotations(100, stream())) * MASK
    for power in (1, 2):  # as bright as images, and as sharp
        expected = images.pow(power).sum((1, 2)).mean()
        torch.testing.assert_close((views + 0.3).pow(power).sum((1, 2)).mean(), expected, rtol=0.03, atol=0)


@pytest.mark.parametrize(("share", "includes"), [(0.999, True), (1.001, False)])
def test_views_are_included_if_they_leave_less_than_the_ratio_of_the_error(share, includes):
    support = ScoreSupport(1.0, share * SUPPORT.ratio, 0.1, 1.0)
    assert support.tested
    assert support.includes_views is includes


@pytest.mark.parametrize(("share", "near"), [(0.999, True), (1.001, False)])
def test_model_is_near_if_its_views_change_less_than_so_many_times_as_much_as_images(share, near):
    assert ScoreSupport(1.0, 1.0, 0.1, share * SUPPORT.near * 0.1).model_is_near is near
