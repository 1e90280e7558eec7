"""Linear Gram matrices of one layer, centred, in float64.

N items, D units.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vla.metrics.standardise import centre, moments
from vla.metrics.symmetric import symmetric_product


@jax.jit
def linear_gram(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    """K = X X^T of column-centred rows, in float64.

    Columns are centred before the product: X X^T of raw activations, whose mean may be large, would lose the
    digits that centring K afterwards needs. Units are scaled together to unit root mean square, so that K neither
    over- nor underflows; every measure built on it is invariant to that.
    """
    x = x.astype(jnp.float64)
    x = centre(x, moments(x))
    power = jnp.mean(x**2)
    x = x / jnp.sqrt(jnp.where(power > 0, power, 1.0))
    return symmetric_product(x)


@jax.jit
def centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """HKH: rows and columns of mean zero."""
    k = k - jnp.mean(k, axis=0)
    return k - jnp.mean(k, axis=1, keepdims=True)


@jax.jit
def u_centred(k: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """U-centring: the diagonal is set to zero, then rows and columns are centred without bias.

    K~_ij = K_ij - sum_l K_il / (N-2) - sum_l K_lj / (N-2) + sum_lm K_lm / ((N-1)(N-2)) for i != j, else 0.

    <K~, L~> / (N (N-3)) is the unbiased estimator of HSIC of Song et al. (2012), as Szekely & Rizzo (2014) write it.
    """
    n = k.shape[0]
    off_diagonal = 1 - jnp.eye(n)
    k = k * off_diagonal
    rows = jnp.sum(k, axis=1) / (n - 2)
    centred = k - rows[:, None] - rows[None, :] + jnp.sum(k) / ((n - 1) * (n - 2))
    return centred * off_diagonal
