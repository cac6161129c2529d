"""Junk classes are left out and named, and no image decides how the others are scaled."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoretomo.files import read_images, write_images
from scoretomo.images import disc, find_junk, grey_factors, normalisation, prepare, shift
from scoretomo.phantoms import MovingBox
from scoretomo.settings import ImportSettings
from scoretomo.simulation import JUNK_KINDS, Junk, simulate, with_junk

AS_THEY_ARE = ImportSettings()


@pytest.fixture(scope="module")
def boxes() -> Tensor:
    """Thirty views of a moving box, 24 pixels."""
    return torch.stack([simulated.image for simulated in simulate(MovingBox(), 30, 24, 0)])


@pytest.mark.parametrize("kind", JUNK_KINDS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_junk_is_left_out_and_named_and_good_images_stay(boxes: Tensor, kind: Junk, share: float) -> None:
    stack = with_junk(boxes, share, 0, (kind,))
    result = prepare(stack, AS_THEY_ARE)
    assert result.numbers == list(range(len(boxes)))
    reasons = [str(row["reason"]) for row in result.rows[len(boxes) :]]
    assert all("looks like junk" in reason or "the same as" in reason for reason in reasons)  # two blobs may be alike
    assert f"image {len(boxes)} left out: looks like junk" in result.notes[0]


def test_a_stack_keeps_its_scale_whatever_junk_is_in_it(boxes: Tensor) -> None:
    plain, mixed = prepare(boxes, AS_THEY_ARE), prepare(with_junk(boxes, 0.4, 1), AS_THEY_ARE)
    assert mixed.numbers == plain.numbers
    assert (mixed.mu, mixed.s) == (plain.mu, plain.s)
    assert torch.equal(mixed.images, plain.images)


def test_one_dark_blob_among_good_averages_changes_nothing(boxes: Tensor) -> None:
    stack = boxes.clone()
    y, x = torch.meshgrid(torch.arange(24.0) - 12, torch.arange(24.0) - 12, indexing="ij")
    stack[4] = -torch.exp(-(x.square() + y.square()) / 25) * boxes.max()
    result = prepare(stack, AS_THEY_ARE)
    assert result.rows[4]["reason"] == "looks like junk (dark where the others are bright)"
    assert result.s == pytest.approx(prepare(boxes, AS_THEY_ARE).s, rel=0.02)  # it was 523 times as large


@pytest.mark.parametrize("brightness", [5e-8, 1e3])
def test_an_image_as_the_others_but_far_fainter_or_brighter_is_not_raised_to_their_weight(boxes: Tensor, brightness: float) -> None:
    stack = boxes.clone()
    stack[7] *= brightness
    result = prepare(stack, AS_THEY_ARE)
    assert 7 not in result.numbers
    assert ("fainter" if brightness < 1 else "brighter") in str(result.rows[7]["reason"])


def test_what_was_not_used_before_is_left_out(boxes: Tensor) -> None:
    result = prepare(boxes, AS_THEY_ARE, unused={3: "no particle is in this class"})
    assert result.rows[3]["reason"] == "no particle is in this class"
    assert result.numbers == [number for number in range(30) if number != 3]


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


def test_selected_images_are_used_whatever_they_look_like(boxes: Tensor) -> None:
    stack = with_junk(boxes, 0.1, 0, ("white noise",))
    result = prepare(stack, ImportSettings(select="0-32"))
    assert result.numbers == list(range(33))
    assert "image 30 looks like junk (no particle with empty space around it): used, as it was selected" in result.notes


def test_particles_off_the_centre_are_no_junk(boxes: Tensor) -> None:
    aside = torch.zeros(len(boxes), 2)
    aside[:5, 0] = 6.0
    assert find_junk(shift(boxes, aside)) == [""] * len(boxes)


def test_where_most_images_would_be_junk_or_few_are_there_none_is_called_so(boxes: Tensor) -> None:
    stack = with_junk(boxes[:10], 0.6, 0, ("white noise",))
    assert find_junk(stack) == [""] * len(stack)
    assert find_junk(with_junk(boxes[:3], 0.25, 0, ("white noise",))) == [""] * 4


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


def test_volumes_are_the_same_with_junk_in_the_stack_and_the_report_names_it(
    box: Path, six_volumes: Path, run_with: Callable[..., Path], tmp_path: Path
) -> None:
    write_images(tmp_path / "mixed.mrcs", with_junk(torch.from_numpy(read_images(box).images), 0.2, 0).numpy(), None)
    run = run_with(tmp_path / "mixed.mrcs", tmp_path / "run", images="0,2,4,6,8,10", steps=5)
    names = [path.name for path in sorted((six_volumes / "volumes").iterdir())]
    assert len(names) == 6
    assert [(run / "volumes" / name).read_bytes() for name in names] == [
        (six_volumes / "volumes" / name).read_bytes() for name in names
    ]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Image 20 was left out: looks like junk (dark where the others are bright)" in page


REAL = {
    "betagal_relion16/betagal_cavgs16_64px_3.54A.mrcs": 16,
    "slicem_60S/cavgs_60S_47_96px_4.36A.mrcs": 47,
    "ribosome80S/pf80S_cavgs_first24_136px_2.68A.mrcs": 24,
    "ribosome70S_particles/class_averages.mrcs": 100,
    "ribosome70S_hard/class_averages.mrcs": 100,
}


@pytest.mark.parametrize("name", REAL)
def test_no_real_class_average_is_taken_for_junk(name: str, shared_data: Callable[[str], Path]) -> None:
    images = torch.from_numpy(read_images(shared_data(name)).images)
    assert prepare(images, ImportSettings(size=32)).numbers == list(range(REAL[name]))
