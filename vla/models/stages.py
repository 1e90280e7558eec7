"""A network taken apart: what enters its blocks, one block, and what is kept of hidden states.

Axes: B rows of a batch, T tokens, K tokens kept, S vectors wanted of one row, D width.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from vla.models.batch import Batch, Captions, Images
from vla.models.decoder import Decoder
from vla.models.decoder_block import context_of
from vla.models.pooling import Pool, tokens_read, weighted
from vla.models.sequence import within
from vla.models.vision_encoder import VisionEncoder, turns_of

Network = VisionEncoder | Decoder


def forward(network: Network, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
    """All wanted vectors of the named layers, in float32.

    Args:
      network: With all its blocks.
      batch: For captions, with weights for every vector wanted.
      pools: The pools of images; those of captions are in their weights.
      layers: Names, in order.
    """
    pool = pool_of(network, batch, pools)
    if isinstance(network, Decoder):
        assert isinstance(batch, Captions)
        return network(
            batch.tokens, batch.positions, within(batch.ends, network.config.causal), pool=pool, layers=layers
        )
    assert isinstance(batch, Images)
    return network(batch.pixels, pool=pool, layers=layers, kept=tokens_read(pools))


def enter(network: Network, batch: Batch) -> Float[Array, "B T D"]:
    """What enters the first block; `network` needs no blocks."""
    if isinstance(network, Decoder):
        assert isinstance(batch, Captions)
        real = batch.ends > jnp.arange(batch.ends.shape[1])
        return network.embed(jnp.where(real, batch.tokens, 0), batch.positions)
    assert isinstance(batch, Images)
    return network.embedding(batch.pixels)


def pass_block(
    block: Any, number: Array, hidden: Float[Array, "B T D"], batch: Batch, kept: int | None = None
) -> Float[Array, "B K D"]:
    """The raw output of one block, whose number counts from 0; of images for the first K = `kept` tokens, or all."""
    if isinstance(batch, Captions):
        context = context_of(block.config, batch.positions, within(batch.ends, block.config.causal))
        return block(hidden, context, number)
    return block(hidden, turns_of(block.config, *batch.pixels.shape[2:]), kept)


def compiled_for(batch: Batch, pools: tuple[str, ...]) -> tuple[str, ...]:
    """The pools that a program has to know: those of captions are numbers that it is given."""
    return () if isinstance(batch, Captions) else pools


def pool_of(network: Network, batch: Batch, pools: tuple[str, ...]) -> Pool:
    """From hidden states [B, T, D] to the wanted vectors [B, S, D]; `network` needs no weights."""
    if isinstance(batch, Captions):
        return weighted(batch.weights)
    assert isinstance(network, VisionEncoder)
    each = [network.pool(name) for name in pools]
    return lambda hidden: jnp.stack([pool(hidden) for pool in each], axis=1)
