"""A feed-forward network per expert, of which every token goes through a few.

Axes: N tokens of all rows, D width, F inner width, E experts, k experts per token, M rows of a tile.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from vla.models.linear import NONLINEARITIES, Linear

# Rows that go through one expert in one matrix product: enough to make reading its weights worthwhile, few enough
# that filling up the last tile of every expert costs little.
_TILE = 128


class Experts(nnx.Module):
    """The sum over a token's k likeliest experts of p_e down_e(f(gate_e(x)) * up_e(x)), the p_e made to sum to one.

    Equivalent to Hugging Face's MixtralSparseMoeBlock (Jiang et al., arXiv:2401.04088).
    """

    def __init__(
        self,
        width: int,
        inner: int,
        *,
        experts: int,
        per_token: int,
        nonlinearity: str,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        """From `width` units through `inner` units of each of a token's `per_token` experts back."""
        draw_in, draw_out = jax.nn.initializers.normal(width**-0.5), jax.nn.initializers.normal(inner**-0.5)
        self.router = Linear(width, experts, bias=False, dtype=dtype, rngs=rngs)
        self.gate = nnx.Param(draw_in(rngs.params(), (experts, inner, width), dtype))
        self.up = nnx.Param(draw_in(rngs.params(), (experts, inner, width), dtype))
        self.down = nnx.Param(draw_out(rngs.params(), (experts, width, inner), dtype))
        self.per_token = per_token
        self.nonlinearity = nonlinearity

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Apply to the last axis."""
        tokens = x.reshape(-1, x.shape[-1])
        shares = jax.nn.softmax(self.router(tokens).astype(jnp.float32), axis=-1)
        shares, chosen = jax.lax.top_k(shares, self.per_token)
        shares = shares / shares.sum(-1, keepdims=True)
        each = self._through(tokens, chosen).astype(jnp.float32)
        return jnp.einsum("nk,nkd->nd", shares, each).astype(x.dtype).reshape(x.shape)

    def _through(self, tokens: Float[Array, "N D"], chosen: Int[Array, "N k"]) -> Float[Array, "N k D"]:
        """Every token through each of its experts.

        Tokens are sorted by expert into tiles, each of one expert, so that only what was chosen is computed.
        """
        N, D = tokens.shape
        E, k = self.gate.shape[0], self.per_token
        M = min(_TILE, N * k)
        experts = chosen.reshape(-1)
        order = jnp.argsort(experts, stable=True)
        sizes = jnp.bincount(experts, length=E)
        tiles_of = -(-sizes // M)
        ends = jnp.cumsum(tiles_of)
        # Of the sorted choices: which tile, and which row of it.
        expert = experts[order]
        within = jnp.arange(N * k) - (jnp.cumsum(sizes) - sizes)[expert]
        place = (ends - tiles_of)[expert] * M + within
        # Each expert's last tile may be filled by one choice alone: never more tiles than this.
        tiles = -(-N * k // M) + min(E, N * k)
        rows = jnp.zeros((tiles * M, D), tokens.dtype).at[place].set(tokens[order // k])
        owner = jnp.minimum(jnp.searchsorted(ends, jnp.arange(tiles), side="right"), E - 1)

        def through(tile: tuple[Array, Array]) -> Array:
            e, x = tile
            gate, up, down = (weight[...][e] for weight in (self.gate, self.up, self.down))
            bent = jnp.einsum("md,fd->mf", x, gate)
            bent = NONLINEARITIES[self.nonlinearity](bent.astype(jnp.float32)).astype(x.dtype)
            return jnp.einsum("mf,df->md", bent * jnp.einsum("md,fd->mf", x, up), down)

        done = jax.lax.map(through, (owner, rows.reshape(tiles, M, D))).reshape(tiles * M, D)
        return jnp.zeros((N * k, D), done.dtype).at[order].set(done[place]).reshape(N, k, D)
