"""Resizing a square grid of position embeddings as torch resizes it.

Axes: G side of the stored grid, N side wanted, H rows, W columns, D width.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with parameter a, zero beyond 2 (Keys, IEEE TASSP 29, 1981, eq. 15)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@functools.cache
def resize_matrix(side: int, wanted: int, antialias: bool) -> Float[np.ndarray, "N G"]:
    """The linear map by which torch's bicubic interpolation resizes one axis.

    Equivalent to `torch.nn.functional.interpolate(mode="bicubic", align_corners=False, antialias=antialias)` along
    that axis. Without antialiasing a = -0.75 and taps beyond the edge read the edge; with it a = -0.5, the kernel is
    widened by the ratio when shrinking, and taps beyond the edge are dropped and the rest renormalised. Built in
    float64, returned in float32.

    Args:
      side: G, length of the axis as stored.
      wanted: N, length to resize to.
      antialias: Which of the two kernels.
    """
    ratio = side / wanted
    centres = (np.arange(wanted) + 0.5) * ratio - 0.5
    matrix = np.zeros((wanted, side))
    if antialias:
        scale = max(ratio, 1.0)
        taps = np.arange(side)
        # torch takes the taps whose centres lie within the support, which is where the kernel is not zero
        matrix = _cubic((taps - centres[:, None]) / scale, -0.5)
        matrix /= matrix.sum(1, keepdims=True)
    else:
        first = np.floor(centres).astype(int)
        for offset in range(-1, 3):
            tap = first + offset
            np.add.at(matrix, (np.arange(wanted), np.clip(tap, 0, side - 1)), _cubic(centres - tap, -0.75))
    return matrix.astype(np.float32)


def resize_grid(grid: Float[Array, "G G D"], rows: int, columns: int, antialias: bool) -> Float[Array, "H W D"]:
    """Resize a grid of embeddings to `rows` by `columns`; the same grid comes back unchanged.

    Computed in float32, returned in the dtype of `grid`.
    """
    side = grid.shape[0]
    if (rows, columns) == (side, side):
        return grid
    down, across = resize_matrix(side, rows, antialias), resize_matrix(side, columns, antialias)
    return jnp.einsum("hg,wk,gkd->hwd", down, across, grid.astype(jnp.float32)).astype(grid.dtype)
