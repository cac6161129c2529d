"""The sentences of the page: what came in, what came out, and what to believe of it."""

import re
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ..rundir.results import Run, Series, Shared, Trust, seconds_taken
from ..wording import counted, duration, images, length

WORDS = ("trust", "with care", "do not")  # of how far to believe a volume, the best first
_LEFT_OUT = re.compile(r"(image )?\d+ (more images )?left out: ")  # notes of import that the table of images has, too
_STILL = 1.5  # pixels that surfaces seem to go where nothing moves


class Figure(NamedTuple):
    """A number worth seeing first."""

    value: str
    unit: str
    meaning: str


def how_far(series: Series, pixel_size: float | None) -> str:
    """How much of a molecule a motion takes along, and how far."""
    share = 100 * series.replaced
    places = f"{share:.0f} %" if share >= 1 else "less than 1 %"
    if series.distance < _STILL:
        return f"from end to end {places} of the molecule changes place, by no more than a pixel or two"
    distance = length(round(series.distance, 1), pixel_size)
    return f"from end to end {places} of the molecule changes place, by {distance} or more where it goes farthest"


def expected(trust: Trust) -> str:
    """The FSC that a volume should have with the truth, with its interval."""
    within = f" ({trust.low:.2f} – {trust.high:.2f})" if trust.low is not None and trust.high is not None else ""
    return f"{trust.expected:.2f}{within}"


def summary(run: Run) -> list[str]:
    """What happened, a sentence each."""
    wanted = [image for image in run.images if image.selected]
    kept = [image.number for image in wanted if image.pixels is not None]
    left_out = [image.number for image in wanted if image.pixels is None]
    done, diverged, missing = ([v.number for v in run.with_status(s)] for s in ("done", "diverged", "missing"))
    came = f"{counted(len(run.images), 'image')} came in"
    if len(wanted) < len(run.images):
        came += f", of which {len(wanted)} {_was(wanted)} selected"
    if left_out:
        came += f"; {len(kept)} could be used and {len(left_out)} {_was(left_out)} left out"
        came += f" ({images(left_out)}; the reasons are below)."
    else:
        came += ", and it could be used." if len(wanted) == 1 else ", and all of them could be used."
    sentences = [came]
    if missing:
        sentences.append(
            f"The run is not finished: {len(done)} of {counted(len(run.volumes), 'volume')} {_is(done)} done, {images(missing)} "
            f"{_is(missing)} still missing. The same command continues it."
        )
    elif run.volumes:
        asked = "" if len(run.volumes) == len(kept) else f"{counted(len(run.volumes), 'volume')} {_was(run.volumes)} asked for; "
        each = ", one for each image" if len(done) == len(kept) > 1 else ""
        sentences.append(f"{asked}{len(done) if asked else counted(len(done), 'volume')} came out{each}.")
    if diverged:
        sentences.append(f"The reconstruction of {images(diverged)} diverged and left no volume.")
    seconds = seconds_taken(run)
    each_took = _mean([float(v.row["seconds"]) for v in run.with_status("done") if v.row.get("seconds")])
    if seconds and not missing:
        share = f", {duration(each_took)} a volume" if each_took and len(done) > 1 else ""
        sentences.append(f"This took {duration(seconds)}{share}.")
    elif each_took:
        sentences.append(f"A volume takes {duration(each_took)}.")
    if run.scores:
        values = [score.mean_fsc for score in run.scores]
        spread = f", from {min(values):.2f} to {max(values):.2f}" if len(values) > 1 else ""
        sentences.append(f"Against the truth the mean FSC over shells is {_mean(values):.2f}{spread}.")
    return sentences


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _was(things: Sequence[object]) -> str:
    return "was" if len(things) == 1 else "were"


def _median(things: Sequence[object]) -> str:
    return "median " if len(things) > 1 else ""


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def remarks(run: Run) -> list[str]:
    """What there is to say about the images: what import said, and which were left out or are doubtful."""
    said = [str(note) for note in run.imported.get("notes", []) if not _LEFT_OUT.match(str(note))]
    said += (run.evaluation or {}).get("notes", [])
    said = [note if "." in note.split()[0] else note[:1].upper() + note[1:] for note in said]  # a file keeps its name
    reasons: dict[str, list[int]] = {}
    for image in run.images:
        if image.pixels is None and image.selected:
            reasons.setdefault(image.reason, []).append(image.number)
    left_out = [f"{images(numbers).capitalize()} {_was(numbers)} left out: {reason}" for reason, numbers in reasons.items()]
    warnings: dict[str, list[int]] = {}
    for image in run.images:
        if image.warning:
            warnings.setdefault(image.warning, []).append(image.number)
    doubtful = [f"In a dashed frame, {images(numbers)}: {warning}" for warning, numbers in warnings.items()]
    return [*left_out, *doubtful, *said]


