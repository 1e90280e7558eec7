"""The program that accelerators run: the numbers of the host's engine, which has scikit-learn's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.model_selection import KFold

from tests.metrics.reference import related, ridge_folds
from vla import devices
from vla.metrics import ridge, ridge_host
from vla.metrics.folds import inner_blocks
from vla.metrics.linear_predictivity import all_measures, all_pairs
from vla.metrics.ridge_measures import MEASURES, OF_UNITS
from vla.metrics.ridge_settings import RidgeSettings


def _layers(d, dtype):
    """Predictors with much and little noise, of low rank, and constant; targets that are related to the first,
    predicted nearly without error, unrelated, and with constant units."""
    rng = np.random.default_rng(0)
    sides = [related(seed, 63, d, 12, noise) for seed, noise in enumerate((0.1, 2.0))]
    x = [x for x, _ in sides]
    x += [x[0][:, :5] @ rng.standard_normal((5, d)), np.full((63, d), 0.3)]
    y = [y for _, y in sides]
    y += [x[0] @ rng.standard_normal((d, 12)) / 9 + 1e-4 * rng.standard_normal((63, 12)), rng.standard_normal((63, 12))]
    y[1][:, 3] = 0.1
    return np.stack(x).astype(dtype), np.stack(y).astype(dtype)


@pytest.mark.parametrize(
    ("d", "dtype", "settings"),
    [
        (80, np.float32, {}),
        (20, np.float64, {"standardize_targets": False, "test_statistics": "test"}),
        (80, np.float32, {"inner_cv": 4}),
        (80, np.float64, {"alpha_per_target": True}),
    ],
    ids=["n<d", "n>d, khosla_lab", "inner folds", "per unit"],
)
def test_both_engines_give_the_same(d, dtype, settings):
    x, y = _layers(d, dtype)
    if "alpha_per_target" in settings:  # no penalty is the best for a unit that a constant layer predicts
        x = x[:3]
    settings = RidgeSettings(outer_folds=3, **settings)
    pairings = np.stack([np.arange(63), np.random.default_rng(1).permutation(63)])
    both = [
        all_measures(x, y, settings, pairings, measures=tuple(MEASURES), units=True, engine=engine)
        for engine in (ridge, ridge_host)
    ]
    for measure, ours, host in zip(MEASURES, *both, strict=True):
        np.testing.assert_array_equal(ours.alpha, host.alpha)
        np.testing.assert_array_equal(ours.undefined, host.undefined)
        tolerance = 1e-9 if dtype == np.float64 else 2e-5
        np.testing.assert_allclose(ours.fold_score, host.fold_score, atol=tolerance, rtol=tolerance, err_msg=measure)
        if measure in OF_UNITS:
            np.testing.assert_allclose(ours.unit_score, host.unit_score, atol=tolerance, rtol=tolerance)
            np.testing.assert_array_equal(np.isnan(ours.unit_score[0]).sum(axis=-1), ours.undefined[0])
        else:
            assert ours.unit_score is None and host.unit_score is None


def test_equals_scikit_learn_with_folds_of_unequal_size():
    x, y = related(3, 40, 10, 6)
    table = all_pairs(x[None], y[None], RidgeSettings(outer_folds=3), engine=ridge)
    folds = list(KFold(3, shuffle=True, random_state=42).split(x))
    r, alphas = ridge_folds(x, y, folds=folds)
    np.testing.assert_allclose(table.fold_score[0, 0, 0], np.mean(r, axis=1), atol=1e-9)
    np.testing.assert_allclose(table.alpha[0, 0, 0], alphas, rtol=1e-12)


def test_a_small_memory_bound_changes_nothing():
    x, y = _layers(20, np.float64)
    settings = RidgeSettings(outer_folds=3)
    tables = [all_pairs(x, y, settings, most_bytes=most, engine=ridge) for most in (1, 1 << 31)]
    np.testing.assert_array_equal(tables[0].alpha, tables[1].alpha)
    np.testing.assert_allclose(tables[0].fold_score, tables[1].fold_score, atol=1e-12)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    ("d", "settings", "grams"),
    [
        (30, {}, True),
        (6, {}, True),
        (6, {}, False),
        (30, {"inner_cv": 3}, True),
        (6, {"inner_cv": 3}, False),
        (30, {"alpha_per_target": True}, False),
    ],
)
@devices.in_float64
def test_the_program_is_exported_for_accelerators(platform, d, settings, grams):
    """It lowers without a device of the platform: nothing in it asks for the host."""
    settings = RidgeSettings(alphas=(0.1, 1.0, 10.0), **settings)
    x = jax.ShapeDtypeStruct((2, 20, d), jnp.float32)
    y = jax.ShapeDtypeStruct((3, 20, 5), jnp.float32)
    train, test = jnp.arange(16), jnp.arange(16, 20)

    def program(x, y):
        predictors = ridge._prepare_predictors(x, train, test, use_test_statistics=False)
        rows = jnp.tile(train, (3, 1)), jnp.tile(test, (3, 1))
        targets, matrices = ridge._prepare_targets(y, *rows, standardize=True, grams=grams)
        compare = functools.partial(
            ridge._compare,
            blocks=inner_blocks(16, settings.inner_cv),
            measures=tuple(MEASURES),
            units=True,
            per_unit=settings.alpha_per_target,
        )
        return compare(predictors, targets, matrices, jnp.asarray(settings.alphas))

    exported = jax.export.export(jax.jit(program), platforms=[platform])(x, y)
    assert exported.platforms == (platform,)
    assert [leaf.shape for leaf in exported.out_avals][:2] == [(2, 3), (2, 3)]


def test_factorisations_may_come_from_another_device(monkeypatch):
    """As those of TPUs come from the CPU of their host."""
    x, y = _layers(20, np.float64)
    settings = RidgeSettings(outer_folds=3)
    here = all_pairs(x, y, settings, engine=ridge)
    asked = []
    monkeypatch.setattr(devices, "factorising", lambda mesh: asked.append(mesh) or devices.layer_mesh(1, 1))
    np.testing.assert_array_equal(all_pairs(x, y, settings, engine=ridge).fold_score, here.fold_score)
    assert asked
