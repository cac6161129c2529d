"""What a run has on disk: its images, volumes, scores, settings and log."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from ..files import read_images, read_json, read_records, read_table, read_toml, read_weights
from ..requirements import parse_selection
from ..rotations import rotations_from_euler


class Image(NamedTuple):
    """One image of the user's stack."""

    number: int  # 0-based in the source stack
    source: str
    pixels: np.ndarray | None  # (y, x) float32, as prepared; None if left out
    reason: str  # why it was left out
    warning: str

    @property
    def selected(self) -> bool:
        """Whether the user wanted this image, usable or not."""
        return self.reason != "not selected"


class Score(NamedTuple):
    """A volume against its truth."""

    truth: Path
    hand: str  # same | mirrored
    mean_fsc: float
    auc: float
    resolution_half: float  # Å, or pixels if the run has no pixel size
    resolution_0143: float
    frame: tuple[float, ...] | None  # M (rows) and s in pixels: the aligned map at Mᵀq + s is the volume at q; None if not known
    curve: list[float]  # FSC at shells 0 … d // 2


class Trust(NamedTuple):
    """How far to believe a volume, without a truth."""

    word: str  # one of words.WORDS
    reason: str
    expected: float | None  # FSC to the truth; None where runs of this kind are not calibrated
    low: float | None  # four in five truths lie from here …
    high: float | None  # … to here
    down_to: float | None  # resolution to which the expected FSC counts, in Å, or pixels if the run has no pixel size
    seen: Sequence[float | None]  # how much its view shows of each motion, beside an average view (1: as much or more)


class Pose(NamedTuple):
    """Where an image stands in the common frame of all volumes: the image is f(V, R) moved by the shift."""

    rotation: torch.Tensor  # (3, 3)
    shift: torch.Tensor  # (x, y) in pixels


class Volume(NamedTuple):
    """One reconstruction, or the place where it is still missing."""

    number: int  # of its image
    status: str  # done | diverged | missing
    path: Path | None
    aligned: Path | None  # the volume moved into the frame of its truth
    score: Score | None
    trust: Trust | None
    row: Mapping[str, str]  # of volumes.csv
    convergence: list[dict[str, str]]
    pose: Pose | None  # none where each volume is in the frame of its own image


class Samples(NamedTuple):
    """Images drawn from the learned score, and what was found out about each."""

    images: np.ndarray  # (n, y, x) float32, in the units of the prepared images
    nearest: np.ndarray  # (n, y, x): the class average nearest to each, turned and flipped onto it
    rows: list[dict[str, str]]  # of samples.csv


class Learned(NamedTuple):
    """A network score: how it was trained, and how good it is."""

    record: Mapping[str, Any]  # settings of the trained network; empty while it is being trained
    loss: list[dict[str, str]]  # of loss.csv
    errors: list[dict[str, str]]  # of denoising.csv
    samples: Samples | None


class Moves(NamedTuple):
    """What left-out images say when they are asked whether the molecule moves."""

    still: float  # share of them that one shape leaves unexplained
    moving: float  # the same of a shape that moves
    displacement: float  # how far, averaged over its mass, in pixels of the run, in one image of five
    evidence: float  # that it moves
    needed: float  # to say so


class Shared(NamedTuple):
    """What all images have in common: the consensus, and how sure it is."""

    path: Path  # consensus.mrc
    mean_path: Path | None  # mean of the volumes, mean.mrc
    symmetry: str
    proposals: list[dict[str, str]]  # symmetries that were weighed; empty unless one was looked for
    agreements: list[float]  # mean FSC of each other random start with the best
    agreeing: int  # how many of them came to the same volume
    coverage: float  # mean correlation of the images that it explains with their views
    left_out_coverage: float  # the same with views of the map of other images
    left_out_resolution: float  # Å (pixels without a pixel size) down to which these agree with the images
    outliers: list[int]  # images that no view explains
    second: list[int]  # images of something else
    second_path: Path | None  # what they show, consensus-2.mrc
    takes_views: bool | None  # whether the score knows its views; None if that was not asked
    asked: Moves | None  # whether the molecule moves; None if left-out images were not asked
    moves: bool  # whether volumes start from a model of the motion
    softer: bool  # whether it was made anew with soft poses, as left-out images of a rigid molecule asked for
    alike: bool | None  # whether views of the model look like images; None if that was not asked
    kept: float  # share of each volume that stays what it began with


