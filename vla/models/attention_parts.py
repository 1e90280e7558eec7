"""Attention as several products side by side, for cores that a single one leaves idle.

Axes: B batch, T queries, S keys, H query heads, K key-value heads, C width of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from vla import devices
from vla.models.attention import attend

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
