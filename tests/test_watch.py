"""Watching a run from another process: the heartbeat of its job, the state of its files, and the live report."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from rich.console import Console

from scoretomo import files
from scoretomo.files import is_alive, read_records
from scoretomo.monitor import watch
from scoretomo.monitor.live import GrowingReport, served
from scoretomo.monitor.state import State, read_state
from scoretomo.monitor.time_estimate import TimeEstimate
from scoretomo.monitor.watch import changes, view
from scoretomo.pipeline import STAGES
from scoretomo.rundir import heartbeat
from scoretomo.rundir.directory import RunDirectory
from scoretomo.rundir.heartbeat import Activity, beating, read_heartbeat, write_heartbeat
from scoretomo.rundir.rows import AssignmentTest, BodiesTest, VolumeRow
from scoretomo.rundir.settings_file import write_settings
from scoretomo.rundir.tables import to_json


@pytest.fixture
def finished(six_volumes: Path, tmp_path: Path) -> RunDirectory:
    """A copy of a finished run of six volumes."""
    return RunDirectory(shutil.copytree(six_volumes, tmp_path / "run"))


@pytest.fixture
def halfway(finished: RunDirectory) -> RunDirectory:
    """The same with one volume still to be made, and nothing of what comes after."""
    tables = (finished.volume_rows, finished.landscape.rows, finished.reliability)
    for path in (finished.volumes_star, finished.report, finished.volume(10), *(table.path for table in tables)):
        path.unlink()
    return finished


@pytest.fixture
def killed(halfway: RunDirectory) -> RunDirectory:
    """The same, whose job was killed."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from scoretomo.rundir.heartbeat import Activity, write_heartbeat\n"
        "write_heartbeat(Path(sys.argv[1]), Activity('reconstructing 6 volumes', 0.8, 3.0, 4.0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, halfway.progress]).returncode == -signal.SIGKILL
    return halfway


def state_of(run: RunDirectory) -> State:
    return read_state(run, STAGES)


def stages(state: State) -> dict[str, str]:
    return {stage.name: stage.state for stage in state.stages}


def written(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


# The heartbeat ------------------------------------------------------------------------------------------------------


def test_a_job_writes_what_it_does_and_leaves_nothing_at_its_end(box, tmp_path, run_with, monkeypatch):
    activities = []
    monkeypatch.setattr(heartbeat, "FIRST", 0.0)
    monkeypatch.setattr(
        heartbeat, "write_heartbeat", lambda path, now: (activities.append(now.doing), write_heartbeat(path, now))
    )
    run = run_with(box, tmp_path / "run", workers=1, method="annealed", images="0,1", steps=3)
    assert "reconstructing 2 volumes" in activities
    assert "writing the report" in activities
    assert not RunDirectory(run).progress.exists()
    assert state_of(RunDirectory(run)).job == "finished"


def test_the_heartbeat_of_a_bar_has_its_share_and_the_time_left_for_all(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    write_heartbeat(path, Activity(""))
    monkeypatch.setattr(heartbeat, "FIRST", 0.0)
    estimate = TimeEstimate({"first": 1.0, "second": 3.0}, path)
    with estimate.bar("first") as bar:
        shown = bar.add_task("going on", total=4)
        bar.advance(shown, 2)
        time.sleep(0.1)
        wait_for(lambda: read_heartbeat(path).activity.share == 0.5)
        assert read_heartbeat(path).activity.doing == "going on"
    last = read_heartbeat(path).activity
    assert last.doing == ""
    assert last.seconds_left_in_all > 0


def test_a_report_made_beside_a_running_job_leaves_its_heartbeat_alone(tmp_path, monkeypatch):
    path, calls = tmp_path / "progress.json", []
    monkeypatch.setattr(heartbeat, "FIRST", 0.0)
    path.write_text(json.dumps({"host": "another", "process": 1, "doing": "its own work"}))
    for file in (path, tmp_path / "nobody.json"):
        with beating(file, lambda: calls.append(1) or Activity("a report")):
            time.sleep(0.1)
    assert json.loads(path.read_text())["doing"] == "its own work"
    assert not (tmp_path / "nobody.json").exists()
    assert calls == []


# The state of the files ---------------------------------------------------------------------------------------------


def test_a_run_that_has_just_begun_reads_images(tmp_path):
    run = RunDirectory(tmp_path / "run")
    files.make_folder(run.path)
    run.claim()
    write_settings(run.config, {"run": {"method": "ensemble", "denoiser": "tangent"}})
    state = state_of(run)
    assert state.job == "running"
    assert (state.stages[0].state, state.stages[0].detail) == ("working", "reading images")
    assert set(list(stages(state).values())[1:]) == {"waiting"}


def test_a_running_job_is_at_the_first_stage_that_is_not_done(halfway):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.8, 3.0, 4.0))
    state = state_of(halfway)
    assert state.job == "running"
    assert stages(state) == {
        **dict.fromkeys(("images", "consensus", "flexibility", "assignment", "deformation"), "done"),
        **dict.fromkeys(("bodies", "motion", "score support"), "done"),
        "volumes": "working",
        **dict.fromkeys(("landscape", "reliability", "report"), "waiting"),
    }
    (volumes,) = (stage for stage in state.stages if stage.name == "volumes")
    assert volumes.detail == "5 of 6"
    assert (
        state.last == [r["image"] for r in read_records(halfway.log) if r["event"] == "volume" and r["image"] != 10][-1]
    )
    assert {"correlation", "starts", "outliers", "replicates"} <= dict(state.facts).keys()


