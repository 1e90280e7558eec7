"""Progress bars with rate and time left, on standard error; of a long run one more, for all its stages together."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class CountColumn(MofNCompleteColumn):
    """Steps of how many; of the run as a whole its share, of a stage without steps nothing."""

    def render(self, task: Task) -> Text:
        """As it stands."""
        if task.fields.get("overall"):
            return Text(f"{task.percentage:.0f} %" if task.total else "")
        return super().render(task) if task.total else Text("")


class RateColumn(ProgressColumn):
    """Steps per second, or seconds per step where that is easier to read."""

    def render(self, task: Task) -> Text:
        """The rate of late, or of the whole when the task is finished."""
        rate = task.finished_speed or task.speed
        if not rate or task.fields.get("overall"):
            return Text("")
        return Text(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")


@dataclasses.dataclass
class _Overall:
    """The bar of a whole run, which counts in seconds expected.

    Attributes:
      shown: What shows it.
      task: Its number there.
      expected: Seconds by stage.
      done: Of stages that are over, and of those under way so far.
    """

    shown: Progress
    task: TaskID
    expected: dict[str, float] = dataclasses.field(default_factory=dict)
    done: dict[str, float] = dataclasses.field(default_factory=dict)

    def show(self) -> None:
        self.shown.update(self.task, total=sum(self.expected.values()) or None, completed=sum(self.done.values()))


_OVERALL: ContextVar[_Overall | None] = ContextVar("overall", default=None)


@contextlib.contextmanager
def overall(description: str, enabled: bool = True) -> Iterator[None]:
    """Show one bar, with the time left, for all `bar` and `stage` within that `expect` has named."""
    with _shown(enabled) as progress:
        task = progress.add_task(description, total=None, overall=True)
        before = _OVERALL.set(_Overall(progress, task))
        try:
            yield
        finally:
            _OVERALL.reset(before)
        # Stages that turned out not to be needed are done as well.
        progress.update(task, total=1, completed=1)


def expect(stages: Mapping[str, float]) -> None:
    """Tell the bar of the whole run, if there is one, how many seconds stages will take.

    Args:
      stages: By description; what was said of one before is replaced.
    """
    run = _OVERALL.get()
    if run is not None:
        run.expected.update(stages)
        run.show()


@contextlib.contextmanager
def stage(description: str, enabled: bool = True) -> Iterator[None]:
    """Show that something is done of which there are no steps to count."""
    with _task(description, None, enabled):
        yield


@contextlib.contextmanager
def bar(description: str, total: int, enabled: bool = True) -> Iterator[Callable[[float], None]]:
    """Show a bar while the block runs; yields a function that advances it by a number of steps, or part of one."""
    with _task(description, total, enabled) as advance:
        yield advance


@contextlib.contextmanager
def _task(description: str, total: int | None, enabled: bool) -> Iterator[Callable[[float], None]]:
    run = _OVERALL.get()
    share = run.expected.get(description, 0.0) if run else 0.0
    with contextlib.nullcontext(run.shown) if run and enabled else _shown(enabled) as progress:
        task = progress.add_task(description, total=total)

        def advance(steps: int | float) -> None:
            progress.advance(task, steps)
            if run and share and total:
                run.done[description] = min(run.done.get(description, 0.0) + share * steps / total, share)
                run.show()

        yield advance
        if run and share:
            run.done[description] = share
            run.show()
        if total is None:
            progress.update(task, total=1, completed=1)


def _shown(enabled: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        CountColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not enabled,
    )
