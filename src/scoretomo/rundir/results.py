"""What a run has on disk, finished or not, as typed rows beside the arrays and paths that belong to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import files
from ..requirements import parse_selection
from ..rotations import rotations_from_euler
from .bodies import BodyMotions, read_body_motions
from .directory import RunDirectory
from .folders import ConsensusFolder, SampleFolder
from .rows import (
    AssignmentTest,
    BodiesTest,
    ConsensusSummary,
    ConvergenceRow,
    DenoisingRow,
    EvaluationSummary,
    FlexibilityTest,
    FscRow,
    ImageRow,
    ImportRecord,
    LandscapeRow,
    LandscapeSummary,
    LossRow,
    NetworkRecord,
    PoseRow,
    ReliabilityRow,
    SampleRow,
    ScreeRow,
    StartRow,
    StateRow,
    SupportTest,
    SymmetryRow,
    Trajectory,
    Verdict,
    VolumeRow,
)
from .stages import UP_TO_VOLUMES
from .tables import record_in

NOT_SELECTED = "not selected"  # reason of an image that the user did not select


class Image(NamedTuple):
    """One image of the user's stack."""

    row: ImageRow
    pixels: np.ndarray | None  # (y, x) float32, as prepared; None if it is not included

    @property
    def number(self) -> int:
        """Its number in the user's stack, from 0."""
        return self.row.number

    @property
    def selected(self) -> bool:
        """Whether the user selected this image, usable or not."""
        return self.row.reason != NOT_SELECTED


class FscResult(NamedTuple):
    """A volume against its truth."""

    row: FscRow
    truth: Path
    curve: list[float]  # FSC at shells 0 … d // 2

    @property
    def frame(self) -> tuple[float, ...] | None:
        """M (rows) and s in pixels: the aligned map at Mᵀq + s is the volume at q; None without an alignment."""
        row = self.row
        if row.rot is None:
            return None
        back = rotations_from_euler(torch.tensor([row.rot, row.tilt, row.psi])).T
        if row.hand == "mirrored":
            back = torch.diag(back.new_tensor([1.0, 1.0, -1.0])) @ back
        return (*back.flatten().tolist(), *(shift or 0.0 for shift in (row.shift_x, row.shift_y, row.shift_z)))


class Pose(NamedTuple):
    """Where an image is in the common frame of all volumes: the image is f(V, R) moved by the shift."""

    rotation: torch.Tensor  # (3, 3)
    shift: torch.Tensor  # (x, y) in pixels


class Volume(NamedTuple):
    """One reconstruction, or the place where it is still missing."""

    number: int  # of its image
    status: str  # done | diverged | missing
    path: Path | None
    aligned: Path | None  # the volume moved into the frame of its truth
    fsc: FscResult | None
    reliability: ReliabilityRow | None
    row: VolumeRow | None  # None while it is missing
    convergence: list[ConvergenceRow]
    pose: Pose | None  # None where each volume is in the frame of its own image


class Samples(NamedTuple):
    """Images drawn from the network score, and the class averages nearest to them."""

    images: np.ndarray  # (n, y, x) float32, in the units of the prepared images
    nearest: np.ndarray  # (n, y, x): the class average nearest to each, turned and flipped onto it
    rows: list[SampleRow]


class NetworkScore(NamedTuple):
    """A network score: how it was trained, and its denoising error."""

    record: NetworkRecord | None  # None while it is being trained
    loss: list[LossRow]
    denoising: list[DenoisingRow]
    samples: Samples | None


class ConsensusResult(NamedTuple):
    """The consensus volume, and every test that was made with it."""

    path: Path
    class_2_path: Path | None  # of a mixture
    mean_path: Path | None  # mean of the volumes
    summary: ConsensusSummary
    starts: list[StartRow]  # the one that the consensus comes from last
    symmetries: list[SymmetryRow]  # that were compared; empty unless a symmetry was searched for
    poses: list[PoseRow]
    flexibility: FlexibilityTest | None
    assignment: AssignmentTest | None
    bodies: BodiesTest | None
    support: SupportTest | None
    start_weight: float  # the largest of all volumes; 0 before there are any

    @property
    def verdict(self) -> Verdict:
        """Of the flexibility test; volumes of a flexible molecule start from a deformation model."""
        return self.flexibility.verdict if self.flexibility else "undetermined"

    @property
    def outliers(self) -> list[int]:
        """Images that no view matches."""
        return [pose.image for pose in self.poses if pose.outlier]

    @property
    def class_2(self) -> list[int]:
        """Images of the second molecule of a mixture."""
        return [pose.image for pose in self.poses if pose.class_number == 2]


class TrajectoryVolumes(NamedTuple):
    """Volumes from one end of a mode to the other."""

    row: Trajectory
    paths: list[Path]

    @property
    def title(self) -> str:
        """Mode 1, …"""
        return self.row.name.replace("-", " ").capitalize()