class Series(NamedTuple):
    """Volumes from one end of a motion to the other."""

    name: str  # motion-1, or component-1 if it is not known how many motions there are
    paths: list[Path]  # of the volumes
    distance: float  # how far the parts go that go farthest, in pixels of the run
    replaced: float  # share of the molecule that changes place

    @property
    def title(self) -> str:
        """Motion 1, …"""
        return self.name.replace("-", " ").capitalize()


class Landscape(NamedTuple):
    """What moves in the volumes."""

    motions: int | None  # None if it is not known how many there are
    moves: bool | None  # whether the molecule moves by what left-out images say; None if there were too few to ask
    clear: int  # principal components with clearly more variance than chance gives
    variance: float
    chance: float
    rows: list[dict[str, str]]  # of landscape.csv
    scree: list[dict[str, str]]
    states: list[dict[str, str]]
    motion_map: Path
    series: list[Series]  # along each motion, or component
    tour: list[Path]  # volumes on the way that visits every state; empty where there is one state


class Run(NamedTuple):
    """All results of one run directory."""

    name: str  # of its folder
    images: list[Image]
    volumes: list[Volume]
    imported: Mapping[str, Any]  # images.json
    settings: Mapping[str, Any]  # config.toml
    records: list[dict[str, Any]]  # log.jsonl
    evaluation: Mapping[str, Any] | None
    learned: Learned | None
    shared: Shared | None
    landscape: Landscape | None

    @property
    def stack(self) -> str:
        """The stack and its folder, such as job012/run_it025_classes.mrcs; the name of the run if that is not known."""
        return "/".join(Path(self.imported["source"]).parts[-2:]) if "source" in self.imported else self.name

    @property
    def pixel_size(self) -> float | None:
        """Å, if it is known."""
        return self.imported.get("pixel_size")

    @property
    def size(self) -> int:
        """Side of the prepared images in pixels; 0 if there is none."""
        return next((len(image.pixels) for image in self.images if image.pixels is not None), 0)

    @property
    def unit(self) -> str:
        """Of resolutions: Å, or px if no pixel size is known."""
        return (self.evaluation or {}).get("unit") or ("Å" if self.pixel_size else "px")

    @property
    def judged_to(self) -> str | None:
        """Resolution to which volumes have an expected FSC, such as 16 Å; None if none has."""
        found = next((v.trust.down_to for v in self.volumes if v.trust and v.trust.down_to), None)
        return f"{found:.3g} {'Å' if self.pixel_size else 'px'}" if found else None

    @property
    def fsc_grid(self) -> tuple[int, float | None]:
        """Side and pixel size of the grid on which the FSC was taken: it need not be the run's."""
        evaluation = self.evaluation or {"size": self.size, "pixel_size": self.pixel_size}
        return evaluation["size"], evaluation["pixel_size"]

    def with_status(self, status: str) -> list[Volume]:
        """The volumes of this status."""
        return [volume for volume in self.volumes if volume.status == status]

    @property
    def scores(self) -> list[Score]:
        """Of the volumes that were compared with a truth."""
        return [volume.score for volume in self.volumes if volume.score]


class _Folder(NamedTuple):
    """A run directory, of which some files and folders are elsewhere."""

    path: Path
    instead: Mapping[str, Path]

    def __truediv__(self, name: str | Path) -> Path:
        return self.instead.get(str(name), self.path / name)


def read_run(path: Path, instead: Mapping[str, Path] = MappingProxyType({})) -> Run:
    """Read a run directory, finished or not; what a run has not made yet is empty.

    Args:
        path: the run directory.
        instead: where some of its files and folders are, by their names, before they take their places.
    """
    run = _Folder(path, instead)
    log = run / "log.jsonl"
    settings = _toml(run / "config.toml")
    records = read_records(log) if log.exists() else []
    images = _images(run)
    volumes = _volumes(run, images, settings, records)
    return Run(
        name=path.resolve().name,
        images=images,
        volumes=volumes,
        imported=_json(run / "images.json") or {},
        settings=_toml(run / "score" / "train.toml") | _toml(run / "samples" / "samples.toml") | settings,
        records=records,
        evaluation=_json(run / "evaluation" / "summary.json"),
        learned=_learned(run),
        shared=_shared(run, volumes),
        landscape=_landscape(run),
    )


