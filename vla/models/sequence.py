"""Where every token of a batch stands in its caption, and which tokens it may attend to.

Axes: B rows of the batch, T tokens.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int


def plain(mask: Bool[Array, "B T"]) -> tuple[Int[Array, "B T"], Bool[Array, "B T T"]]:
    """Positions and reach of a batch with one caption per row, padded on either side.

    Args:
      mask: True at tokens, False at padding.

    Returns:
      positions: The place of each token in its caption, from 0; 0 at padding.
      reach: Whether token t (second axis) may attend to token u (third axis): u is a token at or before t. Padding
        reaches nothing and nothing reaches it.
    """
    T = mask.shape[1]
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1) - 1, 0)
    causal = jnp.tril(jnp.ones((T, T), bool))
    return positions, causal & mask[:, None, :] & mask[:, :, None]


def within(ends: Int[Array, "B T"]) -> Bool[Array, "B T T"]:
    """Reach of rows in which what continues a token stands right after it.

    Args:
      ends: Where the tokens that may attend to token u, which begin at u itself, end; u where there are none, at
        padding.
    """
    T = ends.shape[1]
    places = jnp.arange(T)
    real = ends > places
    between = (places[:, None] >= places) & (places[:, None] < ends[:, None, :])
    return between & real[:, :, None]