class Landscape(NamedTuple):
    """Heterogeneity of the volumes."""

    summary: LandscapeSummary
    rows: list[LandscapeRow]
    scree: list[ScreeRow]
    states: list[StateRow]
    variability: Path  # map of the standard deviation between volumes, beyond the noise floor
    trajectories: list[TrajectoryVolumes]  # along each mode, or component
    between_states: list[Path]  # volumes on the path that visits every state; empty where there is one state


class Run(NamedTuple):
    """All results of one run directory."""

    name: str  # of its folder
    images: list[Image]
    volumes: list[Volume]
    imported: ImportRecord | None
    settings: Mapping[str, Any]  # of config.toml, and those of training and sampling
    records: list[dict[str, Any]]  # log.jsonl
    evaluation: EvaluationSummary | None
    network: NetworkScore | None
    consensus: ConsensusResult | None
    bodies: BodyMotions | None
    landscape: Landscape | None

    @property
    def stack(self) -> str:
        """The stack and its folder, such as job012/run_it025_classes.mrcs; the name of the run before the import."""
        return "/".join(Path(self.imported.source).parts[-2:]) if self.imported else self.name

    @property
    def pixel_size(self) -> float | None:
        """Å, if it is given."""
        return self.imported.pixel_size if self.imported else None

    @property
    def size(self) -> int:
        """Side of the prepared images in pixels; 0 if there is none."""
        return next((len(image.pixels) for image in self.images if image.pixels is not None), 0)

    @property
    def length_unit(self) -> str:
        """Of lengths and resolutions of the run itself: Å, or px without a pixel size."""
        return "Å" if self.pixel_size else "px"

    @property
    def unit(self) -> str:
        """Of resolutions by the FSC with the truth, which may have a pixel size that the run lacks."""
        return self.evaluation.unit if self.evaluation else self.length_unit

    @property
    def fsc_grid(self) -> tuple[int, float | None]:
        """Side and pixel size of the grid on which the FSC was computed: it need not be the run's."""
        if self.evaluation is None:
            return self.size, self.pixel_size
        return self.evaluation.size, self.evaluation.pixel_size

    def with_status(self, status: str) -> list[Volume]:
        """The volumes of this status."""
        return [volume for volume in self.volumes if volume.status == status]

    @property
    def fsc_results(self) -> list[FscResult]:
        """Of the volumes that were compared with a truth."""
        return [volume.fsc for volume in self.volumes if volume.fsc]


def read_run(run: RunDirectory, event: Mapping[str, Any] | None = None) -> Run:
    """Read a run directory, finished or not; what a run has not made yet is empty.

    Args:
        run: the run directory; some of its tables and folders may be elsewhere, before they take their places.
        event: the line that will be added to its log when they do.
    """
    settings = _toml(run.config)
    records = [*files.read_records(run.log), *([dict(event)] if event else [])]
    images = _images(run)
    volumes = _volumes(run, images, settings)
    return Run(
        name=run.path.resolve().name,
        images=images,
        volumes=volumes,
        imported=run.import_record.read() if run.import_record.exists() else None,
        settings=_toml(run.training) | _toml(run.samples.config) | settings,
        records=records,
        evaluation=run.evaluation.summary.read() if run.evaluation.summary.exists() else None,
        network=_network(run),
        consensus=_consensus(run, volumes),
        bodies=read_body_motions(run),
        landscape=_landscape(run),
    )


def _toml(path: Path) -> dict[str, Any]:
    return files.read_toml(path) if path.exists() else {}


def _images(run: RunDirectory) -> list[Image]:
    rows = run.image_rows.read()
    included = any(row.included for row in rows)
    stack = files.read_images(run.images).images if included else np.empty((0, 0, 0), np.float32)
    return [Image(row, stack[row.slice] if row.included and row.slice is not None else None) for row in rows]


def _consensus(run: RunDirectory, volumes: Sequence[Volume]) -> ConsensusResult | None:
    """The consensus of the last finished stage; None before there is one."""
    folder = next((each for each in (run.assigned, run.first) if each.summary.exists()), None)
    starts = run.starts.read()
    poses = _poses(run, folder)
    if folder is None or not starts or not poses:
        return None
    weights = [volume.row.start_weight for volume in volumes if volume.row and volume.row.start_weight]
    return ConsensusResult(
        path=folder.volume,
        class_2_path=folder.class_2 if folder.class_2.exists() else None,
        mean_path=run.mean if run.mean.exists() else None,
        summary=folder.summary.read(),
        starts=sorted(starts, key=lambda start: start.fsc),
        symmetries=run.symmetries.read(),
        poses=poses,
        flexibility=run.flexibility.read() if run.flexibility.exists() else None,
        assignment=run.assignment.read() if run.assignment.exists() else None,
        bodies=run.bodies_test.read() if run.bodies_test.exists() else None,
        support=run.support.read() if run.support.exists() else None,
        start_weight=max(weights, default=0.0),
    )


def _poses(run: RunDirectory, folder: ConsensusFolder | None) -> list[PoseRow]:
    """The final poses or, while the run goes on, those of its last consensus."""
    return run.poses.read() or (folder.poses.read() if folder else [])


