"""Images: empty space becomes 0, whatever was done to the images before, and every change is noted."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoretomo.config import ImportSettings
from scoretomo.errors import InputError
from scoretomo.files import read_images
from scoretomo.fourier import coordinates, radius, soft_edge
from scoretomo.images import (
    Prepared,
    centre_of_mass,
    correlation,
    disc,
    find_background,
    find_unusable,
    grey_factors,
    looks_inverted,
    normalisation,
    prepare,
    reach,
    shift,
    subtract_background,
    touches_edge,
)
from scoretomo.phantoms import MovingBox
from scoretomo.requirements import parse_selection
from scoretomo.simulation import simulate

AS_THEY_ARE = ImportSettings()


def ellipsoids(count: int = 12, size: int = 32, *, seed: int = 0, long: float = 0.5, short: float = 0.2) -> Tensor:
    """Projections of one Gaussian ellipsoid (axes in half sides) in random directions; all have the same sum."""
    generator = torch.Generator().manual_seed(seed)
    turn, tilt = torch.rand(2, count, generator=generator, dtype=torch.float64) * math.pi
    a = ((long * tilt.sin()) ** 2 + (short * tilt.cos()) ** 2).sqrt() * size / 4
    b = torch.full_like(a, short * size / 4)
    x, y = coordinates(size, 2, dtype=torch.float64)
    u = turn.cos()[:, None, None] * x + turn.sin()[:, None, None] * y
    v = turn.cos()[:, None, None] * y - turn.sin()[:, None, None] * x
    height = (size / 8) ** 2 / (a * b)
    return (
        height[:, None, None] * torch.exp(-(u**2) / (2 * a[:, None, None] ** 2) - v**2 / (2 * b[:, None, None] ** 2))
    ).float()


def noisy(images: Tensor, sigma: float = 0.02, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return images + sigma * torch.randn(images.shape, generator=generator)


def ring(images: Tensor) -> Tensor:
    """Pixels just inside the circular mask, (n, pixels)."""
    size = images.shape[-1]
    distance = radius(size, 2)
    return images[:, (distance > 0.42 * size) & (distance < 0.48 * size)]


def columns(result: Prepared, *names: str) -> Tensor:
    """Columns of the table for the images that are included."""
    return torch.tensor([[row[name] for name in names] for row in result.rows if row["included"]])


# ---------------------------------------------------------------- mask and background


@pytest.mark.parametrize("size", [31, 32])
def test_the_mask_is_a_disc_about_the_origin(size: int) -> None:
    mask = disc(size)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert float(mask.sum()) == pytest.approx(math.pi * (0.49 * size) ** 2, rel=0.03)
    x, y = coordinates(size, 2)
    assert float((mask * x).sum()) == float((mask * y).sum()) == 0


@pytest.mark.parametrize("size", [41, 48])
def test_the_background_is_found_beside_the_particle(size: int) -> None:
    levels = torch.tensor([3.0, -7.0, 100.0, 0.0])
    images = noisy(ellipsoids(4, size)) + levels[:, None, None]
    background = find_background(images, 0.49 * size)
    torch.testing.assert_close(background.value, levels, atol=0.01, rtol=0)
    assert not background.masked.any()


@pytest.mark.parametrize("outside", [0.0, 5.0])
@pytest.mark.parametrize("width", [0.0, 5.0])
def test_an_applied_mask_with_another_value_outside_is_levelled(outside: float, width: float) -> None:
    size, level = 64, 2.0
    particles = ellipsoids(6, size, long=0.4)
    applied = soft_edge(radius(size, 2), 24.0, max(width, 1e-3))
    images = applied * (noisy(particles) + level) + (1 - applied) * outside
    background = find_background(images, 0.49 * size)
    assert background.masked.all()
    torch.testing.assert_close(background.value, torch.full((6,), level), atol=0.02, rtol=0)
    found = subtract_background(images, background)
    assert found[:, 0, 0].abs().max() < 1e-6
    clear = radius(size, 2) < 23
    torch.testing.assert_close(found[:, clear], noisy(particles)[:, clear], atol=0.02, rtol=0)
    assert found[:, ~clear].abs().max() < 0.25 * abs(level - outside)  # what is left of the step, at the edge only


def test_the_outline_of_a_particle_in_empty_space_is_no_mask() -> None:
    distance = radius(64, 2)
    ball = (1 - (distance / 24) ** 2).clamp(min=0).sqrt()
    shell = ball - (0.64 - (distance / 24) ** 2).clamp(min=0).sqrt()
    boxes = torch.stack([simulated.image for simulated in simulate(MovingBox(), 12, 32, 0)])
    for images in (
        torch.stack([ball, ball]),
        torch.stack([shell, shell]),
        torch.stack([ball > 0, ball > 0]).float(),
        boxes,
    ):
        background = find_background(images, 0.49 * images.shape[-1])
        assert not background.masked.any()
        assert background.value.abs().max() < 1e-3 * images.max()


def test_normalisation_gives_zero_mean_and_unit_variance_inside_the_mask() -> None:
    images = ellipsoids()
    mu, s = normalisation(images)
    inside = ((images - mu) / s)[:, disc(32) > 0]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inside.square().mean()) == pytest.approx(1, abs=1e-5)


# ---------------------------------------------------------------- checks


def test_unusable_images_are_named_with_the_reason(wording: Callable[[object], None]) -> None:
    images = noisy(ellipsoids(8))
    images[1, 3, 3] = torch.nan
    images[2, 0, 0] = torch.inf
    images[3] = 5.0
    images[6] = 40 * images[4] - 7  # the same, in other greys
    reasons = find_unusable(images, [10, 11, 12, 13, 14, 15, 16, 17])
    assert [place for place, reason in enumerate(reasons) if reason] == [1, 2, 3, 6]
    for reason in filter(None, reasons):
        wording(reason)


def test_duplicates_are_found_in_rounded_images() -> None:
    images = noisy(ellipsoids(3))
    rounded = images[1].half().float()
    assert find_unusable(torch.stack([*images, rounded]), range(4))[3].endswith("image 1")


def test_many_copies_refer_to_the_first() -> None:
    images = noisy(ellipsoids(2)).repeat(200, 1, 1)
    reasons = find_unusable(images, range(400))
    assert reasons[:2] == ["", ""]
    assert reasons[2:] == ["the same as image 0", "the same as image 1"] * 199


def test_dark_particles_are_distinguished_from_bright_ones() -> None:
    images = noisy(ellipsoids(), 0.2)
    assert not looks_inverted(images)
    assert looks_inverted(-images)
    assert looks_inverted(100 - 3 * images)


def test_equal_grey_scales_are_left_alone_however_different_the_views() -> None:
    images = ellipsoids(40, long=0.5, short=0.12)
    deviations = images[:, disc(32) > 0].std(1)
    assert deviations.max() > 1.8 * deviations.min()
    assert grey_factors(images, disc(32)) is None


def test_mixed_grey_scales_are_found_and_undone() -> None:
    gains = torch.exp(torch.randn(12, generator=torch.Generator().manual_seed(3)))
    factors = grey_factors(noisy(ellipsoids(), 0.002) * gains[:, None, None], disc(32))
    assert factors is not None
    levelled = factors * gains
    torch.testing.assert_close(levelled / levelled.median(), torch.ones(12), atol=0.1, rtol=0)


def test_a_particle_that_reaches_the_mask_is_found() -> None:
    images = noisy(ellipsoids(3, 48, long=0.3), 0.05)
    moved = shift(images, torch.tensor([[0.0, 0.0], [19.0, 0.0], [0.0, -19.0]]))
    assert touches_edge(moved).tolist() == [False, True, True]


def test_particle_reaches_as_far_as_its_radius_and_what_it_is_moved_by() -> None:
    ball = (radius(48, 2) < 6).float()
    moved = noisy(shift(ball.expand(3, -1, -1), torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, -9.0]])), 0.05)
    torch.testing.assert_close(reach(moved), torch.tensor([6.0, 11.0, 15.0]), atol=1.0, rtol=0)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", [0]), ("0,3,5-9", [0, 3, 5, 6, 7, 8, 9]), (" 2 - 3 , 1 ", [1, 2, 3]), ("4-4,4,0-1", [0, 1, 4])],
)
def test_selections_are_read(text: str, numbers: list[int]) -> None:
    assert parse_selection(text, 10) == numbers


def test_a_selection_beyond_the_stack_is_refused() -> None:
    with pytest.raises(InputError, match="from 0 to 4"):
        parse_selection("5", 5)


# ---------------------------------------------------------------- moving


@pytest.mark.parametrize("size", [31, 32])
def test_shifting_moves_a_blob_by_parts_of_a_pixel(size: int) -> None:
    x, y = coordinates(size, 2)
    blob = torch.exp(-(x**2 + y**2) / 8)
    moved = shift(blob[None], torch.tensor([[2.3, -1.6]]))[0]
    torch.testing.assert_close(moved, torch.exp(-((x - 2.3) ** 2 + (y + 1.6) ** 2) / 8), atol=1e-5, rtol=0)


def test_what_is_shifted_out_does_not_come_in_again() -> None:
    image = torch.zeros(1, 32, 32)
    image[0, 16, 28] = 1
    assert shift(image, torch.tensor([[10.0, 0.0]])).abs().max() < 1e-6


@pytest.mark.parametrize("size", [41, 48])
def test_recentring_brings_the_particle_to_the_origin(size: int) -> None:
    by = torch.tensor([[3.3, -2.7], [0.0, 4.0], [-5.2, 0.4]])
    images = noisy(shift(ellipsoids(3, size, long=0.3), by), 0.005) + 9
    result = prepare(images, ImportSettings(recentre=True))
    assert centre_of_mass(result.images).abs().max() < 0.2
    torch.testing.assert_close(columns(result, "shift_x", "shift_y"), -by, atol=0.2, rtol=0)


# ---------------------------------------------------------------- the whole import


@pytest.mark.parametrize("size", [31, 32])
def test_empty_space_is_zero_in_prepared_images(size: int) -> None:
    images = noisy(ellipsoids(8, size)) * 3 + torch.arange(8.0)[:, None, None] * 10
    result = prepare(images, AS_THEY_ARE)
    assert result.images.shape == (8, size, size)
    assert (result.images[:, disc(size) == 0] == 0).all()
    assert ring(result.images).mean(1).abs().max() < 0.03
    assert result.notes == []


def test_what_was_done_to_an_image_can_be_undone() -> None:
    images = noisy(ellipsoids(8)) * torch.linspace(1, 5, 8)[:, None, None] + 2
    result = prepare(-images, ImportSettings(invert=True, select="1-7"))
    background, scale = columns(result, "background", "scale")[..., None].unbind(1)
    inside = disc(32) > 0
    restored = result.images[:, inside] / scale + background
    torch.testing.assert_close(restored, -images[1:, inside], atol=1e-4, rtol=0)


def test_brightness_and_contrast_of_the_stack_do_not_matter() -> None:
    images = noisy(ellipsoids())
    plain, changed = prepare(images, AS_THEY_ARE), prepare(250 - 40 * images, ImportSettings(invert=True))
    torch.testing.assert_close(
        (changed.images - changed.mu) / changed.s, (plain.images - plain.mu) / plain.s, atol=1e-3, rtol=0
    )
    assert changed.s == pytest.approx(40 * plain.s, rel=1e-3)


def test_preparing_twice_changes_nothing() -> None:
    once = prepare(noisy(ellipsoids()) + 5, AS_THEY_ARE)
    twice = prepare(once.images, AS_THEY_ARE)
    torch.testing.assert_close(twice.images, once.images, atol=2e-3, rtol=0)
    assert twice.notes == []


@pytest.mark.parametrize(("side", "size"), [(64, 32), (63, 32), (64, 31), (63, 31)])
def test_downsampled_images_are_the_sums_over_longer_voxels(side: int, size: int) -> None:
    def projections(size: int) -> Tensor:  # Σ_z of a ball of density 1 at its centre, per voxel
        x, y = coordinates(size, 2) / size
        sigma = 0.08
        depth = sigma * math.sqrt(2 * math.pi) * size
        shapes = [torch.exp(-((x - shift) ** 2 + y**2) / (2 * sigma**2)) * depth for shift in (0.0, 0.1)]
        return torch.stack(shapes)

    result = prepare(projections(side), ImportSettings(size=size))
    torch.testing.assert_close(result.images, projections(size) * disc(size), atol=2e-3, rtol=0)
    assert result.pixel_factor == side / size


@pytest.mark.parametrize("crop", [24, 33, 40])
def test_cropping_and_padding_keep_the_origin_and_never_stretch(crop: int) -> None:
    images = noisy(ellipsoids(4, long=0.25), 0.002) + 3
    result = prepare(images, ImportSettings(crop=crop))
    whole = prepare(images, AS_THEY_ARE)
    middle = crop // 2
    found = result.images[:, middle - 6 : middle + 7, middle - 6 : middle + 7]
    torch.testing.assert_close(found, whole.images[:, 16 - 6 : 16 + 7, 16 - 6 : 16 + 7], atol=0.01, rtol=0)
    assert result.side == crop
    if crop > 33:
        assert (result.images[:, 0] == 0).all()


def test_images_that_are_not_square_are_cropped_only_with_the_option() -> None:
    images = torch.nn.functional.pad(noisy(ellipsoids(4)), (3, 5))
    with pytest.raises(InputError, match=r"32×40 in classes.mrcs.*--crop 32"):
        prepare(images, AS_THEY_ARE, name="classes.mrcs")
    assert prepare(images, ImportSettings(crop=28)).images.shape == (4, 28, 28)
    assert prepare(images, ImportSettings(crop=40)).images.shape == (4, 40, 40)


def test_excluded_images_have_a_row_with_the_reason(wording: Callable[[object], None]) -> None:
    images = noisy(ellipsoids(6))
    images[2] = 1.0
    images[4] = images[1]
    result = prepare(images, ImportSettings(select="1-5"))
    assert result.numbers == [1, 3, 5]
    assert [row["number"] for row in result.rows] == list(range(6))
    assert [row["included"] for row in result.rows] == [False, True] * 3
    assert [row["slice"] for row in result.rows] == [None, 0, None, 1, None, 2]
    assert [bool(row["reason"]) for row in result.rows] == [True, False] * 3
    for row in result.rows[::2]:
        wording(row["reason"])
    for note in result.notes[:2]:
        wording(note)


def test_every_doubt_about_the_images_is_noted(wording: Callable[[object], None]) -> None:
    images = noisy(ellipsoids(5, long=0.3))
    wording(prepare(-images, AS_THEY_ARE).notes[0])
    wording(prepare(images, ImportSettings(invert=True)).notes[0])
    wording(prepare(images * torch.tensor([1, 1, 1, 5, 5.0])[:, None, None], AS_THEY_ARE).notes[0])
    moved = prepare(shift(images, torch.tensor([[12.0, 0.0]] + [[0.0, 0.0]] * 4)), AS_THEY_ARE)
    wording(moved.notes[0])
    assert [bool(row["warning"]) for row in moved.rows] == [True, False, False, False, False]
    wording(moved.rows[0]["warning"])
    wording(prepare(images[:1], AS_THEY_ARE).notes[0])


def test_hundreds_of_bad_images_do_not_flood_the_notes() -> None:
    result = prepare(torch.cat([noisy(ellipsoids(2)), torch.zeros(300, 32, 32)]), AS_THEY_ARE)
    assert "280 more" in result.notes[20]
    assert len(result.notes) == 21


def test_the_images_given_are_not_changed() -> None:
    images = noisy(ellipsoids(4))
    before = images.clone()
    prepare(images, ImportSettings(size=16, crop=30, invert=True, recentre=True))
    assert torch.equal(images, before)


def test_correlation_is_that_of_the_pixels_inside_the_mask() -> None:
    images = noisy(ellipsoids(3))
    other = noisy(ellipsoids(3), seed=2)
    mask = disc(32)
    found = correlation(images, other, mask)
    for number in range(3):
        pair = torch.stack([images[number, mask > 0], other[number, mask > 0]])
        assert float(found[number]) == pytest.approx(float(torch.corrcoef(pair)[0, 1]), abs=1e-5)
    torch.testing.assert_close(correlation(images, 5 * images - 2, mask), torch.ones(3))


# ---------------------------------------------------------------- real class averages

MASKED = ["betagal_relion16/betagal_cavgs16_100px_3.54A.mrcs", "betagal_relion16/betagal_cavgs16_64px_3.54A.mrcs",
          "slicem_60S/cavgs_60S_47_96px_4.36A.mrcs"]  # fmt: skip
UNMASKED = ["ribosome80S/pf80S_cavgs_first24_136px_2.68A.mrcs", "hand_cryodrgn/hand.mrcs"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKED + UNMASKED)
def test_real_stacks_are_prepared_sensibly(name: str, shared_data: Callable[[str], Path]) -> None:
    images = torch.from_numpy(read_images(shared_data(name)).images)
    result = prepare(images, ImportSettings(size=48))
    assert result.numbers == list(range(len(images)))
    assert [note for note in result.notes if "already applied" not in note and "reaches" not in note] == []
    assert any(f"applied to {len(images)} of {len(images)}" in note for note in result.notes) == (name in MASKED)
    assert (result.images[:, disc(48) == 0] == 0).all()
    assert ring(result.images).median(1).values.abs().max() < 0.25 * result.s
    assert centre_of_mass(result.images).norm(dim=1).max() < 12
    assert float(((result.images - result.mu) / result.s)[:, disc(48) > 0].std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKED + UNMASKED)
def test_real_stacks_turned_dark_or_mixed_in_greys_are_recognised(
    name: str, shared_data: Callable[[str], Path]
) -> None:
    images = torch.from_numpy(read_images(shared_data(name)).images)[:24]
    assert any("--invert" in note for note in prepare(-images, ImportSettings(size=32)).notes)
    gains = torch.exp(torch.randn(len(images), generator=torch.Generator().manual_seed(0)))[:, None, None]
    mixed = prepare(images * gains, ImportSettings(size=32))
    assert any("grey scales" in note for note in mixed.notes)
    plain = prepare(images, ImportSettings(size=32))
    ratio = mixed.images.flatten(1).norm(dim=1) / plain.images.flatten(1).norm(dim=1)
    assert ratio.max() / ratio.min() < 1.6  # before: up to a factor 50


@pytest.mark.slow
def test_recentring_the_60s_averages_takes_them_off_the_mask(shared_data: Callable[[str], Path]) -> None:
    images = torch.from_numpy(read_images(shared_data(MASKED[2])).images)
    assert any("reaches" in note for note in prepare(images, ImportSettings(size=48)).notes)
    result = prepare(images, ImportSettings(size=48, recentre=True))
    assert not any("reaches" in note for note in result.notes)
    assert centre_of_mass(result.images).abs().max() < 0.6


def test_padding_images_that_are_not_square_loses_no_particle() -> None:
    y, x = torch.meshgrid(torch.arange(40.0) - 20, torch.arange(30.0) - 15, indexing="ij")
    blobs = torch.exp(-((x - 2) ** 2 + (y.abs() - 16) ** 2) / 8)[None] + 0.3  # beyond the rows that a crop to 30 keeps
    images = torch.cat([blobs, blobs.flip(1) * 1.1, blobs * 0.5 + blobs.roll(3, 2)])
    prepared = prepare(images, ImportSettings(crop=48))
    assert prepared.images.shape[1:] == (48, 48)
    assert prepared.images[0].max() > 0.9
