"""Junk classes are excluded and named, and no image decides how the others are scaled."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoretomo.config import ImportSettings
from scoretomo.files import read_images, write_images
from scoretomo.images import disc, find_junk, grey_factors, normalisation, prepare, shift
from scoretomo.phantoms import MovingBox
from scoretomo.simulation import JUNK_KINDS, Junk, simulate, with_junk

AS_THEY_ARE = ImportSettings()


@pytest.fixture(scope="module")
def boxes() -> Tensor:
    """Thirty views of a moving box, 24 pixels."""
    return torch.stack([simulated.image for simulated in simulate(MovingBox(), 30, 24, 0)])


@pytest.mark.parametrize("kind", JUNK_KINDS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_junk_is_excluded_with_a_reason_and_good_images_stay(boxes: Tensor, kind: Junk, share: float) -> None:
    stack = with_junk(boxes, share, 0, (kind,))
    result = prepare(stack, AS_THEY_ARE)
    assert result.numbers[: len(boxes)] == list(range(len(boxes)))
    reasons = [str(row["reason"]) for row in result.rows[len(boxes) :]]
    named = ["junk" in reason or "same" in reason for reason in reasons]  # two blobs may be alike
    assert sum(named) >= (0.9 if kind == "two particles" else 1) * len(named)
    assert "junk" in result.notes[0]


def test_a_stack_keeps_its_scale_whatever_junk_is_in_it(boxes: Tensor) -> None:
    plain, mixed = prepare(boxes, AS_THEY_ARE), prepare(with_junk(boxes, 0.4, 1), AS_THEY_ARE)
    assert mixed.numbers == plain.numbers
    assert (mixed.mu, mixed.s) == (plain.mu, plain.s)
    assert torch.equal(mixed.images, plain.images)


def test_one_dark_blob_among_good_averages_changes_nothing(boxes: Tensor, wording: Callable[[object], None]) -> None:
    stack = boxes.clone()
    y, x = torch.meshgrid(torch.arange(24.0) - 12, torch.arange(24.0) - 12, indexing="ij")
    stack[4] = -torch.exp(-(x.square() + y.square()) / 25) * boxes.max()
    result = prepare(stack, AS_THEY_ARE)
    wording(result.rows[4]["reason"])
    assert result.s == pytest.approx(prepare(boxes, AS_THEY_ARE).s, rel=0.02)  # it was 523 times as large


@pytest.mark.parametrize("value", [1e4, -1e6, 1e30])
def test_an_image_with_a_hot_pixel_is_excluded(boxes: Tensor, value: float, wording: Callable[[object], None]) -> None:
    stack = boxes.clone()
    stack[4, 12, 12] = value
    result = prepare(stack, AS_THEY_ARE)
    wording(result.rows[4]["reason"])
    assert result.numbers == [number for number in range(30) if number != 4]
    assert result.s == pytest.approx(prepare(boxes, AS_THEY_ARE).s, rel=0.02)


@pytest.mark.parametrize("gain", [30.0, 1000.0])
@pytest.mark.parametrize("first", [10, 20])
def test_images_of_two_jobs_are_brought_to_one_scale_however_different(boxes: Tensor, gain: float, first: int) -> None:
    stack = boxes.clone()
    stack[first:] *= gain
    result = prepare(stack, AS_THEY_ARE)
    assert result.numbers == list(range(30))
    strength = result.images.flatten(1).norm(dim=1)
    assert strength.max() < 3 * strength.min()


def test_a_half_inverted_stack_is_noted_and_nothing_is_rescaled(
    boxes: Tensor, wording: Callable[[object], None]
) -> None:
    stack = boxes.clone()
    stack[15:] *= -1
    result = prepare(stack, AS_THEY_ARE)
    wording(next(note for note in result.notes if "15 of 30" in note))
    assert {row["scale"] for row in result.rows} == {1.0}


@pytest.mark.parametrize("brightness", [5e-8, 1e3])
def test_an_image_that_is_much_fainter_or_brighter_than_others_is_excluded_and_not_rescaled(
    boxes: Tensor, brightness: float
) -> None:
    stack = boxes.clone()
    stack[7] *= brightness
    result = prepare(stack, AS_THEY_ARE)
    assert 7 not in result.numbers
    assert ("fainter" if brightness < 1 else "brighter") in str(result.rows[7]["reason"])


def test_images_that_were_not_used_before_are_excluded_unless_selected(
    boxes: Tensor, wording: Callable[[object], None]
) -> None:
    result = prepare(boxes, AS_THEY_ARE, unused={3: "no particle is in this class"})
    assert result.rows[3]["reason"] == "no particle is in this class"
    assert result.numbers == [number for number in range(30) if number != 3]
    selected = prepare(boxes, ImportSettings(select="0-7"), unused={3: "no particle is in this class"})
    assert selected.numbers == list(range(8))
    wording(next(note for note in selected.notes if "image 3 " in note))


@pytest.mark.parametrize("kind", JUNK_KINDS)
def test_mean_and_scale_do_not_depend_on_any_one_image(boxes: Tensor, kind: Junk) -> None:
    plain = normalisation(boxes)
    for strength in (1e-6, 1.0, 1e6):
        junk = strength * with_junk(boxes, 0.04, 0, (kind,))[-1] * disc(24)
        for place in (0, 13, 29):
            stack = boxes * disc(24)
            stack[place] = junk
            mu, s = normalisation(stack)
            assert abs(mu - plain[0]) < 0.1 * plain[1]
            assert s == pytest.approx(plain[1], rel=0.1)


def test_mean_and_scale_of_a_stack_without_junk_are_those_of_all_pixels(boxes: Tensor) -> None:
    inside = boxes[:, disc(24) > 0].double()
    assert normalisation(boxes) == (float(inside.mean()), float(inside.std(correction=0)))


def test_selected_images_are_used_whatever_they_look_like(boxes: Tensor, wording: Callable[[object], None]) -> None:
    stack = with_junk(boxes, 0.1, 0, ("white noise",))
    result = prepare(stack, ImportSettings(select="0-32"))
    assert result.numbers == list(range(33))
    wording(next(note for note in result.notes if "image 30 " in note))


def test_particles_off_the_centre_are_no_junk(boxes: Tensor) -> None:
    aside = torch.zeros(len(boxes), 2)
    aside[:5, 0] = 6.0
    assert find_junk(shift(boxes, aside)) == [""] * len(boxes)


def test_where_most_images_would_be_junk_all_are_used_at_their_own_scale(boxes: Tensor) -> None:
    faint = with_junk(boxes[:10], 0.6, 0, ("dark blob", "empty"))
    result = prepare(faint, AS_THEY_ARE)
    assert result.numbers[:10] == list(range(10))
    assert result.images.abs().max() < 1.1 * faint.abs().max()
    assert any("junk" in note for note in result.notes)


def test_of_few_images_a_dark_one_is_junk(boxes: Tensor) -> None:
    stack = with_junk(boxes[:3], 0.25, 0, ("dark blob",))
    result = prepare(stack, AS_THEY_ARE)
    assert result.numbers == [0, 1, 2]
    assert prepare(with_junk(boxes[:3], 0.25, 0, ("white noise",)), AS_THEY_ARE).numbers == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [kind for kind in JUNK_KINDS if kind != "two particles"])
def test_junk_that_is_selected_keeps_its_own_scale_and_leaves_the_others_theirs(boxes: Tensor, kind: Junk) -> None:
    gains = torch.where(torch.arange(30) % 3 == 0, 3.0, 1.0)[:, None, None]
    mixed = boxes * gains
    plain = prepare(mixed, AS_THEY_ARE)
    stack = with_junk(mixed, 0.1, 0, (kind,))
    result = prepare(stack, ImportSettings(select="0-32"))
    assert any("grey scales" in note for note in result.notes)
    torch.testing.assert_close(result.images[:30], plain.images)
    assert [row["scale"] for row in result.rows[30:]] == [1.0] * 3


def test_noise_in_all_images_is_no_junk(boxes: Tensor) -> None:
    noisy = boxes + 2 * boxes.std() * torch.randn(boxes.shape, generator=torch.Generator().manual_seed(0))
    assert find_junk(noisy) == [""] * len(noisy)


def test_one_image_in_another_grey_scale_does_not_rescale_the_others(boxes: Tensor) -> None:
    stack = boxes.clone()
    stack[11] *= 3
    factors = grey_factors(stack, disc(24))
    assert factors is not None
    assert float(factors[11]) == pytest.approx(1 / 3, rel=0.25)
    assert (factors[torch.arange(30) != 11] == 1).all()


@pytest.mark.slow
def test_volumes_are_the_same_with_junk_in_the_stack_and_the_report_has_the_reason(
    box: Path, run_with: Callable[..., Path], tmp_path: Path
) -> None:
    write_images(tmp_path / "mixed.mrcs", with_junk(torch.from_numpy(read_images(box).images), 0.2, 0).numpy(), None)
    options = {"images": "0,3", "method": "paper", "steps": 4}
    plain, mixed = (
        run_with(stack, tmp_path / stack.stem, workers=1, **options) for stack in (box, tmp_path / "mixed.mrcs")
    )
    names = [path.name for path in sorted((plain / "volumes").iterdir())]
    assert len(names) == 2
    assert [(mixed / "volumes" / name).read_bytes() for name in names] == [
        (plain / "volumes" / name).read_bytes() for name in names
    ]
    page = (mixed / "report.html").read_text(encoding="utf-8")
    assert "looks like junk (dark where the others are bright)" in page


@pytest.mark.slow
@pytest.mark.parametrize("kind", JUNK_KINDS)
def test_junk_is_excluded_from_real_class_averages_and_none_of_these(
    kind: Junk, shared_data: Callable[[str], Path]
) -> None:
    images = torch.from_numpy(read_images(shared_data("betagal_relion16/betagal_cavgs16_64px_3.54A.mrcs")).images)
    background = images[:, :8, :8].mean()
    result = prepare(with_junk(images - background, 0.2, 0, (kind,)) + background, ImportSettings(size=32))
    assert result.numbers == list(range(16))