def advice(run: Run) -> list[str]:
    """How to read the volumes, and how far to trust them."""
    if not run.volumes:
        return [
            "There are no volumes yet. The learned score should know what class averages look like: its samples below should pass "
            "for class averages, without being copies of them. Then make volumes with it (scoretomo reconstruct)."
        ]
    if run.with_status("missing") and not run.with_status("done"):
        return ["No volume is there yet: how to read them is said here as soon as there is one."]
    if any(volume.pose for volume in run.volumes):
        sentences = [
            "All volumes are in one frame, that of consensus.mrc: what differs between two of them is their conformation. "
            "In the pose R of its image each should look like that image.",
            "The hand of the frame is arbitrary, since a volume and its mirror image fit the same images.",
        ]
    else:
        sentences = [
            "Each volume is in the frame of its own image: seen along z it should look like that image. "
            "Two volumes can differ by a rotation alone.",
            "The hand of a volume is arbitrary, since a volume and its mirror image fit the same image.",
        ]
    if run.scores:
        sentences.append(
            "Anchor correlation says only how well a volume fits its own image. Compare it with the FSC below: "
            "a volume can fit its image and be wrong in everything that image does not show."
        )
    elif run.shared:
        sentences.append(
            "Anchor correlation says only how well a volume fits its own image. How far its replicas agree says how much of it "
            "chance decided; neither can see a mistake that all replicas share."
        )
    else:
        sentences.append(
            "Some reconstructions from a cold start fail: the volume fits its own image and is wrong elsewhere. "
            "Without a truth nobody can tell which, and a high anchor correlation is no proof. "
            "Look for shapes that come back in several volumes, or run again with another seed and see what stays."
        )
    return sentences


def _how_well(shared: Shared, unit: str) -> list[str]:
    """How well the consensus explains the images, also those left out of it."""
    sentences = [
        f"One volume that explains all images, found from {counted(1 + len(shared.agreements), 'random start')}. "
        f"Its views correlate {shared.coverage:.3f} with the images that it explains; views of a map of the other images "
        f"correlate {shared.left_out_coverage:.3f} with each."
    ]
    sentences.append(
        f"They agree with it down to {shared.left_out_resolution:.3g} {unit} (Fourier ring correlation 0.5). "
        "This proves no resolution: its pose was found with the image, and what all images have wrong no image sees."
    )
    return sentences


def _whether_it_moves(shared: Shared) -> list[str]:
    """What left-out images say to that, and what volumes begin with."""
    if asked := shared.asked:
        return [
            f"One shape leaves {100 * asked.still:.2f} % of left-out images unexplained, "
            f"one that moves {100 * asked.moving:.2f} %, by {asked.displacement:.2f} pixels averaged over its mass "
            f"(share explained times displacement: {asked.evidence:.2g} in one image of five, {asked.needed:g} needed): "
            + (
                "the molecule moves, and each volume begins with the conformation that a model of the motion gives its image "
                "(coordinates in motion.csv)."
                if shared.moves
                else "it is taken as rigid, and what differs between volumes is no more than what their own images ask for"
                + (f": {100 * shared.kept:.0f} % of each is the consensus." if shared.kept else ".")
            )
        ]
    if shared.kept:
        return [
            "So few images can't say whether the molecule moves, but with its symmetry they leave no gaps between their slices: "
            f"{100 * shared.kept:.0f} % of each volume is the consensus."
        ]
    return []


