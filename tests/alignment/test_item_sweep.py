"""Scores against the number of items: means, and the change per doubling against SciPy."""

import numpy as np
import pandas as pd
import pytest

from vla.alignment.item_sweep import change_per_doubling, item_sweep
from vla.alignment.paired import crossed_test

SIZES = (125, 250, 500, 1000)


def sweep(slopes, noise=0.0):
    """Scores of model pairs (vision model, language model) that change by their slope with every doubling."""
    rng = np.random.default_rng(0)
    rows = [
        ("cka", f"v{v}", f"l{t}", n, seed, 0.5 + slope * np.log2(n / 125) + noise * rng.standard_normal())
        for (v, t), slope in np.ndenumerate(np.atleast_2d(slopes))
        for n in SIZES
        for seed in range(2)
    ]
    return pd.DataFrame(rows, columns=["metric", "vision_model", "language_model", "n_items", "seed", "score"])


def test_means_and_spreads():
    frame = pd.DataFrame({"metric": "cka", "n_items": [200, 100, 100, 100], "score": [0.2, 0.1, 0.4, np.nan]})
    found = item_sweep(frame, ["metric"])
    assert found.columns.tolist() == ["metric", "n_items", "samples", "mean", "sd"]
    assert found["n_items"].tolist() == [100, 200] and found["samples"].tolist() == [2, 1]
    np.testing.assert_allclose(found["mean"], [0.25, 0.2])
    np.testing.assert_allclose(found["sd"], [0.3 / np.sqrt(2), np.nan])


def test_the_change_is_that_of_each_pair_tested_over_crossed_models():
    slopes = np.array([[-0.03, -0.02], [-0.05, -0.06], [-0.01, -0.02]])
    (row,) = change_per_doubling(sweep(slopes), ["metric"]).itertuples()
    test = crossed_test(slopes.ravel(), np.repeat(range(3), 2), np.tile(range(2), 3))
    assert (row.n_pairs, row.from_items, row.to_items) == (6, 125, 1000)
    assert (row.slope, row.t, row.p) == pytest.approx((np.mean(slopes), test.t, test.p))
    assert (row.ci_low, row.ci_high) == pytest.approx((test.ci_low, test.ci_high))


def test_no_number_is_invented():
    (one,) = change_per_doubling(sweep([-0.03]), ["metric"]).itertuples()
    assert one.slope == pytest.approx(-0.03) and np.isnan([one.t, one.p, one.ci_low]).all()
    assert one.note.startswith("too few models for an interval over models: 1 vision and 1 language")
    frame = sweep([-0.03, -0.02])
    (flat,) = change_per_doubling(frame[frame["n_items"] == 125], ["metric"]).itertuples()
    assert np.isnan(flat.slope) and flat.note == "a single number of items: no slope" and flat.n_pairs == 0


def test_pairs_that_change_alike_are_not_certain():
    """Slopes that differ by the rounding of scores alone had a t of 1e15."""
    frame = sweep([[-0.03] * 2] * 3)
    frame["score"] += frame["vision_model"].str[1:].astype(float) / 7
    (alike,) = change_per_doubling(frame, ["metric"]).itertuples()
    assert alike.slope == pytest.approx(-0.03) and np.isnan([alike.t, alike.p, alike.ci_low]).all()
    assert "alike" in alike.note


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="have no column condition"):
        item_sweep(sweep([0.1]), ["condition"])
