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
from jaxtyping import Array, Float, Int

from vla.checks import check_number, check_whole_number
from vla.metrics import neighbours
from vla.metrics.gram import power_of_two
from vla.metrics.neighbours import Neighbours, NeighbourSettings, Points
from vla.metrics.pairs import PairMetric


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
        check_whole_number("neighbours", self.neighbours, 2)
        check_number("offset", self.offset, least=0, below=1)


class Neighbourhood(NamedTuple):
    """The neighbours of every item in one layer. Entries of weight 0 fill the lists of items that have fewer ties.

    Attributes:
      nearest: Items of largest inner product.
      kernel: Those inner products.
      weight: In which share of the orders of tied items each is a neighbour.
      back: The weight of the item among the neighbours of its neighbour; 1 for an item that is its own.
      joint: How often two tied items are neighbours together, relative to the product of their weights.
      hsic: HSIC of the layer with itself.
    """

    nearest: Int[Array, "N T"]
    kernel: Float[Array, "N T"]
    weight: Float[Array, "N T"]
    back: Float[Array, "N T"]
    joint: Float[Array, " N"]
    hsic: Float[Array, ""]


class Candidates(NamedTuple):
    """The neighbours of a layer, with the inner products of all candidates."""

    neighbours: Neighbours
    kernel: Float[Array, "N T"]


def prepare(x: Float[Array, "N D"], settings: CknnaSettings, width: int | None = None) -> Candidates:
    """Find the neighbours of every item.

    Raises:
      ValueError: Fewer than 4 items, or more neighbours than items.
    """
    (n, d), k = x.shape, settings.neighbours
    most = n - settings.unbiased
    if n < 4:
        raise ValueError(f"cknna needs at least 4 items; {n} given.")
    if k > most:
        raise ValueError(f"neighbours={k}, but an item can have only {most}: use at most {most}.")
    layer = _points(x, settings)
    width = min(n, width or k + neighbours.SPARE)
    lists = neighbours.nearest(layer, n, d, k, width, itself=not settings.unbiased)

    def products(item: tuple[Array, Array]) -> Float[Array, " T"]:
        return layer.rows(item[1]) @ layer.rows(item[0])

    return Candidates(lists, jax.lax.map(products, (jnp.arange(n), lists.items)))


def _points(x: Float[Array, "N D"], settings: CknnaSettings) -> Points:
    if settings.clip_quantile is not None:
        x = neighbours.clipped(x, settings.clip_quantile)
    if settings.normalise:
        return neighbours.unit_points(x)
    wide = x.astype(jnp.float64)
    return neighbours.product_points(wide / power_of_two(jnp.max(jnp.abs(wide))) if settings.offset == 0 else wide)


def settle(states: Candidates, settings: CknnaSettings, shape: tuple[int, int]) -> Neighbourhood | int:
    """The neighbours without the candidates that are none; or of how many candidates `prepare` must look at.

    Raises:
      ValueError: So many items are equally near that their list does not fit into memory.
    """
    # Items that are all equally near have a kernel to compare nevertheless.
    lists = states.neighbours._replace(alike=jnp.zeros_like(states.neighbours.alike))
    wanted = neighbours.more_candidates(lists, shape[0])
    return wanted or _neighbourhoods(states, neighbours.most_neighbours(lists, settings.neighbours)[0], settings)


@functools.partial(jax.jit, static_argnames=("width", "settings"))
def _neighbourhoods(states: Candidates, width: int, settings: CknnaSettings) -> Neighbourhood:
    return jax.lax.map(lambda state: _neighbourhood(state, width, settings), states)


def _neighbourhood(state: Candidates, width: int, settings: CknnaSettings) -> Neighbourhood:
    lists, k = state.neighbours, settings.neighbours
    index, weight = lists.items[:, :width], lists.weights(k)[:, :width]
    items = jnp.arange(len(index))[:, None]
    back = jnp.sum(jnp.where(index[index] == items[..., None], weight[index], 0.0), axis=2)
    left, ties = k - lists.certain, lists.tied
    joint = jnp.where(ties > 1, ties * (left - 1) / jnp.maximum(left * (ties - 1), 1), 1.0)
    kernel = jnp.where(weight > 0, state.kernel[:, :width], 0.0)
    layer = Neighbourhood(index, kernel, weight, jnp.where(index == items, 1.0, back), joint, jnp.zeros(()))
    certain = layer._replace(weight=jnp.ones_like(weight), back=jnp.ones_like(weight), joint=jnp.ones_like(joint))
    return layer._replace(hsic=_hsic(layer, certain, settings.unbiased))