def test_stages_that_a_run_skips_are_not_needed(halfway):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes"))
    state = state_of(halfway)  # of too few images for a flexibility test
    skipped = [stage.name for stage in state.stages if not stage.needed]
    assert skipped == ["assignment", "deformation", "bodies", "motion"]
    assert {f"{name}: not needed" for name in skipped} <= set(changes(halfway, None, state))
    halfway.assignment.write(AssignmentTest(0.9, 0.8, 3.0, False))
    halfway.bodies_test.write(BodiesTest(0.1, None, 1.0, "smooth"))
    for path in (halfway.coarse_model, halfway.model):
        files.make_folder(path.parent)
        path.touch()
    assert all(stage.needed for stage in state_of(halfway).stages)


def test_a_killed_job_has_stopped(killed, command):
    state = state_of(killed)
    assert state.job == "stopped"
    assert stages(state)["volumes"] == "waiting"
    code, printed = command("watch", killed.path)
    assert code == 1
    assert "stopped before its end, at “reconstructing 6 volumes”; the same command continues it" in printed


def test_an_experiment_that_is_killed_between_two_parts_is_not_finished(finished):
    write_heartbeat(finished.progress, Activity("drawing 64 samples", 0.4))
    assert stages(state_of(finished))["drawing 64 samples"] == "working"
    said = json.loads(finished.progress.read_text())
    finished.progress.write_text(json.dumps({**said, "process": 2**22 + 1}))
    assert state_of(finished).job == "stopped"


def test_a_job_without_a_heartbeat_is_neither_running_nor_given_up(halfway):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes"))
    said = json.loads(halfway.progress.read_text())
    halfway.progress.write_text(json.dumps({**said, "host": "another", "process": 2**22 + 1}))
    assert state_of(halfway).job == "running"  # nobody can know here whether that process is there
    halfway.progress.write_text(json.dumps({**said, "host": "another", "time": "2026-01-02T03:04:05+00:00"}))
    state = state_of(halfway)
    assert (state.job, state.over) == ("silent", False)
    assert "January" in state.silent_since


def test_a_run_that_another_process_holds_is_refused_even_if_it_has_long_been_silent(halfway, command):
    code = (
        "import sys, time; from pathlib import Path; from scoretomo.rundir.directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).alone(): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, halfway.path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes"))
        said = json.loads(halfway.progress.read_text())
        old = {**said, "process": holder.pid, "time": "2026-01-02T03:04:05+00:00"}
        halfway.progress.write_text(json.dumps(old))
        try:
            with (
                pytest.raises(files.InputError, match=f"should have no process at work, but process {holder.pid} on "),
                halfway.alone(),
            ):
                pass
            halfway.progress.write_text(json.dumps({**old, "process": 2**22 + 1}))  # of one that was killed before
            with pytest.raises(files.InputError, match="no process at work, but another process is"), halfway.alone():
                pass
            assert "a process is at work here" in command("info", halfway.path)[1]
        finally:
            holder.kill()
    halfway.progress.unlink()
    with halfway.alone():  # its death has unlocked it
        with halfway.alone():
            pass
        assert "another process is" in error_of_another_process(halfway)
    assert not error_of_another_process(halfway)


def error_of_another_process(run: RunDirectory) -> str:
    """The error of another process that begins to work on a run; empty if it may."""
    code = (
        "import sys; from pathlib import Path; from scoretomo.rundir.heartbeat import require_alone\n"
        "require_alone(Path(sys.argv[1]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, run.progress], capture_output=True, text=True, check=False
    ).stderr


def test_a_mistake_unlocks_a_run(halfway):
    with pytest.raises(files.InputError, match="wrong"), halfway.alone():
        raise files.InputError("wrong")
    assert not error_of_another_process(halfway)


