"""Many images in one picture: each carries its number in the user's file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from runs import blob

from scoretomo import files
from scoretomo.graphics.montage import named_sheet, sheet

SIDE = 96


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 24, 24)).astype(np.float32)


def pixels(picture: PIL.Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_names_are_small_and_in_the_lower_left_corner_of_their_images() -> None:
    images = pictures(6)
    named = pixels(named_sheet({str(7 * place): image for place, image in enumerate(images)}, SIDE))
    changed = named != pixels(sheet([images[:3], images[3:]], SIDE))
    for place in range(6):
        y, x = (SIDE + 2) * (place // 3), (SIDE + 2) * (place % 3)
        rows, columns = np.nonzero(changed[y : y + SIDE, x : x + SIDE])
        assert rows.min() > 0.8 * SIDE
        assert 5 < columns.max() < 0.3 * SIDE
        corner = named[y + rows.min() : y + SIDE, x : x + columns.max() + 1]
        assert corner.min() == 0
        assert corner.max() > 200


def test_numbers_are_those_of_the_file(
    tmp_path: Path, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[list[str]] = []

    def caught(images: Mapping[str, np.ndarray], side: int) -> PIL.Image.Image:
        named.append(list(images))
        return named_sheet(images, side)

    monkeypatch.setattr("scoretomo.commands.info.named_sheet", caught)
    files.write_images(tmp_path / "images.mrcs", np.stack([blob(24, seed).sum(0) for seed in range(5)]), 3.0)
    files.write_map(tmp_path / "map.mrc", blob(24, 0), 3.0)
    montage = ("--montage", tmp_path / "montage.png")
    for file, options in (("images.mrcs", ()), ("images.mrcs", ("--select", "1,3")), ("map.mrc", ())):
        assert command("info", tmp_path / file, *options, *montage)[0] == 0
    assert named == [list("01234"), ["1", "3"], [*(f"along {x}" for x in "zyx"), *(f"{x} = 0" for x in "zyx")]]
