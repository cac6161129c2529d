"""Heterogeneity of many volumes: components beside the noise floor, the number of modes, trajectories, states."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from runs import ball

from scoretomo.fourier import coordinates
from scoretomo.landscape import (
    Components,
    States,
    confirmed_modes,
    count_independent_modes,
    count_modes,
    find_states,
    mode_coordinates,
    motion_extent,
    observability,
    path_along_mode,
    path_between_states,
    principal_components,
    soft_mask,
    umap_embedding,
    variability_map,
)
from scoretomo.rotations import random_rotations

SIZE = 14
COUNT = 160


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(places: torch.Tensor, body: torch.Tensor | float = 0.0) -> torch.Tensor:
    """A body in the middle, or at x of its own, and two blobs at places (n, 2, 3), as volumes (n, d, d, d)."""
    points = coordinates(SIZE, 3).permute(1, 2, 3, 0)
    arms = torch.exp(-(points[None, None] - places[:, :, None, None, None]).square().sum(-1) / 4).sum(1)
    middle = torch.zeros(len(places), 3)
    middle[:, 0] = body
    return arms + torch.exp(-(points[None] - middle[:, None, None, None]).square().sum(-1) / 8)


def turning(parts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two arms, of which so many turn by half a circle, each by an angle of its own; volumes and angles (n, 2)."""
    angles = torch.rand(COUNT, 2, generator=stream(0)) * torch.pi
    shown = torch.where(torch.arange(2) < parts, angles, 0)
    heights = torch.tensor([3.0, -3.0]).expand(COUNT, 2)
    return blobs(torch.stack([3.5 * shown.cos(), 3.5 * shown.sin(), heights], 2)), angles


