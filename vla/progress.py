"""Progress bars on standard error with rate and time left, and an overall bar for the stages of a long run."""

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
    """Steps done of all; for an overall bar a percentage, for a stage without steps nothing."""

    def render(self, task: Task) -> Text:
        """The text of the column."""
        if task.fields.get("overall"):
            return Text(f"{task.percentage:.0f} %" if task.total else "")
        return super().render(task) if task.total else Text("")


class RateColumn(ProgressColumn):
    """Steps per second, or seconds per step where that is easier to read."""

    def render(self, task: Task) -> Text:
        """The current rate; after the end, the mean rate."""
        rate = task.finished_speed or task.speed
        if not rate or task.fields.get("overall"):
            return Text("")
        return Text(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")


@dataclasses.dataclass
class _Overall:
    """The overall bar, which counts expected seconds: of all stages, and those done, by stage."""

    shown: Progress
    task: TaskID
    expected: dict[str, float] = dataclasses.field(default_factory=dict)
    done: dict[str, float] = dataclasses.field(default_factory=dict)

    def show(self) -> None:
        self.shown.update(self.task, total=sum(self.expected.values()) or None, completed=sum(self.done.values()))


_OVERALL: ContextVar[_Overall | None] = ContextVar("overall", default=None)


@contextlib.contextmanager
def overall(description: str, enabled: bool = True) -> Iterator[None]:
    """Show an overall bar with the time left for all `bar` and `stage` of the block that `expect` has named."""
    with _shown(enabled) as progress:
        task = progress.add_task(description, total=None, overall=True)
        before = _OVERALL.set(_Overall(progress, task))
        try:
            yield
        finally:
            _OVERALL.reset(before)
        # Also where expected stages were not needed.
        progress.update(task, total=1, completed=1)


def expect(stages: Mapping[str, float]) -> None:
    """Set the expected seconds of stages by description, for the overall bar, if there is one."""
    run = _OVERALL.get()
    if run is not None:
        run.expected.update(stages)
        run.show()


@contextlib.contextmanager
def stage(description: str, enabled: bool = True) -> Iterator[None]:
    """Show a stage without steps to count while the block runs."""
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
    columns = TextColumn("{task.description}"), BarColumn(), CountColumn(), RateColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, disable=not enabled)
