"""What a bar shows, on standard error alone."""

import pytest
from rich.progress import Progress

from vla.progress import RateColumn, bar


def test_a_bar_says_what_how_far_and_how_long(capsys):
    with bar("extracting", 4) as advance:
        for _ in range(8):
            advance(0.5)
    shown = capsys.readouterr()
    assert shown.out == "" and "extracting" in shown.err and "4/4" in shown.err and "left" in shown.err


def test_a_bar_may_be_silent(capsys):
    with bar("extracting", 4, enabled=False) as advance:
        advance(4)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "steps, seconds, expected", [(10, 5.0, "2.0/s"), (10, 10.0, "1.0/s"), (2, 5.0, "2.5 s each"), (0, 5.0, "")]
)
def test_a_rate_is_of_steps_or_of_seconds(steps, seconds, expected):
    now = [0.0]
    progress = Progress(get_time=lambda: now[0])
    task = progress.add_task("x", total=steps or 1)
    if steps:
        progress.advance(task, 0)
        now[0] = seconds
        progress.advance(task, steps)
    assert RateColumn().render(progress.tasks[0]).plain == expected
