import jax
import jax.numpy as jnp
import numpy as np

from vla import devices


def test_float64_lasts_as_long_as_the_function():
    @devices.in_float64
    def third(x):
        assert jax.config.jax_default_matmul_precision == "highest"
        return jnp.asarray(x) / 3

    assert third(np.float64(1)).dtype == np.float64
    assert jnp.asarray(np.float64(1)).dtype == np.float32
    assert jax.config.jax_default_matmul_precision is None


def test_batches_reach_the_devices_unchanged():
    mesh = devices.mesh()
    batch = np.arange(2 * devices.groups(mesh) * 3, dtype=np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(devices.to_host(devices.split_leading(batch, mesh)), batch)


def test_a_part_that_many_devices_hold_is_read_once():
    asked = []
    whole = np.arange(12.0, dtype=np.float32).reshape(4, 3)

    def read(index):
        asked.append(index)
        return whole[index]

    array = devices.from_parts((4, 3), read, devices.sharded(devices.mesh()))
    np.testing.assert_array_equal(array, whole)
    assert len(asked) == 1