def noisy(volumes: torch.Tensor, strength: float = 0.02) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of two replicates, and half their differences."""
    first, second = (volumes + strength * torch.randn(volumes.shape, generator=stream(seed)) for seed in (1, 2))
    return (first + second) / 2, (first - second) / 2


@pytest.mark.parametrize("modes", [0, 1, 2])
def test_as_many_modes_are_counted_as_parts_move(modes):
    volumes, differences = noisy(turning(modes)[0])
    assert count_modes(principal_components(volumes, differences, soft_mask(volumes))) == modes


def test_variance_of_the_noise_floor_is_no_significant_component():
    volumes, differences = noisy(turning(0)[0])
    found = principal_components(volumes, differences, soft_mask(volumes))
    assert found.significant == 0
    np.testing.assert_allclose(found.variances, found.noise_floor, rtol=0.25)


def test_coordinate_of_a_bent_mode_is_its_angle():
    volumes, angles = turning(1)
    found = principal_components(*noisy(volumes), soft_mask(volumes))
    assert found.significant > 1  # half a circle is no straight line
    (place,) = mode_coordinates(found, 1).T
    assert ranked_alike(place, angles[:, 0]) > 0.99


def cloud(places: np.ndarray) -> Components:
    """Components of volumes at these places, without noise."""
    count = places.shape[1]
    variances = places.var(0)
    return Components(
        torch.zeros(1, 1, 1), torch.zeros(count, 1, 1, 1), places, variances, 0 * variances, float(variances.sum())
    )


def test_noise_does_not_make_several_modes_of_one():
    draw = np.random.default_rng(0)
    along = draw.uniform(-20, 20, 200)
    noise = draw.normal(size=(200, 8))
    places = np.column_stack([along, 0.02 * along**2, np.zeros((200, 6))]) + noise
    found = cloud(places)._replace(noise_floor=np.ones(8))
    assert count_modes(found) == 1
    assert count_modes(found._replace(noise_floor=np.zeros(8))) > 1  # the noise floor decides


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_points_of_a_k_dimensional_normal_distribution_have_k_modes(count):
    places = np.random.default_rng(count).normal(size=(600, count)) @ np.random.default_rng(0).normal(size=(count, 8))
    assert count_modes(cloud(places)) == count


def test_straight_modes_are_separated():
    amounts = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    turned = amounts @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    modes = mode_coordinates(cloud(turned), 2)
    alike = np.array([[ranked_alike(mode, torch.from_numpy(amount)) for amount in amounts.T] for mode in modes.T])
    assert sorted(alike.argmax(1)) == [0, 1]
    assert alike.max(1).min() > 0.97


def test_modes_that_held_out_images_confirm_are_kept_of_too_many():
    true, false = torch.randn(60, 2, generator=stream(0)).numpy(), torch.randn(60, 1, generator=stream(1)).numpy()
    amplitudes = true @ np.array([[1.0, 0.4], [-0.3, 2.0]]) + 0.1 * torch.randn(60, 2, generator=stream(2)).numpy()
    coordinates = np.column_stack([true[:, 0], false, true[:, 1]])
    np.testing.assert_array_equal(confirmed_modes(coordinates, amplitudes, 2), true)
    np.testing.assert_array_equal(confirmed_modes(true, amplitudes, 2), true)
    np.testing.assert_array_equal(confirmed_modes(true[:, :1], amplitudes, 2), true[:, :1])
    np.testing.assert_array_equal(confirmed_modes(true, amplitudes[:, :1], 1), true[:, :1])


def test_motion_along_a_bent_path_has_several_amplitudes_and_is_one_mode() -> None:
    generator = np.random.default_rng(3)
    angles, other = generator.uniform(0, 2.5, 200), generator.uniform(-1, 1, 200)
    bent = np.column_stack([np.cos(angles), np.sin(angles)])
    assert count_independent_modes(bent) == 1
    assert count_independent_modes(np.column_stack([bent, other])) == 2
    assert count_independent_modes(generator.uniform(-1, 1, (200, 3))) == 3
    assert count_independent_modes(other[:, None]) == 1
    assert count_independent_modes(bent[:2]) == 2  # too few images to measure a dimension


def test_no_mode_has_no_coordinates():
    volumes, _ = turning(1)
    assert mode_coordinates(principal_components(*noisy(volumes), soft_mask(volumes)), 0).shape == (COUNT, 0)


def ranked_alike(first: np.ndarray, second: torch.Tensor) -> float:
    """Spearman's correlation, without its sign."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second.numpy())]
    return abs(float(np.corrcoef(*ranks)[0, 1]))


def test_parts_that_move_independently_have_modes_of_their_own():
    volumes, angles = turning(2)
    modes = mode_coordinates(principal_components(*noisy(volumes), soft_mask(volumes)), 2)
    alike = np.array([[ranked_alike(mode, angle) for angle in angles.T] for mode in modes.T])
    assert sorted(alike.argmax(1)) == [0, 1]
    assert alike.max(1).min() > 0.9


def test_volumes_are_their_mean_and_components():
    volumes = turning(1)[0][:10]
    mask = torch.ones(SIZE, SIZE, SIZE)
    found = principal_components(volumes, torch.zeros_like(volumes), mask)
    assert found.coordinates.shape == (10, 9)
    back = found.mean + torch.einsum("nk,kzyx->nzyx", torch.from_numpy(found.coordinates).float(), found.maps)
    torch.testing.assert_close(back, volumes, atol=1e-4, rtol=0)
    assert found.total == pytest.approx(float((volumes - volumes.mean(0)).square().sum() / 9), rel=1e-4)


def test_variability_map_is_bright_where_parts_move_and_nowhere_else():
    volumes, differences = noisy(turning(1)[0])
    spread = variability_map(volumes, differences)
    points = coordinates(SIZE, 3)
    assert float(spread[points[2] > 1].max()) > 5 * float(spread[points[2] < -1].max())


def test_mask_holds_all_places_of_a_part_that_moves_and_not_the_corners():
    volumes, _ = turning(2)
    mask = soft_mask(volumes)
    bright = volumes.amax(0) > 0.5
    assert float(mask[bright].min()) == 1
    assert float(mask[0, 0, 0]) == 0


