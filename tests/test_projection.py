"""f(V, R): adjoint to rounding, true to closed forms and to real poses, about index d // 2."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import cosine_similarity

from scoretomo.fourier import centred_fft, coordinates, low_pass, radius, resample
from scoretomo.projection import backproject, mirror, project, rotate
from scoretomo.rotations import random_rotations

SIZES = [16, 17]
ACCURACY = {torch.float32: 1e-5, torch.float64: 1e-12}
CENTRES = np.array([[3.0, -1.5, 2.2], [-2.5, 3.0, 1.0], [0.7, 0.4, -3.6]])  # (x, y, z) in voxels
WIDTHS, HEIGHTS = np.array([1.9, 2.3, 2.0]), np.array([1.0, 0.6, 1.4])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def poses(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return random_rotations(count, generator(11), dtype=dtype)


def identity(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.eye(3, dtype=dtype)[None]


def smooth_volume(size: int, *, seed: int = 0) -> Tensor:
    """An asymmetric map well inside the box and well below Nyquist, so that band limits and borders do not matter."""
    envelope = torch.exp(-radius(size, 3, dtype=torch.float64).square() / (2 * (size / 10) ** 2))
    return low_pass(noise(size, size, size, seed=seed), size / 6, 3) * envelope


def blobs(size: int, rotation: NDArray[np.float64], dims: int) -> Tensor:
    """Gaussian blobs turned by scipy's matrix, in closed form: a volume (dims 3) or its integral along z (dims 2)."""
    grid = coordinates(size, dims, dtype=torch.float64).movedim(0, -1)
    total = torch.zeros(grid.shape[:-1], dtype=torch.float64)
    for centre, width, height in zip(CENTRES @ rotation.T, WIDTHS, HEIGHTS, strict=True):
        distance = (grid - torch.from_numpy(centre[:dims])).square().sum(-1)
        depth = 1.0 if dims == 3 else np.sqrt(2 * np.pi) * width
        total += height * depth * torch.exp(-distance / (2 * width**2))
    return total


def assert_adjoint(
    forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], domain: Tensor, image: Tensor
) -> None:
    """⟨forward(x), y⟩ = ⟨x, adjoint(y)⟩ for arrays of the right shapes, relative to the norms."""
    ahead, back = forward(domain), adjoint(image)
    assert ahead.shape == image.shape
    assert back.shape == domain.shape
    assert ahead.dtype == back.dtype == domain.dtype
    difference = (ahead.double() * image).sum() - (domain.double() * back).sum()
    assert abs(float(difference)) < ACCURACY[domain.dtype] * float(ahead.double().norm() * image.double().norm())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize(("batch", "views"), [((), 5), ((), 1), ((3,), 4), ((2, 2), 1)])
def test_backproject_is_adjoint_of_project(size: int, dtype: torch.dtype, batch: tuple[int, ...], views: int) -> None:
    rotations = poses(views, dtype)
    assert_adjoint(
        lambda volume: project(volume, rotations),
        lambda image: backproject(image, rotations),
        noise(*batch, size, size, size, dtype=dtype),
        noise(*batch, views, size, size, seed=1, dtype=dtype),
    )


@pytest.mark.parametrize("size", SIZES)
def test_unturned_view_is_the_sum_over_z(size: int) -> None:
    """Of every map, inside the disc of frequencies that every rotation keeps."""
    volume = noise(size, size, size)
    view = project(volume, identity())[0]
    inside = radius(size, 2) < size / 2
    torch.testing.assert_close(centred_fft(view, 2)[inside], centred_fft(volume.sum(0), 2)[inside], atol=1e-9, rtol=0)
    assert centred_fft(view, 2)[~inside].abs().max() < 1e-9


@pytest.mark.parametrize("size", [32, 33])
def test_views_of_gaussian_blobs_are_analytic(size: int) -> None:
    """The convention, from scipy alone: a blob at c is seen at the (x, y) of R c, relative to index d // 2."""
    turns = Rotation.random(6, random_state=4).as_matrix()
    volume = blobs(size, np.eye(3), 3)
    views = project(volume, torch.from_numpy(turns))
    expected = torch.stack([blobs(size, turn, 2) for turn in turns])
    assert (views - expected).abs().max() < 2e-4 * expected.max()
    single = project(volume.float(), torch.from_numpy(turns).float())
    assert (single - expected).abs().max() < 5e-4 * expected.max()


