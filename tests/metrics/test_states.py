import functools

import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.reference import related
from vla import devices
from vla.metrics import METRICS, procrustes, states

NAMES = sorted(name for name, metric in METRICS.items() if getattr(metric.all_pairs, "func", None) is states.all_pairs)


def layers(n=20, d=6, e=5):
    pairs = [related(seed, n, d, e) for seed in range(3)]
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs[:2]])


def test_there_are_some():
    assert {"cca", "cknna", "procrustes", "shape_distance_cv", "soft_matching"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_pairing_equals_reordering_the_items(name):
    metric = METRICS[name]
    x, y = layers()
    order = np.random.default_rng(1).permutation(20)
    done = []
    both = metric.all_pairs(x, y, metric.settings(), pairings=np.stack([np.arange(20), order]), advance=done.append)
    np.testing.assert_allclose(both[0], metric.all_pairs(x, y, metric.settings())[0], atol=1e-12)
    np.testing.assert_allclose(both[1], metric.all_pairs(x, y[:, order], metric.settings())[0], atol=1e-12)
    assert np.abs(both[0] - both[1]).mean() > 1e-2
    assert sum(done) == both.size * getattr(metric.settings(), "outer_folds", 1)


@pytest.mark.parametrize("name", NAMES)
def test_layers_that_are_the_same_for_all_items_have_no_score(name):
    metric = METRICS[name]
    x, y = layers()
    x[1], y[0] = 0.1, -7
    done = []
    (table,) = metric.all_pairs(x, y, metric.settings(), advance=done.append)
    np.testing.assert_array_equal(np.isnan(table), [[True, False], [True, True], [True, False]])
    assert sum(done) == 6 * getattr(metric.settings(), "outer_folds", 1)


@pytest.mark.parametrize("name", ["procrustes", "shape_distance_cv", "soft_matching"])
@pytest.mark.parametrize("most_bytes", [0, 3 * 20 * 6 * 8 * 2])
def test_a_small_memory_bound_changes_nothing(name, most_bytes):
    metric = METRICS[name]
    x, y = layers()
    pairings = np.stack([np.random.default_rng(seed).permutation(20) for seed in range(2)])
    tiled = metric.all_pairs(x, y, metric.settings(), pairings=pairings, most_bytes=most_bytes)
    np.testing.assert_array_equal(tiled, metric.all_pairs(x, y, metric.settings(), pairings=pairings))


def test_a_layer_is_prepared_once_whatever_the_pairings():
    prepared = []

    def prepare(layer, settings):
        prepared.append(layer.shape)
        return procrustes.prepare(layer)

    x, y = layers()
    run = functools.partial(states.all_pairs, prepare=prepare, compare=procrustes.compare, permute=procrustes.permute)
    pairings = np.stack([np.random.default_rng(seed).permutation(20) for seed in range(4)])
    run(x, y, pairings=pairings)
    assert prepared == 3 * [(20, 6)] + 2 * [(20, 5)]


@devices.in_float64
def test_states_of_different_size_are_filled_with_zeros():
    a, b = states.padded([(jnp.ones((2, 3)), jnp.asarray(1)), (jnp.ones((4, 2)), jnp.asarray(2))])
    np.testing.assert_array_equal(a[0], [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(b[0], np.pad(np.ones((4, 2)), ((0, 0), (0, 1))))
    assert (int(a[1]), int(b[1])) == (1, 2)


def test_what_fails_in_a_thread_is_heard():
    def finish(values, settings):
        raise ValueError("not today")

    x, y = layers()
    with pytest.raises(ValueError, match="not today"):
        METRICS["soft_matching"].all_pairs(x, y, finish=finish)
