"""Distances between the items of one layer, in float64.

Squared distances follow from one product, |a|^2 + |b|^2 - 2 a b, of which the rounding is a share of |a|^2 + |b|^2. The
rows of items that are near another one beside their distance from the centre are computed again as sums of squared
differences, so that small distances have as many digits as large ones.

N items, D units.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla.metrics.gram import in_common_scale
from vla.metrics.standardise import centre, moments, power_of_two
from vla.metrics.symmetric import symmetric_product

# Distances below this share of what they are the difference of are computed again.
_CANCELS = 1 / 256

# Two distances tie where they differ by no more than this share of themselves: what is left of rounding then.
TIE = 1e-11


def squared_euclidean(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """|x_i - x_j|^2 in units of the mean square of the centred layer; exactly zero for equal items."""
    return distances_and_power(x)[0]


@jax.jit
def distances_and_power(x: Float[Array, "N D"]) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
    """`squared_euclidean`, and the squared distance of every item from a centre of them all.

    The centre is one that a few far items do not draw away from the rest: the mean, moved twice to the mean with
    weights 1 / (1 + p / median p), p the squared distances from the centre before.
    """
    x = in_common_scale(x)
    for _ in range(2):
        power = jnp.sum(x**2, axis=1)
        typical = jnp.median(power)
        weight = 1 / (1 + power / jnp.where(typical > 0, typical, 1.0))
        x = x - (weight / jnp.sum(weight)) @ x
    return _squared(x)


def _squared(x: Float[Array, "N D"]) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
    k = symmetric_product(x)
    power = jnp.diag(k)
    both = power[:, None] + power[None, :]
    distance = both - 2 * k
    itself = jnp.eye(len(k), dtype=bool)
    cancels = (distance < _CANCELS * both) & ~itself

    def row(i: Array) -> Float[Array, " N"]:
        return jax.lax.cond(jnp.any(cancels[i]), lambda: jnp.sum((x - x[i]) ** 2, axis=1), lambda: distance[i])

    refined = jax.lax.map(row, jnp.arange(len(x)))
    return jnp.where(itself, 0.0, jnp.where(cancels, refined, distance)), power


@jax.jit
def correlation(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """1 - Pearson r between the units of item i and of item j, in [0, 2]; NaN for an item whose units are all alike.

    It is half the squared distance of items that are centred and of unit norm.

    Equivalent to `scipy.spatial.distance.pdist(x, "correlation")`.
    """
    rows = x.astype(jnp.float64).T
    rows = _unit(centre(rows, moments(rows)).T)
    distance = jnp.minimum(_squared(rows)[0] / 2, 2.0)
    # What the rounding of the rows leaves between items that correlate perfectly; NaN stays NaN.
    return jnp.where(distance <= (x.shape[1] * np.finfo(np.float64).eps) ** 2, 0.0, distance)


@jax.jit
def cosine_similarity(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """Cosine of the angle between items, uncentred, in [-1, 1]; 0 for an item of zeros, which has no direction.

    Equivalent to `sklearn.metrics.pairwise.cosine_similarity(x)`.
    """
    x = _unit(x.astype(jnp.float64))
    return symmetric_product(jnp.where(jnp.isnan(x), 0.0, x))


def _unit(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Rows of norm 1, of numbers whose squares neither over- nor underflow; NaN for rows of zeros."""
    x = x / power_of_two(jnp.max(jnp.abs(x), axis=1, keepdims=True))
    size = jnp.linalg.norm(x, axis=1, keepdims=True)
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1.0), jnp.nan)
