"""Run directories as the stages leave them, written without running anything."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scoretomo import files
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.rows import (
    FORMAT,
    AngleRow,
    AssignmentTest,
    BodiesTest,
    BodyRow,
    ConsensusSummary,
    ConvergenceRow,
    DenoisingRow,
    EvaluationSummary,
    FlexibilityTest,
    FscCurveRow,
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
    Trajectory,
    VolumeRow,
)
from scoretomo.rundir.tables import to_json

SETTINGS = """[run]
stack = "classes.star"
size = 16
seed = 0
method = "paper"
"""
HOSTILE = 'classes<script>alert("x")</script>&.mrcs'
_NOW = {"time": "2026-01-01T00:00:00+00:00"}


def blob(size: int, seed: int) -> np.ndarray:
    """Three Gaussian blobs and a little noise."""
    rng = np.random.default_rng(seed)
    x = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(x, x, x, indexing="ij"))
    density = 0.01 * rng.standard_normal((size, size, size))
    for centre in rng.uniform(-size / 6, size / 6, (3, 3)):
        density += np.exp(-((grid - centre[:, None, None, None]) ** 2).sum(0) / (2 * (size / 12) ** 2))
    return density.astype(np.float32)


def write_run(
    path: Path,
    volumes: Mapping[int, np.ndarray | None],
    *,
    missing: Sequence[int] = (),
    excluded: Mapping[int, str] | None = None,
    pixel_size: float | None = 3.54,
    source: str = "classes.mrcs",
    finished: bool = True,
    start_weight: float | None = None,
    replicate_fsc: float | None = None,
) -> Path:
    """Write a run directory as the stages do.

    Args:
        path: where.
        volumes: density of each image's volume, or None if its descent diverged.
        missing: images of which no volume is there yet.
        excluded: images, with the reasons why.
        pixel_size: Å per pixel.
        source: the user's file.
        finished: whether volumes.csv was written; else the volumes are in the log only.
        start_weight: of every volume.
        replicate_fsc: of every volume.
    """
    run = RunDirectory(path)
    files.make_folder(path)
    _write_images(run, volumes, missing, excluded or {}, pixel_size, source)
    files.write_text(run.config, SETTINGS)
    files.append_record(run.log, {**_NOW, "event": "start", "format": FORMAT, "scoretomo": "0.1.0", "torch": "2.9.9"})
    rows = []
    for number, density in volumes.items():
        row = _write_volume(run, number, density, pixel_size)
        rows.append(row._replace(start_weight=start_weight, replicate_fsc=replicate_fsc))
        files.append_record(run.log, {**_NOW, "event": "volume", **to_json(rows[-1])})
    if finished:
        run.volume_rows.write(rows)
        files.append_record(run.log, {**_NOW, "event": "stage", "stage": "volumes", "seconds": 2.5 * len(rows)})
    return path


def _write_images(
    run: RunDirectory,
    volumes: Mapping[int, np.ndarray | None],
    missing: Sequence[int],
    excluded: Mapping[int, str],
    pixel_size: float | None,
    source: str,
) -> None:
    """The sums of the volumes along z as images."""
    included = sorted({*volumes, *missing})
    size = next(len(density) for density in volumes.values() if density is not None)
    views = [density.sum(0) if (density := volumes.get(number)) is not None else np.eye(size) for number in included]
    files.write_images(run.images, np.stack(views).astype(np.float32), pixel_size)
    rows = [
        ImageRow(
            number=number,
            source=f"{number + 1:06d}@{source}",
            included=number in included,
            slice=included.index(number) if number in included else None,
            reason=excluded.get(number, ""),
            warning="the particle reaches the mask" if number == 1 else "",
            background=None,
            scale=None,
            shift_x=None,
            shift_y=None,
        )
        for number in sorted({*included, *excluded})
    ]
    run.image_rows.write(rows)
    run.import_record.write(
        ImportRecord(
            source=source,
            image_count=len(rows),
            size=size,
            side=size,
            pixel_size=pixel_size,
            original_size=(size, size),
            original_pixel_size=pixel_size,
            mu=0.0,
            s=1.0,
            notes=("grey scales differ: made equal", "classes.mrcs does not say its pixel size"),
            request={},
            files=(),
            junk={},
        )
    )


def _write_volume(run: RunDirectory, number: int, density: np.ndarray | None, pixel_size: float | None) -> VolumeRow:
    """A volume with its descent of three steps; its row."""
    path = run.volume(number)
    if density is not None:
        files.make_folder(path.parent)
        files.write_map(path, density, pixel_size)
    residuals = [1.0, 40.0, float("nan")] if density is None else [1.0, 0.5, 0.25]
    run.convergence(number).write(
        [ConvergenceRow(step, 0.5, 2 + step // 2, value, value) for step, value in enumerate(residuals)]
    )
    return VolumeRow(
        image=number,
        file="" if density is None else str(path.relative_to(run.path)),
        status="diverged" if density is None else "done",
        seconds=2.5,
        steps=3,
        start_weight=None,
        anchor_correlation=0.9,
        anchor_residual=0.1,
        view_residual=0.2,
        replicate_fsc=None,
        diverged_at=1 if density is None else None,
    )


def write_evaluation(path: Path, numbers: Sequence[int], *, gain: bool = False, **changes: Any) -> None:
    """Compare every volume with itself as its truth, shell by shell a little worse.

    Args:
        path: of the run.
        numbers: of the images.
        gain: whether there is a conformation gain.
        changes: of fields of the summary.
    """
    run = RunDirectory(path)
    shells = (1.0, 0.9, 0.7, 0.4, 0.1)
    for number in numbers:
        aligned = run.evaluation.aligned(run.volume(number).name)
        files.make_folder(aligned.parent)
        aligned.write_bytes(run.volume(number).read_bytes())
    run.evaluation.rows.write([_fsc_row(run, number) for number in numbers])
    run.evaluation.curves.write([FscCurveRow(number, shells) for number in numbers])
    summary = EvaluationSummary(len(numbers), 0.5, 0.3, "Å", 8, 3.54, mean_curve=shells)
    if gain:
        summary = summary._replace(single_map_mean_fsc=0.4, ceiling_mean_fsc=0.8, conformation_gain=0.25)
    run.evaluation.summary.write(summary._replace(**changes))


def _fsc_row(run: RunDirectory, number: int) -> FscRow:
    return FscRow(
        image=number,
        truth=str(run.volume(number).resolve()),
        hand="mirrored" if number % 2 else "same",
        mean_fsc=0.5 + 0.001 * number,
        auc=0.3,
        resolution_0_5=12.3,
        resolution_0_143=9.87,
        rot=None,
        tilt=None,
        psi=None,
        shift_x=None,
        shift_y=None,
        shift_z=None,
    )


def write_score(path: Path, *, held_out: Sequence[int] = (), samples: int = 5, copies: bool = False) -> None:
    """Write a trained network's record, curves and samples: copies, or as far from images as these from each other."""
    run = RunDirectory(path)
    prepared = run.import_record.read()
    record = NetworkRecord(
        scoretomo="0.1.0",
        network="fast",
        architecture={},
        examples=6400,
        seed=0,
        size=prepared.size,
        sigma_data=0.5,
        background=0.0,
        mu=prepared.mu,
        s=prepared.s,
        held_out=tuple(held_out),
    )
    files.make_folder(run.score)
    files.write_weights(run.weights, {"w": np.zeros(1, np.float32)}, to_json(record))
    files.write_text(run.training, '[train]\nnetwork = "fast"\n')
    run.loss.write([LossRow(100 * k, 1 / k, 0.1, k) for k in range(1, 9)])
    run.denoising.write(
        [
            DenoisingRow(t, 0.4 * t, 0.5 * t if held_out else None, 0.3, 0.6 if held_out else None, 0.7 * t)
            for t in (0.02, 0.1, 0.5, 1.0, 2.0, 20.0)
        ]
    )
    if samples:
        images = files.read_images(run.images).images
        drawn = np.stack([images[k % len(images)] for k in range(samples)])
        files.make_folder(run.samples.path)
        for name in (run.samples.images, run.samples.nearest):
            files.write_images(name, drawn, None)
        correlations = [0.99 if copies else 0.91 + 0.001 * k for k in range(samples)]
        run.samples.rows.write(
            [SampleRow(k, k % 2, 30.0, False, correlation, 0.9) for k, correlation in enumerate(correlations)]
        )


