"""Scaled dot-product attention with grouped heads.

Axes: B batch, T queries, S keys, H query heads, K key-value heads, G query heads per key-value head, C width of a head.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

# Added to the score of a key that a query may not see: far below any score, far from the lowest finite number, since a
# sum of -inf would make a row without any allowed key NaN.
_HIDDEN = -1e30


def attend(
    query: Float[Array, "B T H C"],
    key: Float[Array, "B S K C"],
    value: Float[Array, "B S K C"],
    allowed: Bool[Array, "B T S"] | None = None,
    *,
    scale: float | Array | None = None,
    cap: float | None = None,
    distances: Int[Array, "B T S"] | None = None,
) -> Float[Array, "B T HC"]:
    """softmax(scale * q kᵀ) v per head, heads side by side in the result.

    Query head h reads key-value head h // G, with G = H / K (Ainslie et al., arXiv:2305.13245). The softmax is taken
    in float32 whatever the dtype of the arguments; the result has that dtype.

    Args:
      query: Queries of H heads, H a multiple of K.
      key: Keys of K heads.
      value: Values of K heads.
      allowed: Which keys a query may see; None for all. A query that may see none gets the mean of all values: a
        finite number that nobody reads, where a softmax over nothing would be NaN and spread.
      scale: Factor of the scores; None for 1 / sqrt(C).
      cap: Scores s become cap * tanh(s / cap); None leaves them alone.
      distances: By how many tokens each key stands before its query: scores fall with it at each head's ALiBi slope.
    """
    B, T, H, C = query.shape
    S, K = key.shape[1:3]
    G = H // K
    factor: float | Array = C**-0.5 if scale is None else scale
    # Heads first, the queries of a group below one another: plain matrix products per row and key-value head, which
    # XLA runs on CPU twice as fast as the contraction over axes in between.
    scaled = query * factor if query.dtype == jnp.float32 else query
    stacked = scaled.reshape(B, T, K, G, C).transpose(0, 2, 3, 1, 4).reshape(B, K, G * T, C)
    key, value = key.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bkmc,bksc->bkms", stacked, key, preferred_element_type=jnp.float32)
    # Not on the queries where rounding them again would cost digits.
    scores = scores if scaled is not query else scores * factor
    if cap is not None:
        scores = jnp.tanh(scores / cap) * cap
    # Per query head only where several share a key and something depends on the query: a reshape may cost a copy.
    apart = G > 1 and not (distances is None and allowed is None)
    scores = scores.reshape(B, K, G, T, S) if apart else scores
    if distances is not None:
        slopes = jnp.asarray(alibi_slopes(H)).reshape((K, G, 1, 1) if apart else (K, 1, 1))
        scores = scores - slopes * jnp.expand_dims(distances, (1, 2) if apart else 1)
    if allowed is not None:
        scores = scores + jnp.expand_dims(jnp.where(allowed, 0.0, _HIDDEN), (1, 2) if apart else 1)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    # Divided after the product: C numbers per query and not S.
    sums = weights.sum(-1).reshape(B, K, G * T, 1)
    weights = weights.astype(value.dtype).reshape(B, K, G * T, S)
    mixed = jnp.einsum("bkms,bksc->bkmc", weights, value, preferred_element_type=jnp.float32) / sums
    mixed = mixed.astype(value.dtype).reshape(B, K, G, T, C)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(B, T, H * C)


def alibi_slopes(heads: int) -> Float[np.ndarray, "H"]:
    """The slope of each head: 2^(-8h/P), h = 1 .. P, for P heads, P a power of two.

    For other head counts: the slopes of the next lower power of two, then every other slope of the next higher one,
    as the paper's code has it (Press et al., arXiv:2108.12409).
    """
    lower = 1 << (heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / lower * np.arange(1, lower + 1))
    more = 2.0 ** (-4 / lower * np.arange(1, 2 * (heads - lower) + 1, 2))
    return np.concatenate([slopes, more]).astype(np.float32)
