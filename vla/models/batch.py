"""The input of a network: rows of tokens, or pixels.

Axes: B rows of a batch, T tokens, S pooled vectors per row, C channels, H rows of pixels, W columns.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from vla.models.layers import caption_weights


class Captions(NamedTuple):
    """Rows of tokens. A row holds one caption or several; captions that begin alike may share their first tokens.

    Without a causal mask, captions of a row share no tokens.

    Attributes:
      tokens: Token ids, int32 [B, T]; any value at padding.
      positions: Position of each token in its captions, from 0, int32 [B, T]; 0 at padding.
      ends: Tokens u to ends[u] - 1 may attend to token u, int32 [B, T]; u at padding. Without a causal mask, all tokens
        with the same end attend to each other.
      weights: Weight of each token in each of the S pooled vectors of its row, float32 [B, S, T].
    """

    tokens: np.ndarray | Array
    positions: np.ndarray | Array
    ends: np.ndarray | Array
    weights: np.ndarray | Array


class Images(NamedTuple):
    """Images of one size: float32 pixels [B, C, H, W]."""

    pixels: np.ndarray | Array


Batch = Captions | Images


def without_pixels(batch: Batch) -> Batch:
    """What the blocks need to know of a batch: all of captions, of images only their size."""
    return batch if isinstance(batch, Captions) else Images(np.empty((0, *batch.pixels.shape[1:]), np.float32))


def one_caption_per_row(
    tokens: Int[np.ndarray, "B T"], mask: Bool[np.ndarray, "B T"], pool: str, bos: int | None
) -> Captions:
    """Captions padded on either side, one per row, with the weights of one pool."""
    B, T = tokens.shape
    index = np.arange(T)
    positions = np.where(mask, np.cumsum(mask, axis=1) - 1, 0)
    # The index after the last token, or 0 in rows of padding.
    stop = (mask * (index + 1)).max(axis=1, keepdims=True)
    weights = np.zeros((B, 1, T), np.float32)
    for row in np.flatnonzero(mask.any(axis=1)):
        weights[row, 0, mask[row]] = caption_weights(pool, tokens[row, mask[row]], bos)
    ends = np.where(mask, stop, index)
    return Captions(tokens.astype(np.int32), positions.astype(np.int32), ends.astype(np.int32), weights)


def padded_mask(mask: Bool[Array, "B T"], causal: bool = True) -> tuple[Int[Array, "B T"], Bool[Array, "B T T"]]:
    """Positions and attention mask of a batch with one caption per row, padded on either side.

    Args:
      mask: True at tokens, False at padding.
      causal: Whether a token attends to no later token.

    Returns:
      positions: Position of each token in its caption, from 0; 0 at padding.
      allowed: Whether token t (second axis) attends to token u (third axis). Padding attends to nothing, and no token
        attends to padding.
    """
    T = mask.shape[1]
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1) - 1, 0)
    before = jnp.tril(jnp.ones((T, T), bool)) if causal else True
    return positions, before & mask[:, None, :] & mask[:, :, None]


def packed_mask(ends: Int[Array, "B T"], causal: bool = True) -> Bool[Array, "B T T"]:
    """The attention mask of packed rows: whether token t (second axis) attends to token u (third axis).

    `ends` are those of `Captions`. If `causal`, a token attends to no later token.
    """
    index = jnp.arange(ends.shape[1])
    is_token = ends > index
    if not causal:
        return (ends[:, :, None] == ends[:, None, :]) & is_token[:, :, None] & is_token[:, None, :]
    between = (index[:, None] >= index) & (index[:, None] < ends[:, None, :])
    return between & is_token[:, :, None]