def write_shared(
    path: Path,
    numbers: Sequence[int],
    *,
    outliers: Sequence[int] = (),
    agreeing: int = 3,
    flexible: bool | None = True,
    class_2: Sequence[int] = (),
    held_out_resolution: float = 9.1,
    support: SupportTest | None = None,
    soft: bool = False,
) -> None:
    """Write a consensus and poses, all of them R = I.

    Args:
        path: of the run.
        numbers: of the images.
        outliers: images that no view matches.
        agreeing: random starts that reached the same consensus as the last.
        flexible: whether the flexibility test finds motion; None if there are too few images.
        class_2: images of the second molecule of a mixture.
        held_out_resolution: Å.
        support: the test of the score support.
        soft: whether the consensus was made with soft assignment.
    """
    run = RunDirectory(path)
    files.write_map(run.assigned.volume, files.read_map(run.volume(numbers[0])).density, 3.54)
    run.poses.write(
        [PoseRow(number, 0, 0, 0, 0, 0, 0.98, number in outliers, 2 if number in class_2 else 1) for number in numbers]
    )
    run.starts.write([StartRow(k, 0.9, 1.0 if k == 3 else 0.9, k == 3 or k < agreeing) for k in range(4)])
    run.assigned.summary.write(ConsensusSummary("C1", 0.98, 0.97, held_out_resolution))
    run.assignment.write(AssignmentTest(0.95, 0.96 if soft else 0.94, 3.0, soft))
    tests = {
        True: FlexibilityTest(0.05, 0.01, 0.8, 0.64, 0.05, "flexible"),
        False: FlexibilityTest(0.05, 0.05, 0.1, 0.0, 0.05, "rigid"),
        None: FlexibilityTest(None, None, None, None, 0.05, "undetermined"),
    }
    run.flexibility.write(tests[flexible])
    if support:
        run.support.write(support)


