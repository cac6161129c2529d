"""Views of rigid bodies, their adjoint, overlaps, copies, masks, volumes."""

from dataclasses import replace

import pytest
import torch
from bodies import HINGE, blob, two_bodies
from torch import Tensor

from scoretomo.compute import random_stream
from scoretomo.deformation.bodies.model import (
    copies_of_group,
    full_density,
    joined,
    masks_around_densities,
    masks_around_points,
    regridded,
)
from scoretomo.deformation.bodies.motions import inverse, motion_from_twist, rigid
from scoretomo.deformation.bodies.overlap import overlap
from scoretomo.deformation.bodies.views import Band, adjoint_views, band_of, views
from scoretomo.fourier import coordinates, fourier_shell_correlation, low_pass, resample
from scoretomo.projection import project, rotate, spectrum
from scoretomo.rotations import point_group

SIZE, IMAGES = 24, 5


def empty_band(dtype: torch.dtype = torch.float32, shells: float = SIZE / 2, images: int = IMAGES) -> Band:
    return band_of(torch.zeros(images, SIZE, SIZE, dtype=dtype), SIZE, shells)


def apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / second.norm())


def test_views_are_projections_of_the_bodies_where_they_stand():
    model, band = two_bodies(SIZE, IMAGES, dtype=torch.float64), empty_band(torch.float64)
    expected = torch.zeros(IMAGES, len(band.points), dtype=torch.complex128)
    for density, placements in zip(model.densities, model.placements(), strict=True):
        turned = [rotate(density, place[:3, :3], place[:3, 3] * (SIZE / 2)) for place in placements]
        expected += spectrum(torch.stack(turned).sum(1))
    assert apart(views(model.bodies(), band.points), expected) < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_adjoint_views_is_adjoint_of_views(dtype, tolerance, symmetric):
    model, generator = two_bodies(SIZE, IMAGES, dtype=dtype), random_stream(0)
    model = replace(model, copies=copies_of_group(point_group("C3"), 2)) if symmetric else model
    points = empty_band(dtype, 9.0).points
    densities = torch.randn(model.densities.shape, generator=generator, dtype=dtype)
    values = torch.randn(IMAGES, len(points), generator=generator, dtype=dtype.to_complex())
    bodies = model.bodies()._replace(densities=densities)
    seen, back = views(bodies, points), adjoint_views(values, bodies, points)
    assert seen.dtype == dtype.to_complex()
    assert back.dtype == dtype
    there, here = float((seen.conj() * values).real.sum()), float((densities * back).sum())
    assert abs(there - here) < tolerance * float(seen.norm() * values.norm())


def test_band_of_smaller_images_is_that_of_a_coarser_density():
    volume = low_pass(blob(32, (0.1, 0.2, 0.0), (0.5, 0.3, 0.2)), 6.0, 3)
    image = project(volume, torch.eye(3)[None])
    fine, coarse = band_of(image, 32, 8), band_of(image, 20, 8)
    assert coarse.rings == 9
    assert torch.equal(fine.ring, coarse.ring)
    smaller = project(resample(volume, 20, 3), torch.eye(3)[None])
    assert apart(coarse.data, band_of(smaller, 20, 8).data) < 1e-5
    assert float(band_of(image, 32, 20).ring.max()) == 16
    means = coarse.ring_means(coarse.ring.float())
    torch.testing.assert_close(means, torch.arange(9.0))


@pytest.mark.parametrize("kind", ["C1", "C3"])
def test_view_of_the_union_is_the_view_of_the_volume_that_is_the_union(kind):
    model = two_bodies(SIZE, IMAGES, saturation=1.0)
    if kind == "C3":
        model = replace(model, copies=copies_of_group(point_group("C3"), 2))
    band = empty_band(shells=SIZE / 2 - 2)
    seen = views(model.bodies(), band.points)
    expected = spectrum(model.volumes(range(IMAGES)).sum(1))[:, band.places]
    assert apart(seen, expected) > 0.05  # matter that is there twice
    assert apart(seen - overlap(model, band), expected) < 0.02


