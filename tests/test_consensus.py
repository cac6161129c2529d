"""The consensus volume: assignment, random starts, mixtures, outliers, symmetry, hand, cross-validation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import MASK, SIZE, blobs, likeness, poses_at, stream

from scoretomo.alignment import align, place
from scoretomo.consensus import Consensus, Iteration
from scoretomo.consensus.cross_validation import ASSIGNMENT, compare_assignments, cross_validate
from scoretomo.consensus.hard_assignment import assign_hard, average, best_poses, other_hand
from scoretomo.consensus.mixture import MIXTURE, separate_classes, shows_second_molecule, suspects
from scoretomo.consensus.outliers import OUTLIERS, find_outliers
from scoretomo.consensus.soft_assignment import Annealing, assign_softly, leave_gaps, random_blob
from scoretomo.consensus.starts import STARTS, agreements, best_start, starts_to_average
from scoretomo.consensus.symmetry import propose, symmetric_start
from scoretomo.fourier import coordinates, fourier_shell_correlation, radius
from scoretomo.images import shift
from scoretomo.matching import Matcher, Poses, directions, mean_correlation, refine
from scoretomo.projection import project, rotate
from scoretomo.reconstruction.least_squares import posed_map
from scoretomo.rotations import angular_distance, point_group, random_rotations, rotation_from_vector


def asymmetric(size: int) -> torch.Tensor:
    """A volume of Gaussian blobs without any symmetry."""
    centres = (torch.rand(14, 3, generator=stream(3)) - 0.5) * 0.55 * size
    points = coordinates(size, 3).permute(1, 2, 3, 0)
    return torch.exp(-(points[..., None, :] - centres).square().sum(-1) / (2 * (0.08 * size) ** 2)).sum(-1)


# ---------------------------------------------------------------- soft and hard assignment


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_soft_assignment_solves_an_asymmetric_particle_from_a_random_blob(seed):
    volume = asymmetric(16)
    images = project(volume, random_rotations(80, stream()))
    matcher, generator = Matcher(images), stream(seed)
    annealing = Annealing(iterations=30, directions=120, tau=(0.03, 0.002), shells=(0.4, 1.0))
    *_, last = assign_softly(images, random_blob(images, generator), annealing, generator)
    poses = refine(last.volume, images, matcher.match(last.volume, directions(250)))
    assert mean_correlation(poses) > 0.99
    found = align(last.volume, volume)
    assert float(fourier_shell_correlation(place(last.volume, found), volume)[1:5].mean()) > 0.98


@pytest.mark.parametrize(
    ("images", "group", "gaps"), [(23, None, True), (24, None, False), (5, "D2", True), (6, "D2", False)]
)
def test_images_times_symmetry_leave_gaps_below_24_slices(images, group, gaps):
    assert leave_gaps(images, None if group is None else point_group(group)) is gaps


@pytest.mark.slow
def test_hard_assignment_of_few_images_improves_the_volume_of_soft_assignment():
    """Six slices leave gaps: a map of them alone is worse than the soft volume, one that stays near it is better."""
    rotations = random_rotations(6, stream())
    images = project(blobs(), rotations) * MASK
    last = Iteration(blobs() + 0.08 * torch.randn(blobs().shape, generator=stream(5)), torch.zeros(6, 2))
    near = assign_hard(images, last, keep_near=True).volume
    alone, before, after = (likeness(volume, blobs()) for volume in (posed_map(images, rotations), last.volume, near))
    assert alone < before < after


# ---------------------------------------------------------------- random starts


def test_best_start_has_the_highest_mean_correlation():
    turns = torch.eye(3).expand(3, 3, 3)
    values = ([0.9, 0.9, 0.9], [0.99, 0.7, 0.99], [0.92, 0.9, 0.9])
    starts = [Consensus(blobs(), poses_at(turns, torch.tensor(value))) for value in values]
    assert best_start(starts) == 2


@pytest.mark.slow
def test_starts_agree_up_to_a_turn_and_not_with_another_volume():
    turns = torch.eye(3).expand(3, 3, 3)
    turned = rotate(blobs(), rotation_from_vector(torch.tensor([0.5, -0.3, 0.8])))
    starts = [Consensus(volume, poses_at(turns)) for volume in (blobs(), turned, blobs("D2"))]
    fsc = agreements(starts, 0)
    assert fsc[0] == 1.0
    assert fsc[1] > STARTS.same_volume > fsc[2]


@pytest.mark.parametrize(
    ("fsc", "averaged"),
    [
        ([1.0, STARTS.alike, 0.95], [0, 1, 2]),  # alike, and not all sure
        ([1.0, STARTS.alike - 1e-4, 0.89], [0, 2]),
        ([1.0, STARTS.sure, 0.95], [0]),  # all agree: the best alone
        ([1.0, STARTS.sure - 1e-4, 0.95], [0, 1, 2]),
        ([1.0, 0.1, 0.2], [0]),  # none is like it
    ],
)
def test_starts_that_are_alike_are_averaged_unless_all_of_them_are_the_same(fsc, averaged):
    assert starts_to_average(fsc, 0) == averaged


@pytest.mark.slow
def test_mean_of_noisy_starts_is_better_than_any_and_has_poses_in_its_own_frame():
    rotations, shifts = random_rotations(12, stream(1)), torch.tensor([1.5, -1.0]).expand(12, 2)
    images = shift(project(blobs(), rotations), shifts) * MASK
    starts = []
    for number in range(4):  # each in a frame of its own
        frame = torch.eye(3) if number == 0 else random_rotations(1, stream(number))[0]
        noise = (
            0.4
            * blobs().std()
            * torch.randn(blobs().shape, generator=stream(10 + number))
            * (radius(SIZE, 3) < SIZE / 2)
        )
        starts.append(Consensus(rotate(blobs() + noise, frame), Poses(rotations @ frame.mT, shifts, torch.ones(12))))
    mean = average(images, starts)
    single = [likeness(rotate(each.volume, frame_of(each, rotations).mT), blobs()) for each in starts]
    assert likeness(mean.volume, blobs()) > max(single)
    assert float(angular_distance(mean.poses.rotations, rotations).median()) < 2
    assert float((mean.poses.shifts - shifts).abs().median()) < 0.2


def frame_of(start: Consensus, rotations: torch.Tensor) -> torch.Tensor:
    """How a start is turned."""
    return start.poses.rotations[0].mT @ rotations[0]


@pytest.mark.slow
def test_mean_of_symmetric_starts_is_symmetric():
    group, rotations = point_group("C3").float(), random_rotations(8, stream(1))
    images = project(blobs("C3"), rotations) * MASK
    turned = rotate(blobs("C3"), rotation_from_vector(torch.tensor([0.0, 0.0, 0.3])))
    mean = average(
        images, [Consensus(volume, poses_at(rotations)) for volume in (blobs("C3"), turned)], group=group
    ).volume
    assert all(likeness(rotate(mean, turn), mean) > 0.98 for turn in group)


# ---------------------------------------------------------------- mixtures and outliers


@pytest.mark.slow
def test_images_of_a_mixture_are_assigned_to_the_consensus_that_explains_them_better():
    """The first consensus is made of all of them, the second of some that it explains least."""
    rotations, moved = random_rotations(74, stream()), torch.tensor([[1.2, -0.8]]).expand(74, 2)
    images = shift(torch.cat([project(blobs(), rotations[:50]), project(blobs("D2"), rotations[50:])]), moved) * MASK
    centred = shift(images, -moved)
    volumes = posed_map(centred, rotations), posed_map(centred[64:], rotations[64:])
    contaminated, few = (Consensus(volume, best_poses(volume, images, moved)) for volume in volumes)
    first, second, in_second = separate_classes(images, contaminated, few, criteria=replace(MIXTURE, rounds=2))
    assert in_second.tolist() == [False] * 50 + [True] * 24
    assert float((first.poses.shifts[:50] - moved[:50]).abs().median()) < 0.5
    assert likeness(contaminated.volume, blobs()) < 0.9 < likeness(first.volume, blobs())
    assert likeness(second.volume, blobs("D2")) > likeness(few.volume, blobs("D2"))


@pytest.mark.slow
def test_second_consensus_that_no_image_shows_stays_as_it_is():
    rotations = random_rotations(26, stream())
    images = project(blobs(), rotations) * MASK
    first = Consensus(blobs(), best_poses(blobs(), images, torch.zeros(26, 2)))
    wrong = Consensus(blobs("D2"), best_poses(blobs("D2"), images, torch.zeros(26, 2)))
    _, second, in_second = separate_classes(images, first, wrong, criteria=replace(MIXTURE, rounds=1))
    assert not in_second.any()
    torch.testing.assert_close(second.volume, wrong.volume)


@pytest.mark.parametrize(("times", "suspect"), [(MIXTURE.suspect - 0.01, 0), (MIXTURE.suspect + 0.01, MIXTURE.fewest)])
def test_images_may_show_a_second_molecule_from_so_many_times_the_median_residual(times, suspect):
    correlations = 1 - torch.cat([torch.full((30,), 0.1), torch.full((MIXTURE.fewest,), 0.1 * times)])
    assert suspects(correlations).tolist() == list(range(30, 30 + suspect))


def test_fewer_suspects_than_needed_are_none():
    correlations = 1 - torch.cat([torch.full((30,), 0.01), torch.full((MIXTURE.fewest - 1,), 0.1)])
    assert len(suspects(correlations)) == 0
    assert len(suspects(correlations, replace(MIXTURE, fewest=MIXTURE.fewest - 1))) == MIXTURE.fewest - 1


@pytest.mark.parametrize(
    ("ratio", "explained", "shows"),
    [
        (MIXTURE.held_out_ratio - 1e-3, MIXTURE.fewest, True),
        (MIXTURE.held_out_ratio + 1e-3, MIXTURE.fewest, False),
        (MIXTURE.held_out_ratio - 1e-3, MIXTURE.fewest - 1, False),
    ],
)
def test_second_molecule_is_shown_by_held_out_images_and_by_enough_of_them(ratio, explained, shows):
    assert shows_second_molecule(0.2 * ratio, 0.2, explained) is shows


def test_only_images_unlike_all_views_are_outliers():
    turns = torch.eye(3).expand(40, 3, 3)
    correlations = 0.99 - 0.02 * torch.rand(40, generator=stream()).square()
    assert not find_outliers(poses_at(turns, correlations)).any()
    correlations[7] = 0.6
    assert find_outliers(poses_at(turns, correlations)).nonzero().tolist() == [[7]]


@pytest.mark.parametrize(
    ("deviations", "outlier"), [(OUTLIERS.deviations - 0.05, False), (OUTLIERS.deviations + 0.05, True)]
)
def test_outlier_is_so_many_robust_deviations_below_the_median(deviations, outlier):
    """Fisher's z has the median 1 and a median absolute deviation of 0.05: a robust standard deviation of 0.074."""
    others = [0.9, 0.95, 0.95, 1.0, 1.0, 1.0, 1.05, 1.05, 1.05, 1.1]
    z = torch.tensor([*others, 1 - deviations * 1.4826 * 0.05], dtype=torch.float64)
    found = find_outliers(poses_at(torch.eye(3).expand(len(z), 3, 3), z.tanh()))
    assert found.tolist() == [False] * len(others) + [outlier]


