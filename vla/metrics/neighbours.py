"""The nearest neighbours of every item in one layer.

N items, D units, K neighbours.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla.metrics.distances import cosine_similarity, squared_euclidean
from vla.metrics.symmetric import symmetric_product

NEARNESS = ("cosine", "euclidean")


@dataclasses.dataclass(frozen=True)
class NeighbourSettings:
    """Who counts as a neighbour.

    Attributes:
      neighbours: K, how many of the nearest items; fewer than there are items.
      nearness: "cosine" (of uncentred activations) or "euclidean".
      clip_quantile: Activations are first limited to plus and minus the mean over items of this quantile of their
        magnitudes; None for no limit. platonic-rep clips at 0.95 before normalising.
    """

    neighbours: Any = 10
    nearness: str = "cosine"
    clip_quantile: Any = None

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        k = self.neighbours
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"neighbours={k!r}: expected a whole number of at least 1.")
        if self.nearness not in NEARNESS:
            raise ValueError(f"nearness={self.nearness!r}: expected one of {', '.join(NEARNESS)}.")
        q = self.clip_quantile
        if q is not None and (isinstance(q, bool) or not isinstance(q, int | float) or not 0 < q <= 1):
            raise ValueError(f"clip_quantile={q!r}: expected None or a share above 0 and at most 1.")


def nearness(x: Float[Array, "N D"], settings: NeighbourSettings) -> Float[Array, "N N"]:
    """How near items are: higher is nearer, and the diagonal is -inf."""
    if settings.clip_quantile is not None:
        x = clipped(x, settings.clip_quantile)
    near = cosine_similarity(x) if settings.nearness == "cosine" else -squared_euclidean(x)
    return jnp.fill_diagonal(near, -jnp.inf, inplace=False)


def clipped(x: Float[Array, "N D"], quantile: float) -> Float[Array, "N D"]:
    """Activations limited to +- the mean over items of a quantile of their magnitudes, as platonic-rep removes
    outliers (Huh et al. 2024, its published code)."""
    x = x.astype(jnp.float64)
    limit = jnp.mean(jnp.quantile(jnp.abs(x), quantile, axis=1))
    return jnp.clip(x, -limit, limit)


def nearest(x: Float[Array, "N D"], settings: NeighbourSettings) -> Int[Array, "N K"]:
    """The K nearest other items of every item, nearest first; of equally near ones those that come first.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    if settings.nearness == "cosine" and settings.clip_quantile is None and x.dtype == jnp.float32:
        return jnp.asarray(_by_single_products(x, _count(x.shape[0], settings)))
    return first(nearness(x, settings), settings)


def first(near: Float[Array, "N N"], settings: NeighbourSettings) -> Int[Array, "N K"]:
    """The same from how near items are.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    return jnp.asarray(_first(np.asarray(near), _count(len(near), settings)))


def _count(n: int, settings: NeighbourSettings) -> int:
    k = settings.neighbours
    if k >= n:
        raise ValueError(f"neighbours={k}, but an item has only {n - 1} others: use at most {n - 1}.")
    return k


# Cosines by float32 products are this close to exact ones: above ten times the largest error measured.
_SINGLE = 2e-6


def _by_single_products(x: Float[Array, "N D"], k: int) -> Int[np.ndarray, "N K"]:
    """Neighbours by cosine from float32 products; those of items for which these cannot tell the last neighbour from
    the next are sought again in float64."""
    near = np.asarray(_single_products(x))
    nearest = _first(near, k + 1)
    last = np.take_along_axis(near, nearest[:, k - 1 :], axis=1)
    unsure = np.flatnonzero(~(last[:, 0] - last[:, 1] > 2 * _SINGLE))
    nearest = nearest[:, :k].copy()
    if len(unsure):
        rows = np.array(_double_rows(x, jnp.asarray(np.resize(unsure, 1 << (len(unsure) - 1).bit_length()))))
        rows = rows[: len(unsure)]
        rows[np.arange(len(unsure)), unsure] = -np.inf
        nearest[unsure] = _first(rows, k)
    return nearest


@jax.jit
def _single_products(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    # Divided by the largest first, so that squares neither over- nor underflow.
    x = x / jnp.maximum(jnp.max(jnp.abs(x), axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
    unit = _unit(x)
    return jnp.fill_diagonal(symmetric_product(unit, unit), -jnp.inf, inplace=False)


@jax.jit
def _double_rows(x: Float[Array, "N D"], rows: Int[Array, " R"]) -> Float[Array, "R N"]:
    unit = _unit(x.astype(jnp.float64))
    return unit[rows] @ unit.T


def _unit(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    size = jnp.linalg.norm(x, axis=1, keepdims=True)
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1.0), jnp.nan)


def _first(near: Float[np.ndarray, "R N"], k: int) -> Int[np.ndarray, "R K"]:
    """Columns of the k largest entries of every row, the largest first; of equal ones those that come first, and NaN
    before all."""
    near = np.where(np.isnan(near), np.inf, near)
    n = near.shape[1]
    least = np.partition(near, n - k, axis=1)[:, n - k, None]
    above, equal = near > least, near == least
    room = k - above.sum(axis=1, keepdims=True)
    if (equal.sum(axis=1, keepdims=True) > room).any():
        equal &= np.cumsum(equal, axis=1) <= room
    columns = np.nonzero(above | equal)[1].reshape(-1, k)
    order = np.argsort(-np.take_along_axis(near, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
