"""What a network takes at a time: rows of tokens, or pixels.

Axes: B rows of a batch, T tokens, S vectors wanted of one row, C channels, H rows of pixels, W columns.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from vla.models.pooling import caption_weights


class Captions(NamedTuple):
    """Rows of tokens; a row holds one caption, or several in the order of the tree of their beginnings.

    For a model without a causal mask captions of a row share no tokens.

    Attributes:
      tokens: Token ids, int32 [B, T] of NumPy or JAX; anything at padding.
      positions: The place of each token in its captions, from 0, int32 [B, T]; 0 at padding.
      ends: Token u may be attended to by tokens u to ends[u] - 1, int32 [B, T]; u at padding. Without a causal mask,
        by all tokens of the same end.
      weights: What each token counts in each of the vectors that are wanted of its row, float32 [B, S, T].
    """

    tokens: Any
    positions: Any
    ends: Any
    weights: Any


class Images(NamedTuple):
    """Pixels of images of one size.

    Attributes:
      pixels: Float32 [B, C, H, W] of NumPy or JAX.
    """

    pixels: Any


Batch = Captions | Images


def without_pixels(batch: Batch) -> Batch:
    """What has to be known of a batch behind the embedding: all of captions, of images their size."""
    return batch if isinstance(batch, Captions) else Images(np.empty((0, *batch.pixels.shape[1:]), np.float32))


def one_per_row(tokens: Int[np.ndarray, "B T"], mask: Bool[np.ndarray, "B T"], pool: str, bos: int | None) -> Captions:
    """Captions padded on either side, one per row, of each of which one pool is wanted."""
    B, T = tokens.shape
    places = np.arange(T)
    positions = np.where(mask, np.cumsum(mask, axis=1) - 1, 0)
    # right behind the last token, or 0 in rows of padding
    stop = (mask * (places + 1)).max(axis=1, keepdims=True)
    weights = np.zeros((B, 1, T), np.float32)
    for row in np.flatnonzero(mask.any(axis=1)):
        weights[row, 0, mask[row]] = caption_weights(pool, tokens[row, mask[row]], bos)
    ends = np.where(mask, stop, places)
    return Captions(tokens.astype(np.int32), positions.astype(np.int32), ends.astype(np.int32), weights)


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
