"""The nearest neighbours of every item in one layer.

N items, D units, K neighbours.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.devices import AnyArray
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


def nearest(x: Float[np.ndarray, "N D"], settings: NeighbourSettings) -> Int[np.ndarray, "N K"] | None:
    """The K nearest other items of every item, nearest first; of equally near ones those that come first. None where
    all are `equally_near`.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    count = _count(len(x), settings)
    if settings.nearness == "cosine" and settings.clip_quantile is None and x.dtype == np.float32:
        return _by_single_products(x, count)
    near = np.asarray(nearness(jnp.asarray(x), settings))
    return None if equally_near(near) else _first(near, count)


# Of nearness, or of 1: what differs by less is rounding error.
_ROUNDING = 1e-13


def equally_near(near: Float[np.ndarray, "N N"], rounding: float = _ROUNDING) -> bool:
    """Whether no item is nearer to another than to any third: neighbours would only be the first items in the list,
    and two such layers would agree in all of them."""
    least, most = np.inf, -np.inf
    for i, row in enumerate(near):
        beside = np.delete(row, i)
        beside[np.isnan(beside)] = np.inf  # as `_first` takes it
        least, most = min(least, beside.min(initial=np.inf)), max(most, beside.max(initial=-np.inf))
        if most > least and not most - least <= rounding * max(1.0, abs(least)):
            return False
    return True


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
_SINGLE = 1e-5


def _by_single_products(x: Float[np.ndarray, "N D"], k: int) -> Int[np.ndarray, "N K"] | None:
    """Neighbours by cosine from float32 products; where these cannot tell the last neighbour from the next, the items
    that may be either are compared in float64."""
    near = np.require(_single_products(x if devices.on_cpu() else jnp.asarray(x)), requirements="W")
    # An item without a direction is as near as can be to all.
    lost = np.isnan(np.diagonal(near))
    near[lost] = np.inf
    near[:, lost] = np.inf
    np.fill_diagonal(near, -np.inf)
    if equally_near(near, 2 * _SINGLE) and equally_near(np.asarray(cosine_similarity(jnp.asarray(x)))):
        return None
    nearest = _first(near, k + 1)  # an item itself is the last, at -inf
    last, next_one = np.take_along_axis(near, nearest[:, k - 1 :], axis=1).T
    for i in np.flatnonzero(~(next_one < last - 2 * _SINGLE)):
        either = np.flatnonzero(near[i] >= last[i] - 2 * _SINGLE)
        nearest[i, :k] = either[_first(_double_cosines(x[either], x[i])[None], k)[0]]
    return nearest[:, :k]


@devices.compiled
def _single_products(x: Float[AnyArray, "N D"]) -> Float[AnyArray, "N N"]:
    xp = x.__array_namespace__()
    # Divided by the largest first, so that squares neither over- nor underflow.
    unit = _unit(x / xp.maximum(xp.max(xp.abs(x), axis=1, keepdims=True), np.finfo(np.float32).tiny))
    return symmetric_product(unit)


def _double_cosines(x: Float[np.ndarray, "R D"], item: Float[np.ndarray, " D"]) -> Float[np.ndarray, " R"]:
    """Summed in the same order for every row, so that equal rows are equally near."""
    with np.errstate(all="ignore"):
        return np.sum(_unit(x.astype(np.float64)) * _unit(item.astype(np.float64)[None]), axis=1)


def _unit(x: Float[AnyArray, "N D"]) -> Float[AnyArray, "N D"]:
    xp = x.__array_namespace__()
    return x / xp.linalg.norm(x, axis=1, keepdims=True)


# Of how near items are, looked through at a time.
_ROWS_BYTES = 1 << 22


def _first(near: Float[np.ndarray, "R N"], k: int) -> Int[np.ndarray, "R K"]:
    """Columns of the k largest entries of every row, the largest first; of equal ones those that come first, and NaN
    before all."""
    step = max(1, _ROWS_BYTES // near[0].nbytes)
    if len(near) > step:  # a few rows at a time, which stay in the cache
        return np.concatenate([_first(near[start : start + step], k) for start in range(0, len(near), step)])
    near = np.where(np.isnan(near), np.inf, near)
    n = near.shape[1]
    least = np.partition(near, n - k, axis=1)[:, n - k, None]
    wanted = near >= least
    if np.count_nonzero(wanted) > near.shape[0] * k:
        above, equal = near > least, near == least
        wanted = above | (equal & (np.cumsum(equal, axis=1) <= k - above.sum(axis=1, keepdims=True)))
    columns = (np.flatnonzero(wanted) % n).reshape(-1, k)
    order = np.argsort(-np.take_along_axis(near, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
