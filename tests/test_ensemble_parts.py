"""Parts of the ensemble method: symmetry, find_outliers, the other hand, what left-out images ask for, replicas."""

import math
from itertools import pairwise

import pytest
import torch

from scoretomo.consensus.mixture import separate_classes
from scoretomo.consensus.hard_assignment import average, best_poses, other_hand, assign_hard
from scoretomo.consensus import Consensus
from scoretomo.consensus.soft_assignment import leave_gaps
from scoretomo.consensus import Iteration
from scoretomo.consensus.outliers import find_outliers
from scoretomo.consensus.symmetry import propose, symmetric_start
from scoretomo.consensus.cross_validation import cross_validate
from scoretomo.denoisers.exact import ExactScore
from scoretomo.denoisers.tangent import TangentScore
from scoretomo.fourier import coordinates, fourier_shell_correlation, radius
from scoretomo.images import shift
from scoretomo.matching import Poses, coverage
from scoretomo.projection import project, rotate
from scoretomo.reconstruction.algorithm import Descent, descent_direction
from scoretomo.reconstruction.least_squares import invert, posed_map
from scoretomo.reconstruction.refinement import Refined, Refinement, Streams, refine_volumes
from scoretomo.reconstruction.score_support import score_support, consensus_views
from scoretomo.rotations import angular_distance, point_group, random_rotations, rotation_from_vector

SIZE = 16
MASK = (radius(SIZE, 2) < SIZE / 2).float()


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(group: str = "C1", *, frame: torch.Tensor | None = None, centre: tuple[float, float, float] = (0, 0, 0)) -> torch.Tensor:
    """Gaussian blobs with the symmetry of a group, its axes turned and moved."""
    places = (torch.rand(5, 3, generator=stream(3)) - 0.5) * 0.55 * SIZE
    turns = point_group(group).float()
    copies = torch.einsum("gij,nj->gni", turns, places).flatten(0, 1)
    copies = copies @ (torch.eye(3) if frame is None else frame).T + torch.tensor(centre)
    points = coordinates(SIZE, 3).permute(1, 2, 3, 0)
    return torch.exp(-(points[..., None, :] - copies).square().sum(-1) / (2 * 1.3**2)).sum(-1)


def at(rotations: torch.Tensor, correlations: torch.Tensor | None = None) -> Poses:
    return Poses(rotations, torch.zeros(len(rotations), 2), torch.ones(len(rotations)) if correlations is None else correlations)


