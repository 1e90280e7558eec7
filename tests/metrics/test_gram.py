import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from vla import devices
from vla.metrics.gram import centre, lower_tiles, moments, principal, standardise, symmetric_product


def test_equals_standard_scaler():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 7)) * [1, 1e-8, 1e8, 1, 1, 1, 1] + [0, 0, 0, 1e6, 0, 0, 0]
    x[:, 4] = 0.1
    x[:, 5] = 1e9 + 1e-9 * rng.standard_normal(50)  # varies only by rounding
    with jax.enable_x64(True):
        array = jnp.asarray(x)
        m = moments(array)
        expected = StandardScaler().fit(x)
        np.testing.assert_allclose(m.mean, expected.mean_, rtol=1e-14)
        np.testing.assert_allclose(m.scale, expected.scale_, rtol=1e-9)
        np.testing.assert_array_equal(m.constant, [False, False, False, False, True, True, False])
        np.testing.assert_allclose(standardise(array, m)[:, :4], expected.transform(x)[:, :4], rtol=1e-12, atol=1e-9)
        assert np.all(np.asarray(standardise(array, m))[:, 4:6] == 0)
        assert np.all(np.asarray(centre(array, m))[:, 4:6] == 0)


@pytest.mark.parametrize("n", [3, 7, 600])
def test_equals_the_whole_product(n):
    a = np.random.default_rng(n).standard_normal((n, 6)).astype(np.float32)
    np.testing.assert_allclose(symmetric_product(jnp.asarray(a)), a @ a.T, atol=1e-4)
    for weights in np.linspace([-1, -3, 0], [2, -1, 5], 6, dtype=np.float32).T:
        found = symmetric_product(jnp.asarray(a), jnp.asarray(weights))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, (a * weights) @ a.T, atol=1e-4)
        np.testing.assert_allclose(found, found.T, atol=1e-5)


@pytest.mark.parametrize("n", [3, 4, 7, 50])
def test_tiles_cover_the_lower_triangle_once(n):
    seen = np.zeros((n, n), int)
    for rows, columns in lower_tiles(n):
        seen[rows, columns] += 1
        if rows != columns:
            seen[columns, rows] += 1
    np.testing.assert_array_equal(seen, 1)


@devices.in_float64
@pytest.mark.parametrize("shape", [(12, 5), (12, 30)])
def test_rebuilds_the_centred_layer(shape):
    x = np.random.default_rng(0).standard_normal(shape) + 3
    p = principal(jnp.asarray(x))
    centred = x - x.mean(0)
    np.testing.assert_allclose(p.vectors * p.values @ p.loadings, centred, atol=1e-12)
    expected = np.linalg.svd(centred, compute_uv=False)[: min(11, shape[1])]
    np.testing.assert_allclose(p.values[: len(expected)], expected, rtol=1e-12)
    assert p.rank == len(expected) and not p.values[len(expected) :].any()


@devices.in_float64
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [9, 60])
def test_rounding_error_is_no_direction(dtype, width):
    """Also that of float32 activations, which float64 arithmetic takes for digits."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((40, 4)) @ rng.standard_normal((4, width)) + 5).astype(dtype)
    p = principal(jnp.asarray(x))
    assert p.rank == 4 and not p.vectors[:, 4:].any() and not p.values[4:].any()


@devices.in_float64
def test_a_direction_of_little_variance_is_one():
    x = np.random.default_rng(2).standard_normal((40, 3)) * [1, 1e-6, 1e-11]
    p = principal(jnp.asarray(x))
    assert p.rank == 3
    q, _ = np.linalg.qr(x - x.mean(0))
    np.testing.assert_allclose(p.vectors.T @ q @ q.T @ p.vectors, np.eye(3), atol=1e-9)
