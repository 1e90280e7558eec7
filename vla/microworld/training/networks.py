"""Networks before training, and passes through them that a loss needs.

Axes: B batch, T tokens, D width, V vocabulary.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from vla.microworld.training.architectures import DEVIATION, MEAN
from vla.models.decoder import Decoder
from vla.models.decoder_config import DecoderConfig
from vla.models.loading import read_config
from vla.models.sequence import plain
from vla.models.vision_encoder import VisionEncoder

Tree = Any
# Of token embeddings: small enough that tied logits begin near zero.
_EMBEDDING = 0.2
# Of positions and of the class token, beside patches of order one.
_POSITION = 0.2


def untrained(folder: Path, seed: int, tower: str | None = None) -> VisionEncoder | Decoder:
    """The network that config.json in `folder` describes, with weights drawn from a seed.

    As the constructors draw them, but for embeddings, and for the maps that end a branch: those are divided by
    sqrt(2 L), so that the sum of all branches is of order one (Radford et al. 2019, GPT-2).
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


def _scale(parameter: Any, factor: float) -> None:
    parameter[...] = parameter[...] * factor


def pixels_of(pictures: np.ndarray) -> Float[np.ndarray, "B 3 H W"]:
    """Pictures as the image processors normalise them."""
    values = (np.asarray(pictures, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def through_blocks(network: VisionEncoder, tokens: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """Some or all tokens of images through all blocks and the final norm."""

    def step(hidden: Array, block: Any) -> tuple[Array, None]:
        return block(hidden), None

    # Unrolled: a loop puts by what the gradient needs of each block, which makes a training step a fifth slower.
    hidden, _ = jax.lax.scan(step, tokens, network.blocks, unroll=True)
    return network.final_norm(hidden)


def class_token(network: VisionEncoder, tokens: Float[Array, "B T D"]) -> Float[Array, "B D"]:
    """The first token of `through_blocks`, for which the last block is computed for no other."""

    def step(hidden: Array, block: Any) -> tuple[Array, None]:
        return block(hidden), None

    before, last = (
        jax.tree.map(lambda leaf: leaf[:-1], network.blocks),
        jax.tree.map(lambda leaf: leaf[-1], network.blocks),
    )
    hidden, _ = jax.lax.scan(step, tokens, before, unroll=True)
    return network.final_norm(last(hidden, kept=1))[:, 0]


def read_texts(network: Decoder, ids: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
    """What the final norm gives at every token."""
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
    """How likely each token comes next, by the embeddings themselves."""
    return jnp.einsum("btd,vd->btv", hidden, network.embedding[...])


def padded(rows: list[list[int]], pad: int) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, "B T"]]:
    """Token ids of equal length, filled up on the right, and which of them are real."""
    T = max(map(len, rows))
    ids, mask = np.full((len(rows), T), pad, np.int32), np.zeros((len(rows), T), bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask
