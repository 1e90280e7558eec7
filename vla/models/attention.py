"""Scaled dot-product attention with grouped heads.

Axes: B batch, T queries, S keys, K key-value heads, G query heads per key-value head, C width of a head.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def attend(
    query: Float[Array, "B T H C"],
    key: Float[Array, "B S K C"],
    value: Float[Array, "B S K C"],
    allowed: Bool[Array, "B T S"] | None = None,
) -> Float[Array, "B T HC"]:
    """softmax(q kᵀ / √C) v per head, heads side by side in the result.

    Query head h reads key-value head h // G, with G = H / K (Ainslie et al., arXiv:2305.13245). The softmax is taken
    in float32 whatever the dtype of the arguments; the result has that dtype.

    Args:
      query: Queries of H heads, H a multiple of K.
      key: Keys of K heads.
      value: Values of K heads.
      allowed: Which keys a query may see; None for all. A query that may see none gets the mean of all values: a
        finite number that nobody reads, where a softmax over nothing would be NaN and spread.
    """
    B, T, H, C = query.shape
    K = key.shape[2]
    grouped = query.reshape(B, T, K, H // K, C)
    scores = jnp.einsum("btkgc,bskc->bkgts", grouped, key, preferred_element_type=jnp.float32) * C**-0.5
    if allowed is not None:
        # The lowest finite number and not -inf, or a row without any allowed key is NaN.
        scores = jnp.where(allowed[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bkgts,bskc->btkgc", weights, value).reshape(B, T, H * C)
