"""A network as a chain of compiled calls, each of its blocks with weights of its own.

A scan over stacked blocks is one program, but XLA on a CPU copies the weights of every block out of the stack before
it multiplies by them, for every batch: a twentieth of the time of a large model. Blocks whose weights stand alone are
read where they lie, one program serves all of them, and the chains of two batches fill each other's gaps.

Axes: L blocks, R layers read, B rows of a batch, T tokens, S vectors wanted of one row, D width.
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
from vla.models.batch import Batch, Captions, without_pixels
from vla.models.layers import layer_names
from vla.models.pooling import tokens_read
from vla.models.stages import Network, enter, pass_block, pool_of

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
