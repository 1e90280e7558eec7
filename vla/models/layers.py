"""The named layers of a network, read while its stacked blocks are scanned.

Axes: L blocks, R layers read, B batch, T tokens, D width.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from vla.models.pooling import Pool


def layer_names(depth: int) -> tuple[str, ...]:
    """embed, block_1 .. block_L, final_norm."""
    return ("embed", *(f"block_{i}" for i in range(1, depth + 1)), "final_norm")


def stack(make: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> Any:
    """`depth` blocks as one module whose parameters have a leading axis L."""
    return nnx.split_rngs(splits=depth)(nnx.vmap(make))(rngs)


def read_layers(
    hidden: Float[Array, "B T D"],
    blocks: Any,
    depth: int,
    step: Callable[[Any, Array], Array],
    final_norm: Callable[[Array], Array],
    pool: Pool,
    layers: tuple[str, ...],
    last: Callable[[Any, Array], Array] | None = None,
) -> Float[Array, "R B ..."]:
    """Pool what enters block 1, what leaves each block and its final norm, as far up as `layers` reaches.

    Every layer is pooled as soon as it is there, so that memory is L·B·D for readouts and not L·B·T·D. Blocks above
    the last layer wanted are not computed.

    Args:
      hidden: What enters block 1.
      blocks: Stacked blocks, as from `stack`.
      depth: L.
      step: Applies one block to hidden states.
      final_norm: The norm after the last block.
      pool: From hidden states to what is kept of them.
      layers: Names from `layer_names(depth)`.
      last: Applies the last block that is needed where less of its result is wanted than `step` gives; None for
        `step`.
    """
    names = layer_names(depth)
    needed = min(max(names.index(layer) for layer in layers), depth)

    def block_of(i: Any) -> Any:
        # Indexing inside the scan reads one block's weights in place; blocks[:needed] outside would copy them all.
        return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False), blocks)

    def pass_block(hidden: Array, i: Array) -> tuple[Array, Array]:
        hidden = step(block_of(i), hidden)
        return hidden, pool(hidden)

    read = {"embed": pool(hidden)}
    alike = needed if last is None else max(needed - 1, 0)
    hidden, pooled = jax.lax.scan(pass_block, hidden, jnp.arange(alike))
    read |= {f"block_{i + 1}": pooled[i] for i in range(alike)}
    if last is not None and needed:
        hidden = last(block_of(needed - 1), hidden)
        read[f"block_{needed}"] = pool(hidden)
    if "final_norm" in layers:
        read["final_norm"] = pool(final_norm(hidden))
    return jnp.stack([read[layer] for layer in layers])
