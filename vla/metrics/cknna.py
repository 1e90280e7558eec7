"""Kernel alignment over the pairs of items that are near each other in both layers.

N items, D units, K neighbours.

Source: Huh, Cheung, Wang & Isola, The Platonic Representation Hypothesis (2024), and the code published with it.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vla.metrics import states
from vla.metrics.distances import cosine_similarity
from vla.metrics.metric import Metric
from vla.metrics.neighbours import NeighbourSettings, clipped
from vla.metrics.symmetric import symmetric_product


@dataclasses.dataclass(frozen=True)
class CknnaSettings:
    """Who counts as a neighbour, and how the kernels are compared.

    Attributes:
      neighbours: K, how many of the items of largest inner product.
      unbiased: Compare by the unbiased HSIC of Song et al. (2012), where an item is no neighbour of its own;
        otherwise by the biased one, where it is.
      normalise: Bring the activations of every item to unit norm first.
      clip_quantile: As for `mutual_knn`; platonic-rep clips at 0.95 before normalising.
      offset: Added to the denominator; platonic-rep adds 1e-6, for which a layer's score with itself is below 1.
    """

    neighbours: Any = 10
    unbiased: bool = True
    normalise: bool = True
    clip_quantile: Any = None
    offset: Any = 0.0

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        NeighbourSettings(self.neighbours, clip_quantile=self.clip_quantile)
        if self.neighbours < 2:
            raise ValueError(f"neighbours={self.neighbours!r}: cknna needs at least 2.")
        if isinstance(self.offset, bool) or not isinstance(self.offset, int | float) or not 0 <= self.offset < 1:
            raise ValueError(f"offset={self.offset!r}: expected a small number, 0 or more.")


class Neighbourhood(NamedTuple):
    """The neighbours of every item in one layer.

    Attributes:
      nearest: The K items of largest inner product, largest first.
      kernel: Those inner products.
      mutual: Whether the item is a neighbour of its neighbour as well.
      own: HSIC of the layer with itself.
    """

    nearest: Int[Array, "N K"]
    kernel: Float[Array, "N K"]
    mutual: Bool[Array, "N K"]
    own: Float[Array, ""]


def prepare(x: Float[Array, "N D"], settings: CknnaSettings) -> Neighbourhood:
    """Find the neighbours of every item.

    Raises:
      ValueError: Fewer than 4 items, or more neighbours than items.
    """
    n = x.shape[0]
    most = n - settings.unbiased
    if n < 4:
        raise ValueError(f"cknna needs at least 4 items; {n} given.")
    if settings.neighbours > most:
        raise ValueError(f"neighbours={settings.neighbours}, but an item can have only {most}: use at most {most}.")
    return _prepare(x, settings)


@jax.jit(static_argnames="settings")
def _prepare(x: Float[Array, "N D"], settings: CknnaSettings) -> Neighbourhood:
    x = x.astype(jnp.float64)
    if settings.clip_quantile is not None:
        x = clipped(x, settings.clip_quantile)
    k = cosine_similarity(x) if settings.normalise else symmetric_product(x)
    kernel, nearest = jax.lax.top_k(
        jnp.fill_diagonal(k, -jnp.inf, inplace=False) if settings.unbiased else k, settings.neighbours
    )
    mutual = jnp.any(nearest[nearest] == jnp.arange(len(x))[:, None, None], axis=-1)
    return Neighbourhood(nearest, kernel, mutual, _hsic(nearest, kernel, kernel, mutual, settings.unbiased))


def _hsic(
    nearest: Int[Array, "N K"],
    k: Float[Array, "N K"],
    other: Float[Array, "N K"],
    mutual: Bool[Array, "N K"],
    unbiased: bool,
) -> Float[Array, ""]:
    """HSIC of two kernels that are zero except at (i, nearest[i]).

    Where not all neighbours are mutual, such kernels are not symmetric, and their product has another sum than
    that in the other order.
    """
    n = len(k)
    trace = jnp.sum(jnp.where(mutual, k * other, 0.0))
    of_k, of_other = jnp.sum(k, axis=1), jnp.sum(other, axis=1)
    total, kl = jnp.sum(k) * jnp.sum(other), jnp.sum(k * of_other[nearest])
    if unbiased:
        return (trace + total / ((n - 1) * (n - 2)) - 2 * kl / (n - 2)) / (n * (n - 3))
    return trace - (kl + jnp.sum(other * of_k[nearest])) / n + total / n**2


def compare(a: Neighbourhood, b: Neighbourhood, settings: CknnaSettings) -> Float[Array, ""]:
    """HSIC over the common neighbours, relative to that of each layer over its own; NaN where one of those is not
    positive."""
    same = a.nearest[:, :, None] == b.nearest[:, None, :]
    common = jnp.any(same, axis=2)
    k = jnp.where(common, a.kernel, 0.0)
    other = jnp.sum(jnp.where(same, b.kernel[:, None, :], 0.0), axis=2)
    mutual = a.mutual & jnp.any(same & b.mutual[:, None, :], axis=2)
    defined = (a.own > 0) & (b.own > 0)
    size = jnp.sqrt(jnp.where(defined, a.own * b.own, jnp.nan)) + settings.offset
    return _hsic(a.nearest, k, other, mutual, settings.unbiased) / size


def permute(state: Neighbourhood, order: Int[Array, " N"]) -> Neighbourhood:
    """The neighbourhood of the reordered items, under their new numbers."""
    return Neighbourhood(jnp.argsort(order)[state.nearest[order]], state.kernel[order], state.mutual[order], state.own)


CKNNA = Metric(
    name="cknna",
    directed=True,
    # No Cauchy-Schwarz holds between kernels masked in different ways: a few items can score above 1.
    lowest=-np.inf,
    highest=np.inf,
    chance=None,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "orthogonal", "unit_permutation"}),
    formula="HSIC(M K, M L) / sqrt(HSIC(M_K K, M_K K) HSIC(M_L L, M_L L)), M_K the K nearest neighbours of every item "
    "by inner product, M those common to both; directed only in that the masked kernels are not symmetric",
    source="Huh, Cheung, Wang & Isola 2024",
    all_pairs=functools.partial(states.all_pairs, prepare=prepare, compare=compare, permute=permute),
    settings=CknnaSettings,
)
