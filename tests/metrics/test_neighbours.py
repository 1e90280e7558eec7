"""Nearest neighbours against NumPy's sort, looked through all at once and a few rows at a time; tied ones in shares."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from vla.metrics import neighbours
from vla.metrics.neighbours import NeighbourSettings, nearest


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


@pytest.mark.parametrize("rows_bytes", [1, 1 << 22])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(layers()))
@pytest.mark.parametrize("k", [1, 9])
def test_tied_neighbours_share_their_places(rows_bytes, dtype, name, k, monkeypatch):
    monkeypatch.setattr(neighbours, "_ROWS_BYTES", rows_bytes)
    x = layers()[name].astype(dtype)
    found = nearest(x, NeighbourSettings(k))
    np.testing.assert_allclose(found.weights(), shares(cosine_similarity(x.astype(float)), k), atol=1e-15)
    if name in ("whole", "one-hot", "copies"):
        distances = np.square(x[:, None].astype(float) - x).sum(axis=2)
        found = nearest(x, NeighbourSettings(k, "euclidean"))
        np.testing.assert_allclose(found.weights(), shares(-distances, k, 6), atol=1e-15)


@pytest.mark.parametrize("nearness", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_ties_neighbours_are_those_of_a_sort(nearness, dtype):
    x = layers()["plain"].astype(dtype)
    wide = x.astype(float)
    near = cosine_similarity(wide) if nearness == "cosine" else -np.square(wide[:, None] - wide).sum(axis=2)
    np.fill_diagonal(near, -np.inf)
    found = nearest(x, NeighbourSettings(5, nearness))
    expected = np.sort(np.argsort(-near, axis=1)[:, :5], axis=1)
    np.testing.assert_array_equal(np.sort(found.certain).reshape(40, 5) % 40, expected)
    assert not len(found.tied) and not found.share.any()


def test_distances_that_differ_are_not_merged():
    """Ten tight clusters far from each other, whose inner distances are lost beside those between clusters."""
    rng = np.random.default_rng(1)
    x = np.repeat(100 * rng.standard_normal((10, 8)), 6, axis=0) + 1e-5 * rng.standard_normal((60, 8))
    distances = np.square(x[:, None] - x).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    found = nearest(x, NeighbourSettings(3, "euclidean"))
    expected = np.sort(np.argsort(distances, axis=1)[:, :3], axis=1)
    assert not len(found.tied)
    np.testing.assert_array_equal(np.sort(found.certain).reshape(60, 3) % 60, expected)


@pytest.mark.parametrize("nearness", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e-18])
def test_squares_neither_over_nor_underflow(nearness, scale):
    x = layers()["copies"].astype(np.float32)
    found, plain = (nearest(side, NeighbourSettings(4, nearness)) for side in (x * np.float32(scale), x))
    # The product rounds anew: items that tied still do.
    np.testing.assert_allclose(found.weights(), plain.weights(), atol=1e-15)


def test_a_far_item_leaves_the_neighbours_of_the_others():
    x = layers()["plain"]
    far = np.concatenate([x, 1e6 * x[:1]])
    settings = NeighbourSettings(5, "euclidean")
    np.testing.assert_array_equal(nearest(far, settings).weights()[:40, :40], nearest(x, settings).weights())
