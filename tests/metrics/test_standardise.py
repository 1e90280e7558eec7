import jax
import jax.numpy as jnp
import numpy as np
from sklearn.preprocessing import StandardScaler

from vla.metrics.standardise import centre, moments, standardise


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
