"""Per-item scores by SciPy, and their means by the metrics of the whole."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import vla
from tests.alignment.layers import layers
from vla.alignment.held_out import HeldOut, fold_maps, held_out, ridge_settings
from vla.alignment.item_scores import best_and_worst, item_scores


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
    with pytest.raises(ValueError, match="by='r', count=2: expected one of correlation, item"):
        best_and_worst(scores, 2, by="r")
