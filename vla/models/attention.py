"""Scaled dot-product attention with grouped heads.

Axes: B batch, T queries, S keys, H query heads, K key-value heads, G query heads per key-value head, C width of a head.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

# Added to the score of a masked key. Finite, because a row of -inf would become NaN where a query has no allowed key.
_MASKED = -1e30


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
    """softmax(scale * q kᵀ) v per head, heads concatenated in the result.

    Query head h reads key-value head h // G, with G = H / K (Ainslie et al., arXiv:2305.13245). The softmax is in
    float32; the result has the dtype of the arguments. Equivalent to `jax.nn.dot_product_attention` without cap and
    distances, and faster on CPU.

    Args:
      query: Queries of H heads, H a multiple of K.
      key: Keys of K heads.
      value: Values of K heads.
      allowed: Which keys a query attends to; None for all. A query without any gets the mean of all values, which is
        finite: NaN would spread to other tokens.
      scale: Factor of the scores; None for 1 / sqrt(C).
      cap: Scores s become cap * tanh(s / cap); None for no cap.
      distances: Tokens from each key to its query; scores fall with them at each head's ALiBi slope.
    """
    B, T, H, C = query.shape
    S, K = key.shape[1:3]
    G = H // K
    factor: float | Array = C**-0.5 if scale is None else scale
    # Heads first, and the queries of a group stacked: XLA on CPU runs plain matrix products twice as fast as a
    # contraction over inner axes.
    scaled = query * factor if query.dtype == jnp.float32 else query
    stacked = scaled.reshape(B, T, K, G, C).transpose(0, 2, 3, 1, 4).reshape(B, K, G * T, C)
    key, value = key.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bkmc,bksc->bkms", stacked, key, preferred_element_type=jnp.float32)
    # Low-precision queries are not scaled, since rounding them again would lose digits.
    scores = scores if scaled is not query else scores * factor
    if cap is not None:
        scores = jnp.tanh(scores / cap) * cap
    # Split into query heads only where the mask needs it: a reshape may cost a copy.
    split = G > 1 and not (distances is None and allowed is None)
    scores = scores.reshape(B, K, G, T, S) if split else scores
    if distances is not None:
        slopes = jnp.asarray(alibi_slopes(H)).reshape((K, G, 1, 1) if split else (K, 1, 1))
        scores = scores - slopes * jnp.expand_dims(distances, (1, 2) if split else 1)
    if allowed is not None:
        scores = scores + jnp.expand_dims(jnp.where(allowed, 0.0, _MASKED), (1, 2) if split else 1)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    # Normalised after the product: C numbers per query instead of S.
    sums = weights.sum(-1).reshape(B, K, G * T, 1)
    weights = weights.astype(value.dtype).reshape(B, K, G * T, S)
    mixed = jnp.einsum("bkms,bksc->bkmc", weights, value, preferred_element_type=jnp.float32) / sums
    mixed = mixed.astype(value.dtype).reshape(B, K, G, T, C)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(B, T, H * C)


def alibi_slopes(heads: int) -> Float[np.ndarray, "H"]:
    """The slope of each head: 2^(-8h/P), h = 1 .. P, for P heads, P a power of two (Press et al., arXiv:2108.12409).

    Other head counts take the slopes of the next lower power of two, then every other slope of the next higher one, as
    in the paper's code.
    """
    lower = 1 << (heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / lower * np.arange(1, lower + 1))
    more = 2.0 ** (-4 / lower * np.arange(1, 2 * (heads - lower) + 1, 2))
    return np.concatenate([slopes, more]).astype(np.float32)


# Below this many multiplications per row of a batch, attention in parts gains nothing.
_LEAST_MULTIPLICATIONS = 1 << 22

# Rows and heads of one part: their scores fit a cache. Further rows are computed in further groups.
_ROWS, _HEADS = 8, 4


def attend_in_parts(
    query: Float[Array, "B T H C"],
    key: Float[Array, "B S K C"],
    value: Float[Array, "B S K C"],
    allowed: Bool[Array, "B T S"] | None = None,
    *,
    scale: float | Array | None = None,
    cap: float | None = None,
    distances: Int[Array, "B T S"] | None = None,
) -> Float[Array, "B T HC"]:
    """`attend`, on a CPU split into independent products by rows and heads.

    XLA on CPU runs the small products of one batched contraction one after another on a single core, and independent
    ones in parallel. Arguments are those of `attend`.
    """
    B, T, H, C = query.shape
    S, K = key.shape[1:3]
    compute = functools.partial(attend, scale=scale, cap=cap)
    on_one_cpu = jax.default_backend() == "cpu" and jax.local_device_count() == 1
    if not on_one_cpu or H * T * S * C < _LEAST_MULTIPLICATIONS:
        return compute(query, key, value, allowed, distances=distances)
    # Heads are split only where each has its own key and no ALiBi slope.
    heads = _largest_divisor(H, _HEADS) if H == K and distances is None else H

    def compute_rows(rows: tuple[Array, Array, Array, Array | None, Array | None]) -> Array:
        results = []
        for b in range(len(rows[0])):
            query, key, value, allowed, distances = (None if x is None else x[b : b + 1] for x in rows)
            assert query is not None and key is not None and value is not None
            cuts = [slice(None)] if heads == H else [slice(h, h + heads) for h in range(0, H, heads)]
            parts = [
                compute(query[:, :, cut], key[:, :, cut], value[:, :, cut], allowed, distances=distances)
                for cut in cuts
            ]
            results.append(jnp.concatenate(parts, axis=-1))
        return jnp.concatenate(results)

    arguments = (query, key, value, allowed, distances)
    rows = _largest_divisor(B, _ROWS)
    if rows == B:
        return compute_rows(arguments)
    groups = jax.tree.map(lambda x: x.reshape(B // rows, rows, *x.shape[1:]), arguments)
    return jax.lax.map(compute_rows, groups).reshape(B, T, H * C)


def _largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return next(size for size in range(min(number, most), 0, -1) if number % size == 0)
