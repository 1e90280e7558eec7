"""Scaled dot-product attention with grouped heads.

Axes: B batch, T queries, S keys, H query heads, K key-value heads, G query heads per key-value head, C width of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from vla import devices

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


# XLA runs a product per row and head after another on one core of a CPU where each is small; what does not hang
# together it runs side by side. Below this many multiplications of a row there is nothing to gain.
_WORTHWHILE = 1 << 22

# Rows, and heads, of one part: their scores fit a cache. More rows than these go one group after another.
_ROWS, _HEADS = 8, 4


def attend_in_parts(
    query: Float[Array, "B T H C"],
    key: Float[Array, "B S K C"],
    value: Float[Array, "B S K C"],
    allowed: Bool[Array, "B T S"] | None = None,
    *,
    distances: Int[Array, "B T S"] | None = None,
    **options: Any,
) -> Float[Array, "B T HC"]:
    """What `attend` gives, on a CPU by rows of the batch, and by heads where all are alike.

    Args:
      query: As of `attend`, like all that follows.
      key: The same.
      value: The same.
      allowed: The same.
      distances: The same.
      **options: The same.
    """
    B, T, H, C = query.shape
    S, K = key.shape[1:3]
    given = (query, key, value, allowed, distances)

    def whole(query: Array, key: Array, value: Array, allowed: Array | None, distances: Array | None) -> Array:
        return attend(query, key, value, allowed, distances=distances, **options)

    if not devices.on_cpu() or jax.local_device_count() > 1 or H * T * S * C < _WORTHWHILE:
        return whole(*given)
    # Heads of a group share a key, those of ALiBi have slopes of their own.
    heads = _part(H, _HEADS) if H == K and distances is None else H

    def group(rows: tuple[Array | None, ...]) -> Array:
        query, key, value, *others = rows
        assert query is not None and key is not None and value is not None
        parts = []
        for b in range(len(query)):
            own = [None if x is None else x[b : b + 1] for x in others]
            cuts = [slice(h, h + heads) for h in range(0, H, heads)]
            if heads == H:
                cuts = [slice(None)]
            each = [whole(query[b : b + 1, :, c], key[b : b + 1, :, c], value[b : b + 1, :, c], *own) for c in cuts]
            parts.append(jnp.concatenate(each, axis=-1))
        return jnp.concatenate(parts)

    rows = _part(B, _ROWS)
    if rows == B:
        return group(given)
    grouped = jax.tree.map(lambda x: x.reshape(B // rows, rows, *x.shape[1:]), given)
    return jax.lax.map(group, grouped).reshape(B, T, H * C)


def _part(whole: int, most: int) -> int:
    """The largest divisor of `whole` that is no larger than `most`."""
    return next(size for size in range(min(whole, most), 0, -1) if whole % size == 0)
