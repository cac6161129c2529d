"""The time left for all stages, told by what is done and how long it took."""

from io import StringIO

import pytest
from rich.console import Console

from scoretomo.deformation.schedule import Fitting
from scoretomo.monitor import progress
from scoretomo.monitor import time_estimate as module
from scoretomo.monitor.time_estimate import Outlook, ensemble_outlook, volumes_work


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """What every stopwatch shows."""
    shown = [0.0]
    monkeypatch.setattr(module.Stopwatch, "seconds", lambda self: shown[0])
    return shown


def test_time_left_is_work_left_at_the_pace_so_far(clock):
    outlook = Outlook({"first": 1, "second": 3})
    with outlook.bar("first"):
        assert outlook.seconds_left(0.0) is None
        clock[0] = 10
        assert outlook.seconds_left(0.5) == pytest.approx(10 * 3.5 / 0.5)
    clock[0] = 40
    with outlook.bar("second"):
        assert outlook.seconds_left(1 / 3) == pytest.approx(40 * 2 / 2)


def test_a_log_gets_a_line_now_and_then(clock, monkeypatch):
    """Where the output is no terminal, with the time for this stage and for all."""
    written, now = StringIO(), [0.0]
    monkeypatch.setattr(progress, "console", Console(file=written, width=120))
    outlook = Outlook({"first": 1, "second": 3})
    with outlook.bar("first") as bar:
        bar.get_time = lambda: now[0]
        bar.start()
        task = bar.add_task("learning", total=4)
        for seconds in (30, 70, 100, 140):
            now[0] = clock[0] = seconds
            bar.advance(task)
    lines = written.getvalue().splitlines()
    assert [line.split("%")[0].split()[-1] for line in lines] == ["50", "100"]
    assert lines[0].endswith("here, 0:08:10 in all")


def test_stages_that_were_there_already_count_neither_as_done_nor_as_left(clock):
    outlook = Outlook({"first": 100, "second": 1, "third": 2})
    with outlook.bar("second"):
        clock[0] = 5
        assert outlook.seconds_left(0.5) == pytest.approx(5 * 2.5 / 0.5)


def test_what_turns_out_on_the_way_changes_it(clock):
    outlook = Outlook({"first": 1, "second": 1})
    with outlook.bar("first"):
        clock[0] = 6
    outlook.expect("second", 4)
    assert outlook.seconds_left(0.0) == pytest.approx(6 * 4)


def test_a_stage_nobody_foresaw_is_not_counted(clock):
    outlook = Outlook({"first": 1, "second": 1})
    with outlook.bar("first"):
        clock[0] = 3
    with outlook.bar("an unforeseen one"):
        assert outlook.seconds_left(0.9) == pytest.approx(3)
    assert outlook.seconds_left(0.0) == pytest.approx(3)


def test_larger_images_are_expected_to_take_longer(clock):
    clock[0] = 1
    small, large = (ensemble_outlook(300, size, Fitting(), volumes_work(size, 60000, 75, 2), 2) for size in (32, 88))
    assert sum(large._ahead.values()) > 2 * sum(small._ahead.values())
    assert [name for name in large._ahead if name not in small._ahead] == ["motion 1", "motion 2"]


def test_more_workers_shorten_what_has_parts():
    one, two = (ensemble_outlook(300, 32, Fitting(), volumes_work(32, 60000, 75, workers), workers)._ahead for workers in (1, 2))
    halved = {name for name in one if two[name] == pytest.approx(one[name] / 2)}
    assert halved == {"starts", "trial", "motion 0", "volumes"}


def test_few_images_are_not_expected_to_be_asked_about_motion():
    assert list(ensemble_outlook(16, 64, None, 1.0, 2)._ahead) == ["starts", "consensus", "left out", "volumes"]


def test_starts_of_few_images_take_their_time_too():
    few, many = (ensemble_outlook(images, 32, None, 1.0, 1)._ahead for images in (16, 300))
    assert few["starts"] > 0.2 * many["starts"]


def test_of_a_rigid_molecule_no_motion_is_learned():
    outlook = ensemble_outlook(300, 64, Fitting(), 1.0, 2)
    with outlook.stage("trial"):
        pass
    assert list(outlook._ahead) == ["motion 0", "motion 1", "left out", "volumes"]
    before = outlook.work
    outlook.expect_no_motion()
    assert list(outlook._ahead) == ["softness", "left out", "volumes"]
    assert outlook.work < before
