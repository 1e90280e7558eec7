import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from vla import devices
from vla.metrics import cka, signatures

all_pairs = functools.partial(signatures.all_pairs, prepare=cka.prepare_biased)


def data(n=30, layers=(5, 4)):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((count, n, 6)) for count in layers]


@pytest.mark.parametrize("layers_at_a_time", [1, 2, 3])
def test_a_small_memory_bound_changes_nothing(layers_at_a_time):
    x, y = data()
    pairings = np.stack([np.arange(30), np.random.default_rng(1).permutation(30)])
    done = []
    tiled = all_pairs(x, y, pairings=pairings, advance=done.append, most_bytes=layers_at_a_time * 3 * 4 * 30 * 30)
    np.testing.assert_allclose(tiled, all_pairs(x, y, pairings=pairings), rtol=1e-12)
    assert sum(done) == 2 * 5 * 4 and max(done) == layers_at_a_time * min(4, layers_at_a_time)


@pytest.mark.parametrize("n", [4, 127, 128, 150])  # 128 * 129 / 2 = 8256 pairs: just above one chunk
def test_inner_products_are_those_of_whole_matrices(n):
    x, y = data(n, (2, 3))
    order = np.random.default_rng(2).permutation(n)
    (table,) = all_pairs(x, y, pairings=order[None])
    a, b = ([np.asarray(matrix) for matrix in map(_normal, side)] for side in (x, y))
    expected = [[np.sum(one * other[np.ix_(order, order)]) for other in b] for one in a]
    np.testing.assert_allclose(table, expected, rtol=1e-10)


def _normal(layer):
    centred = layer - layer.mean(0)
    gram = centred @ centred.T
    return gram / np.linalg.norm(gram)


@pytest.mark.parametrize("shuffled", [False, True])
def test_factors_whole_matrices_and_arrays_of_an_accelerator_score_alike(shuffled, monkeypatch):
    x, y = data(40, (2, 3))
    x[1] = 0.3  # the same for all items
    order = np.random.default_rng(2).permutation(40) if shuffled else np.arange(40)
    sides = [[_normal(layer) if np.ptp(layer) else np.full((40, 40), np.nan) for layer in side] for side in (x, y)]
    expected = [[np.sum(one * other[np.ix_(order, order)]) for other in sides[1]] for one in sides[0]]
    assert isinstance(cka.prepare_biased(jnp.asarray(x[0])), signatures.Factor)
    wide = [np.concatenate([side] * 5, axis=2) for side in (x, y)]  # more units than items, the same Gram matrices
    for some in ((x, y), wide):
        for on_cpu in (True, False):
            monkeypatch.setattr(devices, "on_cpu", lambda on_cpu=on_cpu: on_cpu)
            (table, _) = all_pairs(*some, pairings=order[None], expected=True)
            np.testing.assert_allclose(table, expected, rtol=1e-10)


def test_a_mean_over_all_orders_is_known_from_factors_as_from_matrices():
    x, y = data(6, (1, 2))
    orders = np.array(list(itertools.permutations(range(6))))
    for sides in ((x[..., :2], y[..., :2]), (x, y)):
        *tables, expected = all_pairs(*sides, pairings=orders, expected=True)
        np.testing.assert_allclose(expected, np.mean(tables, axis=0), rtol=1e-10)
