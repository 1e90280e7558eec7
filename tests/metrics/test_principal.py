import jax.numpy as jnp
import numpy as np
import pytest

from vla import devices
from vla.metrics.principal import principal


@devices.in_float64
@pytest.mark.parametrize("shape", [(12, 5), (12, 30)])
def test_rebuilds_the_centred_layer(shape):
    x = np.random.default_rng(0).standard_normal(shape) + 3
    p = principal(jnp.asarray(x))
    centred = x - x.mean(0)
    np.testing.assert_allclose(p.vectors * p.values @ p.loadings, centred, atol=1e-12)
    expected = np.linalg.svd(centred, compute_uv=False)[: min(11, shape[1])]
    np.testing.assert_allclose(p.values, expected, rtol=1e-12)


@devices.in_float64
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [9, 60])
def test_rounding_error_is_no_direction(dtype, width):
    """Also that of float32 activations, which float64 arithmetic takes for digits."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((40, 4)) @ rng.standard_normal((4, width)) + 5).astype(dtype)
    assert principal(jnp.asarray(x)).vectors.shape == (40, 4)


@devices.in_float64
def test_a_direction_of_little_variance_is_one():
    x = np.random.default_rng(2).standard_normal((40, 3)) * [1, 1e-6, 1e-11]
    p = principal(jnp.asarray(x))
    assert p.vectors.shape == (40, 3)
    q, _ = np.linalg.qr(x - x.mean(0))
    np.testing.assert_allclose(p.vectors.T @ q @ q.T @ p.vectors, np.eye(3), atol=1e-9)
