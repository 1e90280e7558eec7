"""The nearest neighbours of every item in one layer.

N items, D units, K neighbours.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla.metrics.distances import cosine_similarity, squared_euclidean

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
    return first(nearness(x, settings), settings)


def first(near: Float[Array, "N N"], settings: NeighbourSettings) -> Int[Array, "N K"]:
    """The same from how near items are.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    n, k = len(near), settings.neighbours
    if k >= n:
        raise ValueError(f"neighbours={k}, but an item has only {n - 1} others: use at most {n - 1}.")
    return _first(near, k)


@functools.partial(jax.jit, static_argnames="k")
def _first(near: Float[Array, "N N"], k: int) -> Int[Array, "N K"]:
    return jax.lax.top_k(near, k)[1]
