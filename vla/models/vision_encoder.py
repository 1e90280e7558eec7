"""One bidirectional transformer over image patches: ViT, DINOv2, DINOv2 with registers.

Axes: B batch, C channels, H rows and W columns of pixels, P side of a patch, G side of the stored position grid,
N patches, R registers, T tokens (1 + R + N), L blocks, D width, A attention heads.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from vla.models.attention import attend
from vla.models.layers import read_layers, stack
from vla.models.linear import FeedForward, LayerNorm, Linear
from vla.models.pooling import Pool, vision_pool
from vla.models.position_grid import resize_grid


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """What the mathematics of the encoder needs, and no more.

    Attributes:
      width: D.
      depth: L.
      heads: A; divides `width`.
      inner: Width of the feed-forward network's inner layer.
      nonlinearity: Key of `nonlinearities.NONLINEARITIES`.
      gated: Whether the feed-forward network is gated (SwiGLU).
      norm_epsilon: Added to every variance.
      patch: P, in pixels.
      grid: G, in patches: the image size of training by the patch.
      channels: C.
      registers: R, tokens put between class token and patches, without positions.
      qkv_bias: Whether query, key and value have biases; the output projection always has.
      layer_scale: Whether each branch is multiplied by a learned vector before it is added.
      antialias: Which bicubic kernel resizes the position grid to other image sizes.
    """

    width: int
    depth: int
    heads: int
    inner: int
    nonlinearity: str
    gated: bool
    norm_epsilon: float
    patch: int
    grid: int
    channels: int
    registers: int
    qkv_bias: bool
    layer_scale: bool
    antialias: bool


class Attention(nnx.Module):
    """Every token attends to every token."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """Four linear maps of the full width."""
        D, bias = config.width, config.qkv_bias
        self.query = Linear(D, D, bias=bias, dtype=dtype, rngs=rngs)
        self.key = Linear(D, D, bias=bias, dtype=dtype, rngs=rngs)
        self.value = Linear(D, D, bias=bias, dtype=dtype, rngs=rngs)
        self.out = Linear(D, D, bias=True, dtype=dtype, rngs=rngs)
        self.heads = config.heads

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Mix tokens."""
        B, T, D = x.shape
        heads = (B, T, self.heads, D // self.heads)
        return self.out(attend(self.query(x).reshape(heads), self.key(x).reshape(heads), self.value(x).reshape(heads)))


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
            bias=True,
            dtype=dtype,
            rngs=rngs,
        )
        self.scale2 = nnx.Param(jnp.ones((D,), dtype)) if config.layer_scale else None

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """The raw output of the block."""
        branch = self.attention(self.norm1(x))
        x = x + (branch if self.scale1 is None else branch * self.scale1[...])
        branch = self.feed_forward(self.norm2(x))
        return x + (branch if self.scale2 is None else branch * self.scale2[...])


class Embedding(nnx.Module):
    """Pixels to tokens: class token, registers, patches, of which registers alone have no position."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """The patch map, the extra tokens and the grid of positions."""
        D, C, P, G, R = config.width, config.channels, config.patch, config.grid, config.registers
        draw = jax.nn.initializers.normal(0.02)
        self.projection = nnx.Param(jax.nn.initializers.normal((C * P * P) ** -0.5)(rngs.params(), (D, C, P, P), dtype))
        self.bias = nnx.Param(jnp.zeros((D,), dtype))
        self.cls = nnx.Param(draw(rngs.params(), (D,), dtype))
        self.registers = nnx.Param(draw(rngs.params(), (R, D), dtype)) if R else None
        # the class token's position first, then the grid row by row, as checkpoints store them
        self.positions = nnx.Param(draw(rngs.params(), (1 + G * G, D), dtype))
        self.config = config

    def __call__(self, pixels: Float[Array, "B C H W"]) -> Float[Array, "B T D"]:
        """Cut into patches, project, add positions, insert registers after the class token.

        Pixels beyond the last whole patch are dropped, as a convolution of stride P drops them.
        """
        config = self.config
        P, G = config.patch, config.grid
        B, C, H, W = pixels.shape
        rows, columns = H // P, W // P
        pixels = pixels[:, :, : rows * P, : columns * P].astype(self.projection.dtype)
        cut = pixels.reshape(B, C, rows, P, columns, P)
        patches = jnp.einsum("bchpwq,dcpq->bhwd", cut, self.projection[...]) + self.bias[...]
        positions = self.positions[...]
        grid = resize_grid(positions[1:].reshape(G, G, -1), rows, columns, config.antialias)
        patches = (patches + grid).reshape(B, rows * columns, -1)
        first = jnp.broadcast_to(self.cls[...] + positions[0], (B, 1, config.width))
        if self.registers is None:
            return jnp.concatenate([first, patches], axis=1)
        registers = jnp.broadcast_to(self.registers[...], (B, config.registers, config.width))
        return jnp.concatenate([first, registers, patches], axis=1)


class VisionEncoder(nnx.Module):
    """Images to pooled hidden states of any of its layers."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        """Embedding, L stacked blocks, final norm; weights and compute in `dtype`."""
        self.embedding = Embedding(config, dtype=dtype, rngs=rngs)
        self.blocks = stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.depth, rngs)
        self.final_norm = LayerNorm(config.width, epsilon=config.norm_epsilon, dtype=dtype)
        self.config = config

    def pool(self, name: str) -> Pool:
        """The pool called `name`: "cls", "mean" (patches only) or "tokens" (all of them)."""
        return vision_pool(name, 1 + self.config.registers)

    def __call__(
        self, pixels: Float[Array, "B C H W"], *, pool: Pool, layers: tuple[str, ...]
    ) -> Float[Array, "R B ..."]:
        """Pooled hidden states of the R layers called `layers`, in float32."""

        def step(block: Block, hidden: Array) -> Array:
            return block(hidden)

        hidden = self.embedding(pixels)
        return read_layers(hidden, self.blocks, self.config.depth, step, self.final_norm, pool, layers)