@pytest.mark.parametrize("size", [32, 33])
def test_rotated_gaussian_blobs_are_analytic(size: int) -> None:
    turn, shift = Rotation.random(random_state=4).as_matrix(), torch.tensor([1.3, -0.6, 0.8], dtype=torch.float64)
    moved = rotate(blobs(size, np.eye(3), 3), torch.from_numpy(turn))
    assert (moved - blobs(size, turn, 3)).abs().max() < 2e-4
    shifted = rotate(blobs(size, np.eye(3), 3), torch.from_numpy(turn), shift)
    whole = rotate(blobs(size, turn, 3), torch.eye(3, dtype=torch.float64), shift)
    assert (shifted - whole).abs().max() < 2e-4


@pytest.mark.parametrize("size", SIZES)
def test_whole_shift_moves_voxels(size: int) -> None:
    volume = low_pass(smooth_volume(size), size / 4, 3)
    moved = rotate(volume, torch.eye(3, dtype=torch.float64), torch.tensor([2.0, -1.0, 3.0], dtype=torch.float64))
    assert (moved - volume.roll((3, -1, 2), (0, 1, 2))).abs().max() < 1e-3 * volume.abs().max()


@pytest.mark.parametrize("size", SIZES)
def test_rotation_centre_is_index_half_the_size(size: int) -> None:
    volume = torch.zeros(size, size, size, dtype=torch.float64)
    volume[size // 2, size // 2, size // 2] = 1
    views = project(volume, poses(4))
    torch.testing.assert_close(views, views[:1].expand_as(views))
    assert (views.flatten(1).argmax(1) == (size // 2) * size + size // 2).all()
    moved = rotate(volume, poses(1)[0])
    torch.testing.assert_close(moved, rotate(volume, torch.eye(3, dtype=torch.float64)))
    assert int(moved.argmax()) == (size // 2) * (size**2 + size + 1)


@pytest.mark.parametrize("size", SIZES)
def test_views_keep_the_total_density(size: int) -> None:
    volume = noise(size, size, size) + 1
    torch.testing.assert_close(project(volume, poses(4)).sum((1, 2)), volume.sum().expand(4))


@pytest.mark.parametrize("size", SIZES)
def test_backprojection_of_one_unturned_view_smears_it_along_z(size: int) -> None:
    view = project(noise(size, size, size), identity())
    torch.testing.assert_close(backproject(view, identity()), view.expand(size, size, size))


@pytest.mark.parametrize("size", [40, 41])
def test_rotations_compose(size: int) -> None:
    first, second = poses(2)
    volume = smooth_volume(size)
    twice, once = rotate(rotate(volume, first), second), rotate(volume, second @ first)
    assert (twice - once).abs().max() < 1e-4 * volume.abs().max()


@pytest.mark.parametrize("size", [40, 41])
def test_view_is_the_unturned_view_of_the_turned_volume(size: int) -> None:
    rotations, volume = poses(3), smooth_volume(size)
    turned = torch.stack([project(rotate(volume, rotation), identity())[0] for rotation in rotations])
    views = project(volume, rotations)
    assert (turned - views).abs().max() < 1e-4 * views.abs().max()


@pytest.mark.parametrize("size", SIZES)
def test_the_other_hand_has_the_same_unturned_view(size: int) -> None:
    volume = noise(size, size, size)
    torch.testing.assert_close(project(mirror(volume), identity()), project(volume, identity()))
    assert torch.equal(mirror(mirror(volume)), volume)


@pytest.mark.parametrize("size", SIZES)
def test_views_of_the_other_hand_have_mirrored_poses(size: int) -> None:
    """f(mirror V, R) = f(V, ZRZ) with Z = diag(1, 1, −1), if the plane z = −d/2, which has no counterpart, is empty."""
    volume, flip = noise(size, size, size), torch.diag(torch.tensor([1.0, 1, -1])).double()
    volume[0] = 0
    rotations = poses(3)
    torch.testing.assert_close(project(mirror(volume), rotations), project(volume, flip @ rotations @ flip))


@pytest.mark.parametrize("dtype", ACCURACY)
def test_several_volumes_at_once_are_as_one_at_a_time(dtype: torch.dtype) -> None:
    """To the accuracy of the transform: two volumes travel together as one complex array."""
    rotations, volumes, views = poses(4, dtype), noise(3, 16, 16, 16, dtype=dtype), noise(3, 4, 16, 16, dtype=dtype)
    accuracy = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]

    def assert_alike(together: Tensor, alone: Tensor) -> None:
        assert (together - alone).norm() < accuracy * alone.norm()

    assert_alike(project(volumes, rotations), torch.stack([project(volume, rotations) for volume in volumes]))
    assert_alike(backproject(views, rotations), torch.stack([backproject(v, rotations) for v in views]))
    assert_alike(rotate(volumes, rotations[0]), torch.stack([rotate(v, rotations[0]) for v in volumes]))
    assert_alike(mirror(volumes), torch.stack([mirror(volume) for volume in volumes]))


def test_arguments_stay_as_they_are() -> None:
    volume, rotations, views = noise(16, 16, 16), poses(3), noise(3, 16, 16)
    before = [tensor.clone() for tensor in (volume, rotations, views)]
    project(volume, rotations), backproject(views, rotations), rotate(volume, rotations[0]), mirror(volume)
    assert all(torch.equal(a, b) for a, b in zip((volume, rotations, views), before, strict=True))


def least_squares_volume(images: Tensor, rotations: Tensor, steps: int) -> Tensor:
    """Conjugate gradients on ‖f(V) − images‖², from V = 0."""
    volume = torch.zeros(images.shape[-1:] * 3)
    residual = direction = backproject(images, rotations)
    for _ in range(steps):
        curvature = backproject(project(direction, rotations), rotations)
        rate = residual.square().sum() / (direction * curvature).sum()
        volume = volume + rate * direction
        smaller = residual - rate * curvature
        direction = smaller + smaller.square().sum() / residual.square().sum() * direction
        residual = smaller
    return volume


def agreement_on_left_out_images(images: Tensor, rotations: Tensor) -> Tensor:
    """Correlation of every fifth image with its view of a volume made from all others."""
    left_out = torch.arange(len(images)) % 5 == 0
    volume = least_squares_volume(images[~left_out], rotations[~left_out], steps=8)
    views, seen = project(volume, rotations[left_out]).flatten(1), images[left_out].flatten(1)
    return cosine_similarity(views - views.mean(1, keepdim=True), seen - seen.mean(1, keepdim=True))


@pytest.fixture(scope="module")
def hand(shared_data: Callable[[str], Path]) -> tuple[Tensor, Tensor]:
    """100 images of a toy hand at 32 px, and their known poses."""
    stack = shared_data("hand_cryodrgn/hand.mrcs").read_bytes()[1024:]
    images = torch.from_numpy(np.frombuffer(stack, "<f4").reshape(-1, 64, 64).copy())
    return resample(images, 32, 2), torch.from_numpy(np.load(shared_data("hand_cryodrgn/hand_rot.npy"))).float()


def test_poses_of_real_projections_are_in_our_convention(hand: tuple[Tensor, Tensor]) -> None:
    """CryoDRGN's matrices are R as they stand: a volume from 80 images predicts the other 20."""
    images, rotations = hand
    agreement = agreement_on_left_out_images(images, rotations)
    assert agreement.min() > 0.98
    assert agreement.mean() > 0.995


@pytest.mark.parametrize("wrong", ["transposed", "other axis order", "other hand of the images"])
def test_wrong_conventions_do_not_explain_real_projections(hand: tuple[Tensor, Tensor], wrong: str) -> None:
    images, rotations = hand
    if wrong == "transposed":
        rotations = rotations.mT
    elif wrong == "other axis order":
        rotations = rotations.flip(1, 2)
    else:
        images = images.flip(-1).roll(1, -1)
    assert agreement_on_left_out_images(images, rotations).mean() < 0.85