def _hsic(a: Neighbourhood, b: Neighbourhood, unbiased: bool) -> Float[Array, ""]:
    """HSIC of the two kernels, both masked by the common neighbours, on average over all orders of tied neighbours.

    It is quadratic in the mask M. Entries of different rows are independent, E M_ij M_kl = w_ij w_kl. In one row, with
    t tied items for r places, two tied items are both chosen in r (r - 1) / (t (t - 1)) of the orders, `joint` times
    the product of their weights; the masks of the two layers are independent.

    Where not all neighbours are mutual, masked kernels are not symmetric, and their product has another sum than that
    in the other order.

    Args:
      a: A layer.
      b: The other, with values at the neighbours that `a` lists.
      unbiased: Which estimator.
    """
    n = len(a.nearest)
    w, itself = a.weight * b.weight, (a.nearest == jnp.arange(n)[:, None]) & (a.weight > 0)
    k, other = w * a.kernel, w * b.kernel
    trace = jnp.sum(w * a.kernel * b.kernel * a.back * b.back)
    of_k, of_other = jnp.sum(k, axis=1), jnp.sum(other, axis=1)
    # Products of entries of one row: what they are on average beyond the product of the means.
    excess_a, excess_b, tied_a, tied_b = a.joint - 1, b.joint - 1, a.weight < 1, b.weight < 1
    groups = ((tied_a, excess_a), (tied_b, excess_b), (tied_a & tied_b, excess_a * excess_b))
    within = jnp.sum((w - w**2) * a.kernel * b.kernel, axis=1)
    for tied, excess in groups:
        k_tied, other_tied = jnp.where(tied, k, 0.0), jnp.where(tied, other, 0.0)
        both = jnp.sum(k_tied, axis=1) * jnp.sum(other_tied, axis=1) - jnp.sum(k_tied * other_tied, axis=1)
        within = within + excess * both
    total = jnp.sum(of_k) * jnp.sum(of_other) + jnp.sum(within)
    kl = jnp.sum(k * of_other[a.nearest])
    if unbiased:
        return (trace + total / ((n - 1) * (n - 2)) - 2 * kl / (n - 2)) / (n * (n - 3))
    lk = jnp.sum(other * of_k[a.nearest])
    # Here an item may be its own neighbour: its entry with itself stands in the same row as its others.
    for kernel, of in ((a.kernel, b.kernel), (b.kernel, a.kernel)):
        on = jnp.where(itself, w * kernel, 0.0)
        extra = jnp.sum(jnp.where(itself, (w - w**2) * kernel * of, 0.0), axis=1)
        for tied, excess in groups:
            rest = jnp.sum(jnp.where(tied & ~itself, w * of, 0.0), axis=1)
            extra = extra + excess * jnp.sum(jnp.where(tied, on, 0.0), axis=1) * rest
        kl = kl + jnp.sum(extra)
    return trace - (kl + lk) / n + total / n**2


def compare(a: Neighbourhood, b: Neighbourhood, settings: CknnaSettings) -> Float[Array, ""]:
    """HSIC over the common neighbours, relative to that of each layer over its own, each of the three a mean over all
    orders of tied neighbours; NaN where one of the latter is not positive."""
    # Of the pairs of items that a lists, what b has of them; nothing where it does not list them.
    values = jnp.stack([b.kernel, b.weight, b.back])

    def add(total: Array, of_b: tuple[Array, Array, Array]) -> tuple[Array, None]:
        index, weight, value = of_b
        listed = (a.nearest == index[:, None]) & (weight > 0)[:, None]
        return total + jnp.where(listed, value[:, :, None], 0.0), None

    columns = b.nearest.T, b.weight.T, jnp.moveaxis(values, 2, 0)
    (kernel, weight, back), _ = jax.lax.scan(add, jnp.zeros((3, *a.nearest.shape)), columns)
    defined = (a.hsic > 0) & (b.hsic > 0)
    size = jnp.sqrt(jnp.where(defined, a.hsic * b.hsic, jnp.nan)) + settings.offset
    return _hsic(a, b._replace(kernel=kernel, weight=weight, back=back), settings.unbiased) / size


def permute(state: Neighbourhood, order: Int[Array, " N"]) -> Neighbourhood:
    """The neighbourhood of the reordered items, under their new numbers."""
    moved = jax.tree.map(lambda part: part[order], state._replace(hsic=order))
    return moved._replace(nearest=neighbours.renumbered(moved.nearest, order), hsic=state.hsic)


CKNNA = PairMetric(
    name="cknna",
    directed=True,
    # No Cauchy-Schwarz holds between kernels masked in different ways: a few items can score above 1.
    lowest=-np.inf,
    highest=np.inf,
    chance=None,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "orthogonal", "unit_permutation"}),
    formula="HSIC(M K, M L) / sqrt(HSIC(M_K K, M_K K) HSIC(M_L L, M_L L)), M_K the K nearest neighbours of every item "
    "by inner product, M those common to both, each HSIC a mean over the orders of tied neighbours; directed "
    "only in that the masked kernels are not symmetric",
    source="Huh, Cheung, Wang & Isola 2024",
    settings=CknnaSettings,
    prepare=prepare,
    settle=settle,
    compare=compare,
    permute=permute,
)
