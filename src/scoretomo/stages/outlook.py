"""How long all stages of a run will take together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.progress import Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from ..ensemble.motion import Fitting
from .directory import Stopwatch
from .progress import progress_bar

# Seconds on two cores of an image at 32 pixels, and the power of the side by which they grow. Only what they are to each other
# counts: how fast the machine is shows as it goes. From the log.jsonl of `benchmarks/ensemble.py cost`.
_STARTS = 0.15
_CONSENSUS, _CONSENSUS_POWER = 0.16, 1.6
_TRIAL = 0.0020  # and pass
_PASS, _PASS_POWER = 0.0008, 2.2
_LEFT_OUT, _LEFT_OUT_POWER = 0.017, 2.6
_STEP, _STEP_POWER = 0.0066, 1.55  # of a volume


class Outlook:
    """The time left for all stages, from how long the work so far took.

    Args:
        works: the stages in their order, and how much each is, in any unit that they share.
    """

    def __init__(self, works: Mapping[str, float]) -> None:
        self._ahead = dict(works)
        self._done, self._clock = 0.0, Stopwatch()

    def expect(self, stage: str, work: float) -> None:
        """Change how much a stage that is still ahead will be."""
        if stage in self._ahead:
            self._ahead[stage] = work

    @contextmanager
    def bar(self, stage: str) -> Iterator[Progress]:
        """A progress bar for a stage; those before it that did not begin were there already."""
        if stage in self._ahead:
            for name in list(self._ahead)[: list(self._ahead).index(stage)]:
                del self._ahead[name]
        columns = [_AllStages(self)] if len(self._ahead) > 1 else []
        with progress_bar(*columns) as bar:
            yield bar
        self._done += self._ahead.pop(stage, 0.0)

    def seconds_left(self, share: float) -> float | None:
        """Seconds for what is left of the stage at work, of which a share is done, and all stages after it; None before work."""
        if not self._ahead:
            return None
        total, current = sum(self._ahead.values()), next(iter(self._ahead.values()))
        done = self._done + share * current
        return None if done <= 0 else self._clock.seconds() * (total - share * current) / done


class _AllStages(ProgressColumn):
    """The time left for all stages, beside that of the one at work."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        left = self._outlook.seconds_left(task.percentage / 100)
        if left is None:
            return Text("all -:--:--")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"all {minutes // 60}:{minutes % 60:02d}:{seconds:02d}")


def ensemble_outlook(images: int, size: int, fitting: Fitting, volumes: int, steps: int) -> Outlook:
    """What the ensemble method has ahead of it.

    Args:
        images: how many there are.
        size: their side in pixels.
        fitting: how the motion is learned.
        volumes: that are to be made.
        steps: descent steps of each.
    """
    large = size / 32
    levels = [level.epochs_for(images) * (min(size, level.side) / 32) ** _PASS_POWER for level in fitting.levels(size)]
    works = {
        "starts": _STARTS * images,
        "consensus": _CONSENSUS * images * large**_CONSENSUS_POWER,
        "trial": _TRIAL * images * fitting.trial_epochs(images),
        **{f"motion {level}": _PASS * images * work for level, work in enumerate(levels)},
        "left out": _LEFT_OUT * images * large**_LEFT_OUT_POWER,
        "volumes": volumes_work(size, volumes, steps),
    }
    return Outlook(works)


def volumes_work(size: int, volumes: int, steps: int) -> float:
    """What volumes are of it."""
    return _STEP * volumes * steps * (size / 32) ** _STEP_POWER