def test_well_explained_image_is_no_outlier_however_well_others_are_explained():
    correlations = torch.full((16,), 0.999) - 1e-4 * torch.rand(16, generator=stream())
    correlations[3] = OUTLIERS.explained + 0.01
    assert not find_outliers(poses_at(torch.eye(3).expand(16, 3, 3), correlations)).any()
    correlations[3] = OUTLIERS.explained - 0.01
    assert find_outliers(poses_at(torch.eye(3).expand(16, 3, 3), correlations)).nonzero().tolist() == [[3]]


# ---------------------------------------------------------------- symmetry and hand


@pytest.mark.slow
def test_symmetry_is_found_with_its_axes():
    frame, centre = rotation_from_vector(torch.tensor([0.4, -0.7, 0.3])), (0.6, -0.4, 0.2)
    proposals = {
        proposal.name: proposal
        for proposal in propose(blobs("D2", frame=frame, centre=centre), names=("C3", "C4", "D2", "D4"))
    }
    found = proposals["D2"]
    assert found.agreement > 0.95
    turns = point_group("D2").float()
    turned, true = found.frame @ turns @ found.frame.mT, frame @ turns @ frame.mT
    assert float(angular_distance(turned[:, None], true).amin(1).max()) < 5
    assert torch.allclose(found.centre, torch.tensor(centre), atol=0.2)
    upright = symmetric_start(
        Consensus(blobs("D2", frame=frame, centre=centre), poses_at(torch.eye(3)[None])), found
    ).volume
    assert all(likeness(rotate(upright, turn), upright) > 0.98 for turn in turns)


