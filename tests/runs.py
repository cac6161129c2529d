"""Run directories as the stages leave them, written without running anything."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scoretomo import files

SETTINGS = """[run]
stack = "classes.star"
size = 16
seed = 0
method = "paper"
"""
HOSTILE = 'classes<script>alert("x")</script>&.mrcs'


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
    run: Path,
    volumes: Mapping[int, np.ndarray | None],
    *,
    asked: Sequence[int] = (),
    left_out: Mapping[int, str] | None = None,
    pixel_size: float | None = 3.54,
    source: str = "classes.mrcs",
    finished: bool = True,
) -> Path:
    """Write a run directory as the stages do.

    Args:
        run: where.
        volumes: density of each image's volume, or None if its descent diverged.
        asked: images of which no volume is there yet.
        left_out: images that could not be used, with their reasons.
        pixel_size: Å per pixel.
        source: the user's file.
        finished: whether volumes.csv was written; else the volumes are in the log only.
    """
    left_out = left_out or {}
    kept = sorted({*volumes, *asked})
    size = next(len(density) for density in volumes.values() if density is not None)
    views = [density.sum(0) if (density := volumes.get(number)) is not None else np.eye(size) for number in kept]
    for folder in ("volumes", "convergence"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    files.write_images(run / "images.mrcs", np.stack(views).astype(np.float32), pixel_size)
    files.write_table(
        run / "images.csv",
        [
            {
                "number": number,
                "source": f"{number + 1:06d}@{source}",
                "kept": int(number in kept),
                "slice": kept.index(number) if number in kept else "",
                "reason": left_out.get(number, ""),
                "warning": "the particle reaches the mask" if number == 1 else "",
            }
            for number in sorted({*kept, *left_out})
        ],
    )
    notes = ["grey scales differ: made equal", "classes.mrcs does not say its pixel size"]
    said = {"source": source, "pixel_size": pixel_size, "size": size, "notes": notes}
    files.write_text(run / "images.json", json.dumps(said))
    files.write_text(run / "config.toml", SETTINGS)
    now = {"time": "2026-01-01T00:00:00+00:00"}
    files.append_record(run / "log.jsonl", {**now, "event": "start", "scoretomo": "0.1.0", "torch": "2.9.9"})
    rows: list[dict[str, Any]] = []
    for number, density in volumes.items():
        name = f"{number:03d}"
        diverged = density is None
        rows.append(
            {
                "image": number,
                "file": "" if diverged else f"volumes/{name}.mrc",
                "status": "diverged" if diverged else "done",
                "seconds": 2.5,
                "steps": 3,
                "anchor_correlation": 0.9,
                "anchor_residual": 0.1,
                "view_residual": 0.2,
            }
        )
        if density is not None:
            files.write_map(run / "volumes" / f"{name}.mrc", density, pixel_size)
        residuals = [1.0, 40.0, float("nan")] if diverged else [1.0, 0.5, 0.25]
        steps = [
            {"step": step, "t": 0.5, "views": 2 + step // 2, "anchor_residual": value, "view_residual": value}
            for step, value in enumerate(residuals)
        ]
        files.write_table(run / "convergence" / f"{name}.csv", steps)
        files.append_record(run / "log.jsonl", {**now, "event": "volume", **rows[-1]})
    if finished:
        files.write_table(run / "volumes.csv", rows)
        files.append_record(run / "log.jsonl", {**now, "event": "reconstructed", "seconds": 2.5 * len(rows), "workers": 1})
    return run


def write_evaluation(run: Path, numbers: Sequence[int], *, gain: bool = False) -> None:
    """Compare every volume with itself as its truth, shell by shell a little worse."""
    folder = run / "evaluation"
    (folder / "aligned").mkdir(parents=True)
    shells = [1.0, 0.9, 0.7, 0.4, 0.1]
    scores, curves = [], []
    for number in numbers:
        volume = run / "volumes" / f"{number:03d}.mrc"
        (folder / "aligned" / volume.name).write_bytes(volume.read_bytes())
        scores.append(
            {
                "image": number,
                "truth": str(volume.resolve()),
                "hand": "mirrored" if number % 2 else "same",
                "mean_fsc": 0.5 + 0.001 * number,
                "auc": 0.3,
                "resolution_0.5": 12.3,
                "resolution_0.143": 9.87,
            }
        )
        curves.append({"image": number, **{f"shell_{shell}": value for shell, value in enumerate(shells)}})
    files.write_table(folder / "scores.csv", scores)
    files.write_table(folder / "fsc.csv", curves)
    summary: dict[str, Any] = {"n": len(numbers), "mean_fsc": 0.5, "auc": 0.3, "unit": "Å", "size": 8, "pixel_size": 3.54}
    summary["mean_curve"] = shells
    if gain:
        summary |= {"single_map_mean_fsc": 0.4, "ceiling_mean_fsc": 0.8, "conformation_gain": 0.25}
    files.write_text(folder / "summary.json", json.dumps(summary))


def write_score(run: Path, *, held_out: Sequence[int] = (), samples: int = 5, copies: bool = False) -> None:
    """Write a trained network's record and curves, and samples: copies, or as far from the images as these from each other."""
    for folder in ("score", "samples"):
        (run / folder).mkdir()
    record = {"network": "fast", "examples": 6400, "held_out": list(held_out)}
    files.write_weights(run / "score" / "weights.safetensors", {"w": np.zeros(1, np.float32)}, record)
    files.write_text(run / "score" / "train.toml", '[train]\nnetwork = "fast"\n')
    loss = [{"images_seen": 100 * k, "loss": 1 / k, "rate": 0.1, "seconds": k} for k in range(1, 9)]
    files.write_table(run / "score" / "loss.csv", loss)
    errors = [
        {
            "t": t,
            "network_training": 0.4 * t,
            "network_held_out": 0.5 * t if held_out else "",
            "exact_training": 0.3,
            "exact_held_out": 0.6 if held_out else "",
            "wiener": 0.7 * t,
        }
        for t in (0.02, 0.1, 0.5, 1.0, 2.0, 20.0)
    ]
    files.write_table(run / "score" / "denoising.csv", errors)
    if samples:
        images = files.read_images(run / "images.mrcs").images
        drawn = np.stack([images[k % len(images)] for k in range(samples)])
        for name in ("samples", "nearest"):
            files.write_images(run / "samples" / f"{name}.mrcs", drawn, None)
        correlations = [0.99 if copies else 0.91 + 0.001 * k for k in range(samples)]
        rows = [
            {"sample": k, "nearest": k % 2, "angle": 30.0, "flipped": 0, "correlation": correlations[k], "natural": 0.9}
            for k in range(samples)
        ]
        files.write_table(run / "samples" / "samples.csv", rows)


