"""The time left for all stages, from what is done and how long it took; and how long each stage is expected to take."""

from io import StringIO

import pytest
from rich.console import Console

from scoretomo.config import ReconstructSettings, TrainSettings
from scoretomo.monitor import progress
from scoretomo.monitor import time_estimate as module
from scoretomo.monitor.progress import activity_of
from scoretomo.monitor.time_estimate import TimeEstimate
from scoretomo.pipeline import STAGES
from scoretomo.pipeline.costs import Plan
from scoretomo.rundir.rows import MotionKind, Verdict


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that every stopwatch shows."""
    shown = [0.0]
    monkeypatch.setattr(module.Stopwatch, "seconds", lambda self: shown[0])
    return shown


def test_time_left_is_work_left_at_the_pace_so_far(clock):
    estimate = TimeEstimate({"first": 1, "second": 3})
    with estimate.bar("first"):
        assert estimate.seconds_left(0.0) is None
        clock[0] = 10
        assert estimate.seconds_left(0.5) == pytest.approx(10 * 3.5 / 0.5)
    clock[0] = 40
    with estimate.bar("second"):
        assert estimate.seconds_left(1 / 3) == pytest.approx(40 * 2 / 2)


def test_a_log_gets_a_line_now_and_then(clock, monkeypatch):
    """Where the output is no terminal, with the time for this stage and for all."""
    written, now = StringIO(), [0.0]
    monkeypatch.setattr(progress, "console", Console(file=written, width=120))
    estimate = TimeEstimate({"first": 1, "second": 3})
    with estimate.bar("first") as bar:
        bar.get_time = lambda: now[0]
        bar.start()
        task = bar.add_task("fitting", total=4)
        for seconds in (30, 70, 100, 140):
            now[0] = clock[0] = seconds
            bar.advance(task)
    lines = written.getvalue().splitlines()
    assert [line.split("%")[0].split()[-1] for line in lines] == ["50", "100"]
    assert lines[0].endswith("here, 0:08:10 in all")


def test_time_left_for_all_is_never_less_than_that_for_the_part_at_work(clock, monkeypatch):
    """Where the part has become slower than the work before it."""
    written, now = StringIO(), [0.0]
    monkeypatch.setattr(progress, "console", Console(file=written, width=120))
    estimate = TimeEstimate({"first": 1, "second": 3})
    clock[0] = 1
    with estimate.bar("first") as bar:
        bar.get_time = lambda: now[0]
        bar.start()
        task = bar.add_task("fitting", total=10)
        for now[0] in (10, 20, 30):
            bar.advance(task)
        activity = activity_of(bar, estimate.seconds_left)
    assert activity.seconds_left == activity.seconds_left_in_all == 70
    assert written.getvalue().rstrip().endswith("0:01:10 here, 0:01:10 in all")


def test_parts_that_were_there_already_count_neither_as_done_nor_as_left(clock):
    estimate = TimeEstimate({"first": 100, "second": 1, "third": 2})
    with estimate.bar("second"):
        clock[0] = 5
        assert estimate.seconds_left(0.5) == pytest.approx(5 * 2.5 / 0.5)


def test_a_new_plan_replaces_what_is_left_and_keeps_what_is_done(clock):
    estimate = TimeEstimate({"first": 1, "second": 1})
    with estimate.bar("first"):
        clock[0] = 6
    estimate.plan({"second": 1, "third": 2})
    estimate.multiply("second", 2)
    estimate.multiply("unforeseen", 9)
    assert estimate.seconds_left(0.0) == pytest.approx(6 * 4)


def test_a_part_that_was_not_foreseen_is_not_counted(clock):
    estimate = TimeEstimate({"first": 1, "second": 1})
    with estimate.bar("first"):
        clock[0] = 3
    with estimate.bar("an unforeseen one"):
        assert estimate.seconds_left(0.9) == pytest.approx(3)
    assert estimate.seconds_left(0.0) == pytest.approx(3)


def costs(
    images: int,
    size: int,
    verdict: Verdict,
    *,
    processes: int = 2,
    batches: tuple[int, ...] = (4,) * 75,
    motion: MotionKind = "none",
) -> dict[str, float]:
    """Costs of all stages of the ensemble method, in their order."""
    settings = ReconstructSettings()
    plan = Plan(settings, TrainSettings(), images, size, batches, processes, verdict, motion)
    return {part: cost for stage in STAGES if stage.applies(settings) for part, cost in stage.cost(plan).items()}


def test_larger_images_are_expected_to_take_longer():
    small, large = (costs(300, size, "flexible") for size in (32, 88))
    assert sum(large.values()) > 2 * sum(small.values())
    assert large.keys() == small.keys()


def test_what_is_ahead_depends_on_the_motion_that_was_chosen():
    unknown, smooth, bodies = (costs(300, 88, "flexible", motion=motion) for motion in ("none", "smooth", "bodies"))
    assert unknown.keys() == smooth.keys() == {*bodies, "score support"}
    assert bodies["volumes"] < 0.2 * smooth["volumes"] == 0.2 * unknown["volumes"]
    assert bodies["motion"] == unknown["motion"] != smooth["motion"]
    assert costs(300, 32, "flexible", motion="smooth")["motion"] == 0


def test_more_processes_shorten_what_has_parts():
    one, two = (costs(300, 32, "flexible", processes=processes) for processes in (1, 2))
    halved = {name for name in one if two[name] == pytest.approx(one[name] / 2)}
    assert halved == {"starts", "flexibility", "deformation", "bodies", "volumes"}


def test_few_images_are_expected_to_have_no_flexibility_test():
    assert list(costs(16, 64, "undetermined")) == ["starts", "consensus", "score support", "volumes"]


def test_starts_of_few_images_take_their_time_too():
    few, many = (costs(images, 32, "undetermined", processes=1) for images in (16, 300))
    assert few["starts"] > 0.2 * many["starts"]


def test_a_rigid_molecule_is_expected_to_have_no_deformation_model():
    flexible, rigid = (costs(300, 64, verdict) for verdict in ("flexible", "rigid"))
    parts = ["starts", "consensus", "flexibility"]
    assert list(flexible) == [*parts, "deformation", "bodies", "motion", "score support", "volumes"]
    assert list(rigid) == [*parts, "assignment", "score support", "volumes"]
    assert sum(rigid.values()) < sum(flexible.values())


def cost_of(stage: str, settings: ReconstructSettings, training: TrainSettings | None = None) -> float:
    """Core-seconds of a stage with 16 images of 32 pixels."""
    plan = Plan(settings, training or TrainSettings(), 16, 32, (4,) * 4, 1, "undetermined")
    return sum(next(each for each in STAGES if each.name == stage).cost(plan).values())


def test_a_network_takes_as_long_as_its_examples():
    settings = ReconstructSettings(denoiser="network")
    few, many = (cost_of("network", settings, TrainSettings(examples=count)) for count in (1000, 5000))
    assert many == pytest.approx(5 * few)
    assert cost_of("network", settings, TrainSettings("paper")) > cost_of("network", settings)


@pytest.mark.parametrize("method", ["paper", "annealed"])
def test_volumes_of_every_method_take_as_long_as_their_steps(method):
    one, ten = (cost_of("volumes", ReconstructSettings(method=method, steps=steps)) for steps in (20, 200))
    assert ten == pytest.approx(10 * one)
