"""Nearest neighbours against NumPy's sort, looked through all at once and a few rows at a time; tied ones in shares."""

import jax
import jax.extend
import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from vla import devices
from vla.metrics import neighbours
from vla.metrics.neighbours import NeighbourSettings


@devices.in_float64
def nearest(x, settings):
    """As many candidates as hold all ties."""
    width = None
    while True:
        found = jax.jit(neighbours.prepare, static_argnames=("settings", "width"))(x, settings=settings, width=width)
        if found.complete:
            return found
        width = min(len(x), 4 * found.items.shape[1])


def weights(found, k):
    """The weights of all pairs of items."""
    dense = np.zeros((len(found.items),) * 2)
    with jax.enable_x64(True):
        np.put_along_axis(dense, np.asarray(found.items), np.asarray(found.weights(k)), axis=1)
    return dense


def shares(near, k, digits=9):
    """Weights from their definition, nearness being rounded so that tied items are equal."""
    near = np.round(near, digits)
    weights = np.zeros_like(near)
    for i, row in enumerate(near):
        others = np.delete(np.arange(len(near)), i)
        last = np.sort(row[others])[-k]
        nearer, level = others[row[others] > last], others[row[others] == last]
        weights[i, nearer], weights[i, level] = 1, (k - len(nearer)) / len(level)
    return weights


def layers(seed=0):
    """Layers with ties; and one that has none."""
    rng = np.random.default_rng(seed)
    plain = rng.standard_normal((40, 6))
    copies, zeros = plain.copy(), plain.copy()
    copies[20:] = plain[rng.integers(20, size=20)]
    zeros[rng.integers(40, size=8)] = 0
    whole = rng.integers(-1, 2, (40, 5)).astype(float)
    return {
        "plain": plain,
        "copies": copies,
        "zeros": zeros,
        "whole": whole,
        "one-hot": np.eye(5)[rng.integers(5, size=40)],
        "one unit": plain[:, :1],
        # Products of as many terms are summed in blocks whose edges differ from row to row.
        "wide copies": np.repeat(rng.standard_normal((10, 1100)), 4, axis=0),
    }


def check(name, dtype, k):
    x = layers()[name].astype(dtype)
    found = nearest(x, NeighbourSettings(k))
    np.testing.assert_allclose(weights(found, k), shares(cosine_similarity(x.astype(float)), k), atol=1e-15)
    if name in ("whole", "one-hot", "copies"):
        distances = np.square(x[:, None].astype(float) - x).sum(axis=2)
        found = nearest(x, NeighbourSettings(k, "euclidean"))
        np.testing.assert_allclose(weights(found, k), shares(-distances, k, 6), atol=1e-15)


@pytest.mark.parametrize(("dtype", "k"), [(np.float32, 1), (np.float64, 9)])
@pytest.mark.parametrize("name", sorted(layers()))
def test_tied_neighbours_share_their_places(dtype, name, k):
    check(name, dtype, k)


@pytest.mark.parametrize("name", ["plain", "copies"])
def test_tiles_of_items_change_nothing(name, monkeypatch):
    """One item a tile, and seven, which do not divide forty."""
    for tile_bytes in (1, 7 * 4 * 40):
        monkeypatch.setattr(neighbours, "_TILE_BYTES", tile_bytes)
        jax.clear_caches()
        check(name, np.float32, 9)
    jax.clear_caches()


def test_no_array_has_all_pairs_of_items():
    """Of 3,000 items: the largest intermediate of the program is a tile."""
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(lambda x: neighbours.prepare(x, NeighbourSettings()))(np.zeros((3000, 5), np.float32))

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (variable.aval.size for variable in equation.outvars)
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                yield from sizes(inner)

    assert 1000 < max(sizes(traced.jaxpr)) <= 3000**2 / 8


@pytest.mark.parametrize("nearness", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_ties_neighbours_are_those_of_a_sort(nearness, dtype):
    x = layers()["plain"].astype(dtype)
    wide = x.astype(float)
    near = cosine_similarity(wide) if nearness == "cosine" else -np.square(wide[:, None] - wide).sum(axis=2)
    np.fill_diagonal(near, -np.inf)
    found = nearest(x, NeighbourSettings(5, nearness))
    expected = np.sort(np.argsort(-near, axis=1)[:, :5], axis=1)
    np.testing.assert_array_equal(np.sort(found.items[:, :5]), expected)
    assert (found.certain == 5).all() and not found.tied.any()


def test_distances_that_differ_are_not_merged():
    """Ten tight clusters far from each other, whose inner distances are lost beside those between clusters."""
    rng = np.random.default_rng(1)
    x = np.repeat(100 * rng.standard_normal((10, 8)), 6, axis=0) + 1e-5 * rng.standard_normal((60, 8))
    distances = np.square(x[:, None] - x).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    found = nearest(x, NeighbourSettings(3, "euclidean"))
    expected = np.sort(np.argsort(distances, axis=1)[:, :3], axis=1)
    assert not found.tied.any()
    np.testing.assert_array_equal(np.sort(found.items[:, :3]), expected)


@pytest.mark.parametrize("nearness", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e-18])
def test_squares_neither_over_nor_underflow(nearness, scale):
    x = layers()["copies"].astype(np.float32)
    found, plain = (nearest(side, NeighbourSettings(4, nearness)) for side in (x * np.float32(scale), x))
    # The product rounds anew: items that tied still do.
    np.testing.assert_allclose(weights(found, 4), weights(plain, 4), atol=1e-15)


def test_a_far_item_leaves_the_neighbours_of_the_others():
    x = layers()["plain"]
    far = np.concatenate([x, 1e6 * x[:1]])
    settings = NeighbourSettings(5, "euclidean")
    np.testing.assert_array_equal(weights(nearest(far, settings), 5)[:40, :40], weights(nearest(x, settings), 5))
