"""One bidirectional transformer over image patches: ViT, DeiT, MAE, DINOv2, DINOv3, CLIP, SigLIP.

Axes: B batch, C channels, H rows and W columns of pixels, P side of a patch, G side of the stored position grid,
N patches, R registers, E tokens before the patches, T tokens (E + N), L blocks, D width, A attention heads.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from vla.models.attention import attend_in_parts
from vla.models.layers import read_layers, stack
from vla.models.linear import FeedForward, LayerNorm, Linear
from vla.models.pooling import Pool, vision_pool
from vla.models.position_grid import resize_grid
from vla.models.rotary import Turns, patch_turns, rotate


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """What the mathematics of the encoder needs, and no more; the defaults are ViT's.

    Attributes:
      width: D.
      depth: L.
      heads: A; divides `width`.
      inner: Width of the feed-forward network's inner layer.
      nonlinearity: Key of `nonlinearities.NONLINEARITIES`.
      norm_epsilon: Added to every variance.
      patch: P, in pixels.
      grid: G, in patches: the image size of training by the patch.
      channels: C.
      gated: Whether the feed-forward network is gated (SwiGLU).
      class_token: Whether a class token stands first.
      distillation_token: Whether a distillation token follows it.
      registers: R, tokens put between those and the patches.
      placed: How many of the tokens before the patches, from the first, have positions of their own; None where
        neither they nor the patches have any.
      antialias: Which bicubic kernel resizes the position grid to other image sizes.
      rotary_theta: Base of the rotary embedding of patches; None for none.
      patch_bias: Whether the map from pixels to tokens has a bias.
      embedding_norm: Whether a norm stands before the first block.
      query_bias: Whether the map to queries has a bias.
      key_bias: The same of keys.
      value_bias: The same of values.
      out_bias: Whether the map out of attention has a bias.
      feed_forward_bias: Whether the maps of the feed-forward network have biases.
      layer_scale: Whether each branch is multiplied by a learned vector before it is added.
    """

    width: int
    depth: int
    heads: int
    inner: int
    nonlinearity: str
    norm_epsilon: float
    patch: int
    grid: int
    channels: int
    gated: bool = False
    class_token: bool = True
    distillation_token: bool = False
    registers: int = 0
    placed: int | None = 1
    antialias: bool = False
    rotary_theta: float | None = None
    patch_bias: bool = True
    embedding_norm: bool = False
    query_bias: bool = True
    key_bias: bool = True
    value_bias: bool = True
    out_bias: bool = True
    feed_forward_bias: bool = True
    layer_scale: bool = False

    @property
    def extra(self) -> int:
        """E, tokens before the first patch."""
        return self.class_token + self.distillation_token + self.registers

    @property
    def pools(self) -> tuple[str, ...]:
        """The ways to pool that its tokens allow; the first is the default."""
        first = ("cls",) if self.class_token else ()
        return (*first, "mean", *(("distillation",) if self.distillation_token else ()))


class Attention(nnx.Module):
    """Every token attends to every token."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """Four linear maps of the full width."""
        D = config.width
        self.query = Linear(D, D, bias=config.query_bias, dtype=dtype, rngs=rngs)
        self.key = Linear(D, D, bias=config.key_bias, dtype=dtype, rngs=rngs)
        self.value = Linear(D, D, bias=config.value_bias, dtype=dtype, rngs=rngs)
        self.out = Linear(D, D, bias=config.out_bias, dtype=dtype, rngs=rngs)
        self.heads = config.heads

    def __call__(self, x: Float[Array, "B T D"], turns: Turns | None, kept: int | None = None) -> Float[Array, "B K D"]:
        """Mix tokens; of the results the first K = `kept`, or all."""
        B, T, D = x.shape
        heads = (self.heads, D // self.heads)
        query, key, value = (
            part(y).reshape(B, -1, *heads) for part, y in ((self.query, x[:, :kept]), (self.key, x), (self.value, x))
        )
        if turns is not None:
            cos, sin = turns
            query, key = rotate(query, (cos[:, :kept], sin[:, :kept])), rotate(key, turns)
        return self.out(attend_in_parts(query, key, value))


class Block(nnx.Module):
    """A pre-norm block: x + s1 * attention(norm1(x)), then x + s2 * feed_forward(norm2(x))."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """One of L blocks."""
        D = config.width
        self.norm1 = LayerNorm(D, epsilon=config.norm_epsilon, dtype=dtype)
        self.attention = Attention(config, dtype=dtype, rngs=rngs)
        self.scale1 = nnx.Param(jnp.ones((D,), dtype)) if config.layer_scale else None
        self.norm2 = LayerNorm(D, epsilon=config.norm_epsilon, dtype=dtype)
        self.feed_forward = FeedForward(
            D,
            config.inner,
            nonlinearity=config.nonlinearity,
            gated=config.gated,
            bias=config.feed_forward_bias,
            dtype=dtype,
            rngs=rngs,
        )
        self.scale2 = nnx.Param(jnp.ones((D,), dtype)) if config.layer_scale else None
        self.config = config

    def __call__(
        self, x: Float[Array, "B T D"], turns: Turns | None = None, kept: int | None = None
    ) -> Float[Array, "B K D"]:
        """The raw output of the block.

        Args:
          x: The raw output of the block before, or what the embedding gave.
          turns: From `turns_of`.
          kept: K, of how many tokens, from the first, it is wanted; None for all.
        """
        branch = self.attention(self.norm1(x), turns, kept)
        x = x[:, :kept] + (branch if self.scale1 is None else branch * self.scale1[...])
        branch = self.feed_forward(self.norm2(x))
        return x + (branch if self.scale2 is None else branch * self.scale2[...])


def turns_of(config: VisionConfig, rows: int, columns: int) -> Turns | None:
    """What all blocks share about images of `rows` by `columns` pixels: how positions turn queries and keys."""
    if config.rotary_theta is None:
        return None
    P, width = config.patch, config.width // config.heads
    return patch_turns(config.rotary_theta, width, rows // P, columns // P, config.extra)


class Embedding(nnx.Module):
    """Pixels to tokens: class and distillation token, registers, then patches."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """The patch map, the extra tokens and the grid of positions."""
        D, C, P, G, R = config.width, config.channels, config.patch, config.grid, config.registers
        draw = jax.nn.initializers.normal(0.02)

        def drawn(there: bool, *shape: int) -> nnx.Param | None:
            return nnx.Param(draw(rngs.params(), shape, dtype)) if there else None

        self.projection = nnx.Param(jax.nn.initializers.normal((C * P * P) ** -0.5)(rngs.params(), (D, C, P, P), dtype))
        self.bias = nnx.Param(jnp.zeros((D,), dtype)) if config.patch_bias else None
        self.cls = drawn(config.class_token, D)
        self.distillation = drawn(config.distillation_token, D)
        self.registers = drawn(R > 0, R, D)
        # those of the extra tokens first, then the grid row by row, as checkpoints store them
        self.positions = drawn(config.placed is not None, (config.placed or 0) + G * G, D)
        self.norm = LayerNorm(D, epsilon=config.norm_epsilon, dtype=dtype) if config.embedding_norm else None
        self.config = config

    def __call__(self, pixels: Float[Array, "B C H W"]) -> Float[Array, "B T D"]:
        """Cut into patches, project, put the extra tokens before them, add positions.

        Pixels beyond the last whole patch are dropped, as a convolution of stride P drops them.
        """
        config = self.config
        P, G, D = config.patch, config.grid, config.width
        B, C, H, W = pixels.shape
        rows, columns = H // P, W // P
        pixels = pixels[:, :, : rows * P, : columns * P].astype(self.projection.dtype)
        cut = pixels.reshape(B, C, rows, P, columns, P)
        patches = jnp.einsum("bchpwq,dcpq->bhwd", cut, self.projection[...])
        if self.bias is not None:
            patches = patches + self.bias[...]
        extra = self._extra()
        if self.positions is not None:
            assert config.placed is not None
            own, grid = self.positions[: config.placed], self.positions[config.placed :]
            extra = extra.at[: config.placed].add(own)
            patches = patches + resize_grid(grid.reshape(G, G, D), rows, columns, config.antialias)
        patches = patches.reshape(B, rows * columns, D)
        tokens = jnp.concatenate([jnp.broadcast_to(extra, (B, *extra.shape)), patches], axis=1)
        return tokens if self.norm is None else self.norm(tokens)

    def _extra(self) -> Float[Array, "E D"]:
        """The tokens before the patches, without positions."""
        single = [token[...][None] for token in (self.cls, self.distillation) if token is not None]
        registers = [] if self.registers is None else [self.registers[...]]
        return jnp.concatenate([*single, *registers, jnp.zeros((0, self.config.width), self.projection.dtype)])


class VisionEncoder(nnx.Module):
    """Images to pooled hidden states of any of its layers."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        """Embedding, L stacked blocks, final norm; weights and compute in `dtype`."""
        self.embedding = Embedding(config, dtype=dtype, rngs=rngs)
        self.blocks = stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.depth, rngs)
        self.final_norm = LayerNorm(config.width, epsilon=config.norm_epsilon, dtype=dtype)
        self.config = config

    def pool(self, name: str) -> Pool:
        """The pool called `name`: one of `config.pools`, or "tokens" for all of them."""
        return vision_pool(name, self.config.extra)

    def __call__(
        self, pixels: Float[Array, "B C H W"], *, pool: Pool, layers: tuple[str, ...], kept: int | None = None
    ) -> Float[Array, "R B ..."]:
        """Pooled hidden states of the R layers called `layers`, in float32.

        Args:
          pixels: Of images of one size.
          pool: From hidden states to what is kept of them.
          layers: Names of layers.
          kept: How many tokens, from the first, the pool looks at, where that is known: of the last block no more
            is computed.
        """
        turns = turns_of(self.config, *pixels.shape[2:])

        def step(block: Block, hidden: Array) -> Array:
            return block(hidden, turns)

        def last(block: Block, hidden: Array) -> Array:
            return block(hidden, turns, kept)

        hidden = self.embedding(pixels)
        finish = None if kept is None else last
        return read_layers(hidden, self.blocks, self.config.depth, step, self.final_norm, pool, layers, finish)
