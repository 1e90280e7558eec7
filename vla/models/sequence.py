"""Where every token of a batch stands in its caption, and which tokens it may attend to.

Axes: B rows of the batch, T tokens.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int


def plain(mask: Bool[Array, "B T"], causal: bool = True) -> tuple[Int[Array, "B T"], Bool[Array, "B T T"]]:
    """Positions and reach of a batch with one caption per row, padded on either side.

    Args:
      mask: True at tokens, False at padding.
      causal: Whether a token attends to no token after it.

    Returns:
      positions: The place of each token in its caption, from 0; 0 at padding.
      reach: Whether token t (second axis) may attend to token u (third axis): u is a token, at or before t if
        `causal`. Padding reaches nothing and nothing reaches it.
    """
    T = mask.shape[1]
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1) - 1, 0)
    before = jnp.tril(jnp.ones((T, T), bool)) if causal else True
    return positions, before & mask[:, None, :] & mask[:, :, None]


def within(ends: Int[Array, "B T"], causal: bool = True) -> Bool[Array, "B T T"]:
    """Reach of rows in which what continues a token stands right after it.

    Args:
      ends: Where the tokens that may attend to token u, which begin at u itself, end; u where there are none, at
        padding.
      causal: Whether a token attends to itself and what stands before it in its caption, and not to all of it. Without,
        captions of a row share no tokens, so that all tokens of a caption have one end.
    """
    T = ends.shape[1]
    places = jnp.arange(T)
    real = ends > places
    if not causal:
        return (ends[:, :, None] == ends[:, None, :]) & real[:, :, None] & real[:, None, :]
    between = (places[:, None] >= places) & (places[:, None] < ends[:, None, :])
    return between & real[:, :, None]
