"""Parameters take what they say they take, in their own type."""

import pytest

from vla.stimuli.manipulation import Parameter


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Parameter(1.0, "x"), "a number"),
        (Parameter(1, "x", 0), "a whole number of at least 0"),
        (Parameter("a", "x", choices=("b", "a")), "one of a, b"),
    ],
)
def test_what_is_expected_in_words(parameter, expected):
    assert parameter.expected == expected


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (Parameter(1.0, "x"), "2", 2.0),
        (Parameter(1.0, "x", 0, 5), 5, 5.0),
        (Parameter(1, "x"), 3.0, 3),
        (Parameter("a", "x", choices=("a", "b")), "b", "b"),
        (Parameter("a", "x", choices=("a",), pattern="#[0-9]"), "#7", "#7"),
    ],
)
def test_values_are_read_in_the_parameters_own_type(parameter, given, value):
    read = parameter.read(given)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("given", [None, True, "x", float("inf"), -1, 5.1, [2]])
def test_values_that_are_not_allowed(given):
    with pytest.raises(ValueError, match="expected a number from 0 to 5"):
        Parameter(1.0, "x", 0, 5).read(given)