def _shared(run: _Folder, volumes: Sequence[Volume]) -> Shared | None:
    poses, starts = _table(run / "poses.csv"), _table(run / "consensus" / "starts.csv")
    if not poses or not starts:
        return None
    others = sorted((float(row["agreement"]), int(row["agrees"])) for row in starts)[:-1]
    asked, (summary,) = _table(run / "consensus" / "left_out.csv"), _table(run / "consensus" / "summary.csv")
    second, mean, motion = run / "consensus-2.mrc", run / "mean.mrc", next(iter(_table(run / "consensus" / "moves.csv")), None)
    return Shared(
        path=run / "consensus.mrc",
        mean_path=mean if mean.exists() else None,
        symmetry=summary["symmetry"],
        proposals=_table(run / "consensus" / "proposals.csv"),
        agreements=[agreement for agreement, _ in others],
        agreeing=sum(agrees for _, agrees in others),
        coverage=float(summary["coverage"]),
        left_out_coverage=float(summary["left_out_coverage"]),
        left_out_resolution=float(summary["left_out_resolution"]),
        outliers=[int(row["image"]) for row in poses if row["outlier"] == "1"],
        second=[int(row["image"]) for row in poses if row["second"] == "1"],
        second_path=second if second.exists() else None,
        takes_views=asked[0]["takes_views"] == "1" if asked and asked[0]["asked"] == "1" else None,
        asked=Moves(*(float(motion[name]) for name in Moves._fields)) if motion else None,
        moves=bool(motion and motion["moves"] == "1"),
        softer=any(row["softer"] == "1" for row in _table(run / "consensus" / "softness.csv")),
        alike=asked[0]["look_alike"] == "1" if asked and asked[0]["look_alike"] else None,
        kept=max((float(volume.row["kept"]) for volume in volumes if volume.row.get("kept")), default=0.0),
    )


def _landscape(run: _Folder) -> Landscape | None:
    rows, folder = _table(run / "landscape.csv"), run / "landscape"
    if not rows:
        return None
    summary = read_json(folder / "summary.json")
    return Landscape(
        motions=summary["motions"],
        moves=summary["moves"],
        clear=summary["clear_components"],
        variance=summary["variance"],
        chance=summary["chance"],
        rows=rows,
        scree=_table(folder / "scree.csv"),
        states=_table(folder / "states.csv"),
        motion_map=folder / "motion-map.mrc",
        series=[
            Series(way["name"], sorted((folder / way["name"]).glob("*.mrc")), way["distance"], way["replaced"])
            for way in summary["ways"]
        ],
        tour=sorted((folder / "states").glob("*.mrc")),
    )


def _json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _toml(path: Path) -> dict[str, Any]:
    return read_toml(path) if path.exists() else {}


def _table(path: Path) -> list[dict[str, str]]:
    return read_table(path) if path.exists() else []


def _images(run: _Folder) -> list[Image]:
    rows = _table(run / "images.csv")
    kept = [row for row in rows if row["kept"] == "1"]
    stack = read_images(run / "images.mrcs").images if kept else np.empty((0, 0, 0), np.float32)
    return [
        Image(
            number=int(row["number"]),
            source=row["source"],
            pixels=stack[int(row["slice"])] if row["kept"] == "1" else None,
            reason=row["reason"],
            warning=row["warning"],
        )
        for row in rows
    ]


def _learned(run: _Folder) -> Learned | None:
    """The network score of a run, trained or in training; None if there is none."""
    score, weights = run / "score", run / "score" / "weights.safetensors"
    if not (weights.exists() or (score / "loss.csv").exists()):
        return None
    return Learned(
        record=read_weights(weights)[1] if weights.exists() else {},
        loss=_table(score / "loss.csv"),
        errors=_table(score / "denoising.csv"),
        samples=_samples(run / "samples"),
    )


def _samples(folder: Path) -> Samples | None:
    """Samples with their table, which is written last."""
    rows = _table(folder / "samples.csv")
    if not rows:
        return None
    images, nearest = (read_images(folder / f"{name}.mrcs").images for name in ("samples", "nearest"))
    return Samples(images, nearest, rows)


