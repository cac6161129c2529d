"""The table of stages, and what the runner makes of it: order, continuing, formats."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from runs import blob, write_run

from scoretomo import files
from scoretomo.config import ImportRequest, ReconstructSettings, RunRequest, TrainSettings
from scoretomo.deformation.flexibility import FLEXIBILITY
from scoretomo.errors import InputError, NoVolumesError
from scoretomo.monitor.time_estimate import TimeEstimate
from scoretomo.pipeline import STAGES, Stage
from scoretomo.pipeline.costs import likely_verdict
from scoretomo.pipeline.job import Job
from scoretomo.pipeline.runner import run_stages
from scoretomo.pipeline.schedules import deformation_settings, refinement_start
from scoretomo.pipeline.volumes import require_volumes
from scoretomo.presets import DEFORMATION, REFINEMENTS
from scoretomo.rundir.directory import RunDirectory, require_begun, require_run
from scoretomo.rundir.requests import record_of_import, record_of_reconstruction, record_of_run
from scoretomo.rundir.rows import FORMAT, ConsensusSummary, FlexibilityTest, PoseRow, SupportTest
from scoretomo.rundir.settings_file import write_settings

NAMES = [stage.name for stage in STAGES]
METHODS, DENOISERS = (get_args(get_type_hints(ReconstructSettings)[name]) for name in ("method", "denoiser"))
KINDS = [ReconstructSettings(method=method, denoiser=denoiser) for method, denoiser in product(METHODS, DENOISERS)]


def files_in(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


# ---------------------------------------------------------------- the table


def test_names_of_stages_differ():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_stage_needs_only_stages_before_it(stage):
    assert set(stage.needs) <= set(NAMES[: NAMES.index(stage.name)])


def test_no_file_is_written_by_two_stages():
    written = [name for stage in STAGES for name in stage.writes]
    assert len(set(written)) == len(written)


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: f"{settings.method}-{settings.denoiser}")
def test_every_stage_of_a_run_depends_on_its_images_and_the_report_on_all(settings):
    stages = [stage for stage in STAGES if stage.applies(settings)]
    names = {stage.name for stage in stages}
    for first in stages[:-1]:
        depending = {first.name}
        for stage in stages:
            if depending & set(stage.needs):
                depending.add(stage.name)
        assert "report" in depending, f"the report does not depend on {first.name}"
        assert first.name != "images" or depending == names


def test_new_beginning_removes_what_every_stage_has_written(tmp_path):
    removed = set(RunDirectory(tmp_path).results(keep_images=False))
    assert {name for stage in STAGES for name in stage.writes} <= removed


# ---------------------------------------------------------------- the runner


def job_of(run: RunDirectory, **settings: object) -> Job:
    return Job(None, ReconstructSettings(**settings), TrainSettings(), {}, 1, TimeEstimate({}))


def pretended(stage: Stage, run_now: list[str]) -> Stage:
    """A stage of the same name that writes one small file."""
    marker = stage.name + ".txt"

    def work(run: RunDirectory, job: Job) -> None:
        run_now.append(stage.name)
        files.write_text(run.path / marker, stage.name)

    return stage._replace(done=lambda run, _: (run.path / marker).exists(), cost=lambda plan: {}, run=work)


@pytest.fixture
def small(tmp_path: Path) -> RunDirectory:
    """A directory with prepared images and nothing else."""
    path = write_run(tmp_path / "run", {number: blob(8, number) for number in range(3)}, finished=False)
    shutil.rmtree(path / "volumes")
    return RunDirectory(path)


def test_stages_run_once_and_are_recorded_with_their_seconds(small):
    run_now: list[str] = []
    stages = [pretended(stage, run_now) for stage in STAGES]
    job = job_of(small, method="paper")
    expected = ["images", "volumes", "report"]
    assert run_stages(small, job, stages) == run_now == expected
    assert run_stages(small, job, stages) == []
    assert run_now == expected
    recorded = [record for record in small.records() if record["event"] == "stage"]
    assert [record["stage"] for record in recorded] == expected
    assert all(record["seconds"] >= 0 for record in recorded)


def test_stage_that_is_run_again_makes_what_needs_it_anew(small):
    run_now: list[str] = []
    stages = [pretended(stage, run_now) for stage in STAGES]
    job = job_of(small, method="paper")
    run_stages(small, job, stages)
    assert run_stages(small, job, stages, again=("images",)) == ["images", "volumes", "report"]
    assert run_stages(small, job, stages, again=("report",)) == ["report"]


def test_criteria_of_every_decision_are_recorded_once(small):
    run_now: list[str] = []
    stages = [pretended(stage, run_now) for stage in STAGES]
    for name in ("volumes", "report"):
        run_stages(small, job_of(small, method="paper"), stages)
        (small.path / f"{name}.txt").unlink()
    (record,) = [record for record in small.records() if record["event"] == "criteria"]
    assert record["flexibility"]["threshold"] > 0
    assert record["outliers"]["deviations"] > 0


@pytest.mark.parametrize(
    ("deleted", "again"),
    [
        ("report", ["report"]),
        ("reliability", ["reliability", "report"]),
        ("landscape", ["landscape", "reliability", "report"]),
        ("volumes", ["volumes", "landscape", "reliability", "report"]),
        ("score support", ["score support", "volumes", "landscape", "reliability", "report"]),
        ("network", ["network", "volumes", "landscape", "reliability", "report"]),
    ],
)
def test_stage_whose_result_was_deleted_runs_again_with_those_that_need_it_only(small, deleted, again):
    run_now: list[str] = []
    stages = [pretended(stage, run_now)._replace(applies=lambda settings: True) for stage in STAGES]
    job = job_of(small, method="paper")
    assert run_stages(small, job, stages) == NAMES
    (small.path / f"{deleted}.txt").unlink()
    assert run_stages(small, job, stages) == again


@pytest.mark.parametrize("method", ["paper", "ensemble"])
def test_run_without_volumes_names_the_step_and_a_remedy_that_its_method_has(method, tmp_path, wording):
    run = RunDirectory(write_run(tmp_path / "run", {0: blob(8, 0), 1: None}))
    require_volumes(run)
    run.volume_rows.write([row for row in run.volume_rows.read() if row.status == "diverged"])
    write_settings(run.config, {"run": {"method": method}})
    with pytest.raises(NoVolumesError, match="image 1, first at step 1") as raised:
        require_volumes(run)
    wording(raised.value)


# ---------------------------------------------------------------- what a refinement begins with


def with_results(
    run: RunDirectory, verdict: str, images: int, *, symmetry: str = "C1", near: bool | None = None, excluded: int = 0
) -> RunDirectory:
    """A run before its volumes, with a verdict of the flexibility test and, if it is given, a test of the support."""
    run.flexibility.write(FlexibilityTest(None, None, None, None, FLEXIBILITY.threshold, verdict))
    run.assigned.summary.write(ConsensusSummary(symmetry, 0.9, 0.9, 8.0))
    outliers = [number < excluded for number in range(images)]
    run.poses.write([PoseRow(number, 0, 0, 0, 0, 0, 0.9, outlier, 1) for number, outlier in enumerate(outliers)])
    if verdict == "flexible":
        files.make_folder(run.model.parent)
        run.model.write_bytes(b"")
    if near is not None:
        run.support.write(SupportTest(True, False, 0.1, 0.1, 0.1, 0.1, near))
    return run


@pytest.mark.parametrize(
    ("results", "start"),
    [
        ({"verdict": "undetermined", "images": 20}, "undetermined"),
        ({"verdict": "undetermined", "images": 12, "symmetry": "C2"}, "symmetric"),  # 24 slices leave no gaps
        ({"verdict": "undetermined", "images": 12, "symmetry": "C2", "excluded": 1}, "undetermined"),
        ({"verdict": "rigid", "images": 60, "near": False}, "rigid"),
        ({"verdict": "flexible", "images": 60, "near": False}, "flexible"),
        ({"verdict": "flexible", "images": 60, "near": True}, "modelled"),
        ({"verdict": "flexible", "images": 60}, "flexible"),  # a network score has no test of its support
    ],
)
def test_refinement_begins_with_what_the_stages_before_it_have_decided(results, start, small):
    assert refinement_start(with_results(small, **results)) == start


@pytest.mark.parametrize(
    ("images", "verdict"), [(FLEXIBILITY.fewest - 1, "undetermined"), (FLEXIBILITY.fewest, "flexible")]
)
def test_expected_verdict_depends_on_the_number_of_images(images, verdict):
    assert likely_verdict(images) == verdict


def test_fewer_steps_are_a_share_of_the_epochs_too():
    usual = REFINEMENTS["modelled"].steps
    half = deformation_settings(ReconstructSettings(steps=usual // 2), 32)
    assert half.epochs == DEFORMATION.epochs // 2
    assert deformation_settings(ReconstructSettings(), 32) == DEFORMATION
    assert deformation_settings(ReconstructSettings(steps=10 * usual), 32) == DEFORMATION


# ---------------------------------------------------------------- a real run


@pytest.mark.slow
def test_run_writes_what_its_stages_declare_and_nothing_else(six_volumes):
    declared = {name for stage in STAGES for name in stage.writes}
    assert {path.name for path in six_volumes.iterdir()} <= declared | {"config.toml", "log.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "flexibility",
        "assignment",
        "deformation",
        "bodies",
        "motion",
        "score support",
        "landscape",
        "reliability",
        "report",
    ],
)
def test_results_that_were_deleted_are_made_again_the_same(name, six_volumes, box, run_with, tmp_path):
    path = Path(shutil.copytree(six_volumes, tmp_path / "run"))
    stage = next(stage for stage in STAGES if stage.name == name)
    for written in stage.writes:
        if (path / written).is_dir():
            shutil.rmtree(path / written)
        else:
            (path / written).unlink(missing_ok=True)
    volume = (path / "volumes" / "000.mrc").stat().st_mtime_ns
    run_with(box, path, images="0,2,4,6,8,10", steps=5)
    before, after = files_in(six_volumes), files_in(path)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {"log.jsonl", "report.html"}
    assert (path / "volumes" / "000.mrc").stat().st_mtime_ns == volume  # finished volumes are not made again


@pytest.mark.parametrize(
    ("verdict", "finished"), [("flexible", True), ("rigid", True), ("undetermined", True), ("undetermined", False)]
)
def test_run_ends_with_its_verdict_and_its_report(verdict, finished, six_volumes, box, tmp_path, command):
    run = RunDirectory(Path(shutil.copytree(six_volumes, tmp_path / "run")))
    run.flexibility.write(run.flexibility.read()._replace(verdict=verdict))
    files.make_folder(run.coarse_model.parent)
    run.coarse_model.touch()
    if not finished:
        run.report.unlink()
    code, said = command("run", box, "--output", run.path, "--images", "0,2,4,6,8,10", "--steps", 5)
    assert code == 0
    last = said.splitlines()[-1]
    assert [word for word in ("flexible", "rigid", "undetermined") if word in last] == [verdict]
    assert last.endswith(str(run.report))


# ---------------------------------------------------------------- formats


def in_format(path: Path, number: int | None) -> Path:
    """The directory as if another version had written it; None: the first one, which recorded none."""
    run = RunDirectory(path)
    imported = files.read_json(run.import_record.path)
    records = [record for record in run.records() if record["event"] != "start"]
    start = {"time": "2026-01-01T00:00:00+00:00", "event": "start"}
    for each in (imported, start):
        each.pop("format", None)
        if number is not None:
            each["format"] = number
    files.write_json(run.import_record.path, imported)
    run.log.unlink()
    for record in (start, *records):
        files.append_record(run.log, record)
    return path


@pytest.mark.parametrize("number", [None, 1, FORMAT + 1])
@pytest.mark.parametrize("require", [require_run, require_begun, lambda path: RunDirectory(path).require_one_frame()])
def test_directory_of_another_format_is_refused(number: int | None, require: Callable[[Path], object], small, tmp_path):
    path = in_format(small.path, number)
    with pytest.raises(InputError, match=rf"format {FORMAT} but has format {number or 1}\b"):
        require(path)


def test_directory_of_another_format_is_refused_by_the_version_that_wrote_it(small):
    in_format(small.path, 1)
    small.record("start", scoretomo="0.0.9", format=FORMAT + 1)
    with pytest.raises(InputError, match=r"scoretomo 0\.0\.9"):
        small.require_format()


@pytest.mark.parametrize("require", [require_run, require_begun])
def test_directory_of_this_format_is_not_refused(require, small):
    assert require(in_format(small.path, FORMAT)).path == small.path


def test_directory_with_an_import_alone_has_the_format_of_the_import(small):
    in_format(small.path, 1)
    small.log.unlink()
    with pytest.raises(InputError, match="format 1"):
        small.require_format()


def test_new_directory_has_no_format_to_refuse(tmp_path):
    RunDirectory(tmp_path / "new").require_format()


@pytest.mark.parametrize("name", ["run", "reconstruct", "report", "landscape", "watch"])
def test_command_refuses_a_directory_of_an_older_format_in_one_sentence(name, small, tmp_path, command, wording):
    stack = tmp_path / "classes.mrcs"
    files.write_images(stack, files.read_images(small.images).images, None)
    begun = record_of_run(RunRequest(ImportRequest(stack), small.path))
    small.import_record.write(small.import_record.read()._replace(request=record_of_import(ImportRequest(stack))))
    write_settings(
        small.config, record_of_reconstruction(small.path, ReconstructSettings()) if name == "reconstruct" else begun
    )
    in_format(small.path, None)
    before = files_in(small.path)
    code, said = command(name, *((stack, "--output", small.path) if name == "run" else (small.path,)))
    assert code == 2, said
    assert files_in(small.path) == before
    wording(said)
