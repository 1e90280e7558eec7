"""What a network takes at a time: rows of tokens, or pixels.

Axes: B rows of a batch, T tokens, S vectors wanted of one row, C channels, H rows of pixels, W columns.
"""

from typing import Any, NamedTuple

import numpy as np
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