def _volumes(run: _Folder, images: list[Image], settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> list[Volume]:
    """The volumes asked for, in the order of their images, from volumes.csv or, while the run goes on, from the log."""
    logged = [record for record in records if record.get("event") == "volume"]
    rows = {int(record["image"]): {name: str(value) for name, value in record.items() if value is not None} for record in logged}
    rows |= {int(row["image"]): row for row in _table(run / "volumes.csv")}
    scores, poses, trusts = _scores(run), _poses(run), _trusts(run)
    volumes = []
    for number in sorted(set(rows) | _asked_for(images, settings)):
        row = rows.get(number, {})
        path = run / row["file"] if row.get("file") else None
        status = row.get("status", "missing")
        if status == "done" and not (path and path.exists()):
            status, path = "missing", None
        aligned = run / "evaluation" / "aligned" / path.name if path else None
        volumes.append(
            Volume(
                number=number,
                status=status,
                path=path,
                aligned=aligned if aligned and aligned.exists() else None,
                score=scores.get(number),
                trust=trusts.get(number),
                row=row,
                convergence=_table(run / "convergence" / f"{_stem(row, number)}.csv"),
                pose=poses.get(number),
            )
        )
    return volumes


def _trusts(run: _Folder) -> dict[int, Trust]:
    """What is known of how far to believe each volume, by image number."""
    return {
        int(row["image"]): Trust(
            word=row["word"],
            reason=row["reason"],
            expected=_number(row["expected_fsc"]),
            low=_number(row["low"]),
            high=_number(row["high"]),
            down_to=_number(row.get("down_to", "")),
            seen=[_number(value) for name, value in row.items() if re.fullmatch(r"motion_\d+_seen", name)],
        )
        for row in _table(run / "reliability.csv")
    }


def _number(text: str) -> float | None:
    return float(text) if text else None


def _poses(run: _Folder) -> dict[int, Pose]:
    """Poses in the frame of the consensus, by image number; empty without one."""
    poses = {}
    for row in _table(run / "poses.csv"):
        angles, shift = (torch.tensor([float(row[name]) for name in names]) for names in (_ANGLES, _SHIFTS))
        poses[int(row["image"])] = Pose(rotations_from_euler(angles), shift)
    return poses


_ANGLES, _SHIFTS = ("rot", "tilt", "psi"), ("shift_x", "shift_y")


def _stem(row: Mapping[str, str], number: int) -> str:
    return Path(row["file"]).stem if row.get("file") else f"{number:03d}"


def _asked_for(images: list[Image], settings: Mapping[str, Any]) -> set[int]:
    """Kept images of the selection in config.toml ([run] images, such as 0,3,5-9), else all; none before there is one."""
    if not settings:
        return set()
    kept = {image.number for image in images if image.pixels is not None}
    chosen = settings.get("run", {}).get("images")
    return kept & set(parse_selection(str(chosen), len(images))) if chosen else kept


def _scores(run: _Folder) -> dict[int, Score]:
    curves = {
        int(row["image"]): [float(value) for name, value in row.items() if name.startswith("shell_") and value != ""]
        for row in _table(run / "evaluation" / "fsc.csv")
    }
    return {
        int(row["image"]): Score(
            truth=given if (given := Path(row["truth"])).exists() else run / given,
            hand=row["hand"],
            mean_fsc=float(row["mean_fsc"]),
            auc=float(row["auc"]),
            resolution_half=float(row["resolution_0.5"]),
            resolution_0143=float(row["resolution_0.143"]),
            frame=_frame(row),
            curve=curves[int(row["image"])],
        )
        for row in _table(run / "evaluation" / "scores.csv")
        if int(row["image"]) in curves
    }


def _frame(row: Mapping[str, str]) -> tuple[float, ...] | None:
    """How to see an aligned map where its volume is: the alignment, undone."""
    if not row.get("rot"):
        return None
    back = rotations_from_euler(torch.tensor([float(row[name]) for name in _ANGLES])).T
    if row["hand"] == "mirrored":
        back = torch.diag(back.new_tensor([1.0, 1.0, -1.0])) @ back
    return (*back.flatten().tolist(), *(float(row[f"shift_{axis}"]) for axis in "xyz"))


def seconds_taken(run: Run) -> float | None:
    """Wall-clock seconds of consensus and volumes, or None if an interrupted session left some of them unknown."""
    sessions = [record for record in run.records if record.get("event") == "reconstructed"]
    volumes = sum(float(volume.row["seconds"]) for volume in run.volumes if volume.row.get("seconds"))
    known = sum(float(session["seconds"]) for session in sessions)
    workers = max((int(session.get("workers", 1)) for session in sessions), default=1)
    before = sum(float(record["seconds"]) for record in run.records if record.get("event") in ("consensus", "motion", "left out"))
    return before + known if known * workers >= 0.8 * volumes and known > 0 else None


def landscape_axes(found: Landscape) -> list[str]:
    """Columns of landscape.csv that can be drawn, the first two first; beside a single motion stands the second component."""
    columns = [name for name in found.rows[0] if name.startswith(("motion_", "component_", "umap_"))]
    if found.motions == 1 and "component_2" in columns:
        columns.insert(1, columns.pop(columns.index("component_2")))
    return columns
