"""Draws of held-out items, against scikit-learn's predictions with every item written out as often as it was drawn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.metrics import explained_variance_score, r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from tests.metrics.reference import ALPHAS, related
from vla.metrics import linear_predictivity, ridge_resampling
from vla.metrics.ridge_settings import RidgeSettings

FOLDS, DRAWS = 3, 4


def correlations(a, b):
    """Pearson r of every row of a with every row of b."""
    return np.corrcoef(a, b)[: len(a), len(a) :]


def by_hand(measure, predicted, true, drawn):
    """Of drawn rows, repetitions written out; predictions and targets in units of the training scale."""
    p, y = predicted[drawn], true[drawn]
    if measure == "pearson":
        return np.mean([stats.pearsonr(a, b).statistic for a, b in zip(p.T, y.T, strict=True)])
    if measure == "r2":
        return r2_score(y, p)
    if measure == "explained_variance":
        return explained_variance_score(y, p)
    alike = correlations(predicted, true)
    own = np.diag(alike)
    if measure == "retrieval":
        return np.mean([alike[i].argmax() == i for i in drawn])
    won = [own[i] > alike[i, j] for i in drawn for j in drawn if i != j]
    return np.mean(won)


@pytest.mark.parametrize("measure", ["pearson", "r2", "explained_variance", "retrieval", "matching"])
@pytest.mark.parametrize("per_target", [False, True])
def test_draws_are_scored_as_if_written_out(measure, per_target):
    x, y = related(0, 60, 10, 6, noise=2.0)
    settings = RidgeSettings(outer_folds=FOLDS, alpha_per_target=per_target)
    table = linear_predictivity.all_pairs(x[None], y[None], settings, measure=measure)
    done = []
    found = ridge_resampling.all_pairs(
        x[None], y[None], settings, table.alpha[0], DRAWS, 5, done.append, measure=measure
    )
    rng, expected = np.random.default_rng([5, 1]), np.zeros(DRAWS)
    for train, test in KFold(FOLDS, shuffle=True, random_state=42).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        model = RidgeCV(ALPHAS, alpha_per_target=per_target).fit(of_x.transform(x[train]), of_y.transform(y[train]))
        predicted, true = model.predict(of_x.transform(x[test])), of_y.transform(y[test])
        times = ridge_resampling.draw(test, None, DRAWS, rng)
        expected += [by_hand(measure, predicted, true, np.repeat(np.arange(len(test)), one)) / FOLDS for one in times]
    np.testing.assert_allclose(found[:, 0, 0], expected, atol=1e-6)
    assert sum(done) == FOLDS


def test_items_drawn_once_each_give_the_score(monkeypatch):
    x, y = related(1, 40, 30, 6, dtype=np.float32)
    settings = RidgeSettings(outer_folds=4, standardize_targets=False, test_statistics="test")
    table = linear_predictivity.all_pairs(x[None], y[None], settings)
    monkeypatch.setattr(ridge_resampling, "draw", lambda test, groups, count, rng: np.ones((count, len(test)), int))
    found = ridge_resampling.all_pairs(x[None], y[None], settings, table.alpha[0], 2, 0, measure="pearson")
    np.testing.assert_allclose(found[:, 0, 0], table.fold_score.mean(), atol=1e-5)


def test_layers_are_drawn_alike_and_apart_from_each_other():
    pairs = [related(seed, 40, 8, 5) for seed in range(3)]
    x, y = np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs[:2]])
    y[1, :, 2] = 3.0  # a constant unit is left out, as in the score
    settings = RidgeSettings(outer_folds=2)
    alpha = linear_predictivity.all_pairs(x, y, settings).alpha[0]
    whole = ridge_resampling.all_pairs(x, y, settings, alpha, 3, 7, measure="pearson")
    for i in range(3):
        for t in range(2):
            one = ridge_resampling.all_pairs(
                x[i : i + 1], y[t : t + 1], settings, alpha[i : i + 1, t : t + 1], 3, 7, measure="pearson"
            )
            np.testing.assert_allclose(whole[:, i, t], one[:, 0, 0], atol=1e-12)
    nothing = ridge_resampling.all_pairs(x[:1], np.ones((1, 40, 5)), settings, alpha[:1, :1], 3, 7, measure="pearson")
    assert np.isnan(nothing).all()


def test_groups_are_drawn_whole():
    test, groups = np.arange(5, 17), np.repeat(np.arange(6), 3)
    times = ridge_resampling.draw(test, groups, 50, np.random.default_rng(0))
    for label in np.unique(groups[test]):
        own = times[:, groups[test] == label]
        assert (own == own[:, :1]).all()
    drawn_groups = [sum(row[groups[test] == label][0] for label in np.unique(groups[test])) for row in times]
    assert set(drawn_groups) == {len(np.unique(groups[test]))}
    alone = ridge_resampling.draw(test, None, 50, np.random.default_rng(0))
    assert (alone.sum(axis=1) == 12).all() and alone.max() > 1
