"""The pointwise nonlinearities by the names that Hugging Face configs give them."""

import functools
from collections.abc import Callable

import jax
from jax import Array
from jaxtyping import Float


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x), the cheap GELU of CLIP (Hendrycks and Gimpel, arXiv:1606.08415, section 2)."""
    return x * jax.nn.sigmoid(1.702 * x)


# jax.nn.gelu is the tanh form unless told otherwise; Hugging Face's "gelu" is the exact one.
_tanh_gelu = functools.partial(jax.nn.gelu, approximate=True)

NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_fast": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}
