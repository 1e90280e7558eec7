"""The programs over all layer pairs: pairings, portions, subsets of the items, means over all orders."""

import dataclasses
import itertools

import numpy as np
import pytest

from tests.metrics.reference import related
from vla.metrics import METRICS, cka, shape
from vla.metrics.metric import settings_of
from vla.metrics.pairs import PairMetric

NAMES = sorted(name for name, metric in METRICS.items() if isinstance(metric, PairMetric))

# Settings under which few items are enough.
OPTIONS = {"mutual_knn": {"neighbours": 3}, "cknna": {"neighbours": 3}}


def layers(n=26, d=5, e=4):
    pairs = [related(seed, n, d, e) for seed in range(3)]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs[:2]])


def settings_for(name):
    return METRICS[name].settings(**OPTIONS.get(name, {}))


def alone(metric, x, y, settings):
    return metric.scores(x, y, settings, np.arange(x.shape[1])[None]).score[0]


def test_there_are_some():
    assert {"cka", "cca", "cknna", "mutual_knn", "procrustes", "rsa", "shape_distance_cv", "soft_matching"} <= set(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_pairing_equals_reordering_the_items(name):
    metric, settings, (x, y), done = METRICS[name], settings_for(name), layers(), []
    order = np.random.default_rng(1).permutation(26)
    both = metric.all_pairs(x, y, settings, pairings=np.stack([np.arange(26), order]), advance=done.append)
    np.testing.assert_allclose(both[0], metric.all_pairs(x, y, settings)[0], atol=1e-12)
    np.testing.assert_allclose(both[1], metric.all_pairs(x, y[:, order], settings)[0], atol=1e-12)
    assert np.abs(both[0] - both[1]).mean() > 1e-2
    assert sum(done) == both.size * getattr(settings, "outer_folds", 1)


@pytest.mark.parametrize("name", NAMES)
def test_layers_that_are_the_same_for_all_items_have_no_score(name):
    metric, settings, (x, y), done = METRICS[name], settings_for(name), layers(), []
    x[1], y[0] = 0.1, -7
    (table,) = metric.all_pairs(x, y, settings, advance=done.append)
    np.testing.assert_array_equal(np.isnan(table), [[True, False], [True, True], [True, False]])
    assert sum(done) == 6 * getattr(settings, "outer_folds", 1)


@pytest.mark.parametrize("name", ["cka", "mutual_knn", "procrustes", "shape_distance_cv", "soft_matching"])
@pytest.mark.parametrize("most_bytes", [0, 3 * 26 * 26 * 8 * 3])
def test_a_small_memory_bound_changes_nothing(name, most_bytes):
    metric, settings, (x, y) = METRICS[name], settings_for(name), layers()
    pairings = np.stack([np.random.default_rng(seed).permutation(26) for seed in range(2)])
    tiled = metric.all_pairs(x, y, settings, pairings=pairings, most_bytes=most_bytes)
    np.testing.assert_allclose(tiled, metric.all_pairs(x, y, settings, pairings=pairings), rtol=1e-12)


def test_more_pairings_than_a_program_goes_through():
    x, y = layers()
    pairings = np.stack([np.random.default_rng(seed).permutation(26) for seed in range(19)])
    table = METRICS["procrustes"].all_pairs(x[:1], y[:1], pairings=pairings)
    for order, score in zip(pairings[[0, 15, 16, 18]], table[[0, 15, 16, 18]], strict=True):
        expected = METRICS["procrustes"].all_pairs(x[:1], y[:1, order])
        np.testing.assert_allclose(score, expected[0], rtol=1e-12)


@pytest.mark.parametrize("n", [4, 300])  # a triangle in one band, and in several
def test_inner_products_are_those_of_whole_matrices(n):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((count, n, 6)) for count in (2, 3))
    order = rng.permutation(n)
    a, b = ([_normal(layer) for layer in side] for side in (x, y))
    for permutation in (order, np.arange(n)):
        (table,) = METRICS["cka"].all_pairs(x, y, pairings=permutation[None])
        expected = [[np.sum(one * other[np.ix_(permutation, permutation)]) for other in b] for one in a]
        np.testing.assert_allclose(table, expected, rtol=1e-10)


def _normal(layer):
    centred = layer - layer.mean(0)
    gram = centred @ centred.T
    return gram / np.linalg.norm(gram)


def test_a_layer_is_prepared_once_whatever_the_pairings():
    prepared = []

    def prepare(layer, settings):
        prepared.append(layer.shape)
        return shape.rotatable(layer)

    metric = dataclasses.replace(METRICS["procrustes"], prepare=prepare)
    x, y = layers()
    pairings = np.stack([np.random.default_rng(seed).permutation(26) for seed in range(4)])
    metric.all_pairs(x, y, pairings=pairings)
    prepared.clear()
    metric.all_pairs(x, y, pairings=pairings)  # traced before: what is left is the sizes of states
    assert len(prepared) <= 2