def write_landscape(
    path: Path,
    numbers: Sequence[int],
    *,
    motions: int = 1,
    flexible: bool | None = True,
    counted: bool = True,
    umap: bool = False,
) -> None:
    """Write heterogeneity: a ball beside a still one goes four pixels further along y with every mode.

    Args:
        path: of the run.
        numbers: of the images.
        motions: number of modes, or of components where these are not counted.
        flexible: whether the flexibility test finds motion; None if there are too few images.
        counted: whether the number of modes is determined.
        umap: whether the volumes are embedded by UMAP.
    """
    landscape = RunDirectory(path).landscape
    landscape.rows.write(
        [
            LandscapeRow(
                image=number,
                state=1 + place % 2,
                mode=tuple(place - 2.0 * k for k in range(motions) if counted),
                component=(0.5 * place, (-1.0) ** place),
                umap=(float(place), 0.0) if umap else (),
            )
            for place, number in enumerate(numbers)
        ]
    )
    landscape.scree.write([ScreeRow(k, 1 / k, 0.5, 0.01) for k in (1, 2)])
    landscape.states.write([StateRow(k + 1, len(numbers[k::2]), numbers[k], 6 - 6 * k) for k in range(2)])
    frames = [ball(20, (0, -4, 0), 3) + ball(20, (0, 4 * k / 10, 4), 2.5) for k in range(11)]
    files.write_map(landscape.variability, np.std(frames, axis=0), 3.54)
    names = [f"{'mode' if counted else 'component'}-{k + 1}" for k in range(motions)]
    for name, some in [*((name, frames) for name in names), ("states", frames[:7])]:
        files.make_folder(landscape.frame(name, 0).parent)
        for number, frame in enumerate(some):
            files.write_map(landscape.frame(name, number), frame, 3.54)
    landscape.summary.write(
        LandscapeSummary(
            volumes=len(numbers),
            modes=motions if counted else None,
            trajectories=tuple(Trajectory(name, 4.0, 0.3) for name in names),
            verdict="undetermined" if flexible is None else ("flexible" if flexible else "rigid"),
            significant_components=2,
            variance=1.0,
            noise_floor=0.01,
            shells=8,
            side=20,
        )
    )


def write_bodies(path: Path, numbers: Sequence[int]) -> None:
    """Write three rigid bodies, one of which turns and one slides, as the source of all volumes.

    Args:
        path: of the run, with images of 16 pixels.
        numbers: of the images.
    """
    run = RunDirectory(path)
    places = [(0, -3, 0), (0, 3, 3), (3, 3, -3)]
    densities = np.stack([ball(16, place, radius) for place, radius in zip(places, (3, 2, 2), strict=True)])
    files.make_folder(run.model.parent)
    files.write_weights(run.model, {"densities": densities}, {"saturation": 0.5})
    turn = BodyRow(2, 0.2, 1, 100.26, 4.0, 1.0, -0.0595, -0.021, 0.2, 5.53, -6.97, 7.5)
    slide = BodyRow(3, 0.2, 1, 0.0, 5.1, 0.0, 0.0, 1.0, 10.6, 10.6, -10.6, 1.5)
    run.body_rows.write([BodyRow(1, 0.6, *(None,) * 10), turn, slide])
    run.angles.write([AngleRow(number, (14.286 - 20 * number, 1.5), (0.16, 0.0412)) for number in numbers])
    files.make_folder(run.bodies_test.path.parent)
    run.bodies_test.write(BodiesTest(0.0021, 0.00175, 1.0, "bodies"))
    rows = [row._replace(steps=0, start_weight=1.0, view_residual=None) for row in run.volume_rows.read()]
    run.volume_rows.write(rows)
    for row in rows:
        run.convergence(row.image).path.unlink()


def ball(size: int, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A ball with a soft edge about (x, y, z), counted from the middle."""
    x = np.arange(size) - size // 2
    z, y, x = np.meshgrid(x, x, x, indexing="ij")
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return (1 / (1 + np.exp(2 * (distance - radius)))).astype(np.float32)


def write_reliability(
    path: Path, labels: Mapping[int, str], *, calibrated: bool = True, motions: int = 1, **changes: Any
) -> None:
    """Write the reliability of each volume: the smaller its number, the better.

    Args:
        path: of the run.
        labels: by the number of the image.
        calibrated: whether there is an expected FSC.
        motions: number of modes.
        changes: of fields of every row.
    """
    rows = []
    for number, label in labels.items():
        expected = 0.95 - 0.05 * number
        row = ReliabilityRow(
            image=number,
            expected_fsc=expected if calibrated else None,
            low=expected - 0.1 if calibrated else None,
            high=expected + 0.04 if calibrated else None,
            resolution=16.0 if calibrated else None,
            label=label,
            reason=f"what counts for volume {number} <b>most</b>",
            replicate_fsc=0.99,
            correlation=0.98,
            isolation=0.5,
            observability=(0.1 * number,) * motions,
        )
        rows.append(row._replace(**changes))
    RunDirectory(path).reliability.write(rows)
