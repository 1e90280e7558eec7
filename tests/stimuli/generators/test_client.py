"""Back-off waits longer after each failure, and never shorter than the server asks."""

import pytest

from vla.stimuli.generators.client import BackOff, Transient


def failing(times, wait=None):
    left = [times]

    def request():
        if left[0]:
            left[0] -= 1
            raise Transient("busy", wait)
        return "done"

    return request


def test_waits_double_with_chance_up_to_the_longest():
    waits = []
    policy = BackOff(tries=8, first=1.0, longest=10.0)
    assert policy.call(failing(7), waits.append) == "done"
    for wait, most in zip(waits, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert most / 2 <= wait <= most
    again = []
    policy.call(failing(7), again.append)
    assert waits != again


def test_the_server_is_waited_for():
    waits = []
    BackOff(tries=3, first=1.0, longest=30.0).call(failing(2, wait=20.0), waits.append)
    assert waits == [20.0, 20.0]


def test_it_gives_up_after_the_last_try_and_says_how_often():
    waits = []
    with pytest.raises(Transient, match=r"busy \(tried 3 times\)"):
        BackOff(tries=3, first=0.5, longest=1.0).call(failing(3), waits.append)
    assert len(waits) == 2


def test_a_wait_beyond_the_longest_is_not_begun():
    waits = []
    with pytest.raises(Transient, match="the server asks to wait 3600 s"):
        BackOff(longest=60.0).call(failing(1, wait=3600.0), waits.append)
    assert waits == []


@pytest.mark.parametrize("bad", [{"tries": 0}, {"first": -1.0}, {"first": 5.0, "longest": 1.0}])
def test_no_policy_is_refused(bad):
    with pytest.raises(ValueError, match="expected tries"):
        BackOff(**bad)