def write_shared(
    run: Path, numbers: Sequence[int], *, outliers: Sequence[int] = (), agreeing: int = 3, moves: bool | None = True
) -> None:
    """Write a consensus and poses, all of them R = I."""
    density = files.read_map(run / "volumes" / f"{numbers[0]:03d}.mrc").density
    files.write_map(run / "consensus.mrc", density, 3.54)
    poses = [
        {
            "image": number,
            **dict.fromkeys(("rot", "tilt", "psi", "shift_x", "shift_y"), 0.0),
            "outlier": int(number in outliers),
            "second": 0,
        }
        for number in numbers
    ]
    files.write_table(run / "poses.csv", poses)
    folder = run / "consensus"
    folder.mkdir()
    starts = [{"coverage": 0.9, "agreement": 1.0 if k == 3 else 0.9, "agrees": int(k == 3 or k < agreeing)} for k in range(4)]
    files.write_table(folder / "starts.csv", starts)
    files.write_table(
        folder / "summary.csv", [{"symmetry": "C1", "coverage": 0.98, "left_out_coverage": 0.97, "left_out_resolution": 9.1}]
    )
    if moves is not None:
        files.write_table(
            folder / "moves.csv",
            [
                {
                    "still": 0.05,
                    "moving": 0.01 if moves else 0.05,
                    "displacement": 0.8 if moves else 0.1,
                    "evidence": 0.64 if moves else 0.0,
                    "needed": 0.05,
                    "moves": int(moves),
                }
            ],
        )


def write_landscape(
    run: Path, numbers: Sequence[int], *, motions: int = 1, moves: bool | None = True, counted: bool = True
) -> None:
    """Write what moves: a ball beside a still one goes four pixels further along y with every motion."""
    folder = run / "landscape"
    folder.mkdir()
    rows = []
    for place, number in enumerate(numbers):
        ways = {f"motion_{k + 1}": place - 2.0 * k for k in range(motions) if counted}
        rows.append({"image": number, "state": 1 + place % 2, **ways, "component_1": 0.5 * place, "component_2": (-1.0) ** place})
    files.write_table(run / "landscape.csv", rows)
    files.write_table(folder / "scree.csv", [{"component": k, "variance": 1 / k, "share": 0.5, "chance": 0.01} for k in (1, 2)])
    states = [{"state": k + 1, "volumes": len(numbers[k::2]), "representative": numbers[k], "frame": 6 - 6 * k} for k in range(2)]
    files.write_table(folder / "states.csv", states)
    frames = [ball(20, (0, -4, 0), 3) + ball(20, (0, 4 * k / 10, 4), 2.5) for k in range(11)]
    files.write_map(folder / "motion-map.mrc", np.std(frames, axis=0), 3.54)
    names = [f"{'motion' if counted else 'component'}-{k + 1}" for k in range(motions)]
    for name in names:
        (folder / name).mkdir()
        for number, frame in enumerate(frames):
            files.write_map(folder / name / f"{number:02d}.mrc", frame, 3.54)
    (folder / "states").mkdir()
    for number, frame in enumerate(frames[:7]):
        files.write_map(folder / "states" / f"{number:02d}.mrc", frame, 3.54)
    known = motions if counted else None
    summary = {"motions": known, "moves": moves, "clear_components": 2, "variance": 1.0, "chance": 0.01}
    summary["ways"] = [{"name": name, "distance": 4.0, "replaced": 0.3} for name in names]
    files.write_text(folder / "summary.json", json.dumps(summary))


def ball(size: int, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A ball with a soft edge about (x, y, z), counted from the middle."""
    x = np.arange(size) - size // 2
    z, y, x = np.meshgrid(x, x, x, indexing="ij")
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return (1 / (1 + np.exp(2 * (distance - radius)))).astype(np.float32)


def write_reliability(run: Path, words: Mapping[int, str], *, calibrated: bool = True, motions: int = 1) -> None:
    """Write how far to believe each volume: the smaller its number, the better."""
    rows = []
    for number, word in words.items():
        expected = 0.95 - 0.05 * number
        figures = {"expected_fsc": expected, "low": expected - 0.1, "high": expected + 0.04, "down_to": 16.0} if calibrated else {}
        measured = {"replicas": 0.99, "correlation": 0.98, "isolation": 0.5}
        seen = {f"motion_{k + 1}_seen": 0.1 * number for k in range(motions)}
        reason = f"what counts for volume {number} <b>most</b>"
        empty = dict.fromkeys(("expected_fsc", "low", "high", "down_to"), "")
        rows.append({"image": number, **(figures or empty), "word": word, "reason": reason, **measured, **seen})
    files.write_table(run / "reliability.csv", rows)
