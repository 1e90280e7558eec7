"""Pools on numbers small enough to pool by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from vla.models.batch import one_caption_per_row
from vla.models.layers import tokens_read, vision_pool, weighted

HIDDEN = jnp.array([[[1.0], [2.0], [4.0], [8.0]], [[16.0], [32.0], [64.0], [128.0]]])
BOS = 1


@pytest.mark.parametrize("prefix, mean", [(1, [14 / 3, 224 / 3]), (3, [8.0, 128.0])])
def test_vision_pools_leave_class_and_registers_out_of_the_mean(prefix, mean):
    assert np.array_equal(vision_pool("cls", prefix)(HIDDEN)[:, 0], [1.0, 16.0])
    assert np.allclose(vision_pool("mean", prefix)(HIDDEN)[:, 0], mean)


def pooled(name: str, tokens: list, mask: list, bos: int | None, hidden=HIDDEN) -> np.ndarray:
    captions = one_caption_per_row(np.array(tokens), np.array(mask, bool), name, bos)
    return np.asarray(weighted(jnp.asarray(captions.weights))(hidden))[:, 0, 0]


@pytest.mark.parametrize(
    "name, left, right",
    [("mean", 14 / 3, 112 / 3), ("mean_no_bos", 6.0, 48.0), ("last", 8.0, 64.0)],
)
def test_language_pools_see_neither_padding_nor_where_it_is(name, left, right):
    mask = [[0, 1, 1, 1], [1, 1, 1, 0]]
    poisoned = jnp.where(jnp.array(mask, bool)[..., None], HIDDEN, jnp.nan)
    read = pooled(name, [[BOS, BOS, 5, 6], [BOS, 5, 6, 0]], mask, BOS, poisoned)
    assert np.allclose(read, [left, right])


def test_only_an_opening_bos_is_left_out():
    tokens, mask = [[BOS, 5, BOS, 6], [5, BOS, BOS, 6]], np.ones((2, 4))
    assert np.allclose(pooled("mean_no_bos", tokens, mask, BOS), [14 / 3, 60.0])
    assert np.allclose(pooled("mean_no_bos", tokens, mask, None), [3.75, 60.0])


@pytest.mark.parametrize("name", ["mean", "mean_no_bos", "last"])
def test_a_row_of_padding_is_finite(name):
    assert np.isfinite(pooled(name, np.zeros((2, 4), int), np.zeros((2, 4)), BOS)).all()


def test_a_token_that_counts_and_is_no_number_is_not_lost():
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        hidden = HIDDEN.at[0, 1].set(bad)
        read = pooled("mean", np.zeros((2, 4), int), np.ones((2, 4)), None, hidden)
        assert np.isnan(read[0]) and read[1] == 60.0


def test_bfloat16_is_pooled_in_float32():
    # in bfloat16 the sum stops growing at 256
    hidden = jnp.ones((1, 1001, 1), jnp.bfloat16)
    for read in (vision_pool("mean", 1)(hidden)[0, 0], weighted(jnp.full((1, 1, 1001), 1 / 1001))(hidden)[0, 0, 0]):
        assert read.dtype == jnp.float32
        assert abs(read - 1) < 1e-6


def test_pools_of_single_tokens_read_no_others():
    assert [tokens_read(names) for names in (("cls",), ("distillation",), ("distillation", "cls"))] == [1, 2, 2]
    assert [tokens_read(names) for names in (("mean",), ("cls", "mean"), ("tokens",), ())] == [None] * 4
