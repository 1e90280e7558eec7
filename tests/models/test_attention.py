"""Attention against torch's scaled_dot_product_attention."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from vla.models.attention import attend

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
