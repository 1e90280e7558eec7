"""The parameterised maps of a block: linear maps, norms, feed-forward networks, mixtures of experts.

Axes: D width, E output width or experts, F inner width, N tokens, k experts per token, M rows of a tile. Weights are
[E, D], as checkpoints store them, so that any slice of a parameter is a slice of a file.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x), the cheap GELU of CLIP (Hendrycks and Gimpel, arXiv:1606.08415, section 2)."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * Phi(x), Phi the normal distribution, as torch computes it (Hendrycks and Gimpel, arXiv:1606.08415).

    jax.nn.gelu keeps the relative precision of Phi(x) far below 0, where the result is negligible, and takes more than
    twice as long on a CPU.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * np.float32(np.sqrt(0.5))))


_tanh_gelu = functools.partial(jax.nn.gelu, approximate=True)

NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}


class Linear(nnx.Module):
    """y = x Wᵀ + b with W [E, D]; drawn as Normal(0, 1/D) with b = 0 when not loaded."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """Map `inputs` units to `outputs` units."""
        draw = jax.nn.initializers.normal(inputs**-0.5)
        self.weight = nnx.Param(draw(rngs.params(), (outputs, inputs), dtype))
        self.bias = nnx.Param(jnp.zeros((outputs,), dtype)) if bias else None

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch E"]:
        """Apply the map to the last axis."""
        # Rounded once, after the bias, as torch does. With a float32 result, XLA on CPU multiplies bfloat16 twice as
        # fast.
        y = jnp.einsum("...d,ed->...e", x, self.weight[...], preferred_element_type=jnp.float32)
        return (y if self.bias is None else y + self.bias[...].astype(jnp.float32)).astype(x.dtype)


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, computed in float32.

    Equivalent to torch.nn.LayerNorm, also for bfloat16 input (Ba et al., arXiv:1607.06450). The variance is the mean
    of squared deviations: the faster mean(x²) - mean(x)² cancels when a token's mean is large.
    (nnx.LayerNorm multiplies in another order, which changes the last digits of float32.)
    """

    def __init__(self, width: int, *, epsilon: float, dtype: DTypeLike, learned: bool = True) -> None:
        """Normalise `width` units; without scale and bias unless `learned`."""
        self.scale = nnx.Param(jnp.ones((width,), dtype)) if learned else None
        self.bias = nnx.Param(jnp.zeros((width,), dtype)) if learned else None
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalise the last axis; the result has the dtype of `x`."""
        wide = x.astype(jnp.float32)
        centred = wide - wide.mean(-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.epsilon)
        if self.scale is not None and self.bias is not None:
            normal = normal * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return normal.astype(x.dtype)


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x²) + epsilon) * (offset + scale) over the last axis, normalised in float32.

    Equivalent to Hugging Face's LlamaRMSNorm (Zhang and Sennrich, arXiv:1910.07467), Olmo2RMSNorm (`wide`) and
    Gemma2RMSNorm (`wide`, `offset` 1).
    """

    def __init__(
        self, width: int, *, epsilon: float, dtype: DTypeLike, wide: bool = False, offset: float = 0.0
    ) -> None:
        """Normalise `width` units; scale in the dtype of x, or in float32 if `wide`."""
        self.scale = nnx.Param(jnp.full((width,), 1 - offset, dtype))
        self.epsilon = epsilon
        self.wide = wide
        self.offset = offset

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalise the last axis; the result has the dtype of `x`."""
        wide = x.astype(jnp.float32)
        normal = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)
        scale = self.scale[...]
        if not self.wide:
            return scale * normal.astype(x.dtype)
        return ((self.offset + scale.astype(jnp.float32)) * normal).astype(x.dtype)


# Norms of language models; each takes a width, an epsilon and a dtype.
NORMS: dict[str, Callable[..., LayerNorm | RMSNorm]] = {
    "layer": LayerNorm,
    "layer_unlearned": functools.partial(LayerNorm, learned=False),
    "rms": RMSNorm,
    "rms_wide": functools.partial(RMSNorm, wide=True),
    "rms_wide_offset": functools.partial(RMSNorm, wide=True, offset=1.0),
}


class FeedForward(nnx.Module):
    """down(f(up(x))), or down(f(gate(x)) * up(x)) when gated (SwiGLU with f = silu; Shazeer, arXiv:2002.05202)."""

    def __init__(
        self, width: int, inner: int, *, nonlinearity: str, gated: bool, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs
    ) -> None:
        """From `width` units through `inner` units back; `nonlinearity` is a key of NONLINEARITIES."""
        self.gate = Linear(width, inner, bias=bias, dtype=dtype, rngs=rngs) if gated else None
        self.up = Linear(width, inner, bias=bias, dtype=dtype, rngs=rngs)
        self.down = Linear(inner, width, bias=bias, dtype=dtype, rngs=rngs)
        self.nonlinearity = nonlinearity

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Apply to the last axis."""
        inner = self.up(x) if self.gate is None else self.gate(x)
        inner = NONLINEARITIES[self.nonlinearity](inner.astype(jnp.float32)).astype(x.dtype)
        return self.down(inner if self.gate is None else inner * self.up(x))


