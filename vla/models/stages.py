"""A network taken apart: what enters its blocks, one block, and what is kept of hidden states.

Axes: B rows of a batch, T tokens, K tokens kept, S vectors wanted of one row, D width.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from vla import devices
from vla.models.batch import Batch, Captions, Images, within, without_pixels
from vla.models.decoder import Decoder
from vla.models.decoder_block import context_of
from vla.models.layers import layer_names
from vla.models.pooling import Pool, tokens_read, weighted
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


# Bytes of one block below which a call costs more than the copy.
_WORTHWHILE = 1 << 22

# What XLA wants the address of an array to divide by; others it copies.
_ALIGNED = 64


@functools.partial(jax.jit, static_argnames=("pools",))
def call_enter(ends: Any, batch: Batch, *, pools: tuple[str, ...]) -> tuple[Array, Array]:
    """What enters the first block of a network whose blocks may be None, and its pooled values [B, S, D]."""
    hidden = enter(ends, batch)
    return hidden, pool_of(ends, batch, pools)(hidden)


@functools.partial(jax.jit, static_argnames=("pools", "kept"))
def call_block(
    ends: Any,
    block: Any,
    number: Array,
    hidden: Array,
    batch: Batch,
    *,
    pools: tuple[str, ...],
    kept: int | None = None,
) -> tuple[Array, Array]:
    """What leaves block `number`, of images only the first `kept` tokens or all, and its pooled values."""
    hidden = pass_block(block, number, hidden, batch, kept)
    return hidden, pool_of(ends, batch, pools)(hidden)


@functools.partial(jax.jit, static_argnames=("pools",))
def call_leave(ends: Any, hidden: Array, batch: Batch, *, pools: tuple[str, ...]) -> Array:
    """The pooled values of what leaves the final norm."""
    return pool_of(ends, batch, pools)(ends.final_norm(hidden))


class Chain:
    """A network whose blocks are called one after another."""

    def __init__(self, network: Network) -> None:
        """Take the stack apart: views of it, which need no memory."""
        graph, state = nnx.split(network)
        self._ends: Any = nnx.merge(graph, state)
        self._ends.blocks = None
        self._depth = network.config.depth
        leaves, structure = jax.tree.flatten(network.blocks)
        stacks = [np.asarray(leaf) for leaf in leaves]
        self._blocks = [
            jax.tree.unflatten(structure, [jax.device_put(stack[i], may_alias=True) for stack in stacks])
            for i in range(self._depth)
        ]

    def __call__(self, batch: Batch, pools: tuple[str, ...], layers: tuple[str, ...]) -> Float[Array, "R B S D"]:
        """What `stages.forward` gives; see there. Returns before it is computed."""
        names = layer_names(self._depth)
        needed = min(max(names.index(layer) for layer in layers), self._depth)
        kept = None if isinstance(batch, Captions) else tokens_read(pools)
        hidden, pooled = call_enter(self._ends, batch, pools=pools)
        read, behind = {"embed": pooled}, without_pixels(batch)
        for i, block in enumerate(self._blocks[:needed]):
            wanted = kept if i + 1 == needed else None
            hidden, pooled = call_block(self._ends, block, np.int32(i), hidden, behind, pools=pools, kept=wanted)
            read[names[i + 1]] = pooled
        if "final_norm" in layers:
            read["final_norm"] = call_leave(self._ends, hidden, behind, pools=pools)
        return jnp.stack([read[layer] for layer in layers])


def chain_of(network: Network) -> Chain | None:
    """The network as a chain where that is faster than a scan: on one CPU, of blocks that are not small."""
    leaves = jax.tree.leaves(network.blocks)
    if not devices.on_cpu() or jax.local_device_count() > 1 or any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves):
        return None
    sizes = [leaf.nbytes // len(leaf) for leaf in leaves]
    # What is not aligned would be a second copy in memory; norms and biases may be.
    aligned = all(size % _ALIGNED == 0 or size < sum(sizes) >> 8 for size in sizes)
    return Chain(network) if aligned and sum(sizes) >= _WORTHWHILE else None
