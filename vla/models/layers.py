"""The named layers of a network, and pooling from all tokens to one vector per item.

Axes: B batch, T tokens, D width, L blocks, R layers read, S pooled vectors per row of a batch.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float, Int

Blocks = TypeVar("Blocks")

# From hidden states [B, T, D] to what is kept of them, in float32.
Pool = Callable[[Array], Array]

# Pools of language models; the first is the default.
LANGUAGE_POOLS = ("mean", "mean_no_bos", "last")

# Pools of images that are a single token, and its index.
_SINGLE_TOKENS = {"cls": 0, "distillation": 1}


def layer_names(depth: int) -> tuple[str, ...]:
    """embed, block_1 .. block_L, final_norm."""
    return ("embed", *(f"block_{i}" for i in range(1, depth + 1)), "final_norm")


def every_token(hidden: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """All tokens in float32, for inspection and tests."""
    return hidden.astype(jnp.float32)


def vision_pool(name: str, prefix: int) -> Pool:
    """The pool of that name: "cls", "distillation", "mean" (over patches only) or "tokens" (all, for inspection).

    Tokens are in the order class token, distillation token, registers, patches; `prefix` come before the patches.
    """
    if name in _SINGLE_TOKENS:
        return lambda hidden: hidden[:, _SINGLE_TOKENS[name]].astype(jnp.float32)
    if name == "mean":
        return lambda hidden: hidden[:, prefix:].astype(jnp.float32).mean(1)
    assert name == "tokens", name
    return every_token


def tokens_read(names: Sequence[str]) -> int | None:
    """How many tokens, from the first, vision pools of these names read; None for all."""
    if not names or not all(name in _SINGLE_TOKENS for name in names):
        return None
    return 1 + max(_SINGLE_TOKENS[name] for name in names)


def caption_weights(name: str, tokens: Int[np.ndarray, "T"], bos: int | None) -> Float[np.ndarray, "T"]:
    """The weight of each token of a caption in the pool of that name; they sum to 1, or are 0 if the pool is empty.

    `bos` is the id of the token that may open a sequence; None if the tokenizer has none.
    """
    included = np.ones(len(tokens), np.float32)
    if name == "mean_no_bos":
        included[0] = bos is None or tokens[0] != bos
    elif name == "last":
        included[:-1] = 0
    else:
        assert name == "mean", name
    return included / max(included.sum(), 1)


def weighted(weights: Float[Array, "B S T"]) -> Pool:
    """The pool that takes S weighted sums over the tokens of a row, in float32.

    A token of weight 0 is ignored even if it is not finite; a token with a weight that is not finite makes its sums
    NaN.
    """

    def pool(hidden: Float[Array, "B T D"]) -> Float[Array, "B S D"]:
        wide = hidden.astype(jnp.float32)
        finite = jnp.isfinite(wide)
        sums = jnp.einsum("bst,btd->bsd", weights, jnp.where(finite, wide, 0))
        broken = jnp.any((weights != 0) & ~finite.all(-1)[:, None], axis=-1)
        return jnp.where(broken[..., None], jnp.nan, sums)

    return pool


def stack(make: Callable[[nnx.Rngs], Blocks], depth: int, rngs: nnx.Rngs) -> Blocks:
    """`depth` blocks as one module whose parameters have a leading axis L."""
    return nnx.split_rngs(splits=depth)(nnx.vmap(make))(rngs)


def read_layers(
    hidden: Float[Array, "B T D"],
    blocks: Blocks,
    depth: int,
    step: Callable[[Blocks, Array], Array],
    final_norm: Callable[[Array], Array],
    pool: Pool,
    layers: tuple[str, ...],
    last: Callable[[Blocks, Array], Array] | None = None,
) -> Float[Array, "R B ..."]:
    """Pool the input of block 1, the output of each block, and the final norm, as far up as `layers` reaches.

    Every layer is pooled as soon as it is computed, so that readouts take memory L·B·D instead of L·B·T·D.

    Args:
      hidden: Input of block 1.
      blocks: Stacked blocks, as from `stack`.
      depth: L.
      step: Applies one block to hidden states.
      final_norm: The norm after the last block.
      pool: From hidden states to what is kept of them.
      layers: Names from `layer_names(depth)`.
      last: Applies the last block needed, if fewer tokens of its output are needed than `step` computes; None for
        `step`.
    """
    names = layer_names(depth)
    needed = min(max(names.index(layer) for layer in layers), depth)

    def block_at(i: int | Array) -> Blocks:
        # Indexing inside the scan reads one block's weights in place; blocks[:needed] outside would copy them all.
        return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False), blocks)

    def pass_block(hidden: Array, i: Array) -> tuple[Array, Array]:
        hidden = step(block_at(i), hidden)
        return hidden, pool(hidden)

    pooled = {"embed": pool(hidden)}
    scanned = needed if last is None else max(needed - 1, 0)
    hidden, outputs = jax.lax.scan(pass_block, hidden, jnp.arange(scanned))
    pooled |= {f"block_{i + 1}": outputs[i] for i in range(scanned)}
    if last is not None and needed:
        hidden = last(block_at(needed - 1), hidden)
        pooled[f"block_{needed}"] = pool(hidden)
    if "final_norm" in layers:
        pooled["final_norm"] = pool(final_norm(hidden))
    return jnp.stack([pooled[layer] for layer in layers])
