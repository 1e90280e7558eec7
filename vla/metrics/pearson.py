"""Pearson correlation of many column pairs at once.

T target layers, m items, e units.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def column_correlation(a: Float[Array, "*T m e"], b: Float[Array, "*T m e"]) -> Float[Array, "*T e"]:
    """Pearson r between matching columns of `a` and `b`, in [-1, 1].

    r_j = sum_i (a_ij - mean_j)(b_ij - mean_j) / sqrt(sum_i (a_ij - mean_j)^2 sum_i (b_ij - mean_j)^2)

    NaN where either column has no variance, as in `scipy.stats.pearsonr`. Columns are rescaled to unit
    maximum first, so that neither very small nor very large values under- or overflow when squared.
    """
    a, b = _unit(a), _unit(b)
    product = jnp.sum(a * b, axis=-2)
    power = jnp.sum(a * a, axis=-2) * jnp.sum(b * b, axis=-2)
    defined = power > 0
    r = product / jnp.sqrt(jnp.where(defined, power, 1.0))
    return jnp.where(defined, jnp.clip(r, -1.0, 1.0), jnp.nan)


def _unit(x: Float[Array, "*T m e"]) -> Float[Array, "*T m e"]:
    x = x - jnp.mean(x, axis=-2, keepdims=True)
    largest = jnp.max(jnp.abs(x), axis=-2, keepdims=True)
    return x / jnp.where(largest > 0, largest, 1.0)
