"""Per-item scores by SciPy, and their means by the metrics of the whole."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.metrics import explained_variance_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

import vla
from tests.alignment.layers import layers
from vla.alignment.item_scores import (
    HeldOut,
    best_and_worst,
    by_group,
    by_level,
    effective_dimension,
    expanded_tails,
    extremes,
    fold_maps,
    held_out,
    item_scores,
    map_spectrum,
    rank_correlation,
    ridge_settings,
)


@pytest.fixture(scope="module")
def out():
    return held_out(list(fold_maps(*layers(), ridge_settings())))


def test_each_score_by_itself(out):
    table = item_scores(out, [f"i{row}" for row in range(80)])
    for row in (0, 17, 79):
        assert table["correlation"][row] == pytest.approx(stats.pearsonr(out.predicted[row], out.actual[row])[0])
        others = [i for i in range(80) if out.fold[i] == out.fold[row] and i != row]
        like = np.array([stats.pearsonr(out.predicted[row], out.actual[i])[0] for i in others])
        assert table["match"][row] == pytest.approx(np.mean(like < table["correlation"][row]))
        assert table["rank"][row] == 1 + np.sum(like > table["correlation"][row])
        assert table["size"][row] == pytest.approx(np.linalg.norm(out.actual[row]))
    assert table["item"][17] == "i17" and table["fold"].tolist() == out.fold.tolist()


def test_their_means_are_the_metrics_of_the_whole(out):
    x, y = layers()
    table = item_scores(out, list(map(str, range(80))))
    of_fold = table.groupby("fold")
    whole = vla.score(x, y, metric=["matching_accuracy", "retrieval"])
    np.testing.assert_allclose(of_fold["match"].mean(), whole["matching_accuracy"]["fold_score"].values.ravel())
    first = (table["rank"] == 1).groupby(table["fold"]).mean()
    np.testing.assert_allclose(first, whole["retrieval"]["fold_score"].values.ravel())


def test_an_item_that_nobody_can_describe_has_no_score(out):
    predicted = out.predicted.copy()
    predicted[3] = 0.25
    actual = out.actual.copy()
    actual[5] = 0.0
    table = item_scores(HeldOut(predicted, actual, out.fold, out.varies), list(map(str, range(80))))
    assert table.loc[[3, 5], ["correlation", "match", "rank"]].isna().all(axis=None)
    assert table.drop([3, 5]).notna().all(axis=None)
    with pytest.raises(ValueError, match="2 names for 80 items"):
        item_scores(out, ["a", "b"])


def test_units_that_do_not_vary_do_not_count(out):
    varies = np.arange(9) < 7
    table = item_scores(HeldOut(out.predicted, out.actual, out.fold, varies), list(map(str, range(80))))
    assert table["correlation"][4] == pytest.approx(stats.pearsonr(out.predicted[4, :7], out.actual[4, :7])[0])


def test_units_that_one_fold_does_not_tell_items_by_do_not_count_in_it(out):
    x, y = (side.copy() for side in layers())
    y[..., out.fold == 2, :4] = 3.0
    table = item_scores(held_out(list(fold_maps(x, y, ridge_settings()))), list(map(str, range(80))))
    whole = vla.score(x, y, metric=["matching_accuracy", "retrieval"])
    np.testing.assert_allclose(
        table.groupby("fold")["match"].mean(), whole["matching_accuracy"]["fold_score"].values.ravel()
    )
    first = (table["rank"] == 1).groupby(table["fold"]).mean()
    np.testing.assert_allclose(first, whole["retrieval"]["fold_score"].values.ravel())


def test_items_that_are_the_same_tie():
    actual = np.random.default_rng(0).standard_normal((43, 300))
    predicted = actual + np.random.default_rng(1).standard_normal((43, 300))
    twice = (np.concatenate([side, side]) for side in (predicted, actual))
    table = item_scores(HeldOut(*twice, np.zeros(86, int), np.ones(300, bool)), list(map(str, range(86))))
    assert table["rank"].min() == 1.5
    np.testing.assert_array_equal(table["match"][:43], table["match"][43:])


def test_items_of_a_target_that_is_the_same_for_all_have_no_score(out):
    same = HeldOut(out.predicted, np.zeros_like(out.actual), out.fold, np.zeros(9, bool))
    table = item_scores(same, list(map(str, range(80))))
    assert table[["correlation", "match", "rank"]].isna().all(axis=None)


def test_best_and_worst():
    scores = pd.DataFrame({"item": list("abcdefg"), "correlation": [0.1, 0.9, np.nan, 0.5, 0.9, -0.2, 0.3]})
    ends = best_and_worst(scores, 2)
    assert ends[["item", "end", "place"]].values.tolist() == [
        ["b", "best", 1],
        ["e", "best", 2],
        ["f", "worst", 1],
        ["a", "worst", 2],
    ]
    assert len(best_and_worst(scores, 50)) == 6
    with pytest.raises(ValueError, match="by='r'; expected one of correlation, item"):
        best_and_worst(scores, 2, by="r")


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(0)
    scores = {f"i{row}": float(value) for row, value in enumerate(rng.normal(0.3, 0.1, 200))}
    groups = {f"i{row}": ("animal",) * (row % 2) + ("food",) * (row % 3 == 0) for row in range(200)}
    for row in range(1, 200, 2):
        scores[f"i{row}"] += 0.2
    return scores, groups


def test_means_and_their_intervals(scored):
    scores, groups = scored
    table = by_group(scores, groups, resamples=4000).set_index("group")
    assert table.index.tolist() == ["animal", "food"]
    animal = np.array([scores[item] for item in scores if "animal" in groups[item]])
    rest = np.array([scores[item] for item in scores if "animal" not in groups[item]])
    row = table.loc["animal"]
    assert [row["n_items"], row["n_rest"]] == [100, 100] and row["mean"] == pytest.approx(animal.mean())
    expected = stats.bootstrap((animal,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(list(expected), abs=0.003)
    assert row["difference"] == pytest.approx(animal.mean() - rest.mean())
    gap = stats.bootstrap(
        (animal, rest), lambda a, b, axis: a.mean(axis) - b.mean(axis), method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert [row["difference_ci_low"], row["difference_ci_high"]] == pytest.approx(list(gap), abs=0.004)
    assert row["difference_ci_low"] > 0 and table.loc["food", "difference_ci_low"] < 0
    assert by_group(scores, groups, seed=3).equals(by_group(scores, groups, seed=3))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        values = {f"i{i:02}": float(v) for i, v in enumerate(rng.normal(1, 1, 40))}
        row = by_group(values, {i: ("a" if i < "i30" else "b",) for i in values}, resamples=400, confidence=0.9)
        row = row.set_index("group").loc["a"]
        covered += row["ci_low"] <= 1 <= row["ci_high"]
    assert 0.82 <= covered / 200 <= 0.96


def test_intervals_of_few_items_are_as_wide_as_those_of_t():
    """Percentiles as they are would be 22 % narrower of eight items."""
    rng = np.random.default_rng(1)
    few, many = rng.normal(0, 1, 8), rng.normal(0, 1, 300)
    scores = {f"i{row}": float(value) for row, value in enumerate([*few, *many])}
    groups = {f"i{row}": ("few" if row < 8 else "many",) for row in range(308)}
    row = by_group(scores, groups, resamples=10000).set_index("group").loc["few"]
    for name, t in (("", stats.ttest_1samp(few, 0)), ("difference_", stats.ttest_ind(few, many, equal_var=False))):
        width = np.ptp(t.confidence_interval())
        assert row[f"{name}ci_high"] - row[f"{name}ci_low"] == pytest.approx(width, rel=0.12)


def test_small_groups_are_said_to_be_small(scored):
    scores, groups = scored
    few = {**groups, "i0": ("kite",), "i2": ("kite",)}
    row = by_group(scores, few).set_index("group").loc["kite"]
    assert row["n_items"] == 2 and np.isnan(row["ci_low"]) and np.isnan(row["difference_ci_high"])
    assert row["note"].startswith("too few items") and np.isfinite(row["mean"])
    alone = by_group(scores, dict.fromkeys(scores, ("all",))).iloc[0]
    assert np.isfinite(alone["ci_low"]) and np.isnan(alone["difference"]) and alone["n_rest"] == 0


def test_items_without_a_score_are_left_out(scored):
    scores, groups = scored
    assert by_group({**scores, "i1": np.nan}, groups).set_index("group").loc["animal", "n_items"] == 99
    with pytest.raises(ValueError, match="None of the 200 scored items is in a group"):
        by_group(scores, {"elsewhere": ("animal",)})
    with pytest.raises(ValueError, match="confidence=1.5"):
        by_group(scores, groups, confidence=1.5)


def test_levels_of_equal_size():
    levels = {"a": 3.0, "b": 1.0, "c": 2.0, "d": np.nan, "e": 2.0, "f": 5.0, "g": 0.0}
    parts = by_level(levels, 3, ("low", "middle", "high"))
    assert parts == {"g": ("low",), "b": ("low",), "c": ("middle",), "e": ("middle",), "a": ("high",), "f": ("high",)}
    with pytest.raises(ValueError, match="1 items with a value"):
        by_level({"a": 1.0}, 2, ("low", "high"))


def test_rank_correlation(scored):
    scores, _ = scored
    rng = np.random.default_rng(2)
    levels = {item: 5 * value + rng.normal(0, 0.3) for item, value in scores.items()}
    found = rank_correlation(scores, levels)
    expected = stats.spearmanr(list(scores.values()), list(levels.values())).statistic
    assert found["rho"] == pytest.approx(expected) and found["ci_low"] < expected < found["ci_high"]
    values = np.array([[scores[item], levels[item]] for item in scores])
    peer = stats.bootstrap(
        (values[:, 0], values[:, 1]),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=1,
    ).confidence_interval
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(list(peer), abs=0.02)
    assert rank_correlation(scores, dict.fromkeys(scores, 1.0))["note"] == "all values are the same"
    with pytest.raises(ValueError, match="2 items have both"):
        rank_correlation(scores, {"i0": 1.0, "i1": 2.0, "other": 3.0, "i2": np.nan})


def test_expanded_quantiles_by_hand():
    """The t quantile of 9 degrees of freedom at 97.5 % is 2.262157; many units need no widening."""
    assert expanded_tails(10, 0.95)[0] == pytest.approx(stats.norm.cdf(-np.sqrt(10 / 9) * 2.262157), abs=1e-6)
    assert expanded_tails(10_000, 0.9) == pytest.approx((0.05, 0.95), abs=1e-4)


def test_means_of_eight_are_covered():
    """1,500 simulations at 95 %, standard error 0.6 points; plain percentiles cover 89 %."""
    rng = np.random.default_rng(0)
    covered, plain = [], []
    for _ in range(1500):
        values = rng.standard_normal(8)
        draws = values[rng.integers(8, size=(1000, 8))].mean(axis=1)
        low, high = np.quantile(draws, expanded_tails(8, 0.95))
        covered.append(low <= 0 <= high)
        low, high = np.quantile(draws, [0.025, 0.975])
        plain.append(low <= 0 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97 and np.mean(plain) < 0.91


def spectrum_of(x, y, **settings):
    return map_spectrum(list(fold_maps(x, y, ridge_settings(**settings))))


def test_shares_are_those_of_the_singular_vectors_of_scikit_learns_fit():
    x, y = layers()
    expected = []
    for train, test in KFold(5, shuffle=True, random_state=42).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        a, b, c, t = (
            of_x.transform(x[train]),
            of_y.transform(y[train]),
            of_x.transform(x[test]),
            of_y.transform(y[test]),
        )
        model = RidgeCV(ridge_settings().alphas).fit(a, b)
        v = np.linalg.svd(model.predict(a), full_matrices=False)[2].T
        p, t = model.predict(c) @ v, t @ v
        covariance = [np.cov(p[:, k], t[:, k], ddof=0) for k in range(9)]
        total = sum(m[1, 1] for m in covariance)  # v is a basis of the whole target
        expected.append([[m[1, 1] / total, m[0, 0] / total, m[0, 1] / total] for m in covariance])
    found = spectrum_of(x, y)
    assert found["rank"].tolist() == list(range(1, 10))
    np.testing.assert_allclose(
        found[["target_share", "predicted_share", "shared_share"]], np.mean(expected, axis=0), atol=1e-6
    )
    np.testing.assert_allclose(found["cumulative_explained"], np.cumsum(found["explained_share"]))


@pytest.mark.parametrize(("n", "d"), [(80, 12), (40, 60)])
def test_the_sum_is_the_explained_variance(n, d):
    x, y = layers(n, d)
    maps = list(fold_maps(x, y, ridge_settings()))
    expected = [explained_variance_score(one.actual, one.predicted, multioutput="variance_weighted") for one in maps]
    total = map_spectrum(maps)["explained_share"].sum()
    np.testing.assert_allclose(total, np.mean(expected), atol=1e-8)


def test_strong_directions_come_first_and_noise_shares_nothing():
    x, y = layers(noise=0.2)
    found = spectrum_of(x, y)
    assert (found["r"][:3] > 0.9).all() and (found["r"][3:].abs() < 0.35).all()
    assert found["shared_share"][0] > found["shared_share"][1] > found["shared_share"][2] > 0.02
    assert found["shared_share"][3:].abs().max() < 0.005
    assert 1 < effective_dimension(found["shared_share"].to_numpy()) < 3.1
    rng = np.random.default_rng(5)
    nothing = spectrum_of(rng.standard_normal((80, 12)), rng.standard_normal((80, 9)))
    assert nothing["explained_share"].sum() < 0.01


def test_effective_dimension():
    assert effective_dimension(np.array([2.0, 2, 2, 2])) == pytest.approx(4)
    assert effective_dimension(np.array([3.0, 0, -5])) == 1
    assert effective_dimension(np.array([3.0, 1])) == pytest.approx(16 / 10)
    assert np.isnan(effective_dimension(np.array([-1.0, 0])))


def test_extremes_lie_at_the_ends_of_what_is_shared():
    rng = np.random.default_rng(1)
    shared = rng.standard_normal(80)
    x = np.outer(shared, rng.standard_normal(12)) + 0.05 * rng.standard_normal((80, 12))
    y = np.outer(shared, rng.standard_normal(9)) + 0.05 * rng.standard_normal((80, 9))
    settings = ridge_settings()
    found = extremes(x, y, held_out(list(fold_maps(x, y, settings))), settings, count=3)
    assert abs(np.corrcoef(found.predicted[:, 0], shared)[0, 1]) > 0.99
    assert abs(np.corrcoef(found.actual[:, 0], shared)[0, 1]) > 0.99
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(3), atol=1e-10)
    assert (found.directions[np.abs(found.directions).argmax(axis=0), range(3)] > 0).all()
    with pytest.raises(ValueError, match="count=0; expected a whole number of at least 1"):
        extremes(x, y, held_out(list(fold_maps(x, y, settings))), settings, count=0)


def test_a_target_without_dimensions_is_refused():
    x, _ = layers()
    with pytest.raises(ValueError, match="no dimensions to explain"):
        spectrum_of(x, np.ones((80, 4)))
    flat = spectrum_of(np.ones((80, 4)), layers()[1])
    assert len(flat) == 0


@pytest.mark.parametrize(("n", "d"), [(80, 12), (40, 60)])
@pytest.mark.parametrize("per_target", [False, True])
def test_predictions_are_those_of_scikit_learn(n, d, per_target):
    x, y = layers(n, d)
    # Smaller penalties interpolate where n < d: their losses differ by rounding alone.
    settings = ridge_settings(alpha_per_target=per_target, alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    maps = list(fold_maps(x, y, settings))
    for one, (train, test) in zip(maps, KFold(5, shuffle=True, random_state=42).split(x), strict=True):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        model = RidgeCV(settings.alphas, alpha_per_target=per_target).fit(
            of_x.transform(x[train]), of_y.transform(y[train])
        )
        np.testing.assert_array_equal(one.test, test)
        np.testing.assert_allclose(one.alpha, model.alpha_)
        np.testing.assert_allclose(one.predicted, model.predict(of_x.transform(x[test])), atol=1e-8)
        np.testing.assert_allclose(one.actual, of_y.transform(y[test]), atol=1e-10)
        fitted = model.predict(of_x.transform(x[train]))
        np.testing.assert_allclose(one.fitted.T @ one.fitted, fitted.T @ fitted, atol=1e-7)


def test_every_item_is_predicted_once_by_a_map_that_did_not_see_it():
    x, y = layers()
    maps = list(fold_maps(x, y, ridge_settings(seed=3)))
    out = held_out(maps)
    for number, one in enumerate(maps):
        assert set(np.flatnonzero(out.fold == number)) == set(one.test) and not set(one.test) & set(one.train)
        np.testing.assert_array_equal(out.predicted[one.test], one.predicted)
    assert len(out.fold) == 80 and out.varies.all()


@pytest.mark.parametrize("settings", [{}, {"protocol": "khosla_lab"}, {"inner_cv": 4}])
def test_their_correlations_are_the_score(settings):
    x, y = layers()
    maps = list(fold_maps(x, y, ridge_settings(**settings)))
    means = [
        np.mean([np.corrcoef(p, a)[0, 1] for p, a in zip(one.predicted.T, one.actual.T, strict=True)]) for one in maps
    ]
    scored = vla.score(x, y, **settings)["fold_score"].values.ravel()
    np.testing.assert_allclose(means, scored, atol=1e-6)


def test_constant_units_are_marked_and_left_at_zero():
    x, y = layers()
    y[:, 4] = 7.0
    out = held_out(list(fold_maps(x, y, ridge_settings())))
    assert np.flatnonzero(~out.varies).tolist() == [4] and not out.predicted[:, 4].any() and not out.actual[:, 4].any()


def test_what_cannot_be_mapped_is_refused():
    x, y = layers()
    with pytest.raises(ValueError, match="x has 80 items, y has 79"):
        list(fold_maps(x, y[:-1], ridge_settings()))
    with pytest.raises(ValueError, match="y has the shape"):
        list(fold_maps(x, y[:, 0], ridge_settings()))
    x[3, 3] = np.nan
    with pytest.raises(ValueError, match="x has NaN or infinite"):
        list(fold_maps(x, y, ridge_settings()))
    with pytest.raises(ValueError, match="the ridge map has no setting alpha; it has alpha_per_target"):
        ridge_settings(alpha=3)
    with pytest.raises(ValueError, match="protocol="):
        ridge_settings("papers")


def test_splits_that_do_not_test_every_item_once_are_refused():
    x, y = np.random.default_rng(0).standard_normal((2, 20, 3))
    maps = list(fold_maps(x, y, ridge_settings(splits=[(range(10), range(10, 20))])))
    with pytest.raises(ValueError, match="every item is tested once"):
        held_out(maps)
