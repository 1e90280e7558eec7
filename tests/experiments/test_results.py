"""Curves from tidy scores, also of layer maps; comparisons of checkpoints of the same models."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vla.experiments.compare import statistics
from vla.experiments.experiment import Comparison, Condition, Experiment
from vla.experiments.results import PLATEAUS, curves, plateaus, scalars
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


PAIRS = [("v1", "l1"), ("v1", "l2"), ("v2", "l1"), ("v2", "l2")]


def _curves(series, score, counts=range(1, 16), id="E6", **more):
    rows = [
        {"experiment": id, "series": series, "k": k, "vision_model": v, "language_model": t, "n_items": 50,
         "metric": "linear_predictivity", "direction": "vision_to_language", "dataset": "coco",
         "score": score(k, place), **more}
        for place, (v, t) in enumerate(PAIRS) for k in counts
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _saturating(k, place):
    # Level 0.5 + 0.01 place, gain 0.2, rate 3.
    return 0.5 + 0.01 * place - 0.2 * np.exp(-(k - 1) / 3)


def test_plateau_level_and_gain_are_those_of_the_curve():
    (row,) = plateaus(_curves("captions", _saturating)).to_dict("records")
    assert list(row) == list(PLATEAUS)
    assert row["k"] == pytest.approx(1 + 3 * np.log(20), rel=0.02)
    assert row["level"] == pytest.approx(0.515, abs=2e-3) and row["gain"] == pytest.approx(0.2, abs=2e-3)
    assert row["k_low"] <= row["k"] <= row["k_high"] and row["level_low"] < row["level"] < row["level_high"]
    assert (row["n_pairs"], row["n_items"], row["most"], row["note"]) == (4, 50, 15, "")


def test_scores_of_several_seeds_are_averaged():
    one, other = (_curves("captions", lambda k, p, up=up: _saturating(k, p) + up, seed=up) for up in (-0.1, 0.1))
    both = plateaus(pd.concat([one, other]))
    pd.testing.assert_frame_equal(both, plateaus(_curves("captions", _saturating)))


def test_a_curve_that_goes_on_rising_has_no_plateau_and_one_that_stays_has_no_gain():
    straight = plateaus(_curves("images", lambda k, p: 0.01 * k + 0.001 * p * k))
    assert np.isinf(straight["k"][0]) and "not reached within 15 exemplars" in straight["note"][0]
    noise = np.random.default_rng(0).normal(size=(16, 4))
    flat = plateaus(_curves("shuffled captions", lambda k, p: 0.01 * noise[k, p], id="E8"))
    assert np.isnan(flat["k"][0]) and "no plateau" in flat["note"][0]


def test_too_few_counts_and_one_pair_are_said_and_no_number_is_invented():
    (few,) = plateaus(_curves("captions", _saturating, counts=range(1, 4))).to_dict("records")
    assert few["note"] == "3 counts: a curve is fitted to 4 or more" and np.isnan([few["k"], few["level"]]).all()
    one = _curves("captions", _saturating).query("language_model == 'l2'")
    (alone,) = plateaus(one).to_dict("records")
    assert "too few models for an interval over models: 2 vision and 1 language" in alone["note"]
    assert np.isnan([alone["k_low"], alone["level_high"]]).all()


def test_curves_that_average_nothing_are_left_out():
    sweep = _curves("items", _saturating, id="N sweep")
    steps = _curves("block_2", _saturating, id="Both along training")
    assert plateaus(pd.concat([sweep, steps]), ["Both along training"]).empty
    assert plateaus(sweep.head(0)).empty and list(plateaus(sweep.head(0))) == list(PLATEAUS)


def test_a_distance_gains_where_it_falls():
    similar = plateaus(_curves("captions", _saturating))
    found = plateaus(_curves("captions", lambda k, p: 1 - _saturating(k, p), metric="shape_distance"))
    for name in ("k", "k_low", "k_high", "gain", "gain_low", "gain_high", "first_flat"):
        np.testing.assert_allclose(found[name], similar[name], rtol=1e-6)
    np.testing.assert_allclose(found["level"], 1 - similar["level"])
    np.testing.assert_allclose(found["level_low"], 1 - similar["level_high"])


CELL = {"experiment": "E", "metric": "cka", "direction": "symmetric"}


def grid(condition, vision, language, models=("v", "t")):
    """Rows of a map, the score telling the place."""
    rows = [(condition, *models, a, b) for a in vision for b in language]
    names = ["condition", "vision_model", "language_model", "vision_layer", "language_layer"]
    return pd.DataFrame(rows, columns=names).assign(score=range(len(rows)), **CELL)


def test_of_maps_the_penultimate_pair_stays_and_single_scores_stay_as_they_are():
    blocks = ["embed", "block_1", "block_2", "block_3", "final_norm"]
    parts = [
        grid("map", blocks, blocks[:3]),
        grid("map", blocks[1:3], ["low", "middle", "high"], ("v", "saved")),
        grid("map", blocks[:3], blocks, ("twin", "twin")),
        grid("one", ["block_9"], ["length"]),
        grid("one", ["block_9"], ["length"]),
    ]
    found = scalars(pd.concat(parts, ignore_index=True))
    assert found[["language_model", "vision_layer", "language_layer"]].to_numpy().tolist() == [
        ["t", "block_2", "block_1"], ["saved", "block_1", "middle"], ["twin", "block_1", "block_2"],
        ["t", "block_9", "length"], ["t", "block_9", "length"],
    ]  # fmt: skip
    assert scalars(parts[0].iloc[:0]).empty
