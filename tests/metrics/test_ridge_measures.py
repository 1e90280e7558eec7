"""Measures of held-out prediction, against scikit-learn's on scikit-learn's own predictions."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import explained_variance_score, r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from tests.metrics.reference import ALPHAS, related
from vla.alignment.item_scores import fold_maps, held_out
from vla.metrics import METRICS
from vla.metrics.linear_predictivity import all_pairs
from vla.metrics.ridge_measures import hits
from vla.metrics.ridge_settings import PredictivitySettings, RidgeSettings


def folds(x, y):
    """Per fold: z-scored held-out targets and scikit-learn's predictions of them."""
    for train, test in KFold(5, shuffle=True, random_state=42).split(x):
        of_x, of_y = StandardScaler().fit(x[train]), StandardScaler().fit(y[train])
        model = RidgeCV(ALPHAS).fit(of_x.transform(x[train]), of_y.transform(y[train]))
        yield of_y.transform(y[test]), model.predict(of_x.transform(x[test])).reshape(len(test), -1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 1e-4)])
@pytest.mark.parametrize(("measure", "plain"), [("r2", r2_score), ("explained_variance", explained_variance_score)])
@pytest.mark.parametrize(("d", "noise"), [(30, 1.0), (90, 1.0), (30, 30.0)])
def test_explained_shares_are_scikit_learns(measure, plain, d, noise, dtype, tolerance):
    x, y = related(0, 60, d, 7, noise, dtype=dtype)
    table = all_pairs(x[None], y[None], PredictivitySettings(measure=measure))
    expected = [plain(true, predicted) for true, predicted in folds(x.astype(float), y.astype(float))]
    np.testing.assert_allclose(table.fold_score[0, 0, 0], expected, atol=tolerance)


def test_r2_counts_a_wrong_mean_and_explained_variance_does_not():
    """Targets that drift with the fold of the item: the training mean is wrong for the test items."""
    x, y = related(1, 50, 10, 4, noise=0.01)
    for _, test in list(KFold(5, shuffle=True, random_state=42).split(x))[:1]:
        y[test] += 5 * y.std(axis=0)
    r2, explained = (all_pairs(x[None], y[None], PredictivitySettings(measure=m)) for m in ("r2", "explained_variance"))
    assert r2.fold_score[0, 0, 0, 0] < explained.fold_score[0, 0, 0, 0] - 1


def _likeness(true, predicted):
    m = len(true)
    return np.array([[np.corrcoef(predicted[i], true[j])[0, 1] for j in range(m)] for i in range(m)])


def retrieval(true, predicted):
    return np.mean(_likeness(true, predicted).argmax(axis=1) == np.arange(len(true)))


def matching(true, predicted):
    r = _likeness(true, predicted)
    m = len(true)
    return np.mean([r[i, i] > r[i, j] for i in range(m) for j in range(m) if i != j])


@pytest.mark.parametrize(("name", "plain"), [("retrieval", retrieval), ("matching_accuracy", matching)])
@pytest.mark.parametrize("noise", [3.0, 10.0])
def test_item_measures_by_their_words(name, plain, noise):
    x, y = related(2, 60, 20, 12, noise)
    table = METRICS[name].all_pairs(x[None], y[None], settings=RidgeSettings())
    np.testing.assert_allclose(table.fold_score[0, 0, 0], [plain(*fold) for fold in folds(x, y)], atol=1e-12)
    assert 0 < table.fold_score.mean() < 1


def test_hits_are_averaged_over_the_orders_of_tied_targets():
    """By hand: first alone; one of two, one of three that are first; behind others."""
    alike = np.array([[0.9, 0.1, 0.2, 0.1], [0.5, 0.5, 0.3, 0.1], [0.4, 0.4, 0.4, 0], [0.1, 0.2, 0.3, 0.2]])
    alike = jnp.asarray(alike)
    np.testing.assert_allclose(hits(alike.T, jnp.diag(alike)), [1, 1 / 2, 1 / 3, 0])
    order = [2, 0, 3, 1]
    order = np.array(order)
    shuffled = alike[order][:, order]
    expected = np.array([1, 1 / 2, 1 / 3, 0])[order]
    np.testing.assert_allclose(hits(shuffled.T, jnp.diag(shuffled)), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_items_that_are_the_same_tie(dtype):
    """Products of matrices sum in other orders in other columns: a few of such items were found before their twins."""
    x, y = (np.concatenate([side, side])[None].astype(dtype) for side in related(5, 65, 6, 33))
    settings = RidgeSettings(groups=np.tile(np.arange(65), 2).tolist())
    top, two_way = (METRICS[n].all_pairs(x, y, settings=settings) for n in ("retrieval", "matching_accuracy"))
    single = METRICS["retrieval"].all_pairs(x[:, :65], y[:, :65], settings=RidgeSettings())
    assert 0 < top.fold_score.mean() <= 0.5 and single.fold_score.mean() > 0
    np.testing.assert_allclose(top.fold_score * 2 * 26, np.round(top.fold_score * 2 * 26), atol=1e-9)
    if dtype == np.float64:
        out = held_out(list(fold_maps(x[0], y[0], settings)))
        for fold, score in enumerate(two_way.fold_score[0, 0, 0]):
            rows = out.fold == fold
            r = np.round(_likeness(out.actual[rows], out.predicted[rows]), 11)
            ahead = np.diagonal(r)[:, None] - r
            m = len(r)
            assert score == pytest.approx((np.sum((ahead > 0) + 0.5 * (ahead == 0)) - m / 2) / (m * (m - 1)))


def test_item_measures_by_chance():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((6, 100, 10)), rng.standard_normal((6, 100, 10))
    settings = RidgeSettings(outer_folds=5, alphas=(10.0,))
    top, two_way = (
        METRICS[n].all_pairs(x, y, settings=settings).fold_score for n in ("retrieval", "matching_accuracy")
    )
    assert top.mean() == pytest.approx(1 / 20, abs=0.02)
    assert two_way.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", ["retrieval", "matching_accuracy"])
def test_constant_units_and_layers(name):
    x, y = related(4, 50, 10, 6)
    y[:, 2] = 0.1
    with_it, without = (
        METRICS[name].all_pairs(x[None], s[None], settings=RidgeSettings()) for s in (y, np.delete(y, 2, 1))
    )
    np.testing.assert_allclose(with_it.fold_score, without.fold_score, atol=1e-12)
    np.testing.assert_array_equal(with_it.undefined, 1)
    table = METRICS[name].all_pairs(x[None], np.full_like(y, 0.7)[None], settings=RidgeSettings())
    assert np.isnan(table.fold_score).all()


def test_an_unknown_measure_lists_the_known_ones():
    with pytest.raises(ValueError, match="measure='r'; expected one of explained_variance, pearson, r2"):
        PredictivitySettings(measure="r")
