"""Intervals from draws of items: by hand, by simulation, and paired between conditions."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from vla.alignment.permutations import halves, left_out
from vla.alignment.resampled import difference_interval, interval, reliability
from vla.alignment.score import score
from vla.metrics.folds import outer_folds


def linked(rng, n, strength, d=6, e=5):
    """Two sets of features that share one direction of that strength."""
    z = rng.standard_normal((n, 1))
    return [strength * z * rng.uniform(0.5, 1, width) + rng.standard_normal((n, width)) for width in (d, e)]


def test_interval_by_hand():
    """Two splits, halves 0.2 and 0.4 apart: variance (0.1^2 + 0.2^2) / 2, and t of two degrees of freedom 2.919986."""
    draws = xr.DataArray(
        np.array([0.1, 0.2, -0.1, -0.2]).reshape(-1, 1, 1) + 0.3, dims=("resample", "x_layer", "y_layer")
    )
    found = interval(draws, confidence=0.9)
    assert found["standard_error"].item() == pytest.approx(np.sqrt(0.025))
    reach = 2.919986 * np.sqrt(0.025)
    np.testing.assert_allclose([found["ci_low"].item(), found["ci_high"].item()], [0.3 - reach, 0.3 + reach], rtol=1e-6)
    assert interval(draws, 0.9, lowest=0.0)["ci_low"].item() == 0
    gap = draws.copy()
    gap[3] = np.nan
    assert np.isnan(interval(gap)["ci_low"].item())


@pytest.mark.parametrize("metric", ["linear_predictivity", "cka_debiased"])
def test_draws_are_half_the_difference_of_halves_scored_on_their_own(metric):
    x, y = linked(np.random.default_rng(3), 40, 1.5)
    groups = {"groups": np.repeat(range(20), 2)} if metric == "linear_predictivity" else {}
    result = score(x, y, metric, bootstrap=4, **groups)
    labels = groups.get("groups")
    expected = []
    for first, second in halves(40, labels, 2, 42):
        assert not set(first) & set(second) and (labels is None or not set(labels[first]) & set(labels[second]))
        scored = [
            float(score(x[rows], y[rows], metric, **({"groups": labels[rows]} if groups else {}))["score"][0, 0])
            for rows in (first, second)
        ]
        expected.append((scored[0] - scored[1]) / 2)
    drawn = result["resampled_score"].values.ravel() - float(result["score"][0, 0])
    np.testing.assert_allclose(drawn, [*expected, *np.negative(expected)], atol=1e-9)


@pytest.mark.parametrize(("measure", "grouped"), [("r2", False), ("explained_variance", True)])
def test_draws_of_shares_explained_are_a_jackknife(measure, grouped):
    """Every item is left out once, groups as wholes, and the others keep their folds."""
    x, y = linked(np.random.default_rng(3), 48, 1.5)
    groups = np.repeat(range(16), 3) if grouped else None
    options = {"measure": measure, "outer_folds": 2, "alphas": (1.0, 100.0)}
    result = score(x, y, bootstrap=8, groups=groups, **options)
    folds = outer_folds(48, 2, 42, groups)
    fold = np.isin(np.arange(48), folds[1][1]).astype(int)
    parts = left_out(48, folds, groups, 4, 42)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(48))
    assert all(np.bincount(fold[part]).tolist() == [6, 6] for part in parts)
    assert groups is None or sum(len(np.unique(groups[part])) for part in parts) == 16
    scores = []
    for part in parts:
        rest = np.setdiff1d(np.arange(48), part)
        scores.append(float(score(x[rest], y[rest], groups=fold[rest], **options)["score"][0, 0]))
    variance = 3 / 4 * np.sum((scores - np.mean(scores)) ** 2)
    assert float(result["standard_error"][0, 0]) == pytest.approx(np.sqrt(variance), abs=1e-12)
    reach = stats.t.ppf(0.975, 4) * np.sqrt(variance)
    assert float(result["ci_low"][0, 0]) == pytest.approx(float(result["score"][0, 0]) - reach, abs=1e-12)


def test_ridge_regression_stops_at_sixteen_splits():
    x, y = linked(np.random.default_rng(4), 40, 1.5)
    assert score(x, y, bootstrap=200, outer_folds=2, alphas=(1.0,)).sizes["resample"] == 32
    assert score(x, y, "cka", bootstrap=200).sizes["resample"] == 200


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


def test_the_interval_covers_the_expected_score():
    """At 95 %, 120 data sets of 60 items (standard error 2 points), against the mean score of all."""
    rng = np.random.default_rng(0)
    x, y = (np.stack(side) for side in zip(*[linked(rng, 60, 1.5) for _ in range(120)], strict=True))
    results = [score(x[i : i + 10], y[i : i + 10], "cka_debiased", bootstrap=40) for i in range(0, 120, 10)]
    scores, low, high = (
        np.concatenate([np.diag(result[name]) for result in results]) for name in ("score", "ci_low", "ci_high")
    )
    assert np.mean((low <= scores.mean()) & (scores.mean() <= high)) >= 0.88


def test_of_ridge_regression_the_errors_are_those_of_new_items_and_new_fits():
    """16 data sets of 60 items, two equal models each. With fits held, the errors are a third too small: 17 % of the
    intervals of a difference then exclude 0."""
    rng, count = np.random.default_rng(0), 16
    x, y = (np.stack(side) for side in zip(*[linked(rng, 60, 1.5) for _ in range(count)], strict=True))
    # Both models see the same latent values with noise of their own.
    models = np.concatenate([x + rng.standard_normal(x.shape) for _ in range(2)])
    result = score(models, y, bootstrap=8, outer_folds=2, alphas=(1.0, 10.0, 100.0))
    found = []
    for i in range(count):
        both = [result.isel(x_layer=[layer], y_layer=[i]) for layer in (i, count + i)]
        difference = difference_interval(*both)
        of_score = [both[0][name].item() for name in ("score", "standard_error")]
        found.append([*of_score, difference.difference, difference.standard_error])
    scores, errors, differences, errors_of_difference = np.transpose(found)
    assert 0.8 < np.sqrt(np.mean(errors**2)) / scores.std() < 1.7
    assert 0.9 < np.sqrt(np.mean(errors_of_difference**2)) / np.sqrt(np.mean(differences**2)) < 1.9


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
    options = {"outer_folds": 2, "alphas": (1.0, 100.0)} if metric == "linear_predictivity" else {}
    a, b = (score(x, side, metric, bootstrap=20, **options) for side in (y, shaken))
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
    reach = stats.t.ppf(0.9, 25) * drawn.std()
    np.testing.assert_allclose([found.ci_low, found.ci_high], [found.difference - reach, found.difference + reach])


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
