"""Untrained networks, and the forward passes that the training losses need.

Axes: B batch, T tokens, D width, V vocabulary.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int, UInt8

from vla.microworld.training.architectures import DEVIATION, MEAN
from vla.models.batch import plain
from vla.models.decoder import Decoder
from vla.models.decoder_config import DecoderConfig
from vla.models.loading import read_config
from vla.models.vision_encoder import VisionEncoder

# Scale of token embeddings: small, so that tied logits start near zero.
_EMBEDDING = 0.2
# Scale of position embeddings and of the class token; patch embeddings are of order one.
_POSITION = 0.2


def untrained(folder: Path, seed: int, tower: str | None = None) -> VisionEncoder | Decoder:
    """The network of the config.json in `folder`, with random weights from a seed.

    Initialised as by the constructors, except embeddings, and except the last matrix of each residual branch: it is
    divided by sqrt(2 L), so that the sum of all branches is of order one (Radford et al. 2019, GPT-2).
    """
    _, config = read_config(folder / "config.json", tower)
    rngs = nnx.Rngs(seed)
    if isinstance(config, DecoderConfig):
        network: Any = Decoder(config, rngs=rngs)
        _scale(network.embedding, _EMBEDDING)
        if network.positions is not None:
            _scale(network.positions, _POSITION)
    else:
        network = VisionEncoder(config, rngs=rngs)
        _scale(network.embedding.positions, _POSITION / 0.02)
        _scale(network.embedding.cls, _POSITION / 0.02)
    for branch in (network.blocks.attention.out, network.blocks.feed_forward.down):
        _scale(branch.weight, (2 * config.depth) ** -0.5)
    return network


def _scale(parameter: nnx.Param, factor: float) -> None:
    parameter[...] = parameter[...] * factor


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
    positions, reach = plain(mask)
    hidden = network.embed(jnp.where(mask, ids, 0), positions)
    context = network.context(positions, reach)

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
