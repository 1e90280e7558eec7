"""Nearest neighbours against NumPy's sort, looked through all at once and a few rows at a time."""

import numpy as np
import pytest

from vla.metrics import neighbours
from vla.metrics.neighbours import NeighbourSettings, nearest


@pytest.mark.parametrize("rows_bytes", [1, 1 << 22])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbours_are_those_of_a_stable_sort_of_cosines(rows_bytes, dtype, monkeypatch):
    monkeypatch.setattr(neighbours, "_ROWS_BYTES", rows_bytes)
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(dtype)
    x[7] = x[3]  # equally near to all others
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    near = unit @ unit.T
    near[:, 7] = near[:, 3]
    np.fill_diagonal(near, -np.inf)
    near[7, 3] = near[3, 7] = 1.0
    expected = np.argsort(-near, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(nearest(x, NeighbourSettings(neighbours=5)), expected)


@pytest.mark.parametrize("rows_bytes", [1, 1 << 22])
def test_an_item_without_a_direction_is_near_to_all(rows_bytes, monkeypatch):
    monkeypatch.setattr(neighbours, "_ROWS_BYTES", rows_bytes)
    x = np.random.default_rng(0).standard_normal((12, 6)).astype(np.float32)
    x[4] = np.nan
    found = nearest(x, NeighbourSettings(neighbours=3))
    assert (np.delete(found, 4, axis=0)[:, 0] == 4).all() and found[4].tolist() == [0, 1, 2]
