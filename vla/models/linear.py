"""The parameterised maps that every block is made of: linear maps, normalisations, feed-forward networks.

Axes: D width, E output width, F inner width. Weights are kept [E, D], as checkpoints store them, so that any slice
of a parameter is a slice of a file.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from vla.models.nonlinearities import NONLINEARITIES


class Linear(nnx.Module):
    """y = x Wᵀ + b with W [E, D]; drawn as Normal(0, 1/D) with b = 0 when not loaded."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        """Map `inputs` units to `outputs` units."""
        draw = jax.nn.initializers.normal(inputs**-0.5)
        self.weight = nnx.Param(draw(rngs.params(), (outputs, inputs), dtype))
        self.bias = nnx.Param(jnp.zeros((outputs,), dtype)) if bias else None

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch E"]:
        """Apply the map to the last axis."""
        y = jnp.einsum("...d,ed->...e", x, self.weight[...])
        return y if self.bias is None else y + self.bias[...]


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, computed in float32.

    Equivalent to torch.nn.LayerNorm, also for bfloat16 input (Ba et al., arXiv:1607.06450). The variance is the mean
    of squared deviations: the faster mean(x²) - mean(x)² cancels when a token's mean is large.
    """

    def __init__(self, width: int, *, epsilon: float, dtype: DTypeLike) -> None:
        """Normalise `width` units."""
        self.scale = nnx.Param(jnp.ones((width,), dtype))
        self.bias = nnx.Param(jnp.zeros((width,), dtype))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalise the last axis; the result has the dtype of `x`."""
        wide = x.astype(jnp.float32)
        centred = wide - wide.mean(-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.epsilon)
        scaled = normal * self.scale[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)
        return scaled.astype(x.dtype)


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x²) + epsilon) * scale over the last axis, normalised in float32, scaled in the dtype of x.

    Equivalent to Hugging Face's LlamaRMSNorm (Zhang and Sennrich, arXiv:1910.07467).
    """

    def __init__(self, width: int, *, epsilon: float, dtype: DTypeLike) -> None:
        """Normalise `width` units."""
        self.scale = nnx.Param(jnp.ones((width,), dtype))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalise the last axis; the result has the dtype of `x`."""
        wide = x.astype(jnp.float32)
        normal = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)
        return self.scale[...] * normal.astype(x.dtype)


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
        f = NONLINEARITIES[self.nonlinearity]
        inner = f(self.up(x)) if self.gate is None else f(self.gate(x)) * self.up(x)
        return self.down(inner)
