"""The sentences of the page: what came in, what came out, and what to believe of it."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .results import Run, seconds_taken


class Figure(NamedTuple):
    """A number worth seeing first."""

    value: str
    unit: str
    meaning: str


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listing(numbers: Sequence[int], most: int = 8) -> str:
    """Numbers in a sentence: 3, 9 and 11; a long list is cut."""
    names = [str(number) for number in numbers]
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def duration(seconds: float) -> str:
    """Seconds as 48 s, 5 min 20 s or 3 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def length(pixels: float, pixel_size: float | None) -> str:
    """A length in Å, or in pixels if no pixel size is known."""
    return f"{pixels * pixel_size:.3g} Å" if pixel_size else f"{pixels:g} px"


def summary(run: Run) -> list[str]:
    """What happened, a sentence each."""
    kept = [image for image in run.images if image.pixels is not None]
    left_out = [image.number for image in run.images if image.pixels is None]
    done, diverged, missing = ([v.number for v in run.with_status(s)] for s in ("done", "diverged", "missing"))
    came = f"{counted(len(run.images), 'image')} came in"
    if left_out:
        sentences = [f"{came}; {len(kept)} could be used and {len(left_out)} "
                     f"{'was' if len(left_out) == 1 else 'were'} left out ({_images(left_out)}; the reasons are below)."]
    else:
        sentences = [f"{came}, and {'it' if len(kept) == 1 else 'all of them'} could be used."]
    if missing:
        sentences.append(f"The run is not finished: {len(done)} of {counted(len(run.volumes), 'volume')} "
                         f"{'is' if len(done) == 1 else 'are'} done, {_images(missing)} "
                         f"{'is' if len(missing) == 1 else 'are'} still missing. The same command continues it.")
    else:
        sentences.append(f"{counted(len(done), 'volume')} came out, one for each image{' asked for' if len(done) + len(diverged) < len(kept) else ''}."
                         if not diverged else f"{counted(len(done), 'volume')} came out.")
    if diverged:
        sentences.append(f"The reconstruction of {_images(diverged)} diverged and left no volume.")
    seconds = seconds_taken(run.records)
    if seconds:
        each = _mean([float(v.row["seconds"]) for v in run.with_status("done") if v.row.get("seconds")])
        sentences.append(f"This took {duration(seconds)}" + (f", {duration(each)} of it for a volume." if each and len(done) == 1
                         else f" in all, about {duration(each)} a volume." if each else "."))
    if run.scores:
        values = [score.mean_fsc for score in run.scores]
        spread = f", from {min(values):.2f} to {max(values):.2f}" if len(values) > 1 else ""
        sentences.append(f"Against the truth the mean FSC over shells is {_mean(values):.2f}{spread}.")
    return sentences


def _images(numbers: Sequence[int]) -> str:
    return f"image{'' if len(numbers) == 1 else 's'} {listing(numbers)}"


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def advice(run: Run) -> list[str]:
    """How to read the volumes, and how far to trust them."""
    sentences = [
        "Each volume is in the frame of its own image: seen along z it should look like that image. Two volumes can differ by a "
        "rotation alone.",
        "The hand of a volume is arbitrary, since a volume and its mirror image fit the same image.",
    ]
    if run.scores:
        sentences.append("Anchor correlation says only how well a volume fits its own image. Compare it with the FSC below: a "
                         "volume can fit its image and be wrong in everything that image does not show.")
    else:
        sentences.append("Some reconstructions from a cold start fail: the volume fits its own image and is wrong elsewhere. Without "
                         "a truth nobody can tell which, and a high anchor correlation is no proof. Look for shapes that come back "
                         "in several volumes, or run again with another seed and see what stays.")
    return sentences


def figures(run: Run) -> list[Figure]:
    """The few numbers at the head of the page."""
    size, pixel_size = run.imported.get("size"), run.pixel_size
    done = len(run.with_status("done"))
    out = [Figure(str(done) if done == len(run.volumes) else f"{done}/{len(run.volumes)}", "", "volume" if len(run.volumes) == 1 else "volumes")]
    if size:
        out.append(Figure(str(size), "px", f"side, {length(size, pixel_size)}" if pixel_size else "side; pixel size unknown"))
    if pixel_size:
        out.append(Figure(f"{pixel_size:.4g}", "Å/px", "pixel size"))
    evaluation = run.evaluation or {}
    if run.scores:
        out.append(Figure(f"{_mean([score.mean_fsc for score in run.scores]):.3f}", "", "mean FSC to the truth"))
        if pixel_size:
            half = statistics.median(score.resolution_half for score in run.scores)
            out.append(Figure(f"{half:.3g}", "Å", "median resolution, FSC 0.5"))
    else:
        correlations = [float(v.row["anchor_correlation"]) for v in run.with_status("done") if v.row.get("anchor_correlation")]
        if correlations:
            out.append(Figure(f"{statistics.median(correlations):.3f}", "", "median anchor correlation"))
    if evaluation.get("conformation_gain") is not None:
        out.append(Figure(f"{evaluation['conformation_gain']:.2f}", "", "conformation gain"))
    return out
