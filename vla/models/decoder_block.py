"""One block of the decoder, and what all blocks share about a batch.

Axes: B rows of the batch, T tokens, D width, H query heads, K key-value heads, C width of a head, P rotary pairs.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from vla.models.attention import attend_in_parts
from vla.models.decoder_config import DecoderConfig
from vla.models.experts import Experts
from vla.models.linear import NORMS, FeedForward, Linear
from vla.models.rotary import Turns, rotate, turns

# The number of a block, from 0: counted by a scan, or known.
Number = Array | int


class Context(NamedTuple):
    """What follows from the tokens' places alone, the same for all blocks.

    The two sides, [full, sliding], are those of blocks that see a whole caption and of blocks that see a window; a
    side that is never needed is left out.

    Attributes:
      reach: Bool [B, T, T] per side.
      turns: Cosines and sines [B, T, P] per side; None without rotary embedding.
      distances: Int [B, T, T], how far each key stands before its query; None without ALiBi.
    """

    reach: tuple[Array, ...]
    turns: tuple[Turns, ...] | None
    distances: Array | None


def context_of(config: DecoderConfig, positions: Int[Array, "B T"], reach: Bool[Array, "B T T"]) -> Context:
    """What the blocks share about a batch; see `Decoder.__call__` for the arguments."""
    T = positions.shape[1]
    distances = positions[:, :, None] - positions[:, None, :]
    # No caption is longer than its row: a window as wide hides nothing.
    window = config.window if config.window is not None and any(config.sliding) else T
    near = distances < window if config.causal else jnp.abs(distances) <= window
    sides = (reach, reach & near) if window < T else (reach,)
    kinds = [rotary for rotary in (config.rotary, config.local_rotary) if rotary is not None]
    turned = tuple(turns(rotary, config.head_width, positions) for rotary in kinds) or None
    return Context(sides, turned, distances if config.alibi else None)


def _side(sides: tuple[Any, ...], config: DecoderConfig, number: Number) -> Any:
    """What block `number` takes of [full, sliding]."""
    if len(sides) == 1:
        return sides[0]
    full, sliding = sides
    slides = jnp.asarray(config.sliding)[number]
    if isinstance(full, tuple):
        return tuple(jnp.where(slides, b, a) for a, b in zip(full, sliding, strict=True))
    return jnp.where(slides, sliding, full)


class Attention(nnx.Module):
    """Every token attends to the tokens within its reach."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """Four linear maps; key and value have K heads."""
        D, bias = config.width, config.attention_bias
        queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
        self.query = Linear(D, queries, bias=bias, dtype=dtype, rngs=rngs)
        self.key = Linear(D, keys, bias=bias, dtype=dtype, rngs=rngs)
        self.value = Linear(D, keys, bias=bias, dtype=dtype, rngs=rngs)
        self.out = Linear(queries, D, bias=config.out_bias, dtype=dtype, rngs=rngs)
        widths = (config.head_width, config.head_width) if config.qk_norm == "head" else (queries, keys)
        self.query_norm = _norm(config, dtype, widths[0]) if config.qk_norm else None
        self.key_norm = _norm(config, dtype, widths[1]) if config.qk_norm else None
        self.config = config

    def __call__(self, x: Float[Array, "B T D"], context: Context, number: Number) -> Float[Array, "B T D"]:
        """Mix tokens."""
        config = self.config
        query, key, value = self.query(x), self.key(x), self.value(x)
        if config.qkv_clip is not None:
            query, key, value = (jnp.clip(part, -config.qkv_clip, config.qkv_clip) for part in (query, key, value))
        query, key = self._heads(query, self.query_norm), self._heads(key, self.key_norm)
        if context.turns is not None:
            turned = _side(context.turns, config, number)
            query, key = rotate(query, turned), rotate(key, turned)
        scale = config.head_width**-0.5 if config.attention_scale is None else config.attention_scale
        mixed = attend_in_parts(
            query,
            key,
            self._heads(value, None),
            _side(context.reach, config, number),
            scale=scale / (number + 1) if config.scale_by_block else scale,
            cap=config.score_cap,
            distances=context.distances,
        )
        return self.out(mixed)

    def _heads(self, x: Float[Array, "B T HC"], norm: Any) -> Float[Array, "B T H C"]:
        """Cut into heads, normalised before or after if at all."""
        if norm is not None and self.config.qk_norm == "width":
            x, norm = norm(x), None
        x = x.reshape(*x.shape[:2], -1, self.config.head_width)
        return x if norm is None else norm(x)


class Block(nnx.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), with the norms and sums where the config puts them."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """One of L blocks."""
        self.norm1 = _norm(config, dtype) if config.pre_norm else None
        self.attention = Attention(config, dtype=dtype, rngs=rngs)
        self.post_norm1 = _norm(config, dtype) if config.post_norm else None
        self.norm2 = _norm(config, dtype) if config.pre_norm else None
        if config.experts:
            self.feed_forward = Experts(
                config.width,
                config.inner,
                experts=config.experts,
                per_token=config.experts_per_token,
                nonlinearity=config.nonlinearity,
                dtype=dtype,
                rngs=rngs,
            )
        else:
            self.feed_forward = FeedForward(
                config.width,
                config.inner,
                nonlinearity=config.nonlinearity,
                gated=config.gated,
                bias=config.feed_forward_bias,
                dtype=dtype,
                rngs=rngs,
            )
        self.post_norm2 = _norm(config, dtype) if config.post_norm else None
        self.config = config

    def __call__(self, x: Float[Array, "B T D"], context: Context, number: Number) -> Float[Array, "B T D"]:
        """The raw output of the block.

        Args:
          x: The raw output of the block before, or what the embedding gave.
          context: From `context_of`.
          number: Of this block, from 0.
        """
        config = self.config
        normal = _apply(self.norm1, x)
        branch = _apply(self.post_norm1, self.attention(normal, context, number))
        middle = (normal if config.residual_of_norm else x) + branch
        normal = _apply(self.norm2, x if config.parallel else middle)
        branch = _apply(self.post_norm2, self.feed_forward(normal))
        return (normal if config.residual_of_norm else middle) + branch


def _norm(config: DecoderConfig, dtype: DTypeLike, width: int | None = None) -> Any:
    """A norm of the config's kind, over its whole width unless told otherwise."""
    return NORMS[config.norm](width or config.width, epsilon=config.norm_epsilon, dtype=dtype)


def _apply(norm: Any, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    return x if norm is None else norm(x)
