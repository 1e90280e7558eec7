"""Attention against torch's scaled_dot_product_attention."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.bloom.modeling_bloom import _get_alibi_slopes

from vla.models.attention import alibi_slopes, attend

RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("causal", [True, False])
def test_grouped_heads_and_masks_are_torchs(heads, kv_heads, causal):
    query, key, value = random(2, 7, heads, 8), random(2, 7, kv_heads, 8), random(2, 7, kv_heads, 8)
    allowed = np.broadcast_to(np.tril(np.ones((7, 7), bool)), (2, 7, 7)) if causal else None
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *(torch.from_numpy(x).transpose(1, 2) for x in (query, key, value)), is_causal=causal, enable_gqa=True
    )
    ours = attend(*map(jnp.asarray, (query, key, value)), None if allowed is None else jnp.asarray(allowed))
    assert np.abs(np.asarray(ours) - theirs.transpose(1, 2).reshape(2, 7, -1).numpy()).max() < 1e-6


def test_a_query_that_sees_nothing_is_the_mean_of_the_values():
    query, key, value = random(1, 2, 1, 4), random(1, 2, 1, 4), random(1, 2, 1, 4)
    read = attend(*map(jnp.asarray, (query, key, value)), jnp.zeros((1, 2, 2), bool))
    assert np.allclose(read, value.mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 25, 112])
def test_slopes_are_hugging_faces_also_where_no_power_of_two(heads):
    theirs = _get_alibi_slopes(heads, torch.device("cpu")).numpy()
    assert np.allclose(alibi_slopes(heads), theirs, rtol=1e-6, atol=0)


def test_scale_cap_and_distances_are_those_of_the_formula():
    T, H, K = 6, 6, 3
    query, key, value = random(1, T, H, 8), random(1, T, K, 8), random(1, T, K, 8)
    distances = np.arange(T)[:, None] - np.arange(T)[None]
    ours = attend(
        *map(jnp.asarray, (query, key, value)),
        jnp.asarray(distances >= 0)[None],
        scale=0.9,
        cap=1.5,
        distances=jnp.asarray(distances)[None],
    )
    for h in range(H):
        scores = query[0, :, h].astype(np.float64) @ key[0, :, h // 2].T * 0.9
        scores = 1.5 * np.tanh(scores / 1.5) - alibi_slopes(H)[h] * distances
        weights = np.where(distances >= 0, np.exp(scores), 0)
        mixed = weights / weights.sum(1, keepdims=True) @ value[0, :, h // 2]
        assert np.abs(np.asarray(ours)[0, :, h * 8 : h * 8 + 8] - mixed).max() < 1e-6
