"""Rotary position embedding: the angles by which pairs of units turn with their token's position.

Axes: B batch, T tokens, H heads, C width of a head, P pairs of units that turn (C / 2 unless only part of C turns).
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

# Cosines and sines of every token's angles, [B, T, P] each.
Turns = tuple[Array, Array]


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How the frequencies of rotary embedding follow from a config.

    Attributes:
      theta: Base of the geometric series of wavelengths.
      kind: "default"; "linear" divides all frequencies by `factor`; "llama3" divides the low ones only; "yarn" too,
        with another ramp between; "longrope" divides each by a factor of its own.
      factor: By how much the context was stretched.
      low_frequency_factor: llama3: wavelengths above `original_length` / this are stretched fully.
      high_frequency_factor: llama3: wavelengths below `original_length` / this are left alone.
      original_length: llama3, yarn, longrope: the context length before stretching, in tokens.
      share: Part of a head's units, from the first, that turn at all.
      gain: yarn, longrope: factor of cosines and sines.
      fast: yarn: pairs that turn more often than this in `original_length` are left alone.
      slow: yarn: pairs that turn less often than this in `original_length` are stretched fully.
      whole_pairs: yarn: whether both bounds are rounded outwards to whole pairs.
      short_factors: longrope: P divisors of the frequencies for captions of up to `original_length`.
      long_factors: longrope: the same for longer captions.
    """

    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_length: int = 8192
    share: float = 1.0
    gain: float = 1.0
    fast: float = 32.0
    slow: float = 1.0
    whole_pairs: bool = True
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()


def turning_units(rotary: Rotary, width: int) -> int:
    """How many units of a head `width` wide turn: 2 P."""
    return int(width * rotary.share)


def frequencies(rotary: Rotary, width: int, long: bool = False) -> Float[np.ndarray, "P"]:
    """Radians per token of each pair of units: theta^(-p / P), stretched as `rotary.kind` says.

    In float32 throughout, as the models were trained. Between its two wavelengths llama3 interpolates linearly in
    the frequency (Grattafiori et al., arXiv:2407.21783, with the interpolation published in Meta's model code), yarn
    linearly in the number of the pair (Peng et al., arXiv:2309.00071). longrope: Ding et al., arXiv:2402.13753.

    Args:
      rotary: Base and stretching.
      width: C.
      long: longrope: whether the caption is longer than `original_length`.
    """
    units = turning_units(rotary, width)
    exponents = np.arange(0, units, 2, dtype=np.float32) / np.float32(units)
    plain = np.float32(1) / np.float32(rotary.theta) ** exponents
    if rotary.kind == "default":
        return plain
    if rotary.kind == "longrope":
        return plain / np.asarray(rotary.long_factors if long else rotary.short_factors, np.float32)
    stretched = plain / np.float32(rotary.factor)
    if rotary.kind == "linear":
        return stretched
    kept = _kept_by_llama3(rotary, plain) if rotary.kind == "llama3" else _kept_by_yarn(rotary, units)
    return (1 - kept) * stretched + kept * plain


def _kept_by_llama3(rotary: Rotary, plain: Float[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Which part of each frequency stays as it was: 1 at short wavelengths, 0 at long ones."""
    wavelength = np.float32(2 * math.pi) / plain
    low, high = rotary.low_frequency_factor, rotary.high_frequency_factor
    kept = (rotary.original_length / wavelength - np.float32(low)) / np.float32(high - low)
    return np.clip(kept, 0, 1).astype(np.float32)


def _kept_by_yarn(rotary: Rotary, units: int) -> Float[np.ndarray, "P"]:
    """Which part of each frequency stays as it was: 1 for fast pairs, 0 for slow ones."""

    def pair(rounds: float) -> float:
        """The number of the pair, not a whole one, that turns `rounds` times in the original length."""
        return units * math.log(rotary.original_length / (rounds * 2 * math.pi)) / (2 * math.log(rotary.theta))

    first, last = pair(rotary.fast), pair(rotary.slow)
    if rotary.whole_pairs:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, units - 1)
    # A ramp of no width would divide by zero; the published code widens it by this much.
    last = last + 0.001 if first == last else last
    stretched = (np.arange(units // 2, dtype=np.float32) - np.float32(first)) / np.float32(last - first)
    return 1 - np.clip(stretched, 0, 1).astype(np.float32)


def turns(rotary: Rotary, width: int, positions: Int[Array, "B T"]) -> Turns:
    """Cosines and sines of position * frequency in float32, [B, T, P] each, times `rotary.gain`.

    longrope takes its long factors in rows of the batch where a position reaches `original_length`: a caption longer
    than that must not share its row.

    Args:
      rotary: Base and stretching.
      width: C.
      positions: Of every token in its own caption.
    """
    radians = jnp.asarray(frequencies(rotary, width))
    if rotary.kind == "longrope":
        is_long = positions.max(axis=1) >= rotary.original_length
        radians = jnp.where(is_long[:, None], jnp.asarray(frequencies(rotary, width, long=True)), radians)
        radians = radians[:, None]
    angles = positions[..., None].astype(jnp.float32) * radians
    return jnp.cos(angles) * rotary.gain, jnp.sin(angles) * rotary.gain


def rotate(x: Float[Array, "B T H C"], turns: Turns) -> Float[Array, "B T H C"]:
    """Turn units p and p + P of every head by their token's angles (Su et al., arXiv:2104.09864).

    Units from 2 P on stay as they are. The pairing is Hugging Face's (two halves), for which its checkpoints permute
    the published weights; the paper's pairs are neighbours. Computed in float32; the result has the dtype of `x`.
    """
    cos, sin = (part[:, :, None] for part in turns)
    P = cos.shape[-1]
    wide = x.astype(jnp.float32)
    first, second = wide[..., :P], wide[..., P : 2 * P]
    turned = (first * cos - second * sin, second * cos + first * sin, wide[..., 2 * P :])
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


@functools.cache
def _angles(theta: float, width: int, rows: int, columns: int, extra: int) -> Float[np.ndarray, "T P"]:
    exponents = (np.arange(width // 4) * (4 / width)).astype(np.float32)
    frequencies = 1 / np.float32(theta) ** exponents
    down = 2 * ((np.arange(rows, dtype=np.float32) + np.float32(0.5)) / np.float32(rows)) - 1
    across = 2 * ((np.arange(columns, dtype=np.float32) + np.float32(0.5)) / np.float32(columns)) - 1
    places = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    angles = np.float32(2 * np.pi) * places * frequencies
    return np.concatenate([np.zeros((extra, width // 2), np.float32), angles.reshape(len(places), -1)])


def patch_turns(theta: float, width: int, rows: int, columns: int, extra: int) -> Turns:
    """Cosines and sines of every token's angles in float32, [1, T, C / 2] each.

    The angles of a patch are 2 pi y theta^(-4 q / C), q = 0 .. C / 4 - 1, then the same of x, where (y, x) is the
    centre of the patch in an image that reaches from -1 to 1 either way, whatever its size. Tokens before the patches
    do not turn.

    Args:
      theta: Base of the geometric series of wavelengths.
      width: C, a multiple of 4.
      rows: H.
      columns: W.
      extra: E.
    """
    angles = _angles(theta, width, rows, columns, extra)[None]
    return jnp.asarray(np.cos(angles)), jnp.asarray(np.sin(angles))
