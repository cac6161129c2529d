"""How far a run is, by its files."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .. import files
from ..requirements import parse_selection
from ..rundir.directory import RunDirectory
from ..rundir.heartbeat import Word, feel
from ..wording import counted, images

_CLOSED = {"exact", "tangent"}  # scores that need no training
_NOT_ASKED_FOR = {"landscape", "report"}  # by all commands; a job that ended well has done what it was to do


class Stage(NamedTuple):
    """A part of the work."""

    name: str
    state: Literal["done", "working", "waiting"]
    what: str = ""  # came of it, or is being done
    seconds: float | None = None  # it took


class State(NamedTuple):
    """A run as it stands."""

    job: Literal["running", "silent", "stopped", "finished"]
    stages: list[Stage]
    word: Word | None  # of the job that works on it, or the last one of a job that stopped
    heard: str  # when a silent one was heard last
    facts: list[tuple[str, str]]  # what is known by now: about what, and a sentence
    last: int | None  # number of the image whose volume was finished last

    @property
    def over(self) -> bool:
        """Nobody works on it."""
        return self.job in ("stopped", "finished")


def read_state(run: RunDirectory) -> State:
    """How far a run is; nothing is written."""
    pulse = feel(run.progress)
    settings = _settings(run)
    records = files.read_records(run.log)
    volumes = {int(record["image"]): record for record in records if record["event"] == "volume"}
    stages = _in_order(_stages(run, settings, records, volumes))
    whole = all(stage.state == "done" for stage in stages if pulse or stage.name not in _NOT_ASKED_FOR)
    if pulse is None or pulse.dead:  # a job that ends well takes its pulse along
        job: Literal["running", "silent", "stopped", "finished"] = "finished" if whole and pulse is None else "stopped"
    else:
        job = "running" if pulse.at_work else "silent"
    word = pulse.word if pulse and job != "finished" else None
    if word and job != "stopped":
        stages = _at_work(stages, word)
    done = [number for number, record in volumes.items() if record["status"] == "done" and run.volume(number).exists()]
    heard = f"{pulse.silent_since.astimezone():%H:%M on %d %B}" if pulse and pulse.silent_since else ""
    return State(job, stages, word, heard, list(_facts(run, volumes)), done[-1] if done else None)


def _settings(run: RunDirectory) -> Mapping[str, Any]:
    return files.read_toml(run.config).get("run", {}) if run.config.exists() else {}


def _table(path: Path) -> list[dict[str, str]]:
    return files.read_table(path) if path.exists() else []


def _stages(
    run: RunDirectory, settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]], volumes: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[str, bool, str, float | None]]:
    """Name of each stage, whether it is done, what came of it, and how long it took."""
    took = {record["event"]: record["seconds"] for record in records if "seconds" in record and record["event"] != "volume"}
    rows = _table(run.images.with_suffix(".csv"))
    kept = {int(row["number"]) for row in rows if row["kept"] == "1"}
    properties = files.read_json(run.images.with_suffix(".json")) if run.images.exists() else {}
    came = f"{len(kept)} of {properties['size']}² pixels" if properties else ""
    yield "images", bool(properties), came, None
    if not settings or settings.get("denoiser") not in _CLOSED:
        loss = _table(run.loss)[-1:] if run.weights.exists() else []
        came, seconds = (f"loss {float(loss[0]['loss']):.3f}", float(loss[0]["seconds"])) if loss else ("", None)
        yield "learned score", run.weights.exists(), came, seconds
    if settings:
        posed = settings.get("method") == "ensemble"
        if posed:
            yield "consensus", run.consensus_poses.exists(), "", took.get("consensus")
            asked_whether = run.moves.exists() or not run.poses.exists()
            yield "motion", run.poses.exists(), "" if asked_whether else "too few images to ask", took.get("motion")
            if settings.get("denoiser") in _CLOSED:
                yield "score", run.left_out.exists(), "", took.get("left out")
        chosen = settings.get("images")
        asked = kept & set(parse_selection(str(chosen), len(rows))) if chosen else kept
        there = sum(record["status"] == "diverged" or run.volume(number).exists() for number, record in volumes.items())
        done = run.volumes_star.exists() and there >= len(asked)
        yield "volumes", done, f"{there} of {len(asked)}" if asked else "", took.get("reconstructed")
        if posed and len(asked) > 2:
            yield "landscape", run.landscape_table.exists() or run.report.exists(), _motions(run), took.get("landscape")
    yield "report", run.report.exists(), "", None


def _motions(run: RunDirectory) -> str:
    """How many there are, if that is known."""
    motions = files.read_json(run.landscape / "summary.json")["motions"] if run.landscape_table.exists() else None
    return "" if motions is None else counted(motions, "motion")


def _in_order(stages: Iterator[tuple[str, bool, str, float | None]]) -> list[Stage]:
    """What follows something that is not done is not done, whatever lies there from before."""
    found: list[Stage] = []
    for name, done, what, seconds in stages:
        done = done and all(stage.state == "done" for stage in found)
        found.append(Stage(name, "done" if done else "waiting", what, seconds if done else None))
    return found


def _at_work(stages: list[Stage], word: Word) -> list[Stage]:
    """The first that is not done is the one at work; beyond the last one, what an experiment does besides."""
    at = next((place for place, stage in enumerate(stages) if stage.state != "done"), None)
    if at is None and word.doing:
        return [*stages, Stage(word.doing, "working")]
    return [
        stage._replace(state="working", what=stage.what or word.doing.removeprefix(f"{stage.name}: ")) if place == at else stage
        for place, stage in enumerate(stages)
    ]


def _facts(run: RunDirectory, volumes: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What is known by now."""
    starts, summary, poses = _table(run.starts), _table(run.consensus_summary), _table(run.poses) or _table(run.consensus_poses)
    if summary:
        coverage, left_out = (float(summary[0][name]) for name in ("coverage", "left_out_coverage"))
        yield "correlation", f"{coverage:.3f} with views of the consensus, {left_out:.3f} of maps of other images"
    elif starts:
        best = max(float(row["coverage"]) for row in starts)
        yield "correlation", f"{best:.3f} with views of the best start, at low resolution"
    if starts:
        others = sorted(float(row["agreement"]) for row in starts)[:-1]
        agreeing = sum(int(row["agrees"]) for row in starts)
        values = ", ".join(f"{value:.2f}" for value in others)
        yield "starts", f"{agreeing} of {len(starts)} came to the same volume (mean FSC {values})"
    if poses:
        odd, second = ([int(row["image"]) for row in poses if row[name] == "1"] for name in ("outlier", "second"))
        yield "outliers", images(odd) if odd else "none"
        if second:
            yield "mixture", f"{counted(len(second), 'image')} of a second molecule"
    if asked := _table(run.moves):
        still, moving = (100 * float(asked[0][name]) for name in ("still", "moving"))
        verdict = "moves" if asked[0]["moves"] == "1" else "rigid"
        yield "motion", f"{verdict}: one shape leaves {still:.2f} % unexplained, a moving one {moving:.2f} %"
    yield from _agreement(volumes)


def _agreement(volumes: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """How far the replicas of volumes agree, and how well volumes fit their images."""
    agreements = {number: record["replica_fsc"] for number, record in volumes.items() if record.get("replica_fsc") is not None}
    if agreements:
        worst = min(agreements, key=lambda number: agreements[number])
        mean = statistics.fmean(agreements.values())
        yield "replicas agree", f"mean FSC {mean:.3f}, least {agreements[worst]:.3f} (volume {worst})"
    fits = [record["anchor_correlation"] for record in volumes.values() if record["status"] == "done"]
    if fits:
        yield "own image", f"correlation with the view in its pose {statistics.median(fits):.4f} (median)"
    diverged = [number for number, record in volumes.items() if record["status"] == "diverged"]
    if diverged:
        yield "diverged", images(diverged)
