"""Rotary position embedding: pairs of units rotate by an angle that depends on the position of their token.

Axes: B batch, T tokens, H heads, C width of a head, P pairs of units that rotate (C / 2 unless only part of C rotates).
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from vla.models.network_config import Rotary

# Cosines and sines of every token's angles, [B, T, P] each.
Rotation = tuple[Array, Array]


def frequencies(rotary: Rotary, width: int, long: bool = False) -> Float[np.ndarray, "P"]:
    """Radians per token of each pair of units: theta^(-p / P), scaled as `rotary.scaling` says.

    In float32 throughout, as the models were trained. llama3 interpolates linearly in the frequency (Grattafiori et
    al., arXiv:2407.21783, and Meta's model code), yarn in the index of the pair (Peng et al., arXiv:2309.00071).
    longrope (Ding et al., arXiv:2402.13753) has other factors for captions longer than `original_length`, if `long`.
    """
    units = rotary.rotating_units(width)
    exponents = np.arange(0, units, 2, dtype=np.float32) / np.float32(units)
    unscaled = np.float32(1) / np.float32(rotary.theta) ** exponents
    if rotary.scaling == "default":
        return unscaled
    if rotary.scaling == "longrope":
        return unscaled / np.asarray(rotary.long_factors if long else rotary.short_factors, np.float32)
    scaled = unscaled / np.float32(rotary.factor)
    if rotary.scaling == "linear":
        return scaled
    kept = _kept_by_llama3(rotary, unscaled) if rotary.scaling == "llama3" else _kept_by_yarn(rotary, units)
    return (1 - kept) * scaled + kept * unscaled


def _kept_by_llama3(rotary: Rotary, unscaled: Float[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """The fraction of each frequency that is unchanged: 1 at short wavelengths, 0 at long ones."""
    wavelength = np.float32(2 * math.pi) / unscaled
    low, high = rotary.low_frequency_factor, rotary.high_frequency_factor
    kept = (rotary.original_length / wavelength - np.float32(low)) / np.float32(high - low)
    return np.clip(kept, 0, 1).astype(np.float32)


def _kept_by_yarn(rotary: Rotary, units: int) -> Float[np.ndarray, "P"]:
    """The fraction of each frequency that is unchanged: 1 for fast pairs, 0 for slow ones."""

    def pair(rotations: float) -> float:
        """The (fractional) index of the pair that rotates so often in the original length."""
        return units * math.log(rotary.original_length / (rotations * 2 * math.pi)) / (2 * math.log(rotary.theta))

    first, last = pair(rotary.fast), pair(rotary.slow)
    if rotary.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, units - 1)
    # A ramp of no width would divide by zero; the published code widens it by this much.
    last = last + 0.001 if first == last else last
    scaled = (np.arange(units // 2, dtype=np.float32) - np.float32(first)) / np.float32(last - first)
    return 1 - np.clip(scaled, 0, 1).astype(np.float32)


def rotation(rotary: Rotary, width: int, positions: Int[Array, "B T"]) -> Rotation:
    """Cosines and sines of position * frequency in float32, [B, T, P] each, times `rotary.gain`.

    longrope uses its long factors in rows where a position reaches `original_length`: a longer caption must not share
    its row.
    """
    radians = jnp.asarray(frequencies(rotary, width))
    if rotary.scaling == "longrope":
        is_long = positions.max(axis=1) >= rotary.original_length
        radians = jnp.where(is_long[:, None], jnp.asarray(frequencies(rotary, width, long=True)), radians)
        radians = radians[:, None]
    angles = positions[..., None].astype(jnp.float32) * radians
    return jnp.cos(angles) * rotary.gain, jnp.sin(angles) * rotary.gain


def rotate(x: Float[Array, "B T H C"], rotation: Rotation) -> Float[Array, "B T H C"]:
    """Rotate units p and p + P of every head by their token's angles (Su et al., arXiv:2104.09864).

    Units from 2 P on are unchanged. Pairing halves is Hugging Face's layout, for which its checkpoints permute the
    published weights; the paper pairs neighbours. Computed in float32; the result has the dtype of `x`.
    """
    cos, sin = (part[:, :, None] for part in rotation)
    P = cos.shape[-1]
    wide = x.astype(jnp.float32)
    first, second = wide[..., :P], wide[..., P : 2 * P]
    rotated = (first * cos - second * sin, second * cos + first * sin, wide[..., 2 * P :])
    return jnp.concatenate(rotated, axis=-1).astype(x.dtype)


@functools.cache
def _patch_angles(theta: float, width: int, rows: int, columns: int, prefix: int) -> Float[np.ndarray, "T P"]:
    exponents = (np.arange(width // 4) * (4 / width)).astype(np.float32)
    frequencies = 1 / np.float32(theta) ** exponents
    y, x = (
        2 * ((np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)) - 1
        for count in (rows, columns)
    )
    centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    angles = np.float32(2 * np.pi) * centres * frequencies
    return np.concatenate([np.zeros((prefix, width // 2), np.float32), angles.reshape(len(centres), -1)])


def patch_rotation(theta: float, width: int, rows: int, columns: int, prefix: int) -> Rotation:
    """Cosines and sines of every token's angles in float32, [1, T, C / 2] each (DINOv3, arXiv:2508.10104).

    The angles of a patch are 2 pi y theta^(-4 q / C), q = 0 .. C / 4 - 1, then the same of x, where (y, x) is the
    centre of the patch in an image that spans -1 to 1 in both directions, whatever its size. The `prefix` tokens
    before the patches do not rotate.
    """
    angles = _patch_angles(theta, width, rows, columns, prefix)[None]
    return jnp.asarray(np.cos(angles)), jnp.asarray(np.sin(angles))