def _landscape(run: RunDirectory) -> Landscape | None:
    folder = run.landscape
    rows = folder.rows.read()
    if not rows:
        return None
    summary = folder.summary.read()
    return Landscape(
        summary=summary,
        rows=rows,
        scree=folder.scree.read(),
        states=folder.states.read(),
        variability=folder.variability,
        trajectories=[TrajectoryVolumes(row, folder.frames(row.name)) for row in summary.trajectories],
        between_states=folder.frames("states"),
    )


def _network(run: RunDirectory) -> NetworkScore | None:
    """The network score of a run, trained or in training; None if there is none."""
    if not (run.weights.exists() or run.loss.exists()):
        return None
    return NetworkScore(
        record=_network_record(run) if run.weights.exists() else None,
        loss=run.loss.read(),
        denoising=run.denoising.read(),
        samples=_samples(run.samples),
    )


def _network_record(run: RunDirectory) -> NetworkRecord:
    return record_in(run.weights, NetworkRecord, files.read_weights(run.weights)[1])


def _samples(folder: SampleFolder) -> Samples | None:
    """Samples with their table, which is written last."""
    rows = folder.rows.read()
    if not rows:
        return None
    return Samples(files.read_images(folder.images).images, files.read_images(folder.nearest).images, rows)


def _volumes(run: RunDirectory, images: Sequence[Image], settings: Mapping[str, Any]) -> list[Volume]:
    """The requested volumes, in the order of their images, from volumes.csv or, while the run goes on, from the log."""
    rows = run.logged_volumes() | {row.image: row for row in run.volume_rows.read()}
    results = _fsc_results(run)
    reliability = {row.image: row for row in run.reliability.read()}
    poses = {row.image: _pose(row) for row in run.poses.read()}
    return [
        _volume(run, number, rows.get(number), results.get(number), reliability.get(number), poses.get(number))
        for number in sorted(set(rows) | _requested(images, settings))
    ]


def _volume(
    run: RunDirectory,
    number: int,
    row: VolumeRow | None,
    result: FscResult | None,
    reliability: ReliabilityRow | None,
    pose: Pose | None,
) -> Volume:
    path = run.path / row.file if row and row.file else None
    status: str = row.status if row else "missing"
    if status == "done" and not (path and path.exists()):
        status, path = "missing", None
    aligned = run.evaluation.aligned(path.name) if path else None
    return Volume(
        number=number,
        status=status,
        path=path,
        aligned=aligned if aligned and aligned.exists() else None,
        fsc=result,
        reliability=reliability,
        row=row,
        convergence=run.convergence(number).read(),
        pose=pose,
    )


def _pose(row: PoseRow) -> Pose:
    rotation = rotations_from_euler(torch.tensor([row.rot, row.tilt, row.psi]))
    return Pose(rotation, torch.tensor([row.shift_x, row.shift_y]))


def _requested(images: Sequence[Image], settings: Mapping[str, Any]) -> set[int]:
    """Included images that config.toml selects ([run] images, such as 0,3,5-9), else all; none before there is one."""
    if not settings:
        return set()
    included = {image.number for image in images if image.pixels is not None}
    chosen = settings.get("run", {}).get("images")
    return included & set(parse_selection(str(chosen), len(images))) if chosen else included


def _fsc_results(run: RunDirectory) -> dict[int, FscResult]:
    """FSC results by the number of the image, of maps whose curve is there."""
    curves = {row.image: [value for value in row.shell if value is not None] for row in run.evaluation.curves.read()}
    results = {}
    for row in run.evaluation.rows.read():
        if row.image in curves:
            truth = Path(row.truth)
            results[row.image] = FscResult(row, truth if truth.exists() else run.path / truth, curves[row.image])
    return results


def seconds_taken(run: Run) -> float | None:
    """Wall-clock seconds of all stages up to the volumes, or None if an interrupted session left some unrecorded."""
    recorded = dict.fromkeys(UP_TO_VOLUMES, 0.0)
    for record in run.records:
        if record.get("event") == "stage" and record["stage"] in recorded:
            recorded[record["stage"]] += float(record["seconds"])
    volumes = sum(volume.row.seconds for volume in run.volumes if volume.row)
    cores = max((int(record.get("cores", 1)) for record in run.records if record.get("event") == "start"), default=1)
    complete = recorded["volumes"] > 0 and recorded["volumes"] * cores >= 0.8 * volumes
    return sum(recorded.values()) if complete else None


class LandscapeAxis(NamedTuple):
    """A column of landscape.csv: coordinates of the volumes along one axis."""

    name: str  # such as mode 1
    values: list[float]


def landscape_axes(landscape: Landscape) -> list[LandscapeAxis]:
    """Axes that volumes can be drawn along, the first two first; beside a single mode is component 2."""
    kinds = [(name, [getattr(row, name) for row in landscape.rows]) for name in ("mode", "component", "umap")]
    axes = [
        LandscapeAxis(f"{name} {place + 1}", [float(row[place]) for row in values])
        for name, values in kinds
        for place in range(len(values[0]))
    ]
    if landscape.summary.modes == 1:
        beside = [axis for axis in axes if axis.name == "component 2"]
        return [axes[0], *beside, *(axis for axis in axes[1:] if axis not in beside)]
    return axes
