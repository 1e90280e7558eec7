"""What a bar shows, on standard error alone."""

import pytest
from rich.progress import Progress

from vla import progress as module
from vla.progress import RateColumn, bar, expect, overall, stage


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


def test_the_bar_of_a_whole_run_counts_the_seconds_that_its_stages_were_expected_to_take(capsys):
    with overall("all together"):
        run = module._OVERALL.get()
        assert run is not None
        (all_of_it,) = run.shown.tasks
        assert all_of_it.total is None
        expect({"extracting": 30.0, "scoring": 70.0})
        expect({"scoring": 60.0})
        assert (all_of_it.total, all_of_it.completed) == (90.0, 0.0)
        with bar("extracting", 4) as advance:
            advance(1)
            assert all_of_it.completed == pytest.approx(7.5)
        assert all_of_it.completed == 30.0, "a stage that ended early is over"
        with stage("something nobody expected"):
            pass
        assert all_of_it.completed == 30.0
        with stage("scoring"):
            assert all_of_it.completed == 30.0
        assert all_of_it.completed == 90.0
    assert module._OVERALL.get() is None
    shown = capsys.readouterr().err
    for words in ("all together", "100 %", "1/4", "something nobody expected"):
        assert words in shown


def test_a_run_that_ended_is_done_whatever_was_expected(capsys):
    with overall("all together"):
        expect({"extracting": 30.0})
    assert "100 %" in capsys.readouterr().err


def test_a_silent_stage_of_a_silent_run_counts_nothing_on_the_screen(capsys):
    with overall("all together", enabled=False):
        expect({"extracting": 30.0})
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