def test_what_lies_there_from_before_does_not_count_as_done(finished):
    finished.volume(4).unlink()
    assert finished.report.exists()
    assert stages(state_of(finished))["report"] == "waiting"
    assert state_of(finished).job == "stopped"


def test_volumes_without_a_report_are_finished_once_their_job_has_ended(finished, command):
    finished.report.unlink()
    assert state_of(finished).job == "finished"
    assert "a report: scoretomo report" in command("watch", finished.path)[1]


# The terminal -------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_listed_line_by_line_and_not_touched(finished, command):
    before = written(finished.path)
    code, printed = command("watch", finished.path)
    assert code == 0
    assert printed.rstrip().endswith(f"finished; report: {finished.report}")
    assert "volumes: 6 of 6, done in" in printed
    assert written(finished.path) == before


def test_a_directory_without_a_run_is_refused(tmp_path, command):
    for path in (tmp_path, tmp_path / "nothing"):
        code, printed = command("watch", path)
        assert code == 2
        assert "none has begun there: scoretomo run STACK" in printed


def test_only_changes_are_listed(halfway):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.81, 3.0))
    first = state_of(halfway)
    assert "volumes: 5 of 6, 81 %, 3 s left" in changes(halfway, None, first)
    assert changes(halfway, first, first) == []
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.89, 1.0))
    assert changes(halfway, first, state_of(halfway)) == []
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.91, 1.0))
    assert changes(halfway, first, state_of(halfway)) == ["volumes: 5 of 6, 91 %, 1 s left"]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_stopping_to_watch_leaves_the_job_alone_and_is_no_mistake(number, expected, halfway, command):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.5))
    before = written(halfway.path)
    stop = threading.Timer(0.5, os.kill, (os.getpid(), number))
    stop.start()
    code, printed = command("watch", halfway.path)
    assert code == expected
    assert "scoretomo: " not in printed
    assert written(halfway.path) == before


@pytest.mark.parametrize(
    ("terminal", "pictures"),
    [
        ({"force_terminal": True, "color_system": "truecolor"}, True),
        ({"force_terminal": True, "color_system": "truecolor", "no_color": True}, False),
        ({"force_terminal": True, "color_system": "standard"}, False),
        ({"force_terminal": True, "color_system": "truecolor", "height": 22}, False),
        (
            {"force_terminal": True, "color_system": "truecolor", "file": io.TextIOWrapper(io.BytesIO(), "latin-1")},
            False,
        ),
        ({"force_terminal": False}, False),
    ],
)
def test_the_last_volume_is_drawn_where_there_are_colours_and_room(halfway, terminal, pictures):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.81, 3.0))
    console = Console(**{"width": 80, "height": 40, "soft_wrap": True, **terminal})
    state = state_of(halfway)
    lines = console.render_lines(view(halfway, state, None, console), console.options)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    assert "81 %" in text
    assert ("▀" in text) == pictures
    assert (f"image {state.last} " in text) == pictures
    assert len(lines) <= console.height


@pytest.mark.parametrize("gone", ["volume", "pose", "images"])
def test_a_volume_that_goes_while_it_is_looked_at_is_not_drawn(halfway, gone):
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes", 0.81, 3.0))
    console = Console(width=80, height=40, force_terminal=True, color_system="truecolor")
    state = state_of(halfway)
    if gone == "volume":
        halfway.volume(state.last).unlink()
    elif gone == "pose":
        halfway.poses.write([row for row in halfway.poses.read() if row.image != state.last])
    else:
        halfway.images.unlink()
    lines = console.render_lines(view(halfway, state, None, console), console.options)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    assert "81 %" in text
    assert "▀" not in text


def test_files_that_are_gone_for_some_looks_do_not_end_the_watch(finished, monkeypatch):
    failures = [files.InputError("gone"), FileNotFoundError("gone"), KeyError("event"), ValueError("half a number")]

    def read(run: RunDirectory, stages: object) -> State:
        if failures:
            raise failures.pop()
        return state_of(run)

    monkeypatch.setattr(watch, "read_state", read)
    assert watch.watch_run(finished.path, STAGES, live=False, interval=0.0)
    assert failures == []


def test_files_that_stay_unreadable_are_an_error(finished):
    finished.image_rows.path.write_bytes(b"\xff")
    with pytest.raises(files.InputError, match=r"images\.csv"):
        watch.watch_run(finished.path, STAGES, live=False, interval=0.0)


# The live report ----------------------------------------------------------------------------------------------------


