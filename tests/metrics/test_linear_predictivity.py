import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit, StratifiedKFold

from tests.metrics.reference import related, ridge_folds
from vla.metrics.folds import outer_folds
from vla.metrics.linear_predictivity import all_pairs
from vla.metrics.ridge_settings import RidgeSettings

# float64 products agree to rounding; float32 products lose digits where predictions nearly cancel.
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}


def _agrees(x, y, tolerance=1e-9, settings=None, **reference):
    """Every cell has scikit-learn's alpha and r."""
    table = all_pairs(np.stack(x), np.stack(y), settings or RidgeSettings())
    for i, left in enumerate(x):
        for j, right in enumerate(y):
            r, alpha = ridge_folds(left.astype(np.float64), right.astype(np.float64), **reference)
            np.testing.assert_allclose(table.alpha[0, i, j], alpha, rtol=1e-12)
            np.testing.assert_allclose(table.fold_score[0, i, j], np.nanmean(r, axis=1), atol=tolerance)
            np.testing.assert_array_equal(table.undefined[0, i, j], np.isnan(r).sum(axis=1))
    return table


def _layers(n, d, e, dtype=np.float64, noises=(0.05, 1.0, 30.0)):
    pairs = [related(seed, n, d, e, noise, dtype=dtype) for seed, noise in enumerate(noises)]
    return [x for x, _ in pairs], [y for _, y in pairs]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("n", "d", "e"),
    [(100, 150, 40), (100, 30, 60), (103, 70, 20), (100, 80, 20), (60, 48, 5), (100, 1, 1), (40, 500, 3)],
    ids=["n<d", "n>>d", "n>d, uneven folds", "training n = d", "n slightly > d", "one unit", "n<<d"],
)
def test_equals_ridge_cv(n, d, e, dtype):
    _agrees(*_layers(n, d, e, dtype), tolerance=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rank_deficient_features(dtype):
    rng = np.random.default_rng(0)
    x, y = related(1, 90, 10, 25)
    wide = (x @ rng.standard_normal((10, 120))).astype(dtype)
    narrow = (x[:, :6] @ rng.standard_normal((6, 30))).astype(dtype)
    _agrees([wide], [y.astype(dtype)], TOLERANCE[dtype])
    _agrees([narrow], [y.astype(dtype)], TOLERANCE[dtype])


@pytest.mark.parametrize("d", [120, 20])
def test_duplicate_rows(d):
    x, y = related(2, 50, d, 15)
    _agrees([np.concatenate([x, x])], [np.concatenate([y, y])])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_near_perfect_prediction_is_compared_by_residuals(dtype):
    """Losses far below the rounding error of their Gram products must still be ordered as scikit-learn orders them."""
    rng = np.random.default_rng(3)
    x = related(3, 80, 40, 1, noise=5.0)[0].astype(dtype)
    y = x @ rng.standard_normal((40, 12)) / np.sqrt(40)
    _agrees([x], [(y + 1e-4 * y.std() * rng.standard_normal((80, 12))).astype(dtype)], tolerance=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_unrelated_features_take_the_largest_alphas(dtype):
    """At large penalties the loss is almost flat: only exact losses give scikit-learn's choice."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((80, 100)).astype(dtype), rng.standard_normal((80, 30)).astype(dtype)
    _agrees([x], [y], TOLERANCE[dtype])
    _agrees([x[:, :20]], [y], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_penalty_under_which_an_item_has_full_leverage_is_not_chosen(dtype):
    """Leave-one-out is 0 / 0 for an item that alone decides a unit, if nothing is penalised."""
    x, y = related(17, 50, 6, 4, dtype=dtype)
    x[:, 5] = 0
    x[7, 5] = 1.0
    table = all_pairs(x[None], y[None], RidgeSettings(alphas=(1e-300, 1.0)))
    np.testing.assert_array_equal(table.alpha, 1.0)
    np.testing.assert_array_equal(
        table.fold_score, all_pairs(x[None], y[None], RidgeSettings(alphas=(1.0,))).fold_score
    )


def test_outlying_items_and_units():
    x, y = related(5, 100, 140, 30)
    x[3] *= 300
    x[:, 0] *= 1e5
    y[7] *= 300
    _agrees([x], [y])


@pytest.mark.parametrize(("d", "k"), [(90, 5), (20, 5), (90, 3), (45, 7)])
def test_inner_k_fold_equals_grid_search(d, k):
    x, y = related(15, 63, d, 20, noise=2.0)
    _agrees([x], [y], settings=RidgeSettings(inner_cv=k), inner_cv=k)


def test_inner_k_fold_in_float32():
    x, y = related(16, 60, 80, 20, noise=2.0, dtype=np.float32)
    _agrees([x], [y], settings=RidgeSettings(inner_cv=5), inner_cv=5, tolerance=1e-5)


@pytest.mark.parametrize("d", [150, 30])
def test_one_alpha_per_target(d):
    x, y = related(6, 100, d, 12, noise=2.0)
    y[:, :4] = np.random.default_rng(0).standard_normal((100, 4))
    table = _agrees([x], [y], settings=RidgeSettings(alpha_per_target=True), per_target=True)
    assert table.alpha.shape == (1, 1, 1, 5, 12)
    assert len(np.unique(table.alpha)) > 1
    # Of shuffled orders nobody reads penalties, which for every unit would come to gigabytes.
    shuffled = np.stack([np.random.default_rng(seed).permutation(100) for seed in range(3)])
    orders = np.concatenate([np.arange(100)[None], shuffled])
    several = all_pairs(x[None], y[None], RidgeSettings(alpha_per_target=True), orders)
    np.testing.assert_array_equal(several.alpha, table.alpha)
    assert several.fold_score.shape == (4, 1, 1, 5)


@pytest.mark.parametrize("d", [150, 30])
def test_khosla_lab_protocol(d):
    """Raw targets: two very wide units decide alpha for all; test rows are scaled by their own statistics."""
    x, y = related(7, 100, d, 12, noise=2.0)
    y[:, :2] = 1000 * np.random.default_rng(0).standard_normal((100, 2))
    settings = RidgeSettings(standardize_targets=False, test_statistics="test")
    lab = _agrees([x], [y], settings=settings, standardize_targets=False, test_statistics="test")
    paper = _agrees([x], [y])
    assert not np.array_equal(lab.alpha, paper.alpha)


def test_constant_targets_are_left_out_and_counted():
    x, y = related(8, 100, 40, 6)
    y[:, 2] = 0.1  # a constant whose mean is not exact in binary
    train, test = outer_folds(100, 5, 42)[0]
    y[test, 4] = 3.0  # constant in one test fold only
    table = _agrees([x], [y])
    np.testing.assert_array_equal(table.undefined[0, 0, 0], [2, 1, 1, 1, 1])


def test_constant_layers_have_no_score():
    x, y = related(9, 50, 20, 6)
    constant = np.full_like(x, 0.3)
    table = all_pairs(np.stack([x, constant]), np.stack([y, np.full_like(y, 0.7)]), RidgeSettings())
    assert np.isfinite(table.fold_score[0, 0, 0]).all()
    assert np.isnan(table.fold_score[0, 1]).all() and np.isnan(table.fold_score[0, :, 1]).all()
    np.testing.assert_array_equal(table.undefined[0, 1, 0], 6)


def test_units_constant_in_training_but_not_in_the_test_fold():
    x, y = related(10, 60, 20, 6)
    train, test = outer_folds(60, 5, 42)[1]
    x[train, 5] = 0.2
    x[test, 5] = 1e6
    _agrees([x], [y])


def test_grouped_folds_follow_group_k_fold():
    x, y = related(11, 60, 20, 6)
    groups = np.repeat(np.arange(20), 3)
    folds = outer_folds(60, 4, 7, groups)
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    _agrees([x], [y], settings=RidgeSettings(outer_folds=4, seed=7, groups=groups), folds=folds)


@pytest.mark.parametrize("inner", ["loo", 3])
def test_own_splits(inner):
    """A fixed test set, several repeats, stratified folds, items left out, training items in any order."""
    x, y = related(18, 60, 20, 6, noise=3.0)
    labels, order = np.arange(60) % 3, np.random.default_rng(0).permutation(60)
    splits = [
        (order[:40], order[40:]),
        *ShuffleSplit(2, test_size=7, train_size=31, random_state=0).split(x),
        *StratifiedKFold(2).split(x, labels),
    ]
    settings = RidgeSettings(splits=splits, inner_cv=inner)
    table = _agrees([x], [y], settings=settings, folds=splits, inner_cv=inner)
    assert table.fold_score.shape == (1, 1, 1, 5)


def test_a_pairing_scores_reordered_targets():
    x, y = related(12, 60, 80, 10)
    order = np.random.default_rng(0).permutation(60)
    both = all_pairs(x[None], y[None], RidgeSettings(), np.stack([np.arange(60), order]))
    alone = all_pairs(x[None], y[None, order], RidgeSettings())
    np.testing.assert_array_equal(both.fold_score[1], alone.fold_score[0])
    assert both.fold_score[0].mean() > 0.3 > abs(both.fold_score[1]).mean()


@pytest.mark.parametrize("most_bytes", [1, 4 * 2 * 8 * 48 * 48])
def test_a_small_memory_bound_changes_nothing(most_bytes):
    """Portions of one layer, and of two predictor layers with one target layer."""
    x, y = (np.stack(side) for side in _layers(60, 70, 9, noises=(0.3, 1.0, 3.0, 9.0, 30.0)))
    pairings = np.stack([np.arange(60), np.random.default_rng(0).permutation(60)])
    whole = all_pairs(x, y, RidgeSettings(), pairings)
    tiled = all_pairs(x, y, RidgeSettings(), pairings, most_bytes=most_bytes)
    np.testing.assert_array_equal(tiled.alpha, whole.alpha)
    np.testing.assert_allclose(tiled.fold_score, whole.fold_score, atol=1e-12)
    np.testing.assert_array_equal(tiled.undefined, whole.undefined)


def test_progress_counts_every_cell():
    x, y = related(13, 40, 10, 5)
    seen = []
    all_pairs(np.stack([x, x]), np.stack([y, y, y]), RidgeSettings(), np.tile(np.arange(40), (2, 1)), seen.append)
    assert sum(seen) == 2 * 2 * 3 * 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alphas": ()}, "alphas"),
        ({"alphas": (1.0, -1.0)}, "alphas"),
        ({"alphas": (1.0, np.inf)}, "alphas"),
        ({"alphas": "many"}, "alphas"),
        ({"test_statistics": "both"}, "expected one of test, train"),
        ({"inner_cv": 1}, "'loo'"),
        ({"inner_cv": "five"}, "'loo'"),
        ({"inner_cv": True}, "'loo'"),
    ],
)
def test_settings_without_meaning_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        RidgeSettings(**setting)


def test_more_inner_folds_than_training_items_are_refused():
    x, y = related(14, 20, 5, 3)
    with pytest.raises(ValueError, match="inner_cv=17 folds but only 16 training items"):
        all_pairs(x[None], y[None], RidgeSettings(inner_cv=17))


@pytest.mark.parametrize("per_target", [False, True])
@pytest.mark.parametrize("value", [0.1, 7.3, 1e3])
def test_a_prediction_that_is_the_same_for_all_test_items_has_no_correlation(value, per_target):
    """The predictor varies over the training items only; its mean over the test items is not exact."""
    x, y = related(4, 30, 6, 4)
    train, test = outer_folds(30, 5, 42)[1]
    x[test] = value + np.arange(6) / 3
    table = all_pairs(x[None], y[None], RidgeSettings(alpha_per_target=per_target))
    assert table.undefined[0, 0, 0].tolist() == [0, 4, 0, 0, 0]
    np.testing.assert_array_equal(np.isnan(table.fold_score[0, 0, 0]), [False, True, False, False, False])
