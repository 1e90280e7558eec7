"""Pools on numbers small enough to pool by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from vla.models.pooling import language_pool, vision_pool

HIDDEN = jnp.array([[[1.0], [2.0], [4.0], [8.0]], [[16.0], [32.0], [64.0], [128.0]]])
BOS = 1


@pytest.mark.parametrize("prefix, mean", [(1, [14 / 3, 224 / 3]), (3, [8.0, 128.0])])
def test_vision_pools_leave_class_and_registers_out_of_the_mean(prefix, mean):
    assert np.array_equal(vision_pool("cls", prefix)(HIDDEN)[:, 0], [1.0, 16.0])
    assert np.allclose(vision_pool("mean", prefix)(HIDDEN)[:, 0], mean)


@pytest.mark.parametrize(
    "name, left, right",
    [("mean", 14 / 3, 112 / 3), ("mean_no_bos", 6.0, 48.0), ("last", 8.0, 64.0)],
)
def test_language_pools_see_neither_padding_nor_where_it_is(name, left, right):
    mask = jnp.array([[False, True, True, True], [True, True, True, False]])
    tokens = jnp.array([[BOS, BOS, 5, 6], [BOS, 5, 6, 0]])
    poisoned = jnp.where(mask[..., None], HIDDEN, jnp.nan)
    assert np.allclose(language_pool(name, tokens, mask, BOS)(poisoned)[:, 0], [left, right])


def test_only_an_opening_bos_is_left_out():
    mask = jnp.ones((2, 4), bool)
    tokens = jnp.array([[BOS, 5, BOS, 6], [5, BOS, BOS, 6]])
    assert np.allclose(language_pool("mean_no_bos", tokens, mask, BOS)(HIDDEN)[:, 0], [14 / 3, 60.0])
    assert np.allclose(language_pool("mean_no_bos", tokens, mask, None)(HIDDEN)[:, 0], [3.75, 60.0])


@pytest.mark.parametrize("name", ["mean", "mean_no_bos", "last"])
def test_a_row_of_padding_is_finite(name):
    pool = language_pool(name, jnp.zeros((2, 4), int), jnp.zeros((2, 4), bool), BOS)
    assert np.isfinite(pool(HIDDEN)).all()


def test_bfloat16_is_pooled_in_float32():
    # in bfloat16 the sum stops growing at 256
    hidden = jnp.ones((1, 1001, 1), jnp.bfloat16)
    pooled = vision_pool("mean", 1)(hidden)
    assert pooled.dtype == jnp.float32
    assert pooled[0, 0] == 1.0
