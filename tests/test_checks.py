"""Settings are refused with their name, their value and what is accepted."""

import numpy as np
import pytest

from vla.checks import check_choice, check_names, check_number, check_whole_number, listed, refuse_absent


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_whole_numbers_pass(value):
    check_whole_number("n", value, 1, 7)


@pytest.mark.parametrize("value", [0, 8, 1.0, True, np.True_, "3", None, np.nan, [2], np.array([2, 3])])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match=r"^n=.*; expected a whole number from 1 to 7$"):
        check_whole_number("n", value, 1, 7)


def test_further_values_are_accepted_and_listed():
    for value in ("all", None, 2):
        check_whole_number("n", value, 2, other=["all", None])
    with pytest.raises(ValueError, match=r"^n='some'; expected a whole number of at least 2 or 'all' or None$"):
        check_whole_number("n", "some", 2, other=["all", None])


@pytest.mark.parametrize(
    "limits, passing, refused, words",
    [
        ({"above": 0, "below": 1}, (0.5, np.float32(0.1)), (0, 1, 1.0), "a number > 0 and < 1"),
        ({"above": 0, "most": 1}, (1, 1e-9), (0, 1.1), "a number > 0 and <= 1"),
        ({"least": 0}, (0, 1e9), (-1e-9,), "a number >= 0"),
        ({}, (-3,), (), "a finite number"),
    ],
)
def test_numbers_keep_to_their_limits(limits, passing, refused, words):
    for value in passing:
        check_number("x", value, **limits)
    for value in (*refused, np.nan, np.inf, True, "0.5", None, 1j):
        with pytest.raises(ValueError, match=f"^x=.*; expected {words}$"):
            check_number("x", value, **limits)


def test_a_choice_is_one_of_the_list():
    for value in ("b", True, None, 2):
        check_choice("c", value, ("b", True, None, 2))
    for value in ("B", 1, 1.0, False, np.array(["b", "b"]), ["b"]):
        with pytest.raises(ValueError, match="^c=.*; expected one of 2, None, True, b$"):
            check_choice("c", value, ("b", True, None, 2))


def test_unknown_names_are_listed_with_the_known_ones():
    check_names("data", ["n"], ["seed", "n"])
    with pytest.raises(ValueError, match="^data has no setting a, z; it has n, seed$"):
        check_names("data", ["z", "n", "a"], ["seed", "n"])
    with pytest.raises(ValueError, match="^gaia has no option a; it has none$"):
        check_names("gaia", ["a"], [], "option")


@pytest.mark.parametrize(
    "count, expected", [(0, ""), (1, "a"), (5, "a, b, c, d, e"), (6, "a, b, c, d, e (and 1 more)")]
)
def test_long_lists_are_cut(count, expected):
    assert listed("abcdefgh"[:count]) == expected


def test_absences_are_refused_with_names_unless_dropped():
    refuse_absent("missing_images", "refuse", [], "are not there", "Put them there")
    refuse_absent("missing_images", "drop", ["a"], "are not there", "Put them there")
    with pytest.raises(
        ValueError, match=r"^7 of 9 are not there: 0, 1, 2, 3, 4 \(and 2 more\). Put them there, or pass"
    ):
        refuse_absent("missing_images", "refuse", [str(i) for i in range(7)], "of 9 are not there", "Put them there")