def likeness(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean FSC of the shells in which the blobs have power."""
    return float(fourier_shell_correlation(first, second)[1:6].mean())


def test_images_of_a_mixture_choose_what_explains_them_better():
    """The first consensus is made of all of them, the second of some that it explains least."""
    rotations, moved = random_rotations(74, stream()), torch.tensor([[1.2, -0.8]]).expand(74, 2)
    images = shift(torch.cat([project(blobs(), rotations[:50]), project(blobs("D2"), rotations[50:])]), moved) * MASK
    centred = shift(images, -moved)
    volumes = posed_map(centred, rotations), posed_map(centred[64:], rotations[64:])
    contaminated, few = (Consensus(volume, best_poses(volume, images, moved)) for volume in volumes)
    first, second, theirs = separate_classes(images, contaminated, few)
    assert theirs.tolist() == [False] * 50 + [True] * 24
    assert float((first.poses.shifts[:50] - moved[:50]).abs().median()) < 0.5
    assert likeness(contaminated.volume, blobs()) < 0.9 < likeness(first.volume, blobs())
    assert likeness(second.volume, blobs("D2")) > likeness(few.volume, blobs("D2"))


def test_of_a_second_molecule_that_no_image_shows_nothing_is_made_again():
    rotations = random_rotations(26, stream())
    images = project(blobs(), rotations) * MASK
    first = Consensus(blobs(), best_poses(blobs(), images, torch.zeros(26, 2)))
    wrong = Consensus(blobs("D2"), best_poses(blobs("D2"), images, torch.zeros(26, 2)))
    _, second, theirs = separate_classes(images, first, wrong)
    assert not theirs.any()
    torch.testing.assert_close(second.volume, wrong.volume)


def test_few_images_leave_what_soft_matching_has_found():
    """Single poses of six images have gaps: fitted alone they know less than the volume of soft matching, fitted near it more."""
    rotations = random_rotations(6, stream())
    images = project(blobs(), rotations) * MASK
    last = Iteration(blobs() + 0.08 * torch.randn(blobs().shape, generator=stream(5)), torch.zeros(6, 2))
    assert leave_gaps(6, None)
    assert not leave_gaps(6, point_group("D2"))  # 24 slices
    near = assign_hard(images, last, stays=True).volume
    alone, before, after = (likeness(volume, blobs()) for volume in (posed_map(images, rotations), last.volume, near))
    assert alone < before < after


def test_a_symmetric_inversion_needs_fewer_images():
    volume, rotations, group = blobs("D2"), random_rotations(6, stream()), point_group("D2").float()
    images, damping = project(volume, rotations), torch.full((SIZE // 2 + 1,), 0.01)
    plain = invert(images, torch.ones(6), rotations, damping, steps=30)
    imposed = invert(images, torch.ones(6), rotations, damping, group=group, steps=30)
    assert likeness(imposed, volume) > likeness(plain, volume) + 0.1
    for turn in group[1:]:
        assert likeness(rotate(imposed, turn), imposed) > 0.98


def test_a_symmetric_descent_step_is_symmetric_and_as_steep_along_symmetric_volumes():
    turns, frames = point_group("C3").float(), random_rotations(2, stream(1))
    groups = torch.stack([frame @ turns @ frame.mT for frame in frames])
    volumes, images = torch.stack([rotate(blobs("C3"), frame) for frame in frames]), torch.zeros(2, SIZE, SIZE)
    arguments = (volumes, images, lambda views, t: 0.5 * views, random_rotations(4, stream()), 1.0, torch.zeros(2, 3, SIZE, SIZE))
    plain = descent_direction(*arguments, background=0.0).volumes
    found = descent_direction(*arguments, background=0.0, groups=groups).volumes
    for volume, step, expected, group in zip(volumes, found, plain, groups, strict=True):
        assert float((step * volume).sum()) == pytest.approx(float((expected * volume).sum()), rel=1e-3)
        plain_step, step = (each * (radius(SIZE, 3) < SIZE / 2) for each in (expected, step))  # as the descent takes it
        assert likeness(rotate(plain_step, group[1]), plain_step) < 0.8
        assert likeness(rotate(step, group[1]), step) > 0.93


def test_a_symmetry_is_found_with_its_axes():
    frame, centre = rotation_from_vector(torch.tensor([0.4, -0.7, 0.3])), (0.6, -0.4, 0.2)
    proposals = {proposal.name: proposal for proposal in propose(blobs("D2", frame=frame, centre=centre))}
    found = proposals["D2"]
    assert found.agreement > 0.95
    turns = point_group("D2").float()
    seen, true = found.frame @ turns @ found.frame.mT, frame @ turns @ frame.mT
    assert float(angular_distance(seen[:, None], true).amin(1).max()) < 5
    assert torch.allclose(found.centre, torch.tensor(centre), atol=0.2)
    upright = symmetric_start(Consensus(blobs("D2", frame=frame, centre=centre), at(torch.eye(3)[None])), found).volume
    assert all(likeness(rotate(upright, turn), upright) > 0.98 for turn in turns)


def test_the_mean_of_noisy_answers_is_better_than_any_and_has_the_poses_of_its_own_frame():
    rotations, moves = random_rotations(12, stream(1)), torch.tensor([1.5, -1.0]).expand(12, 2)
    images = shift(project(blobs(), rotations), moves) * MASK
    answers = []
    for number in range(4):  # each in a frame of its own
        frame = torch.eye(3) if number == 0 else random_rotations(1, stream(number))[0]
        noise = 0.4 * blobs().std() * torch.randn(blobs().shape, generator=stream(10 + number)) * (radius(SIZE, 3) < SIZE / 2)
        answers.append(Consensus(rotate(blobs() + noise, frame), Poses(rotations @ frame.mT, moves, torch.ones(12))))
    mean = average(images, answers)
    assert likeness(mean.volume, blobs()) > max(
        likeness(rotate(each.volume, frame_of(each, rotations).mT), blobs()) for each in answers
    )
    assert float(angular_distance(mean.poses.rotations, rotations).median()) < 2
    assert float((mean.poses.shifts - moves).abs().median()) < 0.2


def frame_of(answer: Consensus, rotations: torch.Tensor) -> torch.Tensor:
    """How an answer is turned."""
    return answer.poses.rotations[0].mT @ rotations[0]


def test_a_mean_of_symmetric_answers_is_symmetric():
    group, rotations = point_group("C3").float(), random_rotations(8, stream(1))
    images = project(blobs("C3"), rotations) * MASK
    turned = rotate(blobs("C3"), rotation_from_vector(torch.tensor([0.0, 0.0, 0.3])))
    answers = [Consensus(volume, at(rotations)) for volume in (blobs("C3"), turned)]
    mean = average(images, answers, group=group).volume
    assert all(likeness(rotate(mean, turn), mean) > 0.98 for turn in group)


def test_a_sevenfold_barrel_with_twofold_axes_is_found():
    frame = rotation_from_vector(torch.tensor([0.9, 0.2, -0.5]))
    (found,) = propose(blobs("D7", frame=frame), names=("D7",))
    turns = point_group("D7").float()
    seen, true = found.frame @ turns @ found.frame.mT, frame @ turns @ frame.mT
    assert float(angular_distance(seen[:, None], true).amin(1).max()) < 5


@pytest.mark.parametrize("count", [2, 3])
def test_few_images_are_enough_to_be_asked(count):
    rotations = random_rotations(count, stream())
    images = project(blobs(), rotations) * MASK
    true, wrong = (cross_validate(images, at(poses)).doubt for poses in (rotations, random_rotations(count, stream(9))))
    assert 0 < true < wrong
    asked = score_support(images, rotations, lambda known: TangentScore(known, 0.0, MASK), 0.0, MASK, stream())
    assert asked.takes_views
    assert not asked.asked


def test_no_symmetry_is_found_where_there_is_none():
    assert propose(blobs()) == []


@pytest.mark.parametrize(("group", "better"), [("D2", True), ("C1", False)])
def test_left_out_images_know_a_true_symmetry_from_a_wrong_one(group, better):
    volume, rotations = blobs(group), random_rotations(20, stream())
    images = project(volume, rotations)
    images = images + 0.1 * images.std() * torch.randn(images.shape, generator=stream(1))
    last = Iteration(volume, torch.zeros(20, 2))
    plain = assign_hard(images, last, stays=True)
    imposed = assign_hard(images, last, stays=False, group=point_group("D2").float())
    without, within = cross_validate(images, plain.poses), cross_validate(images, imposed.poses, group=point_group("D2").float())
    assert (within.doubt < without.doubt) == better
    assert (float(within.rings[1:].mean()) > float(without.rings[1:].mean())) == better
    assert coverage(plain.poses) > 0.95


def test_only_images_unlike_all_views_are_outliers():
    spread = 0.99 - 0.02 * torch.rand(40, generator=stream()).square()
    assert not find_outliers(at(torch.eye(3).expand(40, 3, 3), spread)).any()
    spread[7] = 0.6
    assert find_outliers(at(torch.eye(3).expand(40, 3, 3), spread)).nonzero().tolist() == [[7]]


def test_a_well_explained_image_is_no_outlier_however_well_others_are():
    values = torch.full((16,), 0.999) - 1e-4 * torch.rand(16, generator=stream())
    values[3] = 0.98
    assert not find_outliers(at(torch.eye(3).expand(16, 3, 3), values)).any()


def test_the_other_hand_has_the_same_views():
    volume, rotations = blobs() * (radius(SIZE, 3) < SIZE / 2 - 1), random_rotations(5, stream())
    flipped = other_hand(Consensus(volume, at(rotations)))
    torch.testing.assert_close(project(flipped.volume, flipped.poses.rotations), project(volume, rotations), rtol=0, atol=2e-3)
    assert likeness(flipped.volume, volume) < 0.9
    torch.testing.assert_close(torch.linalg.det(flipped.poses.rotations), torch.ones(5))


def spinning(count: int, turn: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of a molecule with an arm that turns by up to an angle; images and poses."""
    rotations, amounts = random_rotations(count, stream(5)), torch.rand(count, generator=stream(6)) * turn
    points = coordinates(SIZE, 3).permute(1, 2, 3, 0)
    images = []
    for rotation, amount in zip(rotations, amounts.tolist(), strict=True):
        arm = torch.tensor([5 * math.cos(amount), 5 * math.sin(amount), 0.0])
        centres = torch.stack([torch.zeros(3), torch.tensor([0, 0, 5.0]), arm, 0.6 * arm, torch.tensor([-3.0, 2, -3])])
        volume = torch.exp(-(points[..., None, :] - centres).square().sum(-1) / (2 * 1.2**2)).sum(-1)
        images.append(project(volume, rotation[None])[0] * MASK)
    stack = torch.stack(images)
    return stack / stack.std(), rotations


def test_few_images_of_a_rigid_molecule_ask_for_views_of_the_consensus_and_many_of_a_moving_one_do_not():
    few, poses = spinning(12, 0.0)
    rigid = score_support(few, poses, lambda known: ExactScore(known, 0.0, MASK), 0.0, MASK, stream())
    assert rigid.takes_views
    assert rigid.with_views < 0.8 * rigid.images
    many, poses = spinning(300, 2 * math.pi)
    moving = score_support(many, poses, lambda known: ExactScore(known, 0.0, MASK), 0.0, MASK, stream())
    assert moving.with_views > 0.9 * moving.images


def test_views_of_a_model_look_like_images_only_where_it_has_learned_how_the_molecule_moves():
    images, poses = spinning(300, 2 * math.pi)
    known, unseen, poses = images[:240], images[240:], poses[:240]
    smeared = consensus_views(posed_map(known, poses), 0.0, MASK)
    verdicts = [
        score_support(known, poses, lambda views: TangentScore(views, 0.0, MASK), 0.0, MASK, stream(), modelled=views)
        for views in (unseen, smeared)
    ]
    assert [verdict.look_alike for verdict in verdicts] == [True, False]


def test_views_of_the_consensus_are_normalised_like_images():
    views = consensus_views(blobs(), -0.3, MASK)
    assert views.shape == (6 * SIZE, SIZE, SIZE)
    assert bool((views[:, MASK == 0] == -0.3).all())
    images = project(blobs(), random_rotations(100, stream())) * MASK
    for power in (1, 2):  # as bright as images, and as sharp
        torch.testing.assert_close(
            (views + 0.3).pow(power).sum((1, 2)).mean(), images.pow(power).sum((1, 2)).mean(), rtol=0.03, atol=0
        )


def test_a_posed_map_has_the_images_as_its_views():
    volume, rotations = blobs(), random_rotations(60, stream())
    found = posed_map(project(volume, rotations), rotations)
    assert likeness(found, volume) > 0.95


def test_replicas_differ_and_the_last_descent_begins_at_their_mean():
    volume = blobs()
    images = project(volume, torch.eye(3)[None]).repeat(2, 1, 1)
    refinement = Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), Descent(2, (0.5, 0.5), (3, 3), rate=1e-6))

    def streams(descent: int) -> Streams:
        return Streams(stream(10 + descent), [stream(20 + descent), stream(30 + descent)])

    starts = volume.expand(2, SIZE, SIZE, SIZE)
    seen = list(refine_volumes(images, lambda views, t: 0.9 * views, refinement, starts, background=0.0, streams=streams))
    assert [state.step.number for state in seen] == list(range(1, 11))
    assert refinement.steps == 10
    assert all(later.step.number == earlier.step.number + 1 for earlier, later in pairwise(seen))
    assert [state.agreement is not None for state in seen] == [False] * 8 + [True] * 2
    first, second = seen[3].step.volumes, seen[7].step.volumes
    assert not torch.allclose(first, second)
    torch.testing.assert_close(seen[8].step.volumes, (first + second) / 2, rtol=0, atol=1e-4)
    assert seen[-1].agreement is not None
    torch.testing.assert_close(seen[-1].agreement, fourier_shell_correlation(first, second))