@pytest.mark.slow
def test_sevenfold_barrel_with_twofold_axes_is_found():
    frame = rotation_from_vector(torch.tensor([0.9, 0.2, -0.5]))
    (found,) = propose(blobs("D7", frame=frame), names=("D7",))
    turns = point_group("D7").float()
    turned, true = found.frame @ turns @ found.frame.mT, frame @ turns @ frame.mT
    assert float(angular_distance(turned[:, None], true).amin(1).max()) < 5


@pytest.mark.slow
def test_no_symmetry_is_found_where_there_is_none():
    assert propose(blobs(), names=("C2", "C3", "D2")) == []


def test_other_hand_has_the_same_views():
    volume, rotations = blobs() * (radius(SIZE, 3) < SIZE / 2 - 1), random_rotations(5, stream())
    flipped = other_hand(Consensus(volume, poses_at(rotations)))
    torch.testing.assert_close(
        project(flipped.volume, flipped.poses.rotations), project(volume, rotations), rtol=0, atol=2e-3
    )
    assert likeness(flipped.volume, volume) < 0.9
    torch.testing.assert_close(torch.linalg.det(flipped.poses.rotations), torch.ones(5))


# ---------------------------------------------------------------- cross-validation


@pytest.mark.parametrize("count", [2, 3])
def test_few_images_are_enough_for_cross_validation(count):
    rotations = random_rotations(count, stream())
    images = project(blobs(), rotations) * MASK
    turns = rotations, random_rotations(count, stream(9))
    true, wrong = (cross_validate(images, poses_at(each)).residual for each in turns)
    assert 0 < true < wrong