def ask(address: str, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """Status, tag and content of an answer."""
    connection = HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["ETag"], content


def test_the_live_page_renews_itself_and_the_report_on_disk_does_not(finished):
    before = written(finished.path)
    with served(finished) as address:
        wait_for(lambda: "Volume 10" in ask(address)[2])
        status, tag, page = ask(address)
        assert status == 200
        assert ask(address, If_None_Match=tag)[::2] == (304, "")
        assert ask(address, If_None_Match='"of-another"')[0] == 200
    assert "location.reload" in page
    assert "location.reload" not in finished.report.read_text()
    assert written(finished.path) == before


def test_the_live_page_is_for_this_machine_and_nothing_else_is_served(finished):
    with served(finished) as address:
        assert address.startswith("http://127.0.0.1:")
        for host in ("example.org", "example.org:80", "127.0.0.1.example.org", "", "[::"):
            assert ask(address, Host=host)[0] == 403, host
        assert ask(address, Host="localhost:9000")[0] == 200  # through a tunnel
        for path in ("/report.html", "/config.toml", "/../config.toml", "/?"):
            assert ask(address, path)[0] == 404, path
        for method in ("POST", "PUT", "HEAD"):
            assert ask(address, method=method)[0] == 501, method


class Rendering:
    """Renders a page with the number of times it was called, or what a program prints, and remembers the processes."""

    def __init__(self, program: str = "") -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self._program = program

    def __call__(self, directory: Path) -> subprocess.Popen[bytes]:
        program = self._program or f"print('<body>{len(self.processes) + 1}</body>', end='')"
        self.processes.append(subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE))
        return self.processes[-1]


def test_an_unfinished_run_is_rendered_but_not_again_and_again(halfway):
    now, rendering = [1000.0], Rendering()
    report = GrowingReport(halfway, render=rendering, clock=lambda: now[0])
    assert b"nothing to show yet" in report.page.content
    report.look()
    report.look()
    assert len(rendering.processes) == 1
    write_heartbeat(halfway.progress, Activity("reconstructing 6 volumes"))
    report.look()
    assert len(rendering.processes) == 1  # that is no result
    halfway.record("volume", **to_json(VolumeRow(10, "", "diverged", 1.0, 5, None, 0.0, 0.0, 0.0, None)))
    report.look()
    assert len(rendering.processes) == 1  # it rests
    now[0] += 60
    report.look()
    assert len(rendering.processes) == 2
    assert report.page.content.startswith(b"<body>2<script>")


def test_a_report_that_is_newer_than_all_else_is_shown_as_it_is(finished):
    rendering = Rendering()
    report = GrowingReport(finished, render=rendering)
    finished.report.touch()
    report.look()
    assert b"Volume 10" in report.page.content
    assert rendering.processes == []


def test_a_report_that_cannot_be_rendered_leaves_the_page_as_it_was(halfway):
    now = [1000.0]
    report = GrowingReport(halfway, clock=lambda: now[0])
    report.look()
    rendered = report.page
    assert b"5 of 6 volumes are done" in rendered.content
    halfway.image_rows.path.write_text("damaged")
    now[0] += 60
    report.look()
    assert report.page == rendered


def test_after_a_report_that_cannot_be_rendered_it_rests_before_it_tries_again(halfway):
    now, rendering = [1000.0], Rendering("import sys; sys.exit(1)")
    report = GrowingReport(halfway, render=rendering, clock=lambda: now[0])
    report.look()
    report.look()
    assert len(rendering.processes) == 1
    now[0] += 60
    report.look()
    assert len(rendering.processes) == 2


def test_the_end_does_not_wait_for_a_report_that_is_being_rendered(halfway, tmp_path):
    note = tmp_path / "process"
    program = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with served(halfway, render=Rendering(program)) as address:
        wait_for(lambda: note.exists() and note.read_text() != "")
        assert "nothing to show yet" in ask(address)[2]
    wait_for(lambda: not is_alive(int(note.read_text())))


def test_a_report_that_begins_to_be_rendered_at_the_very_end_does_not_outlive_it(halfway):
    rendering = Rendering("import time; time.sleep(600)")

    def late(directory: Path) -> subprocess.Popen[bytes]:
        report.end()  # after the look at the files, and before there is a process
        return rendering(directory)

    report = GrowingReport(halfway, render=late)
    report.grow()
    assert rendering.processes[0].returncode == -signal.SIGKILL
    assert b"nothing to show yet" in report.page.content


def test_half_a_page_of_a_report_that_could_not_be_rendered_is_not_read(halfway):
    rendering = Rendering("import sys; sys.stdout.buffer.write('é'.encode()[:1]); sys.exit(1)")
    report = GrowingReport(halfway, render=rendering)
    report.look()
    assert rendering.processes[0].returncode == 1
    assert b"nothing to show yet" in report.page.content
