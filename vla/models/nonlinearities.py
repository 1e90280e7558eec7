"""The pointwise nonlinearities by the names that Hugging Face configs give them."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax import Array
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
