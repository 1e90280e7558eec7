"""Linear Gram matrices of one layer, centred, in float64.

N items, D units.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vla import devices
from vla.devices import AnyArray
from vla.metrics.standardise import centre, moments
from vla.metrics.symmetric import symmetric_product


@jax.jit
def linear_gram(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """K = X X^T of column-centred rows, in float64, up to a factor to which every measure built on it is invariant."""
    return symmetric_product(in_common_scale(x))


@devices.compiled
def in_common_scale(x: Float[AnyArray, "N D"]) -> Float[AnyArray, "N D"]:
    """Columns centred, and scaled together to unit root mean square, in float64.

    Columns are centred before a product: X X^T of raw activations, whose mean may be large, would lose the digits that
    centring K afterwards needs. The scale keeps K from over- and underflowing.
    """
    xp, x = x.__array_namespace__(), x.astype(np.float64)
    x = centre(x, moments(x))
    power = xp.mean(x**2)
    return x / xp.sqrt(xp.where(power > 0, power, 1.0))


@jax.jit
def centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """HKH: rows and columns of mean zero; exactly zero for items that are all alike."""
    rest = k - jnp.mean(k, axis=0)
    return _beyond_rounding(rest - jnp.mean(rest, axis=1, keepdims=True), k)


@jax.jit
def u_centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """U-centring: the diagonal is set to zero, then rows and columns are centred without bias.

    K~_ij = K_ij - sum_l K_il / (N-2) - sum_l K_lj / (N-2) + sum_lm K_lm / ((N-1)(N-2)) for i != j, else 0.

    <K~, L~> / (N (N-3)) is the unbiased estimator of HSIC of Song et al. (2012), as Szekely & Rizzo (2014) write it.
    Exactly zero for items that are all as alike as each other.
    """
    n = k.shape[0]
    off_diagonal = 1 - jnp.eye(n)
    k = k * off_diagonal
    rows = jnp.sum(k, axis=1) / (n - 2)
    centred = k - rows[:, None] - rows[None, :] + jnp.sum(k) / ((n - 1) * (n - 2))
    return _beyond_rounding(centred * off_diagonal, k)


def _beyond_rounding(rest: Float[Array, "N N"], k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """What is left of a matrix, or zero if that is no more than its rounding error: scaled up it would be a score."""
    floor = 8 * len(k) * np.finfo(np.float64).eps * jnp.linalg.norm(k)
    return jnp.where(jnp.linalg.norm(rest) > floor, rest, 0.0)
