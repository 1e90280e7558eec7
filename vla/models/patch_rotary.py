"""Rotary embedding of image patches by their places in the image, as DINOv3 has it (arXiv:2508.10104).

Axes: H rows and W columns of patches, E tokens before them, T tokens (E + H W), C width of a head, P pairs of
units that turn (C / 2).
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vla.models.rotary import Turns


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
