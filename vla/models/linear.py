"""The parameterised maps that every block is made of: linear maps, normalisations, feed-forward networks.

Axes: D width, E output width, F inner width. Weights are kept [E, D], as checkpoints store them, so that any slice
of a parameter is a slice of a file.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x), the cheap GELU of CLIP (Hendrycks and Gimpel, arXiv:1606.08415, section 2)."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * Phi(x), Phi the normal distribution, as torch computes it (Hendrycks and Gimpel, arXiv:1606.08415).

    jax.nn.gelu keeps the relative precision of Phi(x) far below 0, where the result is nothing beside its other values,
    and takes more than twice as long for it on a CPU.
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
        # Rounded once, after the bias: twice is further off than torch is. And asked for float32, XLA on CPU multiplies
        # bfloat16 twice as fast.
        y = jnp.einsum("...d,ed->...e", x, self.weight[...], preferred_element_type=jnp.float32)
        return (y if self.bias is None else y + self.bias[...].astype(jnp.float32)).astype(x.dtype)


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, computed in float32.

    Equivalent to torch.nn.LayerNorm, also for bfloat16 input (Ba et al., arXiv:1607.06450). The variance is the mean
    of squared deviations: the faster mean(x²) - mean(x)² cancels when a token's mean is large.
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


# The norms of language models; each takes a width, an epsilon and a dtype.
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
        bent = self.up(x) if self.gate is None else self.gate(x)
        bent = NONLINEARITIES[self.nonlinearity](bent.astype(jnp.float32)).astype(x.dtype)
        return self.down(bent if self.gate is None else bent * self.up(x))
