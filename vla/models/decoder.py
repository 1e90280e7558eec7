"""One transformer over tokens, causal unless its config says otherwise: from ids to hidden states of any layer.

Axes: B rows of the batch, T tokens, R layers read, L blocks, D width, H query heads, K key-value heads, C width of a
head, P pairs of rotating units.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from vla.models.attention import attend_in_parts
from vla.models.layers import Pool, read_layers, stack
from vla.models.linear import NORMS, Experts, FeedForward, LayerNorm, Linear, RMSNorm
from vla.models.network_config import DecoderConfig
from vla.models.rotary import Rotation, rotate, rotation

Side = TypeVar("Side", Array, Rotation)


class Context(NamedTuple):
    """What follows from the positions of the tokens alone and is the same for all blocks.

    Pairs are (full, sliding): of blocks that attend to all of a caption and of blocks that attend to a window. The
    second is left out if no block needs it.

    Attributes:
      masks: Bool [B, T, T] each.
      rotations: Cosines and sines [B, T, P] each; None without rotary embedding.
      distances: Int [B, T, T], tokens from each key to its query; None without ALiBi.
    """

    masks: tuple[Array, ...]
    rotations: tuple[Rotation, ...] | None
    distances: Array | None


def context_of(config: DecoderConfig, positions: Int[Array, "B T"], mask: Bool[Array, "B T T"]) -> Context:
    """What the blocks share about a batch; see `Decoder.__call__` for the arguments."""
    T = positions.shape[1]
    distances = positions[:, :, None] - positions[:, None, :]
    # No caption is longer than its row: a window as wide masks nothing.
    window = config.window if config.window is not None and any(config.sliding) else T
    near = distances < window if config.causal else jnp.abs(distances) <= window
    masks = (mask, mask & near) if window < T else (mask,)
    rotaries = [rotary for rotary in (config.rotary, config.local_rotary) if rotary is not None]
    rotations = tuple(rotation(rotary, config.head_width, positions) for rotary in rotaries) or None
    return Context(masks, rotations, distances if config.alibi else None)


def _of_block(sides: tuple[Side, ...], config: DecoderConfig, number: Array | int) -> Side:
    """The one of (full, sliding) that block `number` uses."""
    if len(sides) == 1:
        return sides[0]
    slides = jnp.asarray(config.sliding)[number]
    return jax.tree.map(lambda full, sliding: jnp.where(slides, sliding, full), *sides)


class Attention(nnx.Module):
    """Every token attends to the tokens that its mask allows."""

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

    def __call__(self, x: Float[Array, "B T D"], context: Context, number: Array | int) -> Float[Array, "B T D"]:
        """Mix tokens in block `number`, from 0."""
        config = self.config
        query, key, value = self.query(x), self.key(x), self.value(x)
        if config.qkv_clip is not None:
            query, key, value = (jnp.clip(part, -config.qkv_clip, config.qkv_clip) for part in (query, key, value))
        query, key = self._heads(query, self.query_norm), self._heads(key, self.key_norm)
        if context.rotations is not None:
            angles = _of_block(context.rotations, config, number)
            query, key = rotate(query, angles), rotate(key, angles)
        scale = config.head_width**-0.5 if config.attention_scale is None else config.attention_scale
        mixed = attend_in_parts(
            query,
            key,
            self._heads(value, None),
            _of_block(context.masks, config, number),
            scale=scale / (number + 1) if config.scale_by_block else scale,
            cap=config.score_cap,
            distances=context.distances,
        )
        return self.out(mixed)

    def _heads(self, x: Float[Array, "B T HC"], norm: Callable[[Array], Array] | None) -> Float[Array, "B T H C"]:
        """Split into heads; the norm, if any, comes before or after."""
        if norm is not None and self.config.qk_norm == "width":
            x, norm = norm(x), None
        x = x.reshape(*x.shape[:2], -1, self.config.head_width)
        return _apply(norm, x)


class Block(nnx.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), with norms and sums placed as the config says."""

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

    def __call__(self, x: Float[Array, "B T D"], context: Context, number: Array | int) -> Float[Array, "B T D"]:
        """The raw output of block `number`, from 0, given that of the previous block or of the embedding."""
        config = self.config
        normal = _apply(self.norm1, x)
        branch = _apply(self.post_norm1, self.attention(normal, context, number))
        middle = (normal if config.residual_of_norm else x) + branch
        normal = _apply(self.norm2, x if config.parallel else middle)
        branch = _apply(self.post_norm2, self.feed_forward(normal))
        return (normal if config.residual_of_norm else middle) + branch


def _norm(config: DecoderConfig, dtype: DTypeLike, width: int | None = None) -> LayerNorm | RMSNorm:
    """The config's norm over `width` units, by default over D."""
    return NORMS[config.norm](width or config.width, epsilon=config.norm_epsilon, dtype=dtype)


def _apply(norm: Callable[[Array], Array] | None, x: Array) -> Array:
    return x if norm is None else norm(x)


class Decoder(nnx.Module):
    """Token ids to pooled hidden states of any of its layers; without a language-model head."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        """Token embeddings, L stacked blocks, final norm; weights and compute in `dtype`."""
        draw = jax.nn.initializers.normal(1.0)
        self.embedding = nnx.Param(draw(rngs.params(), (config.vocabulary, config.width), dtype))
        self.positions = (
            nnx.Param(draw(rngs.params(), (config.length, config.width), dtype)) if config.learned_positions else None
        )
        self.embedding_norm = _norm(config, dtype) if config.embedding_norm else None
        self.blocks = stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.depth, rngs)
        self.final_norm = _norm(config, dtype)
        self.config = config

    def embed(self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The input of the first block. An id that the vocabulary lacks becomes NaN instead of another token."""
        # Plain indexing would read the last embedding for such an id, also for one below 0.
        tokens = jnp.where(tokens < 0, self.config.vocabulary, tokens)
        rows = jnp.take(self.embedding[...], tokens, axis=0, mode="fill")
        if self.config.embedding_scale != 1:
            rows = rows * jnp.asarray(self.config.embedding_scale, rows.dtype)
        if self.positions is not None:
            rows = rows + jnp.take(self.positions[...], positions, axis=0, mode="fill")
        return _apply(self.embedding_norm, rows)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        mask: Bool[Array, "B T T"],
        *,
        pool: Pool,
        layers: tuple[str, ...],
    ) -> Float[Array, "R B ..."]:
        """Pooled hidden states of the R layers called `layers`, in float32.

        A row may hold several captions that do not attend to each other: the hidden states of a token depend on its
        position and its mask, not on its index in the row. longrope needs a row of its own for a caption beyond the
        original length.

        Args:
          tokens: Token ids below the size of the vocabulary; any value at padding.
          positions: Position of each token in its caption, from 0; 0 at padding.
          mask: Whether token t (second axis) attends to token u (third axis), in its own caption, causal if the config
            is. Padding attends to nothing and is not attended to. From `batch.padded_mask` or `batch.packed_mask`.
          pool: From hidden states to what is kept of them.
          layers: Names of layers.
        """
        # Padding must not become NaN: weight 0 times NaN would spread.
        is_token = jnp.diagonal(mask, axis1=1, axis2=2)
        hidden = self.embed(jnp.where(is_token, tokens, 0), positions)
        context = context_of(self.config, positions, mask)

        def step(numbered: tuple[Block, Array], hidden: Array) -> Array:
            block, number = numbered
            return block(hidden, context, number)

        blocks = (self.blocks, jnp.arange(self.config.depth))
        return read_layers(hidden, blocks, self.config.depth, step, self.final_norm, pool, layers)
