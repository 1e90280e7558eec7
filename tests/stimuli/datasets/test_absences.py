"""Messages about items that lack something."""

import pytest

from vla.stimuli.datasets.absences import check_choice, refuse_absent


def test_choices():
    check_choice("missing_images", "drop")
    check_choice("ties", "only", ("refuse", "only"))
    with pytest.raises(ValueError, match="ties='coin'; expected one of drop, only$"):
        check_choice("ties", "coin", ("only", "drop"))


def test_absences_are_refused_with_names_unless_dropped():
    refuse_absent("missing_images", "refuse", [], "are not there", "Put them there")
    refuse_absent("missing_images", "drop", ["a"], "are not there", "Put them there")
    with pytest.raises(
        ValueError, match=r"^7 of 9 are not there: 0, 1, 2, 3, 4 \(and 2 more\). Put them there, or pass"
    ):
        refuse_absent("missing_images", "refuse", [str(i) for i in range(7)], "of 9 are not there", "Put them there")
