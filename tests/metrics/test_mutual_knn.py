import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from tests.metrics.test_neighbours import nearest
from vla.metrics import METRICS
from vla.metrics.neighbours import NeighbourSettings, clipped

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
    table = all_pairs(rng.standard_normal((40, 60, 9)), rng.standard_normal((40, 60, 9)), NeighbourSettings(6))
    draws = np.diagonal(table[0])
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
        ({"neighbours": 0}, "neighbours=0; expected a whole number of at least 1"),
        ({"neighbours": 2.5}, "whole number"),
        ({"nearness": "l1"}, "nearness='l1'; expected one of cosine, euclidean"),
        ({"clip_quantile": 1.5}, "clip_quantile=1.5; expected a number > 0 and <= 1 or None"),
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
    found = np.sort(nearest(x, NeighbourSettings(5)).items[:, :5])
    np.testing.assert_array_equal(found, np.sort(np.argsort(-exact, axis=1)[:, :5]))


def orders_of_ties(x, k, metric="cosine"):
    """The neighbours of every item in every order of tied items, as lists of sets, by brute force."""
    far = np.round(pairwise_distances(x, metric=metric), 9)
    found = []
    for i, row in enumerate(far):
        others = np.delete(np.arange(len(far)), i)
        last = np.sort(row[others])[k - 1]
        nearer, level = set(others[row[others] < last]), others[row[others] == last]
        found.append([nearer | set(rest) for rest in itertools.combinations(level, k - len(nearer))])
    return found


TIED = {
    "one-hot": lambda rng: np.eye(3)[rng.integers(3, size=12)],
    "copies": lambda rng: rng.standard_normal((6, 4))[rng.integers(6, size=12)],
    "whole": lambda rng: rng.integers(0, 3, (12, 3)) + 1.0,
    "zeros": lambda rng: rng.standard_normal((12, 4)) * (rng.uniform(size=12) > 0.3)[:, None],
    "one unit": lambda rng: rng.standard_normal((12, 1)),
    "plain": lambda rng: rng.standard_normal((12, 4)),
}


@pytest.mark.parametrize(
    ("metric", "k", "dtype"),
    [
        ("cosine", 2, np.float64),
        ("cosine", 5, np.float32),
        ("euclidean", 3, np.float32),
        ("euclidean", 3, np.float64),
    ],
)
def test_ties_are_averaged_over_all_their_orders(metric, k, dtype):
    """Independent orders on the two sides; the chance level is the mean over pairings, whatever the ties."""
    rng = np.random.default_rng(5)
    # Units of zeros change neither cosines nor distances.
    x, y = (np.stack([np.pad(draw, ((0, 0), (0, 4 - draw.shape[1]))) for draw in (draw(rng) for draw in TIED.values())])
            .astype(dtype) for _ in "xy")  # fmt: skip
    pairings = np.stack([np.arange(12), rng.permutation(12)])
    table = all_pairs(x, y, NeighbourSettings(k, metric), pairings=pairings)
    for (i, a), (j, b), (order, scores) in itertools.product(
        enumerate(x), enumerate(y), zip(pairings, table, strict=True)
    ):
        sides = orders_of_ties(a.astype(float), k, metric), orders_of_ties(b[order].astype(float), k, metric)
        shared = [np.mean([len(p & q) for p in own for q in other]) for own, other in zip(*sides, strict=True)]
        assert scores[i, j] == pytest.approx(np.mean(shared) / k, abs=1e-12)
    assert METRICS["mutual_knn"].chance_of(NeighbourSettings(k), 12) == k / 11


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw", [0, 4])
def test_independent_layers_with_ties_score_at_chance(dtype, draw):
    """One-hot labels, and one unit, whose cosines are 1 or -1."""
    rng = np.random.default_rng(6)
    kind = list(TIED.values())[draw]
    x, y = (np.stack([np.concatenate([kind(rng) for _ in range(5)]) for _ in range(30)]).astype(dtype) for _ in "xy")
    table = all_pairs(x, y, NeighbourSettings(8))[0]
    scores = np.diagonal(table)
    assert np.mean(scores) == pytest.approx(8 / 59, abs=4 * np.std(scores) / np.sqrt(30))


def test_layers_with_and_without_ties_score_together_as_alone():
    """Ties of other layers, and of other sides, change nothing."""
    rng = np.random.default_rng(7)
    draws = [TIED["plain"], lambda rng: np.repeat(TIED["copies"](rng)[:, :1], 4, axis=1), TIED["copies"], TIED["zeros"]]
    x, y = (np.stack([draw(rng) for draw in draws]) for _ in range(2))
    pairings = np.stack([np.arange(12), rng.permutation(12)])
    table = all_pairs(x, y, NeighbourSettings(3), pairings=pairings)
    alone = [[all_pairs(a[None], b[None], NeighbourSettings(3), pairings=pairings)[:, 0, 0] for b in y] for a in x]
    np.testing.assert_allclose(table, np.moveaxis(alone, -1, 0), atol=1e-15)


def equally_near(metric):
    """Layers in which no item is nearer to another than to any third."""
    rng = np.random.default_rng(3)
    one_direction = rng.uniform(1, 2, (30, 1)) * rng.standard_normal(6)
    layers = {
        "cosine": [one_direction[:, :1] ** 2, one_direction, np.eye(30), 0.3 * np.eye(30) + 0.7],
        "euclidean": [0.3 * np.eye(30) + 0.7, np.full((30, 3), 0.1)],
    }[metric]
    # Units of zeros change neither cosines nor distances.
    return np.stack([np.pad(layer, ((0, 0), (0, 30 - layer.shape[1]))) for layer in layers])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_without_nearer_items_there_are_no_neighbours(metric, dtype):
    """Those that come first in the list would be everybody's."""
    x, settings = equally_near(metric).astype(dtype), NeighbourSettings(5, metric)
    other = np.random.default_rng(4).standard_normal((1, 30, 30)).astype(dtype)
    assert np.isnan(all_pairs(x, x, settings)).all() and np.isfinite(all_pairs(other, other, settings)).all()
    if dtype is np.float64:
        assert np.isnan(METRICS["mutual_knn"].scores_of_subsets(x, x, settings, [np.arange(3, 25)])).all()


def test_an_item_of_zeros_leaves_the_same_score_to_items_and_their_subsets():
    x, y = layers()
    x[1, 7] = 0
    whole = all_pairs(x, y, NeighbourSettings(5))[0]
    (found,) = METRICS["mutual_knn"].scores_of_subsets(x, y, NeighbourSettings(5), [np.arange(40)])
    np.testing.assert_allclose(found, whole, atol=1e-12)
    assert np.isfinite(whole).all()


def test_one_item_has_no_neighbours():
    with pytest.raises(ValueError, match="neighbours=1, but an item has only 0 others"):
        all_pairs(np.ones((1, 1, 3)), np.ones((1, 1, 3)), NeighbourSettings(1))
