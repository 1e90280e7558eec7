"""Distances between the items of one layer, in float64.

N items, D units.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vla.metrics.gram import linear_gram
from vla.metrics.standardise import centre, moments
from vla.metrics.symmetric import symmetric_product

# An entry closer to zero than this share of what it is the difference of is rounding error.
_ROUNDING = 1e-13


@jax.jit
def squared_euclidean(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """|x_i - x_j|^2 in units of the mean square of the centred layer; exactly zero on the diagonal and for
    items that are alike to within rounding.
    """
    k = linear_gram(x)
    power = jnp.diag(k)
    both = power[:, None] + power[None, :]
    distance = both - 2 * k
    return jnp.where(distance > _ROUNDING * both, distance, 0.0) * (1 - jnp.eye(len(k)))


@jax.jit
def correlation(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """1 - Pearson r between the units of item i and of item j, in [0, 2]; NaN for an item whose units are all alike.

    Equivalent to `scipy.spatial.distance.pdist(x, "correlation")`.
    """
    rows = x.astype(jnp.float64).T
    rows = centre(rows, moments(rows)).T
    size = jnp.linalg.norm(rows, axis=1, keepdims=True)
    rows = jnp.where(size > 0, rows / jnp.where(size > 0, size, 1.0), jnp.nan)
    distance = jnp.clip(1 - symmetric_product(rows), 0.0, 2.0)
    # NaN stays NaN
    return jnp.where(distance <= _ROUNDING, 0.0, distance) * (1 - jnp.eye(len(x)))


@jax.jit
def cosine_similarity(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """Cosine of the angle between items, uncentred, in [-1, 1]; NaN for an item of zeros."""
    x = x.astype(jnp.float64)
    size = jnp.linalg.norm(x, axis=1, keepdims=True)
    x = jnp.where(size > 0, x / jnp.where(size > 0, size, 1.0), jnp.nan)
    return symmetric_product(x)