def consensus(shared: Shared, unit: str) -> list[str]:
    """What the consensus is, and how sure one can be of it; the unit is that of resolutions."""
    values = ", ".join(f"{value:.2f}" for value in shared.agreements)
    sentences = _how_well(shared, unit)
    if shared.agreeing == len(shared.agreements):
        sentences.append(f"All starts came to the same volume (mean FSC with the best of them: {values}).")
    else:
        sentences.append(
            f"Only {shared.agreeing + 1} of {1 + len(shared.agreements)} starts came to this volume (mean FSC with it: {values}): "
            "the images may be too few, or too different, to be sure of the shape. More class averages help, and so does the "
            "molecule's symmetry."
        )
    if shared.proposals:
        doubts = "; ".join(f"{row['symmetry']} {100 * float(row['left_out_doubt']):.2f} %" for row in shared.proposals)
        sentences.append(f"Symmetry {shared.symmetry}: what maps of other images leave unexplained of an image is {doubts}.")
    elif shared.symmetry.upper() != "C1":
        sentences.append(f"The symmetry {shared.symmetry} was imposed, on every volume as well.")
    sentences += _whether_it_moves(shared)
    if shared.softer:
        sentences.append(
            "Its images are noisy: left-out ones were explained better by a consensus that weighs many poses of each, so it is one."
        )
    if shared.mean_path:
        sentences.append(
            "What is wrong in the volumes differs from one to the other, and their mean (mean.mrc, below) has less of it: "
            "if the molecule is rigid, this is often the better map."
        )
    if shared.alike is not None:
        share = f": {100 * shared.kept:.0f} % of each volume is its conformation there, and refinement gives the rest"
        sentences.append(
            f"Views of the model look like images already{share if shared.kept else ''}."
            if shared.alike
            else "Views of the model do not look like images yet: much is left to refinement."
        )
    if shared.takes_views is not None:
        sentences.append(
            "Its views are known to the score: images left out were denoised better with them."
            if shared.takes_views
            else "Its views are not known to the score: images left out were denoised no better with them."
        )
    if shared.second:
        sentences.append(
            f"The images are a mixture: {images(shared.second)} show something else. A map of some of them explains the others "
            "(consensus-2.mrc, below). Their volumes begin there, in a frame and hand of their own."
        )
    if shared.outliers:
        whose = "its volume" if len(shared.outliers) == 1 else "their volumes"
        sentences.append(f"No view explains {images(shared.outliers)}; believe {whose} least.")
    return sentences


def resolution(found: float, pixel_size: float | None) -> str:
    """A resolution by the FSC with voxels of a size; ≤ where the FSC never falls below its threshold."""
    return f"{'≤ ' if found <= 2.001 * (pixel_size or 1.0) else ''}{found:.3g}"


def calibrated(run: Run) -> bool:
    """Whether it is known what FSC with the truth to expect of volumes."""
    return any(volume.trust and volume.trust.expected is not None for volume in run.volumes)


def figures(run: Run) -> list[Figure]:
    """The few numbers at the head of the page."""
    size, pixel_size = run.size, run.pixel_size
    done, asked = len(run.with_status("done")), len(run.volumes)
    out = [Figure(str(done) if done == asked else f"{done}/{asked}", "", "volume" if asked == 1 else "volumes")] if asked else []
    if not asked:
        kept = sum(image.pixels is not None for image in run.images)
        out.append(Figure(str(kept), "", "class average" if kept == 1 else "class averages"))
    if size:
        out.append(Figure(str(size), "px", f"side, {length(size, pixel_size)}" if pixel_size else "side; pixel size unknown"))
    if pixel_size:
        out.append(Figure(f"{pixel_size:.4g}", "Å/px", "pixel size"))
    if run.landscape and run.landscape.motions is not None:
        out.append(Figure(str(run.landscape.motions), "", "motion" if run.landscape.motions == 1 else "motions"))
    evaluation = run.evaluation or {}
    trusts = [volume.trust.word for volume in run.volumes if volume.trust]
    if calibrated(run):
        out.append(Figure(str(trusts.count(WORDS[0])), f"of {len(trusts)}", "volumes to trust"))
    if run.scores:
        out.append(Figure(f"{statistics.fmean(score.mean_fsc for score in run.scores):.3f}", "", "mean FSC to the truth"))
        half = statistics.median(score.resolution_half for score in run.scores)
        out.append(Figure(resolution(half, run.fsc_grid[1]), run.unit, f"{_median(run.scores)}resolution, FSC 0.5"))
    elif not calibrated(run):
        correlations = [float(v.row["anchor_correlation"]) for v in run.with_status("done") if v.row.get("anchor_correlation")]
        if correlations:
            out.append(Figure(f"{statistics.median(correlations):.3f}", "", f"{_median(correlations)}anchor correlation"))
    if evaluation.get("conformation_gain") is not None:
        out.append(Figure(f"{evaluation['conformation_gain']:.2f}".replace("-", "−"), "", "conformation gain"))
    return out
