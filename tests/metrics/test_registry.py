"""Property tests generated from what each metric declares."""

import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.reference import related
from vla.metrics import METRICS, best, best_index, find, sign

# Of metrics that refuse layers with as many units as items.
WIDEST = {"cca": 12, "pwcca": 12}


def _all_pairs(metric, x, y):
    order = np.arange(len(x))[None]
    return float(metric.scores(x[None], y[None], metric.settings(), order).score[0, 0, 0])


def _change(kind, x, rng):
    width = x.shape[1]
    if kind == "translation":
        return x + rng.uniform(-10, 10, width)
    if kind == "isotropic_scaling":
        return x * rng.uniform(1e-3, 1e3)
    if kind == "unit_scaling":
        return x * rng.uniform(1e-3, 1e3, width)
    if kind == "unit_permutation":
        return x[:, rng.permutation(width)]
    assert kind == "orthogonal"
    return x @ np.linalg.qr(rng.standard_normal((width, width)))[0]


PROPERTIES = [(name, kind) for name, metric in METRICS.items() for kind in sorted(metric.invariances)]


@pytest.mark.parametrize(("name", "kind"), PROPERTIES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.sampled_from(["x", "y"]), d=st.sampled_from([6, 40]))
def test_declared_invariances_hold(name, kind, seed, side, d):
    metric, rng = METRICS[name], np.random.default_rng(seed)
    x, y = related(seed, 30, min(d, WIDEST.get(name, d)), 7)
    before = _all_pairs(metric, x, y)
    if kind == "item_permutation":
        order = rng.permutation(30)
        x, y = x[order], y[order]
    elif side == "x":
        x = _change(kind, x, rng)
    else:
        y = _change(kind, y, rng)
    assert _all_pairs(metric, x, y) == pytest.approx(before, abs=1e-7)


def _one_hot(rng, n, width):
    return np.eye(width)[rng.integers(width, size=n)]


def _copies(rng, n, width):
    return rng.standard_normal((n // 4, width))[rng.integers(n // 4, size=n)]


def _zero_rows(rng, n, width):
    return rng.standard_normal((n, width)) * (rng.uniform(size=n) > 0.3)[:, None]


# Layers in which many items are equally far from an item.
TIED = {
    "whole numbers": lambda rng, n, width: rng.integers(-1, 2, (n, width)).astype(float),
    "one-hot": _one_hot,
    "copies": _copies,
    "zero rows": _zero_rows,
    "one unit": lambda rng, n, width: rng.standard_normal((n, 1)),
    "whole numbers in one unit": lambda rng, n, width: rng.integers(4, size=(n, 1)).astype(float),
}
UNORDERED = sorted(name for name, metric in METRICS.items() if "item_permutation" in metric.invariances)


def _score_or_refusal(metric, x, y):
    try:
        return _all_pairs(metric, x, y)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, np.float32) for name in UNORDERED), ("mutual_knn", np.float64), ("rsa", np.float64)]
)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tied=st.sampled_from(sorted(TIED)), width=st.sampled_from([4, 7]))
def test_the_order_of_items_does_not_matter_where_items_tie(name, dtype, seed, tied, width):
    metric, rng = METRICS[name], np.random.default_rng(seed)
    x, y = (TIED[tied](rng, 28, width).astype(dtype) for _ in range(2))
    order = rng.permutation(28)
    before, after = (_score_or_refusal(metric, *sides) for sides in ((x, y), (x[order], y[order])))
    # Of layers without an own HSIC, and of refused ones, there is no score either way.
    expected = before if isinstance(before, str) else pytest.approx(before, abs=1e-9, nan_ok=True)
    assert after == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linear_predictivity", "orthogonal"),
        ("cka", "unit_scaling"),
        ("cka_debiased", "unit_scaling"),
        ("cknna", "translation"),
        ("svcca", "unit_scaling"),
        ("pwcca", "orthogonal"),
        ("procrustes", "unit_scaling"),
        ("shape_distance", "unit_scaling"),
        ("shape_distance_cv", "unit_scaling"),
        ("pairwise_matching", "orthogonal"),
        ("permutation_matching", "orthogonal"),
        ("soft_matching", "orthogonal"),
        ("soft_matching_distance", "orthogonal"),
    ],
)
def test_undeclared_invariances_do_not(name, kind):
    """Otherwise the test above could not fail."""
    x, y = related(0, 30, WIDEST.get(name, 40), 7)
    changed = _change(kind, x, np.random.default_rng(0))
    assert abs(_all_pairs(METRICS[name], changed, y) - _all_pairs(METRICS[name], x, y)) > 1e-3


@pytest.mark.parametrize("name", sorted(METRICS))
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([0.0, 1.0, 100.0]))
def test_scores_keep_to_their_range(name, seed, noise):
    metric = METRICS[name]
    x, y = related(seed, 20, 9, 5, noise)
    assert metric.lowest - 1e-12 <= _all_pairs(metric, x, y) <= metric.highest + 1e-12
    assert _all_pairs(metric, x, x) == pytest.approx(metric.perfect, abs=1e-6)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_direction_and_chance_are_as_declared(name):
    metric = METRICS[name]
    x, y = related(0, 60, 30, 8)
    same = _all_pairs(metric, x, y) == pytest.approx(_all_pairs(metric, y, x), abs=1e-9)
    assert same is not metric.directed
    if metric.chance is not None:
        rng = np.random.default_rng(0)
        score = functools.partial(_all_pairs, metric)
        draws = [score(rng.standard_normal((60, 30)), rng.standard_normal((60, 40))) for _ in range(30)]
        assert np.mean(draws) == pytest.approx(metric.chance, abs=4 * np.std(draws) / np.sqrt(30))


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="metric='ckaa'; expected one of cca, cka, cka_debiased, .*linear_predictivity, "
    ):
        find("ckaa")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_the_declared_direction_is_that_of_related_layers(name):
    """Related layers score better than unrelated ones."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 6))
    close, far = x + 0.1 * rng.standard_normal((60, 6)), rng.standard_normal((60, 6))
    scores = np.array([_all_pairs(METRICS[name], x, far), _all_pairs(METRICS[name], x, close)])
    assert best_index(scores, name) == 1 and best(scores, name) == scores[1]
    assert sign(name) == (1 if METRICS[name].higher_is_better else -1) == np.sign(scores[1] - scores[0])
    assert (
        best(pd.Series(scores), name) == scores[1] and best_index(pd.Series(scores, ["far", "close"]), name) == "close"
    )


def test_a_metric_that_is_not_registered_is_better_where_it_is_higher():
    assert sign("mine") == 1