def test_nothing_is_there_twice_where_densities_add_up_or_are_apart():
    model, band = two_bodies(SIZE, IMAGES), empty_band()
    assert float(overlap(model, band).abs().max()) == 0
    far = torch.stack([blob(SIZE, (-0.5, 0, 0), (0.2,) * 3), blob(SIZE, (0.5, 0, 0), (0.2,) * 3)])
    still = replace(model, densities=far, latent=torch.zeros_like(model.latent), saturation=1.0)
    assert float(overlap(still, band).abs().max()) < 1e-2 * float(views(still.bodies(), band.points).abs().max())


def test_overlap_does_not_depend_on_how_many_images_are_taken_together():
    model, band = two_bodies(SIZE, IMAGES, dtype=torch.float64, saturation=1.0), empty_band(torch.float64)
    one_by_one = [overlap(model.of_images([number]), band) for number in range(IMAGES)]
    every = overlap(model, band)
    assert apart(torch.cat(one_by_one), every) < 3e-3


def test_union_counts_matter_once_and_sum_counts_it_twice():
    first, second = torch.tensor([2.0, 2.0, 0.0]), torch.tensor([2.0, 0.0, 0.0])
    torch.testing.assert_close(joined(torch.stack([first, second]), 0.5), torch.tensor([2.0, 2.0, 0.0]))
    torch.testing.assert_close(joined(torch.stack([first, second]), 0.0), torch.tensor([4.0, 2.0, 0.0]))


def test_copies_stand_where_the_group_takes_them():
    model, group = two_bodies(SIZE, IMAGES, dtype=torch.float64), point_group("C3")
    model = replace(model, copies=copies_of_group(group, 2))
    placements = model.placements()
    assert model.of.tolist() == [0, 1, 1, 1]
    moving = motion_from_twist(model.latent * HINGE)
    for turn, place in zip(group, placements[1:], strict=True):
        torch.testing.assert_close(place[:, :3, :3], model.poses[:, :3, :3] @ turn @ moving[:, :3, :3])
    volume = replace(model, densities=model.densities * torch.tensor([0.0, 1.0])[:, None, None, None]).volumes([0])[0]
    pose = model.poses[0]
    again = pose @ rigid(group[1], torch.zeros(3).double()) @ inverse(pose)
    turned = rotate(volume, again[:3, :3], again[:3, 3] * (SIZE / 2))
    assert apart(turned, volume) < 0.03  # the box cuts off what is beyond its faces


def test_masks_reach_a_little_beyond_points_and_densities():
    grid = coordinates(32, 3) / 16
    points = torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
    masks = masks_around_points(points, torch.eye(2), 32, reach=0.2)
    apart_from = (grid.movedim(0, -1)[None] - points[:, None, None, None]).norm(dim=-1)
    assert float(masks[apart_from < 0.1].min()) > 0.9
    assert float(masks[apart_from > 0.35].max()) < 0.1
    ball = blob(32, (0.0, 0.0, 0.0), (0.4,) * 3)[None]
    mask = masks_around_densities(ball, 0.25, reach=3.0)[0]
    distance = grid.norm(dim=0)
    assert float(mask[distance < 0.5].min()) > 0.95
    assert float(mask[distance > 0.85].max()) < 0.05


def test_regridded_model_has_the_same_volumes():
    model = two_bodies(SIZE, IMAGES, saturation=1.0)
    finer = regridded(model, 32, reach=2.0)
    assert finer.size == 32
    curve = fourier_shell_correlation(finer.volumes([0])[0], regridded(finer, 32, 3.0).volumes([0])[0])
    assert float(curve[1:10].min()) > 0.98
    assert full_density(finer.densities) == pytest.approx(full_density(model.densities), rel=0.1)
