"""What moves in many volumes: components beside chance, the number of motions, ways along them, states."""

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
    count_modes,
    count_independent_modes,
    variability_map,
    principal_components,
    observability,
    soft_mask,
    states,
    motion_extent,
    umap_embedding,
    mode_coordinates,
    way_along,
    way_between,
)
from scoretomo.rotations import random_rotations

SIZE, COUNT = 14, 160


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(places: torch.Tensor, body: torch.Tensor | float = 0.0) -> torch.Tensor:
    """A body in the middle, or at x of its own, and two blobs at places (n, 2, 3), as volumes (n, d, d, d)."""
    points = coordinates(SIZE, 3).permute(1, 2, 3, 0)
    arms = torch.exp(-(points[None, None] - places[:, :, None, None, None]).square().sum(-1) / 4).sum(1)
    middle = torch.zeros(len(places), 3)
    middle[:, 0] = body
    return arms + torch.exp(-(points[None] - middle[:, None, None, None]).square().sum(-1) / 8)


def turning(motions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two arms, of which so many turn by half a circle, each by an angle of its own; volumes and angles (n, 2)."""
    angles = torch.rand(COUNT, 2, generator=stream(0)) * torch.pi
    shown = torch.where(torch.arange(2) < motions, angles, 0)
    heights = torch.tensor([3.0, -3.0]).expand(COUNT, 2)
    return blobs(torch.stack([3.5 * shown.cos(), 3.5 * shown.sin(), heights], 2)), angles


def noisy(volumes: torch.Tensor, strength: float = 0.02) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of two replicas, and half their differences."""
    first, second = (volumes + strength * torch.randn(volumes.shape, generator=stream(seed)) for seed in (1, 2))
    return (first + second) / 2, (first - second) / 2


@pytest.mark.parametrize("motions", [0, 1, 2])
def test_as_many_motions_are_found_as_there_are(motions):
    volumes, differences = noisy(turning(motions)[0])
    assert count_modes(principal_components(volumes, differences, soft_mask(volumes))) == motions


def test_variance_that_is_chance_is_no_component():
    volumes, differences = noisy(turning(0)[0])
    found = principal_components(volumes, differences, soft_mask(volumes))
    assert found.clear == 0
    np.testing.assert_allclose(found.variances, found.chance, rtol=0.25)


def test_a_bent_motion_is_unrolled_to_its_angle():
    volumes, angles = turning(1)
    found = principal_components(*noisy(volumes), soft_mask(volumes))
    assert found.clear > 1  # half a circle is no straight line
    (place,) = mode_coordinates(found, 1).T
    assert ranked_alike(place, angles[:, 0]) > 0.99


def cloud(places: np.ndarray) -> Components:
    """Components of volumes at these places, without chance."""
    count = places.shape[1]
    variances = places.var(0)
    return Components(torch.zeros(1, 1, 1), torch.zeros(count, 1, 1, 1), places, variances, 0 * variances, float(variances.sum()))


def test_chance_does_not_make_one_motion_several():
    draw = np.random.default_rng(0)
    along = draw.uniform(-20, 20, 200)
    chance = draw.normal(size=(200, 8))
    places = np.column_stack([along, 0.02 * along**2, np.zeros((200, 6))]) + chance
    found = cloud(places)._replace(chance=np.ones(8))
    assert count_modes(found) == 1
    assert count_modes(found._replace(chance=np.zeros(8))) > 1  # it can't be told where nobody knows the chance


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_cloud_has_as_many_dimensions_as_it_has(count):
    places = np.random.default_rng(count).normal(size=(600, count)) @ np.random.default_rng(0).normal(size=(count, 8))
    assert count_modes(cloud(places)) == count


def test_straight_motions_come_out_apart_too():
    amounts = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    turned = amounts @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    motions = mode_coordinates(cloud(turned), 2)
    alike = np.array([[ranked_alike(motion, torch.from_numpy(amount)) for amount in amounts.T] for motion in motions.T])
    assert sorted(alike.argmax(1)) == [0, 1]
    assert alike.max(1).min() > 0.97


def test_of_too_many_motions_those_are_kept_that_real_ways_explain():
    real, false = torch.randn(60, 2, generator=stream(0)).numpy(), torch.randn(60, 1, generator=stream(1)).numpy()
    ways = real @ np.array([[1.0, 0.4], [-0.3, 2.0]]) + 0.1 * torch.randn(60, 2, generator=stream(2)).numpy()
    found = np.column_stack([real[:, 0], false, real[:, 1]])
    np.testing.assert_array_equal(confirmed_modes(found, ways, 2), real)
    np.testing.assert_array_equal(confirmed_modes(real, ways, 2), real)
    np.testing.assert_array_equal(confirmed_modes(real[:, :1], ways, 2), real[:, :1])
    np.testing.assert_array_equal(confirmed_modes(real, ways[:, :1], 1), real[:, :1])


def test_a_motion_along_a_bent_path_takes_several_ways_and_is_one() -> None:
    generator = np.random.default_rng(3)
    angles, other = generator.uniform(0, 2.5, 200), generator.uniform(-1, 1, 200)
    bent = np.column_stack([np.cos(angles), np.sin(angles)])
    assert count_independent_modes(bent) == 1
    assert count_independent_modes(np.column_stack([bent, other])) == 2
    assert count_independent_modes(generator.uniform(-1, 1, (200, 3))) == 3
    assert count_independent_modes(other[:, None]) == 1
    assert count_independent_modes(bent[:2]) == 2  # too few to say


def test_no_motion_has_no_coordinates():
    volumes, _ = turning(1)
    assert mode_coordinates(principal_components(*noisy(volumes), soft_mask(volumes)), 0).shape == (COUNT, 0)


def ranked_alike(first: np.ndarray, second: torch.Tensor) -> float:
    """Spearman's correlation, without its sign."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second.numpy())]
    return abs(float(np.corrcoef(*ranks)[0, 1]))


def test_parts_that_move_on_their_own_come_out_as_motions_on_their_own():
    volumes, angles = turning(2)
    motions = mode_coordinates(principal_components(*noisy(volumes), soft_mask(volumes)), 2)
    alike = np.array([[ranked_alike(motion, angle) for angle in angles.T] for motion in motions.T])
    assert sorted(alike.argmax(1)) == [0, 1]
    assert alike.max(1).min() > 0.9


def test_components_give_the_volumes_back():
    volumes = turning(1)[0][:10]
    mask = torch.ones(SIZE, SIZE, SIZE)
    found = principal_components(volumes, torch.zeros_like(volumes), mask)
    assert found.coordinates.shape == (10, 9)
    back = found.mean + torch.einsum("nk,kzyx->nzyx", torch.from_numpy(found.coordinates).float(), found.maps)
    torch.testing.assert_close(back, volumes, atol=1e-4, rtol=0)
    assert found.total == pytest.approx(float((volumes - volumes.mean(0)).square().sum() / 9), rel=1e-4)


def test_the_motion_map_shows_what_moves_and_nothing_else():
    volumes, differences = noisy(turning(1)[0])
    spread = variability_map(volumes, differences)
    points = coordinates(SIZE, 3)
    assert float(spread[points[2] > 1].max()) > 5 * float(spread[points[2] < -1].max())


def test_a_mask_holds_all_places_of_what_moves_and_not_the_corners():
    volumes, _ = turning(2)
    mask = soft_mask(volumes)
    bright = volumes.amax(0) > 0.5
    assert float(mask[bright].min()) == 1
    assert float(mask[0, 0, 0]) == 0


def test_frames_of_a_way_are_means_of_volumes_along_it():
    along = np.linspace(-1, 1, 41)[:, None]
    way = way_along(along, 0, 5)
    np.testing.assert_allclose(way.weights.sum(1), 1)
    np.testing.assert_allclose(way.weights @ along, way.places, atol=0.03)
    assert way.places[0] < way.places[-1]


def test_a_way_keeps_the_other_motions_at_their_middle():
    places = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    way = way_along(places, 0, 7)
    assert np.abs(way.weights @ places[:, 1]).max() < 0.1


def test_states_are_groups_with_a_member_that_stands_for_them():
    ends = torch.tensor([[3.5, 0.0, 3.0], [0.0, 3.5, 3.0], [-3.5, 0.0, 3.0]])
    which = torch.tensor([0] * 8 + [1] * 5 + [2] * 3)
    volumes, differences = noisy(blobs(torch.stack([ends[which], -ends[which]], 1)))
    found = states(principal_components(volumes, differences, soft_mask(volumes)), 3)
    assert found.members.tolist() == which.tolist()  # the largest first
    assert [int(which[place]) for place in found.representatives] == [0, 1, 2]


def test_one_volume_that_stands_apart_is_no_state():
    places = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), [[30.0, 0.0]]])
    found = states(cloud(places), 2)
    assert len(found.representatives) == 1
    assert set(found.members) == {0}


def test_the_way_between_states_goes_through_what_was_seen():
    angles = np.linspace(0, 1.5 * np.pi, 91)
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    curve = Components(torch.zeros(4, 4, 4), torch.zeros(2, 4, 4, 4), places, np.ones(2), np.zeros(2), 2.0)
    tour = way_between(curve, States(np.zeros(91, int), np.array([45, 0, 90])), 8)
    assert tour.order == [1, 0, 2]  # the middle one in the middle
    assert np.all(np.diff(tour.way.weights @ angles) > 0)
    assert np.linalg.norm(tour.way.places, axis=1).min() > 0.95  # along the circle, not across
    np.testing.assert_allclose(tour.way.places[[0, 8, 16]], places[[0, 45, 90]], atol=1e-9)


def sliding(whole: bool) -> tuple[Components, np.ndarray]:
    """An arm, or all of the molecule, that slides along x."""
    amounts = torch.linspace(-2, 2, COUNT)
    places = torch.zeros(COUNT, 2, 3)
    places[:, 0, 2], places[:, 1, 2] = 4.0, -4.0
    places[:, 0, 0] = amounts
    if whole:
        places[:, 1, 0] = amounts
    volumes, differences = noisy(blobs(places, amounts if whole else torch.zeros(COUNT)), 0.002)
    return principal_components(volumes, differences, soft_mask(volumes)), amounts[:, None].numpy() / float(amounts.std())


def test_a_view_along_a_motion_shows_nothing_of_it():
    components, coordinates = sliding(whole=False)
    along_x = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]).expand(COUNT, 3, 3)
    along_y = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).expand(COUNT, 3, 3)
    inner = slice(20, -20)  # the ends of a way have neighbours on one side only
    assert np.median(observability(components, coordinates, along_y)[inner]) > 0.3
    assert np.median(observability(components, coordinates, along_x)[inner]) < 0.02


def test_what_shifts_as_a_whole_is_not_seen_as_a_motion():
    components, coordinates = sliding(whole=True)
    turns = random_rotations(COUNT, generator=stream(4), dtype=torch.float32)
    assert np.median(observability(components, coordinates, turns)) < 0.1


def test_two_ways_to_say_the_same_are_not_told_apart():
    components, coordinates = sliding(whole=False)
    along_y = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).expand(COUNT, 3, 3)
    twice = np.column_stack([coordinates, coordinates + 1e-3 * np.sin(np.arange(COUNT))[:, None]])
    alone, beside = observability(components, coordinates, along_y), observability(components, twice, along_y)
    assert np.median(beside) < 0.5 * np.median(alone)


def same(count: int) -> Components:
    """Components of volumes that are all the same; their replicas differ."""
    volumes = turning(0)[0][:1].expand(count, -1, -1, -1)
    differences = 0.01 * torch.randn(volumes.shape, generator=stream(6))
    return principal_components(volumes, differences, soft_mask(volumes))


def test_volumes_that_are_all_the_same_have_no_variance_and_no_motion():
    found = same(14)
    assert found.total == 0
    assert found.clear == count_modes(found) == 0
    assert not found.variances.any()
    assert not found.coordinates.any()
    assert np.isfinite(found.chance).all()


def test_umap_keeps_groups_apart_and_together():
    pytest.importorskip("umap")
    group = np.repeat([0, 1, 2], 20)
    places = np.random.default_rng(0).normal(size=(60, 4)) + 30 * np.eye(4)[group]
    clear = Components(torch.zeros(4, 4, 4), torch.zeros(4, 4, 4, 4), places, np.ones(4), np.zeros(4), 4.0)
    embedded = umap_embedding(clear)
    apart = np.linalg.norm(embedded[:, None] - embedded, axis=2)
    assert apart[group[:, None] == group].max() < apart[group[:, None] != group].min()
    assert np.array_equal(embedded, umap_embedding(clear))


def two_balls(offsets: np.ndarray, scale: int = 1) -> np.ndarray:
    """A still ball beside one that is moved along y, in so much larger a box."""
    size, radius = 24 * scale, 3 * scale
    still, moved = (0, -5 * scale, 0), [(0, offset * scale, 5 * scale) for offset in offsets]
    return np.stack([ball(size, still, radius) + ball(size, place, radius) for place in moved])


@pytest.mark.parametrize("scale", [1, 3])
def test_a_part_that_moves_is_seen_to_go_as_far_as_it_does(scale: int) -> None:
    found = motion_extent(two_balls(np.linspace(0, 5, 11), scale))
    assert found.displacement == pytest.approx(5 * scale, abs=0.7 * scale)
    assert 0.2 < found.moved_fraction < 0.5  # one ball of two, which half overlaps itself at the end


def test_what_stands_still_goes_nowhere() -> None:
    assert motion_extent(two_balls(np.full(11, 2.0))) == (0, 0)
    assert motion_extent(np.zeros((5, 12, 12, 12), np.float32)) == (0, 0)


@pytest.mark.parametrize("count", [5, 14])
def test_umap_has_one_place_for_volumes_that_are_all_the_same(count):
    pytest.importorskip("umap")
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


def test_umap_goes_to_a_temporary_folder_where_its_own_cannot_be_written(tmp_path):
    pytest.importorskip("numba")
    (tmp_path / "umap.py").write_text(WITHOUT_A_PLACE)
    script = (
        "import numpy as np, torch; from scoretomo.landscape import Components, umap_embedding; places = np.eye(12); "
        "found = Components(torch.zeros(4, 4, 4), torch.zeros(12, 4, 4, 4), places, np.ones(12), np.zeros(12), 1.0); "
        "assert np.array_equal(umap_embedding(found), places[:, :2])"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=here, check=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["umap.py"]  # it is removed at the end