def test_an_error_on_the_host_is_raised():
    def finish(values, settings):
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        dataclasses.replace(METRICS["soft_matching"], finish=finish).all_pairs(*layers())


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_subset_scores_as_it_would_alone(name):
    metric, settings, (x, y), done = METRICS[name], settings_for(name), layers(), []
    some = [np.sort(np.random.default_rng(seed).permutation(26)[:13]) for seed in range(2)]
    tables = metric.scores_of_subsets(x, y, settings, some, done.append)
    for rows, table in zip(some, tables, strict=True):
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
    (table,) = metric.scores_of_subsets(x, y, settings, [rows])
    np.testing.assert_allclose(table, alone(metric, x[:, rows], y[:, rows], settings), atol=1e-9)


def test_grouped_folds_know_the_groups_of_the_subset():
    metric, (x, y) = METRICS["linear_predictivity"], layers()
    groups = np.repeat(np.arange(13), 2)
    rows = np.flatnonzero(groups % 2 == 0)
    settings = metric.settings(groups=tuple(groups.tolist()), outer_folds=3)
    (table,) = metric.scores_of_subsets(x, y, settings, [rows])
    of_rows = settings_of(settings, rows)
    assert list(of_rows.groups) == groups[rows].tolist()
    np.testing.assert_allclose(table, alone(metric, x[:, rows], y[:, rows], of_rows), atol=1e-12)


@pytest.mark.parametrize("name", ["cka", "rsa"])
def test_subsets_in_portions_and_of_a_layer_that_is_the_same_for_all_items(name):
    metric, settings, (x, y) = METRICS[name], settings_for(name), layers()
    x[1] = 0.5
    some = [np.arange(3, 20), np.arange(10)]
    tables = metric.scores_of_subsets(x, y, settings, some)
    np.testing.assert_array_equal(np.isnan(tables).any(axis=(0, 2)), [False, True, False])
    tiled = metric.scores_of_subsets(x, y, settings, some, most_bytes=0)
    np.testing.assert_allclose(tiled, tables, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {"neighbours": 2} if name == "mutual_knn" else {})
       for name in ("cka", "cka_debiased", "cka_rbf", "cka_rbf_debiased", "mutual_knn", "rsa")),
     *(("rsa", {"comparison": tau}) for tau in ("tau_a", "tau_b"))],
)  # fmt: skip
def test_the_mean_over_all_orders_is_exact(name, options):
    """All 120 orders of five items."""
    metric, (x, y) = METRICS[name], layers(5)
    x[0, 1] = x[0, 2]  # tied distances
    settings = metric.settings(**options)
    orders = np.array(list(itertools.permutations(range(5))))
    scores = metric.scores(x, y, settings, orders)
    chance = metric.chance_of(settings, 5) if scores.expected is None else scores.expected
    np.testing.assert_allclose(np.broadcast_to(chance, (3, 2)), scores.score.mean(axis=0), atol=1e-10)


def test_of_biased_cka_it_is_what_noise_scores():
    """Wide noise: 0.6 at as many units as items, where the debiased estimate has none."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1, 200, 200)), rng.standard_normal((1, 200, 500))
    score, chance = METRICS["cka"].all_pairs(x, y, expected=True)
    assert float(chance[0, 0]) == pytest.approx(float(score[0, 0]), abs=0.01) and chance[0, 0] > 0.5
    debiased = METRICS["cka_debiased"].all_pairs(x, y, expected=True)[-1]
    assert abs(float(debiased[0, 0])) < 1e-12


def test_a_new_metric_is_one_object():
    """With nulls, groups, intervals and halves, without further code."""
    import vla

    metric = PairMetric(
        name="nearby", directed=False, lowest=-1.0, highest=1.0, chance=0.0, invariances=frozenset(), formula="",
        source="",
        matrix=cka.gram, prepare=cka.debiased,
    )  # fmt: skip
    METRICS["nearby"] = metric
    try:
        x, y = layers()
        groups = np.repeat(np.arange(13), 2)
        result = vla.score(x, y, metric="nearby", null=19, bootstrap=8, halves=2, groups=groups)
        plain = vla.score(x, y, metric="cka_debiased", null=19, bootstrap=8, halves=2, groups=groups)
    finally:
        del METRICS["nearby"]
    for name in plain.data_vars:
        np.testing.assert_array_equal(result[name], plain[name])
