"""Parts of tables beside one another: as many as cores and memory allow, all done at the end, errors told."""

import threading
from types import SimpleNamespace

import psutil
import pytest

from vla import devices
from vla.experiments.side_by_side import LEAST_BYTES, side_by_side


def most_at_once(monkeypatch, cores, parts_of_memory, singly=False, taken=3 << 30, told=float(3 << 30)):
    """How many of nine parts were seen at work at once, where each waits for the others as long as they may come."""
    monkeypatch.setattr(devices, "workers", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=parts_of_memory * taken + 1))
    lock, at_work, seen = threading.Lock(), set(), [0]
    expected = 1 if singly else max(1, min(cores, parts_of_memory))
    meet = threading.Barrier(expected)

    def part():
        with lock:
            at_work.add(threading.get_ident())
            seen.append(len(at_work))
        meet.wait(timeout=30)
        with lock:
            at_work.discard(threading.get_ident())

    with side_by_side(told) as submit:
        for _ in range(4 * expected):
            submit(part, singly=singly)
    assert len(seen) == 1 + 4 * expected, "all are done when the block ends"
    return max(seen)


@pytest.mark.parametrize(("cores", "memory", "most"), [(3, 9, 3), (8, 2, 2), (4, 0, 1), (1, 9, 1)])
def test_cores_and_memory_bound_how_many_there_are(monkeypatch, cores, memory, most):
    assert most_at_once(monkeypatch, cores, memory) == most


def test_parts_of_unknown_size_do_not_count_as_nothing(monkeypatch):
    assert most_at_once(monkeypatch, 4, 2, taken=LEAST_BYTES, told=0.0) == 2


def test_a_large_part_has_the_machine_for_itself(monkeypatch):
    assert most_at_once(monkeypatch, 4, 9, singly=True) == 1


def test_an_error_of_a_part_ends_the_block(monkeypatch):
    def broken():
        raise ValueError("constant units")

    with pytest.raises(ValueError, match="constant units"), side_by_side() as submit:
        submit(broken, singly=False)


def test_parts_are_scored_by_this_process_alone():
    seen = []
    with side_by_side() as submit:
        submit(lambda: seen.append(devices._ALONE.get()), singly=False)
    assert seen == [True]
