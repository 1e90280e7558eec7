"""One bidirectional transformer over image patches: ViT, DeiT, MAE, DINOv2, DINOv3, CLIP, SigLIP.

Axes: B batch, C channels, H rows and W columns of pixels, P side of a patch, G side of the stored position grid,
T tokens (those before the patches, then the patches), L blocks, R layers read, D width, K tokens kept.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from vla.models.attention import attend_in_parts
from vla.models.layers import Pool, read_layers, stack, vision_pool
from vla.models.linear import FeedForward, LayerNorm, Linear
from vla.models.network_config import VisionConfig
from vla.models.rotary import Rotation, patch_rotation, rotate


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with parameter a, zero beyond 2 (Keys, IEEE TASSP 29, 1981, eq. 15)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@functools.cache
def resize_matrix(length: int, target: int, antialias: bool) -> Float[np.ndarray, "target length"]:
    """The linear map by which torch's bicubic interpolation resizes one axis from `length` to `target`.

    Equivalent to `torch.nn.functional.interpolate(mode="bicubic", align_corners=False, antialias=antialias)` along
    that axis. Without antialiasing a = -0.75 and taps beyond the edge read the edge; with it a = -0.5, the kernel is
    widened by the ratio when shrinking, and weights are renormalised over the taps inside. Built in float64, returned
    in float32.
    """
    ratio = length / target
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    matrix = np.zeros((target, length))
    if antialias:
        matrix = _cubic((np.arange(length) - centres[:, None]) / max(ratio, 1.0), -0.5)
        matrix /= matrix.sum(1, keepdims=True)
    else:
        first = np.floor(centres).astype(int)
        for offset in range(-1, 3):
            tap = first + offset
            np.add.at(matrix, (np.arange(target), np.clip(tap, 0, length - 1)), _cubic(centres - tap, -0.75))
    return matrix.astype(np.float32)


def resize_grid(grid: Float[Array, "G G D"], rows: int, columns: int, antialias: bool) -> Float[Array, "H W D"]:
    """Resize a grid of position embeddings to `rows` by `columns`; the stored size comes back unchanged.

    Computed in float32, returned in the dtype of `grid`.
    """
    side = grid.shape[0]
    if (rows, columns) == (side, side):
        return grid
    vertical, horizontal = resize_matrix(side, rows, antialias), resize_matrix(side, columns, antialias)
    return jnp.einsum("hg,wk,gkd->hwd", vertical, horizontal, grid.astype(jnp.float32)).astype(grid.dtype)


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

    def __call__(
        self, x: Float[Array, "B T D"], rotation: Rotation | None, kept: int | None = None
    ) -> Float[Array, "B K D"]:
        """Mix tokens; compute only the first K = `kept` of the results, or all."""
        B, _, D = x.shape
        shape = (B, -1, self.heads, D // self.heads)
        query = self.query(x[:, :kept]).reshape(shape)
        key, value = self.key(x).reshape(shape), self.value(x).reshape(shape)
        if rotation is not None:
            cos, sin = rotation
            query, key = rotate(query, (cos[:, :kept], sin[:, :kept])), rotate(key, rotation)
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
        self, x: Float[Array, "B T D"], rotation: Rotation | None = None, kept: int | None = None
    ) -> Float[Array, "B K D"]:
        """The raw output of the block: of the first K = `kept` tokens, or of all."""
        branch = self.attention(self.norm1(x), rotation, kept)
        x = x[:, :kept] + (branch if self.scale1 is None else branch * self.scale1[...])
        branch = self.feed_forward(self.norm2(x))
        return x + (branch if self.scale2 is None else branch * self.scale2[...])


def rotation_of_patches(config: VisionConfig, rows: int, columns: int) -> Rotation | None:
    """The rotary embedding that all blocks share, for images of `rows` by `columns` pixels; None without one."""
    if config.rotary_theta is None:
        return None
    P, width = config.patch, config.width // config.heads
    return patch_rotation(config.rotary_theta, width, rows // P, columns // P, config.prefix)


class Embedding(nnx.Module):
    """Pixels to tokens: class and distillation token, registers, then patches."""

    def __init__(self, config: VisionConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """The patch map, the tokens before the patches and the grid of positions."""
        D, C, P, G, R = config.width, config.channels, config.patch, config.grid, config.registers
        draw = jax.nn.initializers.normal(0.02)

        def parameter(exists: bool, *shape: int) -> nnx.Param | None:
            return nnx.Param(draw(rngs.params(), shape, dtype)) if exists else None

        self.projection = nnx.Param(jax.nn.initializers.normal((C * P * P) ** -0.5)(rngs.params(), (D, C, P, P), dtype))
        self.bias = nnx.Param(jnp.zeros((D,), dtype)) if config.patch_bias else None
        self.cls = parameter(config.class_token, D)
        self.distillation = parameter(config.distillation_token, D)
        self.registers = parameter(R > 0, R, D)
        # Positions of the tokens before the patches, then the grid row by row, as checkpoints store them.
        self.positions = parameter(config.prefix_positions is not None, (config.prefix_positions or 0) + G * G, D)
        self.norm = LayerNorm(D, epsilon=config.norm_epsilon, dtype=dtype) if config.embedding_norm else None
        self.config = config

    def __call__(self, pixels: Float[Array, "B C H W"]) -> Float[Array, "B T D"]:
        """Cut into patches, project, prepend the other tokens, add positions.

        Pixels beyond the last complete patch are dropped, as a convolution of stride P drops them.
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
        prefix = self._prefix()
        if self.positions is not None:
            n = config.prefix_positions
            assert n is not None
            prefix = prefix.at[:n].add(self.positions[:n])
            patches = patches + resize_grid(self.positions[n:].reshape(G, G, D), rows, columns, config.antialias)
        patches = patches.reshape(B, rows * columns, D)
        tokens = jnp.concatenate([jnp.broadcast_to(prefix, (B, *prefix.shape)), patches], axis=1)
        return tokens if self.norm is None else self.norm(tokens)

    def _prefix(self) -> Float[Array, "_ D"]:
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
        return vision_pool(name, self.config.prefix)

    def __call__(
        self, pixels: Float[Array, "B C H W"], *, pool: Pool, layers: tuple[str, ...], kept: int | None = None
    ) -> Float[Array, "R B ..."]:
        """Pooled hidden states of the R layers called `layers`, in float32.

        `kept` is how many tokens, from the first, the pool reads, if known: the last block computes only those.
        """
        rotation = rotation_of_patches(self.config, *pixels.shape[2:])

        def step(block: Block, hidden: Array) -> Array:
            return block(hidden, rotation)

        def last(block: Block, hidden: Array) -> Array:
            return block(hidden, rotation, kept)

        hidden = self.embedding(pixels)
        depth = self.config.depth
        return read_layers(
            hidden, self.blocks, depth, step, self.final_norm, pool, layers, None if kept is None else last
        )
