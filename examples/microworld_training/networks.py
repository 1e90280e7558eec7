"""The forward passes that the training losses need.

Axes: B batch, T tokens, D width, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, UInt8

from examples.microworld_training.architectures import DEVIATION, MEAN
from vla.models.batch import padded_mask
from vla.models.decoder import Decoder, context_of
from vla.models.vision_encoder import VisionEncoder


def pixels_of(images: UInt8[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "B 3 H W"]:
    """Images normalised as by the image processors."""
    values = (np.asarray(images, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def through_blocks(network: VisionEncoder, tokens: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """Pass tokens of images through all blocks and the final norm."""

    def step(hidden: Array, block: Any) -> tuple[Array, None]:
        return block(hidden), None

    # Unrolled: a loop would copy what the gradient needs of each block, and a training step would be 20 % slower.
    hidden, _ = jax.lax.scan(step, tokens, network.blocks, unroll=True)
    return network.final_norm(hidden)


def class_token(network: VisionEncoder, tokens: Float[Array, "B T D"]) -> Float[Array, "B D"]:
    """The first token of `through_blocks`; the last block is computed for this token only."""

    def step(hidden: Array, block: Any) -> tuple[Array, None]:
        return block(hidden), None

    before, last = (
        jax.tree.map(lambda leaf: leaf[:-1], network.blocks),
        jax.tree.map(lambda leaf: leaf[-1], network.blocks),
    )
    hidden, _ = jax.lax.scan(step, tokens, before, unroll=True)
    return network.final_norm(last(hidden, kept=1))[:, 0]


def read_texts(network: Decoder, ids: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
    """Output of the final norm at every token."""
    positions, allowed = padded_mask(mask)
    hidden = network.embed(jnp.where(mask, ids, 0), positions)
    context = context_of(network.config, positions, allowed)

    def step(hidden: Array, numbered: Any) -> tuple[Array, None]:
        block, number = numbered
        return block(hidden, context, number), None

    numbers = jnp.arange(network.config.depth)
    hidden, _ = jax.lax.scan(step, hidden, (network.blocks, numbers), unroll=True)
    return network.final_norm(hidden)


def tied_logits(network: Decoder, hidden: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
    """Logits of the next token; the output matrix is that of the embeddings."""
    return jnp.einsum("btd,vd->btv", hidden, network.embedding[...])


def padded(rows: list[list[int]], pad: int) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, "B T"]]:
    """Token ids padded on the right to equal length, and a mask of the real tokens."""
    T = max(map(len, rows))
    ids, mask = np.full((len(rows), T), pad, np.int32), np.zeros((len(rows), T), bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask
