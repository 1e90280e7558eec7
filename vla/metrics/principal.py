"""The principal directions of one layer.

N items, D units, R directions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vla.metrics.standardise import centre, moments, standardise


class Principal(NamedTuple):
    """A centred layer as vectors @ diag(values) @ loadings, in float64.

    Attributes:
      vectors: Orthonormal columns over items.
      values: Singular values, descending.
      loadings: Orthonormal rows over units.
    """

    vectors: Float[Array, "N R"]
    values: Float[Array, " R"]
    loadings: Float[Array, "R D"]

    def first(self, count: int) -> "Principal":
        """The directions of most variance."""
        return Principal(self.vectors[:, :count], self.values[:count], self.loadings[:count])


def principal(x: Float[Array, "N D"], standardised: bool = False) -> Principal:
    """Thin singular value decomposition of the centred layer, not of its Gram matrix, which would lose the directions
    of little variance. Those that are rounding error are left out.

    Args:
      x: A layer.
      standardised: Z-score units first.
    """
    p, kept = decomposed(x, standardised)
    return p.first(int(np.sum(kept)))


@jax.jit(static_argnames="standardised")
def decomposed(x: Float[Array, "N D"], standardised: bool = False) -> tuple[Principal, Bool[Array, " R"]]:
    """All singular vectors, and which of them are more than rounding error of the computation or of float32
    activations."""
    size = max(x.shape)
    floor = max(size * jnp.finfo(jnp.float64).eps, np.sqrt(size) * jnp.finfo(x.dtype).eps)
    x = x.astype(jnp.float64)
    m = moments(x)
    u, s, v = jnp.linalg.svd(standardise(x, m) if standardised else centre(x, m), full_matrices=False)
    return Principal(u, s, v), s > floor * s[0]
