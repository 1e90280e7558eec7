"""Subsets of the items: as the metric scores them alone; and means over all orders, by going through all orders."""

import itertools

import numpy as np
import pytest

from tests.metrics.reference import related
from vla.metrics import METRICS, subsets
from vla.metrics.folds import Table

PAIRWISE = sorted(name for name, metric in METRICS.items() if metric.pairwise is not None)

# Settings under which fewer items still are enough.
OPTIONS = {"mutual_knn": {"neighbours": 3}, "cknna": {"neighbours": 3}}


def layers(n=26, d=5, e=4):
    pairs = [related(seed, n, d, e) for seed in range(3)]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs[:2]])


def alone(metric, x, y, settings):
    found = metric.all_pairs(x, y, settings=settings)
    return np.nanmean(found.fold_score[0], axis=-1) if isinstance(found, Table) else found[0]


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_subset_scores_as_it_would_alone(name):
    metric, (x, y), done = METRICS[name], layers(), []
    settings = metric.settings(**OPTIONS.get(name, {}))
    some = [half for half, _ in subsets.halves(26, None, 2, 0)]
    found = subsets.all_pairs(metric, x, y, settings, some, done.append)
    for rows, table in zip(some, found, strict=True):
        np.testing.assert_allclose(table, alone(metric, x[:, rows], y[:, rows], settings), atol=1e-9)
    assert sum(done) == 2 * 3 * 2 * getattr(settings, "outer_folds", 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rsa", {"comparison": "pearson", "dissimilarity": "euclidean"}),
        ("rsa", {"comparison": "whitened", "dissimilarity": "squared_euclidean"}),
        ("rsa", {"comparison": "rho_a"}),
        ("rsa", {"comparison": "cosine"}),
        ("rsa", {"comparison": "tau_a"}),
        ("mutual_knn", {"neighbours": 3, "nearness": "euclidean"}),
        ("mutual_knn", {"neighbours": 3, "clip_quantile": 0.9}),
        ("cka_rbf", {"bandwidth": 0.5}),
    ],
)
def test_so_it_does_under_other_settings(name, options):
    metric, (x, y) = METRICS[name], layers()
    settings = metric.settings(**options)
    rows = np.array([0, 3, 4, 7, 9, 12, 13, 20, 21, 25])
    (found,) = subsets.all_pairs(metric, x, y, settings, [rows])
    np.testing.assert_allclose(found, alone(metric, x[:, rows], y[:, rows], settings), atol=1e-9)


def test_grouped_folds_know_the_groups_of_the_subset():
    metric, (x, y) = METRICS["linear_predictivity"], layers()
    groups = np.repeat(np.arange(13), 2)
    rows = np.flatnonzero(groups % 2 == 0)
    (found,) = subsets.all_pairs(metric, x, y, metric.settings(groups=groups.tolist(), outer_folds=3), [rows])
    own = metric.settings(groups=groups[rows].tolist(), outer_folds=3)
    np.testing.assert_allclose(found, alone(metric, x[:, rows], y[:, rows], own), atol=1e-12)


@pytest.mark.parametrize("name", PAIRWISE)
def test_a_small_memory_bound_changes_nothing_and_dead_layers_have_no_score(name):
    metric, (x, y) = METRICS[name], layers()
    x[1] = 0.5
    settings, some = metric.settings(**OPTIONS.get(name, {})), [np.arange(3, 20), np.arange(10)]
    whole = subsets.all_pairs(metric, x, y, settings, some)
    np.testing.assert_array_equal(np.isnan(whole).any(axis=(0, 2)), [False, True, False])
    tiled = subsets.all_pairs(metric, x, y, settings, some, most_bytes=0)
    np.testing.assert_allclose(tiled, whole, rtol=1e-12, atol=1e-15)


def test_halves_are_disjoint_and_even():
    for n in (10, 11):
        for first, second in subsets.halves(n, None, 20, 3):
            assert len(first) == len(second) == 5 and not set(first) & set(second)
    again = subsets.halves(11, None, 20, 3)
    np.testing.assert_array_equal(again[7][0], subsets.halves(11, None, 20, 3)[7][0])
    assert len({tuple(first) for first, _ in again}) > 15


def test_halves_of_groups_are_of_whole_groups():
    groups = np.array(["a"] * 5 + ["b"] * 3 + ["c", "d", "e", "f"])
    for first, second in subsets.halves(12, groups, 10, 0):
        assert sorted([*first, *second]) == list(range(12))
        assert not set(groups[first]) & set(groups[second]) and 4 <= len(first) <= 8


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {"neighbours": 2} if name == "mutual_knn" else {}) for name in PAIRWISE),
     *(("rsa", {"comparison": tau}) for tau in ("tau_a", "tau_b"))],
)  # fmt: skip
def test_the_mean_over_all_orders_is_exact(name, options):
    """All 120 orders of five items."""
    metric, (x, y) = METRICS[name], layers(5)
    x[0, 1] = x[0, 2]  # tied distances
    settings = metric.settings(**options)
    orders = np.array(list(itertools.permutations(range(5))))
    table = metric.all_pairs(x, y, settings=settings, pairings=orders)
    chance = metric.all_pairs(x, y, settings=settings, expected=True)[-1]
    np.testing.assert_allclose(chance, table.mean(axis=0), atol=1e-10)


def test_of_biased_cka_it_is_what_noise_scores():
    """Wide noise: 0.6 at as many units as items, where the debiased estimate has none."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1, 200, 200)), rng.standard_normal((1, 200, 500))
    score, chance = METRICS["cka"].all_pairs(x, y, expected=True)
    assert float(chance[0, 0]) == pytest.approx(float(score[0, 0]), abs=0.01) and chance[0, 0] > 0.5
    debiased = METRICS["cka_debiased"].all_pairs(x, y, expected=True)[-1]
    assert abs(float(debiased[0, 0])) < 1e-12
    assert METRICS["procrustes"].pairwise is None
