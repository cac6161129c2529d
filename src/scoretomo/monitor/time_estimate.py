"""The time that all stages of a run take together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from ..rundir.directory import Stopwatch
from ..rundir.heartbeat import beating
from .progress import activity_of, progress_bar, working


class TimeEstimate:
    """The time left for all stages, from the time that the work so far took.

    Args:
        costs: the parts of the work in their order, and how long each takes, in any unit that they share.
        heartbeat: progress.json of the run; None for no heartbeats.
    """

    def __init__(self, costs: Mapping[str, float], heartbeat: Path | None = None) -> None:
        self._ahead = dict(costs)
        self._heartbeat = heartbeat
        self._done = 0.0
        self._clock = Stopwatch()
        self._foreseen = True

    @property
    def ahead(self) -> Mapping[str, float]:
        """The parts of the work that are not done, in their order, and how long each takes."""
        return dict(self._ahead)

    def plan(self, costs: Mapping[str, float]) -> None:
        """Replace what is not done."""
        self._ahead = dict(costs)

    def multiply(self, part: str, factor: float) -> None:
        """Multiply how long a part takes that is not done."""
        if part in self._ahead:
            self._ahead[part] *= factor

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Work on a part; those before it were done already. A part that was not foreseen counts as none."""
        self._foreseen = name in self._ahead
        if self._foreseen:
            for before in list(self._ahead)[: list(self._ahead).index(name)]:
                del self._ahead[before]
        yield
        self._done += self._ahead.pop(name, 0.0)
        self._foreseen = True

    @contextmanager
    def bar(self, name: str) -> Iterator[Progress]:
        """Work on a part with a progress bar."""
        shown = progress_bar(*([_AllStages(self)] if len(self._ahead) > 1 else []))
        with self.stage(name), shown as bar, beating(self._heartbeat, lambda: activity_of(bar, self.seconds_left)):
            yield bar

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Work on what has no bar: the end of a part, or a short one."""
        with working(what, self._heartbeat, lambda: self.seconds_left(0.0)):
            yield

    def seconds_left(self, share: float, here: float | None = None) -> float | None:
        """Seconds for the part at work, a share of which is done, and all parts after it; None before work.

        They are not fewer than those that the part at work itself seems to need, here.
        """
        if not self._ahead:
            return None
        begun = share * next(iter(self._ahead.values())) if self._foreseen else 0.0
        done = self._done + begun
        if done <= 0:
            return None
        return max(self._clock.seconds() * (sum(self._ahead.values()) - begun) / done, here or 0.0)


class _AllStages(ProgressColumn):
    """The time left for all stages, beside that of the one at work."""

    def __init__(self, estimate: TimeEstimate) -> None:
        self._estimate = estimate
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        left = self._estimate.seconds_left(task.percentage / 100, task.time_remaining)
        if left is None:
            return Text("here, -:--:-- in all")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"here, {minutes // 60}:{minutes % 60:02d}:{seconds:02d} in all")
