"""Draws are those of the published hash, spread evenly, and nested."""

import collections
import hashlib

from vla.stimuli.draws import permutation, shuffled, uniform


def test_the_order_is_that_of_the_published_hash():
    # Written out once more: what is drawn today must be drawn again by every later version.
    by_hand = sorted(range(9), key=lambda i: hashlib.sha256(f'[42,"caf\\u00e9",{i}]'.encode()).hexdigest())
    assert permutation((42, "café"), 9) == by_hand
    assert shuffled((42, "café"), "abcdefghi") == ["abcdefghi"[i] for i in by_hand]


def test_numbers_are_those_of_the_published_hash_and_the_first_do_not_depend_on_how_many():
    by_hand = [int(hashlib.sha256(f'[7,"x",{i}]'.encode()).hexdigest()[:16], 16) / 2**64 for i in range(5)]
    assert all(abs(u - v) < 2**-52 for u, v in zip(uniform((7, "x"), 5), by_hand, strict=True))
    assert uniform((7, "x"), 3) == uniform((7, "x"), 5)[:3]


def test_every_order_is_about_equally_likely():
    times = collections.Counter(tuple(permutation((0, str(i)), 3)) for i in range(1200))
    # Binomial with mean 200 and standard deviation 13.
    assert len(times) == 6 and all(140 < count < 260 for count in times.values())


def test_numbers_are_spread_evenly():
    drawn = [uniform((0, str(i)), 1)[0] for i in range(1000)]
    assert all(0 <= u < 1 for u in drawn)
    assert all(60 < sum(low <= 10 * u < low + 1 for u in drawn) < 145 for low in range(10))
