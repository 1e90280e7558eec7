import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vla.metrics.pearson import column_correlation


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_equals_scipy(scale):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 4)), rng.standard_normal((2, 30, 4))
    with jax.enable_x64(True):
        r = np.asarray(column_correlation(jnp.asarray(a * scale), jnp.asarray(b)))
    for t in range(2):
        for j in range(4):
            assert r[t, j] == pytest.approx(stats.pearsonr(a[t, :, j], b[t, :, j]).statistic, abs=1e-14)


def test_tiny_float32_values_do_not_underflow():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((30, 1)).astype(np.float32), rng.standard_normal((30, 1)).astype(np.float32)
    small = np.asarray(column_correlation(jnp.asarray(a * np.float32(1e-25)), jnp.asarray(b)))
    np.testing.assert_allclose(small, column_correlation(jnp.asarray(a), jnp.asarray(b)), atol=1e-6)


def test_undefined_without_variance():
    a = np.ones((5, 2), np.float32)
    a[:, 1] = [1, 2, 3, 4, 5]
    r = np.asarray(column_correlation(jnp.asarray(a), jnp.asarray(a)))
    assert np.isnan(r[0]) and r[1] == pytest.approx(1)
