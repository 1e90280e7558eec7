"""The table of plateaus on curves whose plateau follows from their formula."""

import numpy as np
import pandas as pd
import pytest

from vla.experiments.plateaus import COLUMNS, plateaus

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
    assert list(row) == list(COLUMNS)
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
    assert plateaus(sweep.head(0)).empty and list(plateaus(sweep.head(0))) == list(COLUMNS)


def test_a_distance_gains_where_it_falls():
    similar = plateaus(_curves("captions", _saturating))
    found = plateaus(_curves("captions", lambda k, p: 1 - _saturating(k, p), metric="shape_distance"))
    for name in ("k", "k_low", "k_high", "gain", "gain_low", "gain_high", "first_flat"):
        np.testing.assert_allclose(found[name], similar[name], rtol=1e-6)
    np.testing.assert_allclose(found["level"], 1 - similar["level"])
    np.testing.assert_allclose(found["level_low"], 1 - similar["level_high"])
