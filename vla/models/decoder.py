"""One transformer over tokens, causal unless its config says otherwise: from ids to hidden states of any layer.

Axes: B rows of the batch, T tokens, R layers read, L blocks, D width, V vocabulary.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from vla.models.decoder_block import Block, Context, context_of
from vla.models.decoder_config import DecoderConfig
from vla.models.layers import read_layers, stack
from vla.models.linear import NORMS
from vla.models.pooling import Pool


class Decoder(nnx.Module):
    """Token ids to pooled hidden states of any of its layers; there is no language-model head.

    Calling it is embedding, L blocks and the final norm; each can be had alone: `embed`, `context`, a `Block` of
    `blocks`, `final_norm`.
    """

    def __init__(self, config: DecoderConfig, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        """Token embeddings, L stacked blocks, final norm; weights and compute in `dtype`."""
        draw = jax.nn.initializers.normal(1.0)
        norm = NORMS[config.norm]
        self.embedding = nnx.Param(draw(rngs.params(), (config.vocabulary, config.width), dtype))
        self.positions = (
            nnx.Param(draw(rngs.params(), (config.length, config.width), dtype)) if config.learned_positions else None
        )
        self.embedding_norm = (
            norm(config.width, epsilon=config.norm_epsilon, dtype=dtype) if config.embedding_norm else None
        )
        self.blocks = stack(lambda rngs: Block(config, dtype=dtype, rngs=rngs), config.depth, rngs)
        self.final_norm = norm(config.width, epsilon=config.norm_epsilon, dtype=dtype)
        self.config = config

    def embed(self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """What enters the first block. An id that V does not have becomes NaN, which nobody takes for a reading."""
        # Plain indexing would read the last embedding, and so it would of an id below 0.
        tokens = jnp.where(tokens < 0, self.config.vocabulary, tokens)
        return self.enter(jnp.take(self.embedding[...], tokens, axis=0, mode="fill"), positions)

    def enter(self, rows: Float[Array, "B T D"], positions: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """What enters the first block, from the tokens' rows of the embedding table."""
        if self.config.embedding_scale != 1:
            rows = rows * jnp.asarray(self.config.embedding_scale, rows.dtype)
        if self.positions is not None:
            rows = rows + jnp.take(self.positions[...], positions, axis=0, mode="fill")
        return rows if self.embedding_norm is None else self.embedding_norm(rows)

    def context(self, positions: Int[Array, "B T"], reach: Bool[Array, "B T T"]) -> Context:
        """What all blocks share about the batch."""
        return context_of(self.config, positions, reach)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        reach: Bool[Array, "B T T"],
        *,
        pool: Pool,
        layers: tuple[str, ...],
    ) -> Float[Array, "R B ..."]:
        """Pooled hidden states of the R layers called `layers`, in float32.

        A row may hold one caption or several, of which none reaches another: a token's hidden states depend on its
        position and on what it reaches, never on where in the row it stands. Rotary embedding whose frequencies
        depend on the caption's length (longrope) needs a row of its own for a caption beyond the original length.

        Args:
          tokens: Token ids below V; anything at padding.
          positions: The place of each token in its own caption, from 0; 0 at padding.
          reach: Whether token t (second axis) attends to token u (third axis): itself and the tokens before it in
            its own caption, without a causal mask all of its caption. Padding reaches nothing, and nothing reaches
            it. `sequence.plain` makes both for rows of one caption.
          pool: From hidden states to what is kept of them.
          layers: Names of layers.
        """
        # Weight 0 times whatever an unknown id would give must not be NaN.
        real = jnp.diagonal(reach, axis1=1, axis2=2)
        hidden = self.embed(jnp.where(real, tokens, 0), positions)
        context = self.context(positions, reach)

        def step(numbered: tuple[Block, Array], hidden: Array) -> Array:
            block, number = numbered
            return block(hidden, context, number)

        blocks = (self.blocks, jnp.arange(self.config.depth))
        return read_layers(hidden, blocks, self.config.depth, step, self.final_norm, pool, layers)
