"""Products whose result is known to be symmetric, at five eighths of the work.

n rows, k columns.
"""

import itertools

from jaxtyping import Float

from vla.devices import AnyArray

_TILES = 4

Tile = tuple[slice, slice]


def lower_tiles(n: int) -> list[Tile]:
    """Row and column slices that cover the lower triangle of an n x n matrix, diagonal tiles included."""
    spans = _spans(n)
    return [(rows, columns) for i, rows in enumerate(spans) for columns in spans[: i + 1]]


def symmetric_product(a: Float[AnyArray, "n k"], b: Float[AnyArray, "n k"]) -> Float[AnyArray, "n n"]:
    """a b^T where that is symmetric, as for b = a or b = a diag(w); only the lower tiles are computed."""
    spans = _spans(a.shape[0])
    below = [[a[rows] @ b[columns].T for columns in spans[: i + 1]] for i, rows in enumerate(spans)]
    places = range(len(spans))
    return a.__array_namespace__().block([[below[i][j] if i >= j else below[j][i].T for j in places] for i in places])


def _spans(n: int) -> list[slice]:
    edges = sorted({n * i // _TILES for i in range(_TILES + 1)})
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
