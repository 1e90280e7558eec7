"""Intervals from draws of items: by hand, by simulation, and paired between conditions."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vla.alignment.resampled import difference_interval, interval, reliability
from vla.alignment.score import score


def linked(rng, n, strength, d=6, e=5):
    """Two sets of features that share one direction of that strength."""
    z = rng.standard_normal((n, 1))
    return [strength * z * rng.uniform(0.5, 1, width) + rng.standard_normal((n, width)) for width in (d, e)]


def test_interval_by_hand():
    draws = xr.DataArray(np.arange(101.0).reshape(-1, 1, 1) / 100 - 0.2, dims=("resample", "x_layer", "y_layer"))
    found = interval(draws, confidence=0.9)
    np.testing.assert_allclose([found["ci_low"].item(), found["ci_high"].item()], [-0.15, 0.75])
    assert found["standard_error"].item() == pytest.approx(np.std(np.arange(101) / 100, ddof=1))
    assert interval(draws, 0.9, lowest=0.0)["ci_low"].item() == 0
    gap = draws.copy()
    gap[3] = np.nan
    assert np.isnan(interval(gap)["ci_low"].item())


def test_reliability_by_hand():
    first = np.array([[0.1, 0.2], [0.4, 0.3]])
    halves = xr.DataArray([[first, 2 * first + 1], [first, first.T]], dims=("split", "half", "x_layer", "y_layer"))
    r = (1 + np.corrcoef(first.ravel(), first.T.ravel())[0, 1]) / 2
    found = reliability(halves)
    assert found["reliability"].item() == pytest.approx(2 * r / (1 + r))
    assert found["ceiling"].item() == pytest.approx(np.sqrt(2 * r / (1 + r)))
    opposed = xr.DataArray([[first, -first]], dims=halves.dims)
    assert reliability(opposed)["reliability"].item() == 0
    assert np.isnan(reliability(halves.isel(x_layer=[0]))["ceiling"].item())
    rounded = xr.ones_like(halves)
    rounded[:, :, 0, 0] -= 1e-16
    assert np.isnan(reliability(rounded)["reliability"].item()), "rounding error repeats nothing"


def intervals(pairs, metric, **options):
    """Score and interval of every pair of data sets, a few of them as layers of one call."""
    scores, low, high = [], [], []
    for some in np.array_split(np.arange(len(pairs)), 12):
        x, y = (np.stack([pairs[i][side] for i in some]) for side in (0, 1))
        found = score(x, y, metric, bootstrap=120, **options)
        for values, name in ((scores, "score"), (low, "ci_low"), (high, "ci_high")):
            values.extend(np.diag(found[name].values))
    return np.array(scores), np.array(low), np.array(high)


def test_the_interval_covers_the_expected_score():
    """At 95 %, 120 data sets of 60 items (standard error 2 points), against the mean score of all."""
    rng = np.random.default_rng(0)
    scores, low, high = intervals([linked(rng, 60, 1.5) for _ in range(120)], "cka_debiased")
    assert np.mean((low <= scores.mean()) & (scores.mean() <= high)) >= 0.88


def test_of_ridge_regression_it_covers_what_the_fitted_maps_score_on_new_items():
    """At 95 %, 120 data sets of 100 items (standard error 2 points), against 2,000 new items each, predicted by
    scikit-learn's fit to the same folds."""
    rng = np.random.default_rng(0)
    pairs, expected = [], []
    for _ in range(120):
        x, y = linked(rng, 2100, 1.5)
        own, new = (x[:100], y[:100]), (x[100:], y[100:])
        pairs.append(own)
        of_folds = []
        for train, _test in KFold(5, shuffle=True, random_state=42).split(own[0]):
            model = make_pipeline(StandardScaler(), Ridge(10.0)).fit(own[0][train], own[1][train])
            predicted = model.predict(new[0])
            of_folds.append(np.diag(np.corrcoef(predicted.T, new[1].T)[:5, 5:]).mean())
        expected.append(np.mean(of_folds))
    _, low, high = intervals(pairs, "linear_predictivity", alphas=(10.0,), standardize_targets=False)
    assert np.mean((low <= expected) & (expected <= high)) >= 0.88


def test_draws_with_replacement_would_find_alignment_in_noise():
    """Why halves are drawn instead: an item drawn twice is its own perfect match in both layers."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((1, 100, 200)), rng.standard_normal((1, 100, 200))
    found = score(x, y, "cka_debiased", bootstrap=60)
    assert float(found["ci_low"][0, 0]) <= 0 <= float(found["ci_high"][0, 0])
    repeated = [rng.integers(100, size=100) for _ in range(20)]
    naive = [float(score(x[:, rows], y[:, rows], "cka_debiased")["score"][0, 0]) for rows in repeated]
    assert np.min(naive) > 0.2


def conditions(n=80):
    """Two conditions of the same items, of which the second has its items shaken a little."""
    rng = np.random.default_rng(2)
    x, y = linked(rng, n, 2.0)
    return x, y, y + 0.7 * rng.standard_normal(y.shape)


@pytest.mark.parametrize("metric", ["linear_predictivity", "cka_debiased"])
def test_the_difference_is_paired(metric):
    x, y, shaken = conditions()
    a, b = (score(x, side, metric, bootstrap=100) for side in (y, shaken))
    found = difference_interval(a, b)
    assert found.difference == pytest.approx(float(a["score"][0, 0] - b["score"][0, 0]))
    assert found.ci_low <= found.difference <= found.ci_high
    apart = np.hypot(float(a["standard_error"][0, 0]), float(b["standard_error"][0, 0]))
    assert found.standard_error < 0.9 * apart, "draws of the same items cancel"
    drawn = (a["resampled_score"] - b["resampled_score"]).values.ravel()
    assert found.share_above_zero == np.mean(drawn > 0)
    back = difference_interval(b, a)
    assert (back.ci_low, back.ci_high) == pytest.approx((-found.ci_high, -found.ci_low))


def test_over_model_pairs_the_mean_is_drawn():
    x, y, shaken = conditions()
    higher = [score(x, y, "cka", bootstrap=50), score(x[:, :3], y, "cka", bootstrap=50)]
    lower = [score(x, shaken, "cka", bootstrap=50), score(x[:, :3], shaken, "cka", bootstrap=50)]
    found = difference_interval(higher, lower, confidence=0.8)
    each = [difference_interval(a, b) for a, b in zip(higher, lower, strict=True)]
    assert found.difference == pytest.approx(np.mean([one.difference for one in each]))
    drawn = np.mean([(a["resampled_score"] - b["resampled_score"]).values.ravel() for a, b in
                     zip(higher, lower, strict=True)], axis=0)  # fmt: skip
    np.testing.assert_allclose([found.ci_low, found.ci_high], np.quantile(drawn, [0.1, 0.9]))


def test_what_is_not_paired_is_refused():
    x, y, shaken = conditions()
    a = score(x, y, "cka", bootstrap=5)
    with pytest.raises(ValueError, match="same items only with the same seed, settings|same seed"):
        difference_interval(a, score(x, shaken, "cka", bootstrap=5, seed=1))
    with pytest.raises(ValueError, match="no draws: score with bootstrap="):
        difference_interval(a, score(x, shaken, "cka"))
    with pytest.raises(ValueError, match="1 results against 0"):
        difference_interval(a, [])
    with pytest.raises(ValueError, match="2 pairs of layers: choose one first"):
        difference_interval(a, score(x, np.stack([y, shaken]), "cka", bootstrap=5))
