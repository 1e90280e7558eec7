"""Curves from tidy scores, also of layer maps; comparisons of checkpoints of the same models."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.experiments.assemble import curves
from vla.experiments.compare import statistics
from vla.experiments.experiment import Comparison, Condition, Experiment
from vla.experiments.study import DatasetPlan, Study

VISION, LANGUAGE = ("embed", "block_1", "final_norm"), ("embed", "block_1")


def scores(models, vision=VISION, language=LANGUAGE, seed=0):
    """Every layer pair of every condition's models, whatever the numbers."""
    rng = np.random.default_rng(seed)
    rows = [
        ("mine", condition, v, t, "linear_predictivity", direction, a, b, 9, rng.normal())
        for (condition, pairs), direction in itertools.product(
            models.items(), ("language_to_vision", "vision_to_language")
        )
        for v, t in pairs
        for a in vision
        for b in language
    ]
    names = ("experiment", "condition", "vision_model", "language_model", "metric", "direction", "vision_layer",
             "language_layer", "n_items", "score")  # fmt: skip
    return pd.DataFrame(rows, columns=list(names)).assign(seed=42, null_mean=0.5, dataset="d")


def test_every_predicted_layer_of_a_map_is_a_curve_along_training():
    table = scores({"young": [("seer@1", "teller@2")], "old": [("seer", "teller")]})
    table.loc[(table["direction"] == "language_to_vision") & (table["vision_layer"] == "embed"), "score"] = np.nan
    conditions = (Condition("young", series="step", k=1), Condition("old", series="step", k=7))
    found = curves(table, [Experiment("mine", "Mine", "?", conditions, layers="all")])
    assert set(zip(found["vision_model"], found["language_model"], strict=True)) == {("seer", "teller")}
    assert set(found["k"]) == {1, 7}
    for direction, side, layers in (
        ("language_to_vision", "vision_layer", VISION), ("vision_to_language", "language_layer", LANGUAGE),
    ):  # fmt: skip
        for condition, k in (("young", 1), ("old", 7)):
            own = found[(found["direction"] == direction) & (found["k"] == k)]
            assert tuple(own["series"]) == layers, "from the input on"
            rows = table[(table["direction"] == direction) & (table["condition"] == condition)]
            expected = [rows.loc[rows[side] == layer, "score"].max() for layer in layers]
            np.testing.assert_array_equal(own["score"], expected)


def test_points_of_single_layers_keep_their_series_and_the_names_of_their_models():
    table = scores({"one": [("seer@1", "teller")], "two": [("seer@1", "teller")]}, ("block_1",), ("block_1",))
    conditions = (Condition("one", series="captions", k=1), Condition("two", series="captions", k=2))
    found = curves(table, [Experiment("mine", "Mine", "?", conditions)])
    assert found["series"].unique() == ["captions"] and found["vision_model"].unique() == ["seer@1"]
    np.testing.assert_array_equal(found["score"], table["score"])


def test_checkpoints_are_compared_with_those_of_the_same_model():
    pairs = [("a", "b"), ("a", "c"), ("d", "b"), ("d", "c")]
    before = [(f"{v}@0", f"{t}@0") for v, t in reversed(pairs)]
    table = scores({"after": pairs, "before": before}, ("block_1",), ("block_1",))
    conditions = (Condition("after"), Condition("before", vision="young", language="young"))
    experiment = Experiment("mine", "Mine", "?", conditions, (Comparison("training", "after", "before"),))
    groups = {"core": ("a",), "young": ("a@0",)}
    study = Study((experiment,), {"coco": DatasetPlan("coco", "coco_val2017")}, groups, groups)
    for row in statistics(study, table, {}).to_dict("records"):
        own = table[table["direction"] == row["direction"]]
        a = own.loc[own["condition"] == "after", "score"].to_numpy()
        b = own.loc[own["condition"] == "before", "score"].to_numpy()[::-1]
        assert (row["n_pairs"], row["t"]) == (4, pytest.approx(stats.ttest_rel(a, b).statistic))
