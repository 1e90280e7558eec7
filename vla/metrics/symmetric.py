"""Products whose result is known to be symmetric, at little more than half of the work.

n rows, k columns.
"""

import itertools

import numpy as np
from jaxtyping import Float

from vla.devices import AnyArray

_TILES = 4

Tile = tuple[slice, slice]


def lower_tiles(n: int) -> list[Tile]:
    """Row and column slices that cover the lower triangle of an n x n matrix, diagonal tiles included."""
    spans = _spans(n)
    return [(rows, columns) for i, rows in enumerate(spans) for columns in spans[: i + 1]]


def symmetric_product(
    a: Float[AnyArray, "n k"], weights: Float[AnyArray, " k"] | None = None
) -> Float[AnyArray, "n n"]:
    """a a^T, or a diag(weights) a^T.

    NumPy multiplies a matrix with its own transpose by BLAS's symmetric update, half of a product; it is given that
    where weights have one sign. Else the lower tiles are computed, five eighths of a product.
    """
    if isinstance(a, np.ndarray):
        if weights is None:
            return a @ a.T
        for sign in (1.0, -1.0):
            if np.all(sign * weights >= 0):
                half = a * np.sqrt(sign * weights)
                product = half @ half.T
                return product if sign > 0 else np.negative(product, out=product)
    weighted = a if weights is None else a * weights
    spans = _spans(a.shape[0])
    below = [[weighted[rows] @ a[columns].T for columns in spans[: i + 1]] for i, rows in enumerate(spans)]
    places = range(len(spans))
    return a.__array_namespace__().block([[below[i][j] if i >= j else below[j][i].T for j in places] for i in places])


def _spans(n: int) -> list[slice]:
    edges = sorted({n * i // _TILES for i in range(_TILES + 1)})
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
