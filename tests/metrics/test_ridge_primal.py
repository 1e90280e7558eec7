"""Ridge regression of many items of few units: no array of items by items, and the numbers of the dual form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from tests.metrics.reference import related, ridge_folds
from vla import devices
from vla.metrics import ridge, ridge_host, ridge_measures, ridge_search
from vla.metrics.folds import inner_blocks
from vla.metrics.linear_predictivity import all_pairs
from vla.metrics.ridge_measures import MEASURES
from vla.metrics.ridge_search import is_primal
from vla.metrics.ridge_settings import RidgeSettings


@pytest.mark.parametrize(
    ("n", "d", "e", "targets", "blocks", "most_bytes", "primal"),
    [
        (800, 500, 4, 1, None, 1, False),  # x itself needs n x n matrices
        (800, 300, 300, 31, None, 1 << 31, True),
        (800, 300, 500, 31, None, 1 << 31, False),  # a Gram matrix is smaller than the target
        (800, 300, 300, 31, 5, 1 << 31, False),
        (800, 30, 300, 31, 5, 1 << 31, True),
        (800, 300, 300, 31, 5, 1 << 20, True),
        (160_000, 4, 4, 1, None, 1 << 31, True),
        (160_000, 4, 4, 1, 5, 1 << 31, True),
        (800, 300, 300, 1, 800, 1 << 20, False),  # one matrix for each inner fold takes more than n x n ones
    ],
)
def test_the_form_follows_from_the_sizes(n, d, e, targets, blocks, most_bytes, primal):
    assert is_primal(n, d, e, targets, 17, inner_blocks(n, blocks or "loo"), most_bytes) is primal


def _layers(dtype):
    """Related, nearly perfectly predicted, unrelated; a unit that is constant, an item far from the rest."""
    rng = np.random.default_rng(0)
    x, y = related(0, 60, 8, 6, 2.0)
    x[3] *= 50
    close = x @ rng.standard_normal((8, 6)) / 3 + 1e-3 * rng.standard_normal((60, 6))
    y[:, 2] = 0.1
    return x[None].astype(dtype), np.stack([y, close, rng.standard_normal((60, 6))]).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "inner", "standardize"), [(np.float32, "loo", True), (np.float64, 4, False)], ids=["loo", "inner folds"]
)
def test_equals_scikit_learn_and_the_dual_form(dtype, inner, standardize):
    x, y = _layers(dtype)
    settings = RidgeSettings(outer_folds=3, inner_cv=inner, standardize_targets=standardize)
    primal, dual = (all_pairs(x, y, settings, engine=engine) for engine in (ridge, ridge_host))
    np.testing.assert_array_equal(primal.alpha, dual.alpha)
    np.testing.assert_array_equal(primal.undefined, dual.undefined)
    tolerance = 1e-5 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(primal.fold_score, dual.fold_score, atol=tolerance)
    folds = settings.folds(60)
    for t, layer in enumerate(y):
        r, alpha = ridge_folds(
            x[0].astype(float), layer.astype(float), inner_cv=inner, standardize_targets=standardize, folds=folds
        )
        np.testing.assert_allclose(primal.alpha[0, 0, t], alpha, rtol=1e-12)
        np.testing.assert_allclose(primal.fold_score[0, 0, t], np.nanmean(r, axis=1), atol=tolerance)


def _largest(jaxpr):
    """The size of the largest array that a program makes."""
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [int(np.prod(out.aval.shape)) for out in equation.outvars]
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                if isinstance(inner, core.ClosedJaxpr):
                    sizes.append(_largest(inner.jaxpr))
                elif isinstance(inner, core.Jaxpr):
                    sizes.append(_largest(inner))
    return max(sizes)


@pytest.mark.parametrize(("inner", "per_unit"), [("loo", False), (5, False), ("loo", True), (5, True)])
@devices.in_float64
def test_no_array_has_the_size_of_items_by_items(inner, per_unit):
    """Every measure, one penalty per layer or per unit: the largest array grows as the items do."""
    sizes = []
    for n, m in ((4000, 1000), (8000, 2000)):
        train, test, alphas = jnp.arange(n), jnp.arange(n, n + m), jnp.asarray(RidgeSettings().alphas)

        def program(x, y, train=train, test=test, n=n, alphas=alphas):
            predictors = ridge._prepare_predictors(x, train, test, use_test_statistics=False)
            targets, grams = ridge._prepare_targets(y, train[None], test[None], standardize=True, grams=False)
            return ridge._compare(predictors, targets, grams, alphas, blocks=inner_blocks(n, inner),
                                  measures=tuple(MEASURES), units=False, per_unit=per_unit)  # fmt: skip

        sides = [jax.ShapeDtypeStruct((1, n + m, units), jnp.float32) for units in (4, 5)]
        sizes.append(_largest(jax.make_jaxpr(program)(*sides).jaxpr))
        assert sizes[-1] < m * m
    assert sizes[1] <= 2 * sizes[0] + 64


@devices.in_float64
def test_items_are_compared_in_runs(monkeypatch):
    """Leave-one-out residuals, retrieval and matching do not depend on how many items are in memory at a time."""
    rng = np.random.default_rng(0)
    a, y = rng.standard_normal((50, 6)), jnp.asarray(rng.standard_normal((50, 5)))
    s, alphas = ridge.spectrum(jnp.asarray(a - a.mean(axis=0))), jnp.asarray([0.1, 10.0])
    nothing = jnp.zeros(5)
    target = ridge_measures.Target(y, nothing, y, nothing + 1, nothing, nothing > 0)
    predicted = ridge_measures.Predicted(y + jnp.asarray(rng.standard_normal((50, 5))), nothing)

    def measured():
        losses = ridge_search._unit_loss(s, y, None)(alphas[0])
        return [losses, *(MEASURES[name](predicted, target) for name in ("retrieval", "matching"))]

    at_once = measured()
    monkeypatch.setattr(ridge_search, "_ITEMS", 16)
    monkeypatch.setattr(ridge_measures, "_ITEMS", 16)
    for few, many in zip(measured(), at_once, strict=True):
        np.testing.assert_allclose(few, many, rtol=1e-12)
    likeness = np.corrcoef(predicted.rows, y)[:50, 50:]
    assert at_once[1] == np.mean(likeness.argmax(axis=1) == np.arange(50))
    ahead = np.diagonal(likeness)[:, None] > likeness
    np.testing.assert_allclose(at_once[2], ahead.sum() / (50 * 49))


def test_arrays_beyond_the_memory_bound_are_streamed(monkeypatch):
    """The numbers of the primal form, from one pass over the items."""
    x, y = (side[None] for side in related(5, 400, 3, 4))
    settings = RidgeSettings(inner_cv=3, splits=[(range(300), range(300, 400)), (range(90, 400), range(90))])
    whole = all_pairs(x, y, settings)
    monkeypatch.delattr(ridge, "blocks")
    monkeypatch.delattr(ridge_host, "blocks")
    streamed = all_pairs(x, y, settings, most_bytes=1000)
    np.testing.assert_array_equal(streamed.alpha, whole.alpha)
    np.testing.assert_array_equal(streamed.undefined, whole.undefined)
    np.testing.assert_allclose(streamed.fold_score, whole.fold_score, atol=1e-12)
