"""p-values of permutation nulls: by hand, and by simulating tables in which there is nothing to find."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from vla.alignment.score import score
from vla.alignment.significance import significance


def table(score_, null):
    score_, null = np.asarray(score_, float), np.asarray(null, float)
    return xr.Dataset(
        {"score": (("x_layer", "y_layer"), score_), "null_score": (("permutation", "x_layer", "y_layer"), null)}
    )


def test_by_hand():
    """Two pairs, four permutations."""
    null = [[[0.1, 0.5]], [[0.3, 0.0]], [[0.2, 0.1]], [[0.0, 0.2]]]
    found = significance(table([[0.3, 0.4]], null))
    np.testing.assert_allclose(found["p_value"], [[2 / 5, 2 / 5]])
    np.testing.assert_allclose(found["p_max"], [[3 / 5, 2 / 5]])  # maxima 0.5, 0.3, 0.2, 0.2
    np.testing.assert_allclose(found["null_mean"], [[0.15, 0.2]])
    np.testing.assert_allclose(found["calibrated"], [[0.15 / 0.85, 0.2 / 0.8]])
    np.testing.assert_allclose(found["q_value"], [[2 / 5, 2 / 5]])


def test_of_a_distance_low_is_good():
    null = [[[1.0]], [[1.2]], [[0.4]]]
    found = significance(table([[0.5]], null), perfect=0.0, higher_is_better=False)
    assert float(found["p_value"][0, 0]) == pytest.approx(2 / 4) == float(found["p_max"][0, 0])
    assert float(found["calibrated"][0, 0]) == pytest.approx((0.5 - 2.6 / 3) / (0 - 2.6 / 3))


def test_pairs_without_a_score_have_nothing_and_disturb_nothing():
    null = np.random.default_rng(0).uniform(size=(19, 1, 3))
    null[:, 0, 1] = np.nan
    whole = significance(table([[0.9, np.nan, 0.1]], null))
    rest = significance(table([[0.9, 0.1]], null[:, :, [0, 2]]))
    for name in whole:
        assert np.isnan(whole[name].values[0, 1])
        np.testing.assert_allclose(whole[name].values[:, [0, 2]], rest[name].values)


def test_q_values_are_those_of_the_largest_p_value_first():
    rng = np.random.default_rng(1)
    found = significance(table(rng.uniform(size=(4, 5)), rng.uniform(size=(99, 4, 5))))
    p = found["p_value"].values.ravel()
    order = np.argsort(p)
    by_hand = np.empty(20)
    smallest = 1.0
    for rank in range(20, 0, -1):
        smallest = min(smallest, p[order[rank - 1]] * 20 / rank)
        by_hand[order[rank - 1]] = smallest
    np.testing.assert_allclose(found["q_value"].values.ravel(), by_hand)


OPTIONS = {
    "linear_predictivity": {"outer_folds": 2, "alphas": (1.0, 100.0)},
    "cka": {},
    "mutual_knn": {"neighbours": 5},
    "rsa": {},
}


def test_false_findings_are_as_many_as_they_should_be():
    """Of unrelated layers, p_value falls to 5 % in 5 % of the pairs, and the best p_max of a table of five by five in
    5 % of the tables, within 2 points. A test that found too little would fail as well.

    1,000 pairs that share no layer (standard error 0.7 points) for each metric, 800 tables that share none (0.8); the
    seed is fixed. mutual_knn counts neighbours: ties are many and count against a finding, so that it finds less.
    """
    rng, best = np.random.default_rng(3), []
    for metric, options in OPTIONS.items():
        single = []
        for seed in range(50):
            x, y = rng.standard_normal((20, 20, 5)), rng.standard_normal((20, 20, 4))
            for layers in np.split(np.arange(20), 4):
                result = score(x[layers], y[layers], metric=metric, null=19, seed=seed, **options)
                single.extend(np.diag(result["p_value"].values))
                best.append(float(result["p_max"].min()))
        lowest = 0.0 if metric == "mutual_knn" else 0.03
        assert lowest <= np.mean(np.array(single) <= 0.05) <= 0.07, metric
    assert abs(np.mean(np.array(best) <= 0.05) - 0.05) <= 0.02


def test_a_finding_is_found_and_the_maximum_is_the_stricter_test():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 60, 6))
    y = np.stack([x[0] @ rng.standard_normal((6, 5)), rng.standard_normal((60, 5))])
    result = score(x, y, metric="cka_debiased", null=199)
    assert float(result["p_max"][0, 0]) == 1 / 200
    assert (result["p_max"] >= result["p_value"]).all() and (result["q_value"] >= result["p_value"]).all()
    assert float(result["p_value"][1, 1]) > 0.05
    assert float(stats.percentileofscore(result["null_score"].values[:, 1, 1], float(result["score"][1, 1]))) < 97


def test_permutations_without_a_score_do_not_count():
    """Of four permutations one has no score: one of the other three is as good."""
    null = [[[0.1, 0.1]], [[np.nan, 0.6]], [[0.4, 0.2]], [[0.2, 0.3]]]
    found = significance(table([[0.3, 0.5]], null))
    np.testing.assert_allclose(found["p_value"], [[2 / 4, 2 / 5]])
    np.testing.assert_allclose(found["null_mean"], [[0.7 / 3, 0.3]])
    # Maxima 0.1, 0.6, 0.4 and 0.3.
    np.testing.assert_allclose(found["p_max"], [[4 / 5, 2 / 5]])


def test_of_few_permutations_with_a_score_there_is_no_p_value():
    null = np.full((100, 1, 1), 0.6)
    null[:50] = np.nan
    assert significance(table([[0.5]], null))["p_value"].item() == 1.0  # every one that has a score is better
    null[50] = np.nan
    assert all(np.isnan(value).all() for value in significance(table([[0.5]], null)).values())


def test_the_result_names_its_metric():
    """Of a distance low is good, without being told."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 30, 4))
    result = score(x, x[:, :, ::-1], metric="shape_distance", null=19)
    assert result["p_value"].item() == significance(result)["p_value"].item() == 1 / 20
    assert significance(result)["calibrated"].item() == pytest.approx(1, abs=1e-6)
