"""Rotary position embedding: the angle at which a pair of units turns per token.

Axes: B batch, T tokens, H heads, C width of a head, P pairs of units (C / 2).
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How the frequencies of rotary embedding follow from a config.

    Attributes:
      theta: Base of the geometric series of wavelengths.
      kind: "default"; "linear" divides all frequencies by `factor`; "llama3" divides the low ones only.
      factor: By how much the context was stretched.
      low_frequency_factor: llama3: wavelengths above `original_length` / this are stretched fully.
      high_frequency_factor: llama3: wavelengths below `original_length` / this are left alone.
      original_length: llama3: the context length before stretching, in tokens.
    """

    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_length: int = 8192


def frequencies(rotary: Rotary, width: int) -> Float[np.ndarray, "P"]:
    """Radians per token of each pair of units: theta^(-2p / C), stretched as `rotary.kind` says.

    In float32 throughout, as the models were trained. Between its two wavelengths llama3 interpolates linearly in
    the frequency (Grattafiori et al., arXiv:2407.21783, with the interpolation published in Meta's model code).

    Args:
      rotary: Base and stretching.
      width: C, even.
    """
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    plain = np.float32(1) / np.float32(rotary.theta) ** exponents
    if rotary.kind == "default":
        return plain
    stretched = plain / np.float32(rotary.factor)
    if rotary.kind == "linear":
        return stretched
    wavelength = np.float32(2 * math.pi) / plain
    low, high = rotary.low_frequency_factor, rotary.high_frequency_factor
    share = (rotary.original_length / wavelength - np.float32(low)) / np.float32(high - low)
    share = np.clip(share, 0, 1).astype(np.float32)
    return (1 - share) * stretched + share * plain


def rotate(
    x: Float[Array, "B T H C"], positions: Int[Array, "B T"], radians: Float[np.ndarray, "P"]
) -> Float[Array, "B T H C"]:
    """Turn units p and p + C/2 of every head by position * radians[p] (Su et al., arXiv:2104.09864).

    The pairing is Hugging Face's (two halves), for which its checkpoints permute the published weights; the paper's
    pairs are neighbours. Computed in float32; the result has the dtype of `x`.
    """
    angles = positions[..., None, None].astype(jnp.float32) * radians
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)
