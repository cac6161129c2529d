"""What the page says of a learned score: its training, its errors, its samples."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from ..graphics import charts, surfaces
from ..graphics.surfaces import at_most
from ..rundir.results import Learned, Run, Samples
from ..wording import counted, listing

_PANEL = 18  # samples, and class averages beside them
_PAIRS = 36
_SIDE = 96  # pixels of a picture
_FEW = 10  # held-out images, below which their error says little
_COPY = 0.5  # of the usual distance between class averages: a sample that is closer to one counts as a copy
_CURVES = {
    "network_training": "network, training images",
    "network_held_out": "network, held-out images",
    "exact_training": "exact score, training images",
    "exact_held_out": "exact score, held-out images",
    "wiener": "linear filter",
}


class Pair(NamedTuple):
    """A sample and the class average nearest to it."""

    number: str
    sample: str  # picture
    nearest: str  # picture
    image: str  # number of the class average
    correlation: float


class Panels(NamedTuple):
    """Samples beside class averages, all on one grey scale."""

    samples: list[str]
    averages: list[str]
    pairs: list[Pair]
    words: list[str]


class Score(NamedTuple):
    """The section about the learned score."""

    words: list[str]
    loss: Markup | None
    errors: Markup | None
    keys: list[tuple[str, str]]  # class and name of each curve of the errors
    about_errors: list[str]
    panels: Panels | None


def describe_score(run: Run) -> Score | None:
    """The section about the learned score of a run; None if it has none."""
    learned = run.learned
    if learned is None:
        return None
    curves = _curves(learned)
    about = f"Denoising error against noise level: {', '.join(_CURVES[name] for name in curves)}"
    return Score(
        words=_training(learned),
        loss=charts.loss_chart(learned.loss, label="Training loss against images seen") if learned.loss else None,
        errors=charts.error_chart({_css(name): curve for name, curve in curves.items()}, label=about) if curves else None,
        keys=[(_css(name), _CURVES[name]) for name in curves],
        about_errors=_about_errors(learned, curves) if curves else [],
        panels=_panels(run, learned.samples) if learned.samples else None,
    )


def _css(name: str) -> str:
    return name.replace("_", " ", 1).replace("_", "-")


def _curves(learned: Learned) -> dict[str, list[tuple[float, float]]]:
    """Error against t of every column that has any."""
    columns = {name: [(float(row["t"]), float(row[name])) for row in learned.errors if row.get(name)] for name in _CURVES}
    return {name: curve for name, curve in columns.items() if curve}


def _training(learned: Learned) -> list[str]:
    record = learned.record
    if not record:
        seen = int(learned.loss[-1]["images_seen"]) if learned.loss else 0
        return [f"The network is not trained yet: it has seen {seen:,} noisy images. The same command continues."]
    words = [f"The network “{record['network']}” was trained on {record['examples']:,} noisy images."]
    held_out = record["held_out"]
    if held_out:
        which = f"{counted(len(held_out), 'class average')} ({listing(held_out)})"
        words.append(
            f"{which} {'was' if len(held_out) == 1 else 'were'} kept from it, to see whether it knows more than it was shown."
        )
    else:
        words.append("It was shown all class averages, so nothing here says how well it knows others: hold some out (--held-out).")
    return words


def _about_errors(learned: Learned, curves: dict[str, list[tuple[float, float]]]) -> list[str]:
    words = [
        "Noise of level t is added to class averages, turned and flipped at random, and taken away again: the error that is left, "
        "per pixel, where 1 is the spread of the images. The linear filter is the best one for Gaussian images of the same power "
        "spectrum; a network that is not below it has learned little."
    ]
    if "network_held_out" in curves:
        few = len(learned.record.get("held_out", [])) < _FEW
        rough = " (roughly, from so few images)" if few else ""
        worse = _ratio(curves["network_held_out"], curves["network_training"])
        words.append(
            f"Between t = 0.1 and 2{rough} the network errs {_more(worse)} on images that it was trained on: "
            + (
                "it has learned what such images look like, not these by heart."
                if worse < 1.1
                else "part of what it knows is these images by heart. More images, or a shorter training, would help."
            )
        )
    if {"network_training", "exact_training"} <= set(curves):
        kind = "held_out" if {"network_held_out", "exact_held_out"} <= set(curves) else "training"
        t, network = min(curves[f"network_{kind}"], key=lambda point: abs(point[0] - 1))
        exact = dict(curves[f"exact_{kind}"])[t]
        words.append(
            f"At t = {t:.2g}, about where volumes are made, the network leaves {network:.2f} on {kind.replace('_', '-')} images "
            f"and the exact score {exact:.2f}."
        )
    if "exact_training" in curves:
        floor = min(error for _, error in curves["exact_training"])
        others = ", and held-out images it replaces by others" if "exact_held_out" in curves else ""
        words.append(
            "The exact score knows its own images in fixed turns and nothing else. Test images are also shifted and turned in "
            f"between, so its error does not fall below {floor:.2f} however little noise there is{others}."
        )
    return words


def _ratio(first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]) -> float:
    """Mean ratio of two curves at the noise levels that matter for volumes."""
    known = dict(second)
    return statistics.geometric_mean([error / known[t] for t, error in first if t in known and 0.1 <= t <= 2] or [1.0])


def _more(ratio: float) -> str:
    by = round(abs(ratio - 1) * 100)
    if by == 0:
        return "as much on images it has never seen as"
    return f"{by} % {'more' if ratio > 1 else 'less'} on images it has never seen than"


def _panels(run: Run, samples: Samples) -> Panels:
    trained = _trained_on(run)
    averages = [trained[k] for k in _spread(len(trained), min(_PANEL, len(samples.images)))]
    shown = [at_most(image, _SIDE) for image in samples.images[: max(_PANEL, _PAIRS)]]
    beside = [at_most(image, _SIDE) for image in averages]
    scale = surfaces.common_scale(*shown, *beside)
    order = sorted(range(min(len(shown), _PAIRS)), key=lambda k: -float(samples.rows[k]["correlation"]))
    pairs = [
        Pair(
            number=samples.rows[k]["sample"],
            sample=surfaces.data_uri(surfaces.grey(shown[k], scale)),
            nearest=surfaces.data_uri(surfaces.grey(at_most(samples.nearest[k], _SIDE), scale)),
            image=samples.rows[k]["nearest"],
            correlation=float(samples.rows[k]["correlation"]),
        )
        for k in order
    ]
    return Panels(
        samples=[surfaces.data_uri(surfaces.grey(image, scale)) for image in shown[:_PANEL]],
        averages=[surfaces.data_uri(surfaces.grey(image, scale)) for image in beside],
        pairs=pairs,
        words=_about_samples(samples, len(trained)),
    )


def _trained_on(run: Run) -> list[np.ndarray]:
    held_out = set(run.learned.record.get("held_out", [])) if run.learned else set()
    return [image.pixels for image in run.images if image.pixels is not None and image.number not in held_out]


def _spread(count: int, wanted: int) -> list[int]:
    """So many of the numbers below a count, evenly spread."""
    return [k * count // wanted for k in range(min(wanted, count))]


def _about_samples(samples: Samples, trained: int) -> list[str]:
    found = [float(row["correlation"]) for row in samples.rows]
    distinct = len({row["nearest"] for row in samples.rows})
    words = [
        f"The median correlation of a sample with its nearest class average, over all turns and flips, is "
        f"{statistics.median(found):.3f}, from {min(found):.3f} to {max(found):.3f}. The {counted(len(found), 'sample')} "
        f"{'has' if len(found) == 1 else 'have'} {counted(distinct, 'different nearest class average')}, of {trained}."
    ]
    if all(row.get("natural") for row in samples.rows):
        natural = [float(row["natural"]) for row in samples.rows]
        words.append(_memory(found, natural))
    return words


def _memory(found: Sequence[float], natural: Sequence[float]) -> str:
    """Whether samples are copies, by how far class averages are from each other."""
    scale = (
        f"Those class averages have a median correlation of {statistics.median(natural):.3f} with the one that is nearest to them"
    )
    far = statistics.median((1 - one) / max(1 - other, 1e-6) for one, other in zip(found, natural, strict=True))
    copies = sum(1 - one < _COPY * (1 - other) for one, other in zip(found, natural, strict=True))
    if copies > len(found) / 2:
        return (
            f"{scale}: most samples ({copies} of {len(found)}) are much closer to one than that. The network reproduces its images."
        )
    some = f" {counted(copies, 'sample')} of {len(found)} {'is' if copies == 1 else 'are'} much closer to one." if copies else ""
    if far > 2:
        return (
            f"{scale}: samples are farther from any class average than these are from each other. They are no copies; whether they "
            f"are good ones, only the eye can tell.{some}"
        )
    return f"{scale}: samples are about as far from class averages as these are from each other. They are no copies.{some}"