@pytest.mark.parametrize(("group", "better"), [("D2", True), ("C1", False)])
def test_held_out_images_are_explained_better_by_a_true_symmetry_and_worse_by_a_wrong_one(group, better):
    volume, rotations, imposed = blobs(group), random_rotations(20, stream()), point_group("D2").float()
    images = project(volume, rotations)
    images = images + 0.1 * images.std() * torch.randn(images.shape, generator=stream(1))
    last = Iteration(volume, torch.zeros(20, 2))
    plain = assign_hard(images, last, keep_near=True)
    symmetric = assign_hard(images, last, keep_near=False, group=imposed)
    without, within = cross_validate(images, plain.poses), cross_validate(images, symmetric.poses, group=imposed)
    assert (within.residual < without.residual) == better
    assert (float(within.rings[1:].mean()) > float(without.rings[1:].mean())) == better
    assert mean_correlation(plain.poses) > 0.95


def residuals(mean: float, standard_errors: float) -> tuple[np.ndarray, np.ndarray]:
    """Hard residuals of 1, and soft ones of a mean that is better by so many standard errors."""
    hard, better = np.ones(100), 1 - mean
    spread = (
        better * 10 / standard_errors * np.sqrt(99 / 100)
    )  # of ±, with the standard error spread / 10 · √(100 / 99)
    return hard, mean + spread * np.where(np.arange(100) % 2, 1, -1)


@pytest.mark.parametrize(
    ("mean", "standard_errors", "soft"),
    [
        (ASSIGNMENT.ratio - 0.001, ASSIGNMENT.standard_errors + 0.1, True),
        (ASSIGNMENT.ratio + 0.001, ASSIGNMENT.standard_errors + 0.1, False),
        (ASSIGNMENT.ratio - 0.001, ASSIGNMENT.standard_errors - 0.1, False),
    ],
)
def test_soft_assignment_is_taken_where_it_is_better_by_the_ratio_and_by_standard_errors(mean, standard_errors, soft):
    found = compare_assignments(*residuals(mean, standard_errors))
    assert found.hard_residual == pytest.approx(1)
    assert found.soft_residual == pytest.approx(mean)
    assert found.standard_errors == pytest.approx(standard_errors, rel=1e-6)
    assert found.soft is soft
