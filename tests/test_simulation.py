"""A simulated image is the sum of its truth over z, and depends on its own number only."""

from itertools import islice
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from scoretomo.fourier import coordinates, resample
from scoretomo.phantoms import MovingBox, MovingCapsid
from scoretomo.projection import project
from scoretomo.rotations import random_rotations, rotations_from_euler
from scoretomo.simulation import EDGE, Phantom, phantom_volume, simulate, truth_row

PHANTOMS = [MovingBox(), MovingCapsid()]


class GaussianBlob:
    """A blob off centre: the turned volume is known in closed form."""

    parameters: ClassVar[tuple[str, ...]] = ("width",)
    centre = (0.3, -0.2, 0.1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return 0.2 + 0.1 * torch.rand(count, 1, generator=generator)

    def density(self, points: Tensor, conformation: Tensor, edge: float) -> Tensor:
        offset = points - points.new_tensor(self.centre)
        return torch.exp(-offset.square().sum(-1) / (2 * float(conformation) ** 2))


@pytest.mark.parametrize("size", [24, 25])
def test_volume_is_the_object_turned_about_index_half_the_size(size: int) -> None:
    blob, rotation = GaussianBlob(), random_rotations(1, torch.Generator().manual_seed(5))[0]
    volume = phantom_volume(blob, size, torch.tensor([0.2]), rotation)
    centre = rotation @ torch.tensor(blob.centre)
    offset = coordinates(size, 3) * (2 / size) - centre[:, None, None, None]
    torch.testing.assert_close(volume, torch.exp(-offset.square().sum(0) / (2 * 0.2**2)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: type(phantom).__name__)
def test_image_is_the_projection_of_its_truth(phantom: Phantom) -> None:
    for simulated in simulate(phantom, 3, 32, seed=0):
        torch.testing.assert_close(simulated.image, simulated.volume.sum(0))
        view = project(simulated.volume, torch.eye(3)[None])[0]
        assert (view - simulated.image).norm() < 0.02 * simulated.image.norm()  # the corners of Fourier space


def test_truth_row_rebuilds_the_volume() -> None:
    capsid = MovingCapsid()
    for number, simulated in enumerate(simulate(capsid, 3, 24, seed=4)):
        row = truth_row(number, simulated)
        assert list(row) == ["image", "opening", "rot", "tilt", "psi"]
        assert row["image"] == number
        angles = torch.tensor([row["rot"], row["tilt"], row["psi"]], dtype=torch.float64)
        again = phantom_volume(capsid, 24, torch.tensor([row["opening"]]), rotations_from_euler(angles))
        torch.testing.assert_close(again, simulated.volume, rtol=0, atol=1e-3)


def test_lid_angles_are_in_degrees() -> None:
    rows = [truth_row(number, simulated) for number, simulated in enumerate(simulate(MovingBox(), 60, 4, seed=0))]
    angles = torch.tensor([[row["lid_1"], row["lid_2"]] for row in rows])
    assert (angles.amin(0) < 20).all()
    assert (angles.amax(0) > 115).all()
    assert angles.min() >= 0
    assert angles.max() <= 135


def test_an_image_does_not_depend_on_how_many_are_drawn() -> None:
    few = list(simulate(MovingBox(), 4, 16, seed=7, noise=0.5))
    more = islice(simulate(MovingBox(), 300, 16, seed=7, noise=0.5), 4)
    for first, second in zip(few, more, strict=True):
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.volume, second.volume)
        assert first.conformation == second.conformation


def test_images_and_seeds_differ() -> None:
    first, second = simulate(MovingBox(), 2, 16, seed=7)
    (other,) = simulate(MovingBox(), 1, 16, seed=8)
    assert first.conformation != second.conformation
    assert first.conformation != other.conformation
    assert not torch.allclose(first.rotation, second.rotation)
    assert not torch.allclose(first.rotation, other.rotation)


def test_noise_is_white_and_has_the_asked_share_of_the_signal() -> None:
    (clean,) = simulate(MovingBox(), 1, 64, seed=2)
    (noisy,) = simulate(MovingBox(), 1, 64, seed=2, noise=0.7)
    noise = noisy.image - clean.image
    assert torch.equal(noisy.volume, clean.volume)
    assert torch.equal(noisy.rotation, clean.rotation)
    assert float(noise.std() / clean.image.std()) == pytest.approx(0.7, rel=0.05)
    neighbours = torch.corrcoef(torch.stack([noise[:, 1:].flatten(), noise[:, :-1].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 5 / 64


def test_noise_differs_from_image_to_image() -> None:
    clean, noisy = simulate(GaussianBlob(), 2, 32, seed=0), simulate(GaussianBlob(), 2, 32, seed=0, noise=1)
    noises = [with_noise.image - without.image for with_noise, without in zip(noisy, clean, strict=True)]
    assert abs(float(torch.corrcoef(torch.stack(noises).flatten(1))[0, 1])) < 5 / 32


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: type(phantom).__name__)
def test_edge_is_smooth_enough_for_the_voxels(phantom: Phantom) -> None:
    """The same object sampled twice as finely has the same Fourier coefficients, up to half the Nyquist frequency."""
    conformation = phantom.draw(1, torch.Generator().manual_seed(6))[0]
    rotation = random_rotations(1, torch.Generator().manual_seed(6))[0]
    coarse = phantom_volume(phantom, 48, conformation, rotation)
    fine = phantom.density(coordinates(96, 3).movedim(0, -1) / 48 @ rotation, conformation, EDGE / 24)
    low, reference = resample(coarse, 24, 3), resample(fine, 24, 3)
    assert (low - reference).norm() < 0.01 * reference.norm()
