"""One causal transformer over tokens: the LLaMA family.

Axes: B batch, T tokens, L blocks, D width, H query heads, K key-value heads, C width of a head, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from vla.models.attention import attend
from vla.models.layers import read_layers, stack
from vla.models.linear import FeedForward, Linear, RMSNorm
from vla.models.pooling import Pool
from vla.models.rotary import Rotary, frequencies, rotate


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """What the mathematics of the decoder needs, and no more.

    Attributes:
      width: D.
      depth: L.
      heads: H, a multiple of `kv_heads`.
      kv_heads: K.
      head_width: C, even; H * C need not be D.
      inner: Width of the feed-forward network's inner layer.
      nonlinearity: Key of `nonlinearities.NONLINEARITIES`.
      norm_epsilon: Added to every mean square.
      vocabulary: V.
      length: The longest sequence in tokens.
      rotary: How positions turn queries and keys.
      attention_bias: Whether the four maps of attention have biases.
      feed_forward_bias: Whether the three maps of the feed-forward network have biases.
    """

    width: int
    depth: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    nonlinearity: str
    norm_epsilon: float
    vocabulary: int
    length: int
    rotary: Rotary
    attention_bias: bool
    feed_forward_bias: bool


class Attention(nnx.Module):
    """Every token attends to itself and to the real tokens before it."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """Four linear maps; key and value have K heads."""
        D, C, bias = config.width, config.head_width, config.attention_bias
        self.query = Linear(D, config.heads * C, bias=bias, dtype=dtype, rngs=rngs)
        self.key = Linear(D, config.kv_heads * C, bias=bias, dtype=dtype, rngs=rngs)
        self.value = Linear(D, config.kv_heads * C, bias=bias, dtype=dtype, rngs=rngs)
        self.out = Linear(config.heads * C, D, bias=bias, dtype=dtype, rngs=rngs)
        self.config = config

    def __call__(
        self, x: Float[Array, "B T D"], positions: Int[Array, "B T"], allowed: Bool[Array, "B T T"]
    ) -> Float[Array, "B T D"]:
        """Mix tokens."""
        B, T, _ = x.shape
        config = self.config
        radians = frequencies(config.rotary, config.head_width)
        query = self.query(x).reshape(B, T, config.heads, config.head_width)
        key = self.key(x).reshape(B, T, config.kv_heads, config.head_width)
        value = self.value(x).reshape(B, T, config.kv_heads, config.head_width)
        mixed = attend(rotate(query, positions, radians), rotate(key, positions, radians), value, allowed)
        return self.out(mixed)


class Block(nnx.Module):
    """A pre-norm block: x + attention(norm1(x)), then x + feed_forward(norm2(x))."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """One of L blocks."""
        self.norm1 = RMSNorm(config.width, epsilon=config.norm_epsilon, dtype=dtype)
        self.attention = Attention(config, dtype=dtype, rngs=rngs)
        self.norm2 = RMSNorm(config.width, epsilon=config.norm_epsilon, dtype=dtype)
        self.feed_forward = FeedForward(
            config.width,
            config.inner,
            nonlinearity=config.nonlinearity,
            gated=True,
            bias=config.feed_forward_bias,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self, x: Float[Array, "B T D"], positions: Int[Array, "B T"], allowed: Bool[Array, "B T T"]
    ) -> Float[Array, "B T D"]:
        """The raw output of the block."""
        x = x + self.attention(self.norm1(x), positions, allowed)
        return x + self.feed_forward(self.norm2(x))


class Decoder(nnx.Module):
    """Token ids to pooled hidden states of any of its layers; there is no language-model head."""

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        """Token embeddings, L stacked blocks, final norm; weights and compute in `dtype`."""
        draw = jax.nn.initializers.normal(1.0)
        self.embedding = nnx.Param(draw(rngs.params(), (config.vocabulary, config.width), dtype))
        self.blocks = stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.depth, rngs)
        self.final_norm = RMSNorm(config.width, epsilon=config.norm_epsilon, dtype=dtype)
        self.config = config

    def __call__(
        self, tokens: Int[Array, "B T"], mask: Bool[Array, "B T"], *, pool: Pool, layers: tuple[str, ...]
    ) -> Float[Array, "R B ..."]:
        """Pooled hidden states of the R layers called `layers`, in float32.

        A sequence is read the same wherever its padding is: positions count real tokens only, and no token sees
        padding.

        Args:
          tokens: Token ids below V; anything where `mask` is False.
          mask: True at real tokens.
          pool: From hidden states to what is kept of them.
          layers: Names of layers.
        """
        T = tokens.shape[1]
        positions = jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0)
        allowed = jnp.tril(jnp.ones((T, T), bool)) & mask[:, None, :]
        # An id beyond V becomes NaN, which nobody takes for a reading; indexing would read the last embedding.
        hidden = jnp.take(self.embedding[...], jnp.where(mask, tokens, 0), axis=0, mode="fill")

        def step(block: Block, hidden: Array) -> Array:
            return block(hidden, positions, allowed)

        return read_layers(hidden, self.blocks, self.config.depth, step, self.final_norm, pool, layers)
