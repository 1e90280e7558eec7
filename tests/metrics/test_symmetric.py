import jax.numpy as jnp
import numpy as np
import pytest

from vla.metrics.symmetric import lower_tiles, symmetric_product


@pytest.mark.parametrize("library", [np, jnp])
@pytest.mark.parametrize("n", [3, 4, 7, 50])
def test_equals_the_whole_product(n, library):
    a = np.random.default_rng(n).standard_normal((n, 6)).astype(np.float32)
    np.testing.assert_allclose(symmetric_product(library.asarray(a)), a @ a.T, atol=1e-5)
    for weights in np.linspace([-1, -3, 0], [2, -1, 5], 6, dtype=np.float32).T:
        found = symmetric_product(library.asarray(a), library.asarray(weights))
        assert isinstance(found, np.ndarray) == (library is np) and found.dtype == np.float32
        np.testing.assert_allclose(found, (a * weights) @ a.T, atol=1e-5)
        np.testing.assert_allclose(found, found.T, atol=1e-5)


@pytest.mark.parametrize("n", [3, 4, 7, 50])
def test_tiles_cover_the_lower_triangle_once(n):
    seen = np.zeros((n, n), int)
    for rows, columns in lower_tiles(n):
        seen[rows, columns] += 1
        if rows != columns:
            seen[columns, rows] += 1
    np.testing.assert_array_equal(seen, 1)