# Rows per matrix product of one expert: enough to amortise reading its weights, few enough that padding the last tile
# of every expert costs little.
_TILE = 128


class Experts(nnx.Module):
    """The sum over a token's k likeliest experts of p_e down_e(f(gate_e(x)) * up_e(x)), with the p_e rescaled to sum 1.

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
        """From `width` units through `inner` units of `per_token` experts back."""
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
        probabilities = jax.nn.softmax(self.router(tokens).astype(jnp.float32), axis=-1)
        probabilities, experts = jax.lax.top_k(probabilities, self.per_token)
        probabilities = probabilities / probabilities.sum(-1, keepdims=True)
        outputs = self._through_experts(tokens, experts).astype(jnp.float32)
        return jnp.einsum("nk,nkd->nd", probabilities, outputs).astype(x.dtype).reshape(x.shape)

    def _through_experts(self, tokens: Float[Array, "N D"], experts: Int[Array, "N k"]) -> Float[Array, "N k D"]:
        """Every token through each of its experts.

        Tokens are sorted by expert and cut into tiles of one expert each, so that only chosen experts are computed.
        """
        N, D = tokens.shape
        E, k = self.gate.shape[0], self.per_token
        M = min(_TILE, N * k)
        choices = experts.reshape(-1)
        order = jnp.argsort(choices, stable=True)
        sizes = jnp.bincount(choices, length=E)
        tiles_per_expert = -(-sizes // M)
        ends = jnp.cumsum(tiles_per_expert)
        # The row, among those of all tiles, of each sorted choice.
        expert = choices[order]
        index_in_expert = jnp.arange(N * k) - (jnp.cumsum(sizes) - sizes)[expert]
        row = (ends - tiles_per_expert)[expert] * M + index_in_expert
        # The most tiles there can be: each expert's last tile may hold a single choice.
        tiles = -(-N * k // M) + min(E, N * k)
        rows = jnp.zeros((tiles * M, D), tokens.dtype).at[row].set(tokens[order // k])
        expert_of_tile = jnp.minimum(jnp.searchsorted(ends, jnp.arange(tiles), side="right"), E - 1)

        def through(tile: tuple[Array, Array]) -> Array:
            e, x = tile
            gate, up, down = (weight[...][e] for weight in (self.gate, self.up, self.down))
            inner = jnp.einsum("md,fd->mf", x, gate)
            inner = NONLINEARITIES[self.nonlinearity](inner.astype(jnp.float32)).astype(x.dtype)
            return jnp.einsum("mf,df->md", inner * jnp.einsum("md,fd->mf", x, up), down)

        outputs = jax.lax.map(through, (expert_of_tile, rows.reshape(tiles, M, D))).reshape(tiles * M, D)
        return jnp.zeros((N * k, D), outputs.dtype).at[order].set(outputs[row]).reshape(N, k, D)
