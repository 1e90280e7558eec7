"""Which conditions have sample items, and that one way of showing items is written once."""

import dataclasses
import json

import pytest

from tests.experiments import folders
from vla.experiments import write_run
from vla.experiments.engine import prepare
from vla.experiments.experiment import Condition


@pytest.fixture
def prepared(tmp_path):
    conditions = (
        Condition("original", part="i"),
        Condition("grey", image="grayscale", part="i"),
        Condition("the same", part="i"),
        *(Condition(f"captions {k}", caption=f"average:k={k}", part="c", series="captions", k=k) for k in (1, 2, 3)),
        Condition("shuffled", caption="mismatched", part="s"),
    )
    study = folders.study(tmp_path)
    asked = dataclasses.replace(study, experiments=(folders.experiment(conditions=conditions, comparisons=()),))
    return prepare(asked, tmp_path / "run")


def test_of_a_curve_the_last_point_that_can_be_shown_and_nothing_of_what_is_mismatched(prepared, tmp_path):
    bench, resolved = prepared
    found = write_run.write_condition_samples(bench, resolved, tmp_path / "samples")
    # The third caption would be a paraphrase, which nobody made.
    assert {condition for _, condition in found} == {"original", "grey", "the same", "captions 2"}
    assert found["mine", "original"] == found["mine", "the same"] != found["mine", "grey"]
    assert {path.stem for path in (tmp_path / "samples").iterdir()} == set(found.values())
    shown = json.loads((tmp_path / "samples" / f"{found['mine', 'captions 2']}.json").read_text())
    assert shown["items"][0]["captions"] == ["thing number 0 lies here", "here lies the thing 0"]
    assert shown["n_items"] == folders.ITEMS
