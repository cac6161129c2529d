"""How long all stages of a run will take together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from ..deformation.schedule import Fitting
from ..rundir.directory import Stopwatch
from ..rundir.heartbeat import telling
from .progress import progress_bar, word_of, working

# Core-seconds of an image at 32 pixels on the README's machine, and the power of the side by which they grow: for a word before the
# work begins, which holds up to some 100 pixels. From then on only what they are to each other counts. From the log.jsonl of
# `benchmarks/ensemble.py cost`.
_START, _START_EACH, _STARTS = 0.05, 5.5, 4  # of an image, and of each start however few images there are
_CONSENSUS, _CONSENSUS_ITSELF, _CONSENSUS_POWER = 0.12, 9.0, 1.6
_TRIAL, _TRIALS = 0.0020, 2  # of a pass
_PASS, _PASS_POWER, _PASS_THREADS = 0.0016, 2.2, 2
_SOFTNESS = 2  # times the consensus in detail, if the molecule does not move
_LEFT_OUT, _LEFT_OUT_POWER = 0.017, 2.6
_STEP, _STEP_POWER = 0.0132, 1.55  # of a volume
_MOTION = "motion"  # how the names of its stages begin


class Outlook:
    """The time left for all stages, from how long the work so far took.

    Args:
        works: the stages in their order, and how long each takes, in any unit that they share.
        told: progress.json of the run, where other processes read how far it is; None if none are to.
        rigid: stages that take the place of those of the motion if the molecule is taken as rigid.
    """

    def __init__(self, works: Mapping[str, float], told: Path | None = None, rigid: Mapping[str, float] | None = None) -> None:
        self._ahead, self._told, self._if_rigid = dict(works), told, dict(rigid or {})
        self._done, self._clock, self._foreseen = 0.0, Stopwatch(), True

    @property
    def work(self) -> float:
        """All that is ahead."""
        return sum(self._ahead.values())

    def expect(self, stage: str, work: float) -> None:
        """Change how much a stage that is still ahead will be."""
        if stage in self._ahead:
            self._ahead[stage] = work

    def multiply(self, stage: str, factor: float) -> None:
        """A stage that is still ahead will be so many times what was expected."""
        self.expect(stage, self._ahead.get(stage, 0.0) * factor)

    def expect_no_motion(self) -> None:
        """The molecule is taken as rigid: none will be learned."""
        before, self._ahead = self._ahead, {}
        for name, work in before.items():
            self._ahead |= self._if_rigid if name.startswith(_MOTION) else {name: work}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Work on a stage; those before it that did not begin were there already. One that nobody foresaw counts as none."""
        self._foreseen = name in self._ahead
        if self._foreseen:
            for before in list(self._ahead)[: list(self._ahead).index(name)]:
                del self._ahead[before]
        yield
        self._done += self._ahead.pop(name, 0.0)
        self._foreseen = True

    @contextmanager
    def bar(self, name: str) -> Iterator[Progress]:
        """Work on a stage with a progress bar."""
        shown = progress_bar(*([_AllStages(self)] if len(self._ahead) > 1 else []))
        with self.stage(name), shown as bar, telling(self._told, lambda: word_of(bar, self.seconds_left)):
            yield bar

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Work on what has no bar: the end of a stage, or one that is short."""
        with working(what, self._told, lambda: self.seconds_left(0.0)):
            yield

    def seconds_left(self, share: float) -> float | None:
        """Seconds for what is left of the stage at work, of which a share is done, and all stages after it; None before work."""
        if not self._ahead:
            return None
        begun = share * next(iter(self._ahead.values())) if self._foreseen else 0.0
        done = self._done + begun
        return None if done <= 0 else self._clock.seconds() * (self.work - begun) / done


class _AllStages(ProgressColumn):
    """The time left for all stages, beside that of the one at work."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        left = self._outlook.seconds_left(task.percentage / 100)
        if left is None:
            return Text("here, -:--:-- in all")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"here, {minutes // 60}:{minutes % 60:02d}:{seconds:02d} in all")


def ensemble_outlook(
    images: int,
    size: int,
    fitting: Fitting | None,
    volumes: float,
    workers: int,
    told: Path | None = None,
) -> Outlook:
    """What the ensemble method has ahead of it.

    Args:
        images: how many there are.
        size: their side in pixels.
        fitting: how the motion is learned; None if it is not asked whether there is one.
        volumes: what they take, from `volumes_work`.
        workers: processes.
        told: progress.json of the run.
    """
    large = size / 32
    works = {
        "starts": _STARTS * (_START_EACH + _START * images) / min(workers, _STARTS),
        "consensus": (_CONSENSUS_ITSELF + _CONSENSUS * images) * large**_CONSENSUS_POWER,
    }
    if fitting:
        works["trial"] = _TRIALS * _TRIAL * images * fitting.trial_epochs(images) / min(workers, _TRIALS)
        for level, at in enumerate(fitting.levels(size)):
            passes = at.epochs_for(images) * (min(size, at.side) / 32) ** _PASS_POWER
            works[f"{_MOTION} {level}"] = _PASS * images * passes / min(workers, _PASS_THREADS)
    works["left out"] = _LEFT_OUT * images * large**_LEFT_OUT_POWER
    return Outlook({**works, "volumes": volumes}, told, {"softness": _SOFTNESS * works["consensus"]})


def volumes_work(size: int, steps: int, batches: int, workers: int) -> float:
    """How long volumes take, in the unit of the other stages.

    Args:
        size: their side in voxels.
        steps: descent steps of all together.
        batches: in how many parts they are worked off.
        workers: processes.
    """
    return _STEP * steps * (size / 32) ** _STEP_POWER / min(workers, batches)
