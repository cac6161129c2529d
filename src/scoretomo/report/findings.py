"""What a run found, in plain words: what moves, how much, in how many states, and how sure that is."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..rundir.results import Landscape, Run, Series
from ..wording import counted, images, joined
from .reliability import promise_kept
from .words import WORDS, how_far

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Finding(NamedTuple):
    """An answer to one question."""

    question: str
    answer: str


def findings(run: Run) -> list[Finding]:
    """The answers that a run has; none where its volumes share no frame."""
    answers = {
        "What moves": _what(run.landscape) if run.landscape else _rigid(run),
        "How much": _how_much(run.landscape.series, run.pixel_size) if run.landscape else "",
        "States": _states(run.landscape) if run.landscape else "",
        "How fine": _how_fine(run),
        "How sure": _how_sure(run),
        "What does not belong": _strangers(run),
    }
    return [Finding(question, answer) for question, answer in answers.items() if answer]


def in_letters(number: int) -> str:
    """Small numbers as words."""
    return _SMALL[number] if number < len(_SMALL) else str(number)


def _what(found: Landscape) -> str:
    if found.moves is None:
        return (
            "Not known: there are too few images to ask whether the molecule moves. Its volumes differ, but each may have "
            "errors of its own."
        )
    if not found.moves:
        return (
            "No motion could be shown, so the molecule is taken as rigid: a shape that moves explains left-out images hardly "
            "better than one that does not. A small motion may be missed; what differs between volumes are mostly their errors."
        )
    if found.motions is None:
        return f"The molecule moves, but {counted(len(found.rows), 'volume')} do not tell in how many ways."
    if not found.motions:
        return "The molecule moves, but no motion of its volumes is clear of chance."
    if found.motions == 1:
        return "The molecule moves in one way."
    return f"The molecule moves in {in_letters(found.motions)} independent ways."


def _rigid(run: Run) -> str:
    """What is known without a landscape, for which three volumes are needed."""
    if run.shared is None or run.shared.asked is None:
        return ""
    return "The molecule moves." if run.shared.moves else "No motion could be shown, so the molecule is taken as rigid."


def _how_much(series: Sequence[Series], pixel_size: float | None) -> str:
    if len(series) == 1:
        said = how_far(series[0], pixel_size)
        return f"{said[0].upper()}{said[1:]}."
    return " ".join(f"{each.title}: {how_far(each, pixel_size)}." for each in series)


def _states(found: Landscape) -> str:
    sizes = sorted(int(row["volumes"]) for row in found.states)
    if len(sizes) < 2:
        return ""
    groups = in_letters(len(sizes))
    each = f", of {joined([str(size) for size in sizes])} volumes" if sizes[0] < sizes[-1] else f" of {sizes[0]} volumes"
    return (
        f"{groups[0].upper()}{groups[1:]} groups{each} that are alike. They are a way to sort: "
        "whether there are steps between them, the scatter below shows."
    )


def _how_fine(run: Run) -> str:
    """How far the consensus holds for images that were left out of it."""
    shared = run.shared
    if shared is None:
        return ""
    blurred = ", in which what moves is blurred," if shared.moves else ""
    finest = 2 * (run.pixel_size or 1.0)
    ends = "" if shared.left_out_resolution > 1.001 * finest else ", the finest that such pixels can show"
    found = f"{shared.left_out_resolution:.3g} {run.unit}"
    return f"The consensus{blurred} agrees with images that were left out of it down to {found}{ends}."


def _how_sure(run: Run) -> str:
    sentences = []
    if run.shared and run.shared.agreements:
        starts = len(run.shared.agreements) + 1
        if run.shared.agreeing == starts - 1:
            sentences.append(f"All {in_letters(starts)} random starts came to the same consensus.")
        else:
            sentences.append(
                f"Only {in_letters(run.shared.agreeing + 1)} of {in_letters(starts)} random starts came to this consensus: "
                "the shape itself is not certain."
            )
    words = [volume.trust.word for volume in run.volumes if volume.trust]
    down = f", down to {run.judged_to}" if run.judged_to else ""
    if words:
        several = counted(len(words), "volume")
        asks = zip(WORDS, ("trust {}", "take {} with care", "do not believe {}"), strict=True)
        each = [ask.format(words.count(word)) for word, ask in asks if word in words]
        of_all = dict(zip(WORDS, ("Trust all {}.", "Take all {} with care.", "Believe none of {}."), strict=True))
        alike = len(words) > 1 and len({*words}) == 1
        sentences.append(of_all[words[0]].format(several) if alike else f"Of {several}, {joined(each)}.")
        expected = [volume.trust.expected for volume in run.volumes if volume.trust and volume.trust.expected is not None]
        if len({*expected}) > 1:
            half = f"{statistics.median(expected):.2f} or more"
            sentences.append(f"Half of the volumes should have an FSC with the truth of {half}{down}.")
        elif expected:
            who = "Each" if len(expected) > 1 else "It"
            sentences.append(f"{who} should have an FSC with the truth of about {expected[0]:.2f}{down}.")
    kept = promise_kept(run)
    if kept:
        sentences.append(
            f"The truth is known of {counted(kept.volumes, 'volume')}: {kept.found:.2f} on average, where {kept.expected:.2f} was "
            f"expected{down}; {kept.inside} in the interval that should hold four of five."
        )
    return " ".join(sentences)


def _strangers(run: Run) -> str:
    """Images that do not show the molecule."""
    if run.shared is None:
        return ""
    sentences = []
    if run.shared.second:
        sentences.append(
            f"{images(run.shared.second).capitalize()} {'shows' if len(run.shared.second) == 1 else 'show'} a second molecule."
        )
    if run.shared.outliers:
        sentences.append(f"No view explains {images(run.shared.outliers)}.")
    left_out = [image.number for image in run.images if image.selected and image.pixels is None]
    if left_out:
        sentences.append(f"{images(left_out).capitalize()} could not be used.")
    return " ".join(sentences) or "Every image fits the one molecule."