def test_frames_of_a_trajectory_are_means_of_volumes_along_it():
    along = np.linspace(-1, 1, 41)[:, None]
    path = path_along_mode(along, 0, 5)
    np.testing.assert_allclose(path.weights.sum(1), 1)
    np.testing.assert_allclose(path.weights @ along, path.places, atol=0.03)
    assert path.places[0] < path.places[-1]


def test_trajectory_along_a_mode_has_the_other_modes_at_their_middle():
    places = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    path = path_along_mode(places, 0, 7)
    assert np.abs(path.weights @ places[:, 1]).max() < 0.1


def test_states_are_groups_with_a_representative():
    ends = torch.tensor([[3.5, 0.0, 3.0], [0.0, 3.5, 3.0], [-3.5, 0.0, 3.0]])
    which = torch.tensor([0] * 8 + [1] * 5 + [2] * 3)
    volumes, differences = noisy(blobs(torch.stack([ends[which], -ends[which]], 1)))
    found = find_states(principal_components(volumes, differences, soft_mask(volumes)), 3)
    assert found.members.tolist() == which.tolist()  # the largest first
    assert [int(which[place]) for place in found.representatives] == [0, 1, 2]


def test_one_volume_far_from_all_others_is_no_state():
    places = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), [[30.0, 0.0]]])
    found = find_states(cloud(places), 2)
    assert len(found.representatives) == 1
    assert set(found.members) == {0}


def test_path_between_states_goes_through_conformations_of_volumes():
    angles = np.linspace(0, 1.5 * np.pi, 91)
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    curve = Components(torch.zeros(4, 4, 4), torch.zeros(2, 4, 4, 4), places, np.ones(2), np.zeros(2), 2.0)
    tour = path_between_states(curve, States(np.zeros(91, int), np.array([45, 0, 90])), 8)
    assert tour.order == [1, 0, 2]  # the middle one in the middle
    assert np.all(np.diff(tour.path.weights @ angles) > 0)
    assert np.linalg.norm(tour.path.places, axis=1).min() > 0.95  # along the circle, not across
    np.testing.assert_allclose(tour.path.places[[0, 8, 16]], places[[0, 45, 90]], atol=1e-9)


def sliding(whole: bool) -> tuple[Components, np.ndarray]:
    """An arm, or all of the molecule, that slides along x."""
    amounts = torch.linspace(-2, 2, COUNT)
    places = torch.zeros(COUNT, 2, 3)
    places[:, 0, 2], places[:, 1, 2] = 4.0, -4.0
    places[:, 0, 0] = amounts
    if whole:
        places[:, 1, 0] = amounts
    volumes, differences = noisy(blobs(places, amounts if whole else torch.zeros(COUNT)), 0.002)
    return principal_components(volumes, differences, soft_mask(volumes)), amounts[:, None].numpy() / float(
        amounts.std()
    )


def test_view_along_the_displacement_shows_nothing_of_a_mode():
    components, coordinates = sliding(whole=False)
    along_x = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]).expand(COUNT, 3, 3)
    along_y = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).expand(COUNT, 3, 3)
    inner = slice(20, -20)  # the ends have neighbours on one side only
    assert np.median(observability(components, coordinates, along_y)[inner]) > 0.3
    assert np.median(observability(components, coordinates, along_x)[inner]) < 0.02


def test_shift_of_the_whole_molecule_is_not_observable_as_a_mode():
    components, coordinates = sliding(whole=True)
    turns = random_rotations(COUNT, generator=stream(4), dtype=torch.float32)
    assert np.median(observability(components, coordinates, turns)) < 0.1


