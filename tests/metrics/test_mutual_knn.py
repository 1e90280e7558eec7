import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from vla import devices
from vla.metrics import METRICS, subsets
from vla.metrics.neighbours import NeighbourSettings, clipped, nearest

all_pairs = METRICS["mutual_knn"].all_pairs


def sets(x, k, metric):
    found = NearestNeighbors(n_neighbors=k + 1, metric=metric, algorithm="brute").fit(x).kneighbors(x)[1]
    return [set(row) - {i} for i, row in enumerate(found.tolist())]


def expected(x, y, k, metric="cosine"):
    return np.mean([len(a & b) / k for a, b in zip(sets(x, k, metric), sets(y, k, metric), strict=True)])


def layers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 40, 7)) + 0.5
    return x, np.concatenate([rng.standard_normal((1, 40, 5)), x[:1, :, :5] + 0.3 * rng.standard_normal((1, 40, 5))])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 39])
def test_equals_scikit_learns_neighbours(metric, k):
    x, y = layers()
    (table,) = all_pairs(x, y, NeighbourSettings(k, metric))
    np.testing.assert_allclose(table, [[expected(a, b, k, metric) for b in y] for a in x], atol=1e-12)


def test_a_pairing_reorders_items():
    x, y = layers()
    order = np.random.default_rng(1).permutation(40)
    both = all_pairs(x, y, NeighbourSettings(5), pairings=np.stack([np.arange(40), order]))
    assert both[1, 2, 1] == pytest.approx(expected(x[2], y[1][order], 5), abs=1e-12)
    assert both[0, 0, 1] > both[1, 0, 1]


def test_by_chance_items_share_k_of_the_others():
    rng = np.random.default_rng(2)
    draws = [
        all_pairs(rng.standard_normal((1, 60, 9)), rng.standard_normal((1, 60, 9)), NeighbourSettings(6))[0, 0, 0]
        for _ in range(40)
    ]
    assert np.mean(draws) == pytest.approx(6 / 59, abs=4 * np.std(draws) / np.sqrt(40))


def test_clipping_limits_to_the_mean_quantile_of_magnitudes():
    """By hand: magnitudes 1..5 and 2..10 have 0.75-quantiles 4 and 8, mean 6."""
    x = np.array([[1.0, -2, 3, 4, -5], [2, 4, -6, 8, -10]])
    np.testing.assert_allclose(clipped(jnp.asarray(x), 0.75), [[1, -2, 3, 4, -5], [2, 4, -6, 6, -6]], rtol=1e-6)
    y = layers()[0]
    y[0, :, 0] *= 50  # one unit decides everything until it is clipped
    clip, plain = (all_pairs(y[:1], y[1:], NeighbourSettings(5, clip_quantile=q))[0] for q in (0.95, None))
    assert not np.allclose(clip, plain)


def test_a_layer_that_is_the_same_for_all_items_has_no_neighbours():
    x, y = layers()
    x[1] = 0.3
    table = all_pairs(x, y, NeighbourSettings(5))[0]
    assert np.isnan(table[1]).all() and np.isfinite(table[[0, 2]]).all()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"neighbours": 0}, "neighbours=0: expected a whole number of at least 1"),
        ({"neighbours": 2.5}, "whole number"),
        ({"nearness": "l1"}, "nearness='l1': expected one of cosine, euclidean"),
        ({"clip_quantile": 1.5}, "clip_quantile=1.5: expected None or a share"),
    ],
)
def test_bad_settings(bad, words):
    with pytest.raises(ValueError, match=words):
        NeighbourSettings(**bad)


def test_more_neighbours_than_items():
    with pytest.raises(ValueError, match="neighbours=40, but an item has only 39 others"):
        all_pairs(*layers(), NeighbourSettings(40))


def test_neighbours_that_float32_cannot_tell_apart_are_those_of_float64():
    """Items almost in one direction: the cosines of most pairs differ by less than float32 resolves."""
    rng = np.random.default_rng(0)
    x = (1.0 + 1e-3 * rng.standard_normal((80, 40))).astype(np.float32)
    unit = x.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    exact = unit @ unit.T
    np.fill_diagonal(exact, -np.inf)
    found = nearest(x, NeighbourSettings(5))
    np.testing.assert_array_equal(np.sort(found), np.sort(np.argsort(-exact, axis=1)[:, :5]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_equally_near_items_those_that_come_first_are_neighbours(dtype):
    """Of ten copies of one item in different places, the copies after the last neighbour are left out."""
    x = np.random.default_rng(1).standard_normal((50, 1100)).astype(dtype)
    copies = np.arange(3, 50, 5)
    x[copies] = x[3]
    found = devices.in_float64(nearest)(x, NeighbourSettings(4))[copies]
    np.testing.assert_array_equal(np.sort(found), [[c for c in copies if c != item][:4] for item in copies])


def equally_near():
    """Layers in which no item is nearer to another than to any third, and how near is measured."""
    rng = np.random.default_rng(3)
    one_direction = rng.uniform(1, 2, (30, 1)) * rng.standard_normal(6)
    return [
        (one_direction[:, :1] ** 2, "cosine"),
        (one_direction, "cosine"),
        (np.eye(30), "cosine"),
        (0.3 * np.eye(30) + 0.7, "cosine"),
        (0.3 * np.eye(30) + 0.7, "euclidean"),
        (np.full((30, 3), 0.1), "euclidean"),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", range(6))
def test_without_nearer_items_there_are_no_neighbours(case, dtype):
    """Those that come first in the list would be everybody's."""
    layer, metric = equally_near()[case]
    x, settings = layer[None].astype(dtype), NeighbourSettings(5, metric)
    assert np.isnan(all_pairs(x, x, settings)).all()
    if dtype is np.float64:
        assert np.isnan(subsets.all_pairs(METRICS["mutual_knn"], x, x, settings, [np.arange(3, 25)])).all()


def test_an_item_of_zeros_leaves_the_same_score_to_items_and_their_subsets():
    x, y = layers()
    x[1, 7] = 0
    whole = all_pairs(x, y, NeighbourSettings(5))[0]
    (found,) = subsets.all_pairs(METRICS["mutual_knn"], x, y, NeighbourSettings(5), [np.arange(40)])
    np.testing.assert_allclose(found, whole, atol=1e-12)
    assert np.isfinite(whole).all()


def test_one_item_has_no_neighbours():
    with pytest.raises(ValueError, match="neighbours=1, but an item has only 0 others"):
        all_pairs(np.ones((1, 1, 3)), np.ones((1, 1, 3)), NeighbourSettings(1))