def test_a_share_of_the_start_stays_in_the_volume_and_chance_has_the_rest():
    volume = blobs()
    images = project(volume, torch.eye(3)[None])

    def last_of(kept: float) -> Refined:
        refinement = Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), None, kept)
        *_, last = refine_volumes(
            images,
            lambda views, t: 0.9 * views,
            refinement,
            volume[None],
            background=0.0,
            streams=lambda descent: Streams(stream(10 + descent), [stream(20 + descent)]),
        )
        return last

    descended, mixed = last_of(0.0), last_of(0.25)
    assert not torch.allclose(descended.step.volumes, volume[None], atol=1e-2)
    torch.testing.assert_close(mixed.step.volumes, 0.75 * descended.step.volumes + 0.25 * volume)
    torch.testing.assert_close(mixed.difference, 0.75 * descended.difference)
    torch.testing.assert_close(mixed.agreement, descended.agreement)


def test_nothing_is_kept_where_a_last_descent_follows():
    with pytest.raises(ValueError, match="last descent"):
        Refinement(2, Descent(4, (1.0, 0.5), (3, 3)), Descent(2, (0.5, 0.5), (3, 3)), 0.5)


def test_a_refinement_in_fewer_steps_keeps_its_proportions():
    refinement = Refinement(2, Descent(200, (1.0, 0.3), (8, 8)), Descent(100, (0.3, 0.2), (8, 8)))
    shorter = refinement.in_steps(50)
    assert (shorter.each.steps, shorter.last.steps, shorter.steps) == (20, 10, 50)
    assert refinement.in_steps(1).steps == 3


def test_larger_images_are_refined_in_more_steps():
    refinement = Refinement(2, Descent(30, (0.2, 0.05), (8, 8)), None)
    assert refinement.at_side(64).steps == 2 * refinement.steps
    assert refinement.at_side(24) == refinement.at_side(32) == refinement
