"""Losses of the models that come with the package, as the report takes them."""

import pytest

from vla.experiments.learned import learned
from vla.microworld.shipped import shipped, training_report


@pytest.mark.parametrize("name", ["micro-dinov2", "micro-llama"])
def test_a_trained_model_says_what_it_learned(name):
    found, expected = learned(str(shipped(name))), training_report(name)
    assert found["held_out"]["loss"] == {
        when: expected["held_out"][when]["loss"] for when in ("trivial", "untrained", "trained")
    }
    along = found["losses"]
    assert along["steps"][-1] == expected["settings"]["steps"] and along["steps"] == sorted(along["steps"])
    assert along["loss"][-1] == pytest.approx(expected["held_out"]["trained"]["loss"], rel=1e-3)
    assert along["loss"][-1] < along["baseline"] == expected["held_out"]["trivial"]["loss"]


def test_other_checkpoints_say_nothing(tmp_path):
    assert learned(str(tmp_path)) == {} and learned("facebook/dinov2-base") == {}