def test_two_modes_of_the_same_motion_are_not_observable_beside_each_other():
    components, coordinates = sliding(whole=False)
    along_y = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).expand(COUNT, 3, 3)
    twice = np.column_stack([coordinates, coordinates + 1e-3 * np.sin(np.arange(COUNT))[:, None]])
    alone, beside = observability(components, coordinates, along_y), observability(components, twice, along_y)
    assert np.median(beside) < 0.5 * np.median(alone)


def same(count: int) -> Components:
    """Components of volumes that are all the same; their replicates differ."""
    volumes = turning(0)[0][:1].expand(count, -1, -1, -1)
    differences = 0.01 * torch.randn(volumes.shape, generator=stream(6))
    return principal_components(volumes, differences, soft_mask(volumes))


def test_volumes_that_are_all_the_same_have_no_variance_and_no_mode():
    found = same(14)
    assert found.total == 0
    assert found.significant == count_modes(found) == 0
    assert not found.variances.any()
    assert not found.coordinates.any()
    assert np.isfinite(found.noise_floor).all()


@pytest.mark.slow
def test_umap_keeps_groups_apart_and_together():
    pytest.importorskip("umap")
    group = np.repeat([0, 1, 2], 20)
    places = np.random.default_rng(0).normal(size=(60, 4)) + 30 * np.eye(4)[group]
    groups = Components(torch.zeros(4, 4, 4), torch.zeros(4, 4, 4, 4), places, np.ones(4), np.zeros(4), 4.0)
    embedded = umap_embedding(groups)
    apart = np.linalg.norm(embedded[:, None] - embedded, axis=2)
    assert apart[group[:, None] == group].max() < apart[group[:, None] != group].min()
    assert np.array_equal(embedded, umap_embedding(groups))


def two_balls(offsets: np.ndarray, scale: int = 1) -> np.ndarray:
    """A still ball beside one that is moved along y, in so much larger a box."""
    size, radius = 24 * scale, 3 * scale
    still, moved = (0, -5 * scale, 0), [(0, offset * scale, 5 * scale) for offset in offsets]
    return np.stack([ball(size, still, radius) + ball(size, place, radius) for place in moved])


@pytest.mark.parametrize("scale", [1, 3])
def test_displacement_of_a_trajectory_is_that_of_the_part_that_moves(scale: int) -> None:
    found = motion_extent(two_balls(np.linspace(0, 5, 11), scale))
    assert found.displacement == pytest.approx(5 * scale, abs=0.7 * scale)
    assert 0.2 < found.moved_fraction < 0.5  # one ball of two, which half overlaps itself at the end


def test_displacement_of_a_still_molecule_is_zero() -> None:
    assert motion_extent(two_balls(np.full(11, 2.0))) == (0, 0)
    assert motion_extent(np.zeros((5, 12, 12, 12), np.float32)) == (0, 0)


@pytest.mark.parametrize("count", [5, 14])
def test_umap_puts_volumes_that_are_all_the_same_in_one_place(count):
    assert np.array_equal(umap_embedding(same(count)), np.zeros((count, 2)))


WITHOUT_A_PLACE = """
from pathlib import Path
import numba
if not numba.config.CACHE_DIR:
    raise RuntimeError("cannot cache function 'rdist': no locator available for file '/umap/layouts.py'")
class UMAP:
    def __init__(self, **_):
        pass
    def fit_transform(self, places):
        (Path(numba.config.CACHE_DIR) / "compiled").write_text("code")
        return places[:, :2]
"""


@pytest.mark.slow
def test_umap_compiles_to_a_temporary_folder_where_its_own_cannot_be_written(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "umap.py").write_text(WITHOUT_A_PLACE)
    script = (
        "import numpy as np, torch; from scoretomo.landscape import Components, umap_embedding; places = np.eye(12); "
        "found = Components(torch.zeros(4, 4, 4), torch.zeros(12, 4, 4, 4), places, np.ones(12), np.zeros(12), 1.0); "
        "assert np.array_equal(umap_embedding(found), places[:, :2])"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=here, check=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == [
        "umap.py"
    ]  # it is removed at the end
