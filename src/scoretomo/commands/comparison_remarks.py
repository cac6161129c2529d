"""Remarks on a map and its truth: their files, their pixel sizes, their contrast."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from .. import files
from ..evaluation import contrast
from ..rundir.rows import Comparison, Remark

_APART = 0.05  # share by which sizes differ that can't both be right


def remarks(path: Path, volume: files.Map, truth: Path, true: files.Map) -> Iterator[Remark]:
    """What a user should check before relying on a comparison.

    Args:
        path, volume: the map.
        truth, true: its truth.
    """
    for name, file, read in (("map", path, volume), ("truth", truth, true)):
        for note in read.notes:
            yield Remark(f"{name}: {note}", f"{name}: {note.replace(file.name, '')}")
    yield from _on_sizes(path, volume, truth, true)
    signs = [contrast(torch.from_numpy(read.density)) for read in (volume, true)]
    if signs[0] * signs[1] < 0:
        dark, bright = (path, truth) if signs[0] < 0 else (truth, path)
        sentence = f"{dark} is dark on bright, unlike {bright}: multiply one of them by −1, or FSC results mean nothing"
        yield Remark(sentence, "contrast")


def _on_sizes(path: Path, volume: files.Map, truth: Path, true: files.Map) -> Iterator[Remark]:
    """Voxels and boxes that both differ: one of the pixel sizes is wrong."""
    if not volume.pixel_size or not true.pixel_size:
        return
    sizes = volume.pixel_size, true.pixel_size
    boxes = len(volume.density) * sizes[0], len(true.density) * sizes[1]
    if all(max(pair) > (1 + _APART) * min(pair) for pair in (sizes, boxes)):
        yield Remark(
            f"{path.name} has voxels of {sizes[0]:.4g} Å in a box of {boxes[0]:.4g} Å, its truth {truth.name} of "
            f"{sizes[1]:.4g} Å in one of {boxes[1]:.4g} Å: if one is wrong, so are all FSC results; correct the header",
            "voxels",
        )


def each_once(comparisons: Sequence[Comparison]) -> list[str]:
    """The remarks of all comparisons; of those of one kind the first, and how many more there are."""
    kinds: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        for sentence, kind in comparison.remarks:
            kinds.setdefault(kind, {})[sentence] = None
    firsts = [(next(iter(sentences)), len(sentences) - 1) for sentences in kinds.values()]
    return [f"{sentence} (and {more} more)" if more else sentence for sentence, more in firsts]
