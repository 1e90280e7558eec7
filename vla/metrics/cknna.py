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

from vla.checks import check_number, check_whole_number
from vla.metrics import states
from vla.metrics.gram import cosine_similarity, power_of_two, symmetric_product
from vla.metrics.metric import Metric
from vla.metrics.neighbours import NeighbourSettings, clipped, largest


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
    """The neighbours of every item in one layer; tied ones are T - K more than K. Entries of weight 0 fill the rest.

    Attributes:
      nearest: Items of largest inner product.
      kernel: Those inner products.
      weight: In which share of the orders of tied items each is a neighbour.
      tied: Whether that is less than 1.
      back: The weight of the item among the neighbours of its neighbour; 1 for an item that is its own.
      joint: How often two tied items are neighbours together, relative to the product of their weights.
      own: HSIC of the layer with itself.
    """

    nearest: Int[Array, "N T"]
    kernel: Float[Array, "N T"]
    weight: Float[Array, "N T"]
    tied: Bool[Array, "N T"]
    back: Float[Array, "N T"]
    joint: Float[Array, " N"]
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
    k, rounding = (np.array(part) for part in _kernel(x, settings))
    near = k.copy()
    if settings.unbiased:
        np.fill_diagonal(near, -np.inf)
    neighbours = largest(near, settings.neighbours, rounding)
    pairs = np.sort(np.concatenate([neighbours.certain, neighbours.tied]))
    i, j = np.divmod(pairs, n)
    count = np.bincount(i, minlength=n)
    # A power of two if there are ties, so that few shapes are compiled.
    width = settings.neighbours if not len(neighbours.tied) else min(1 << (int(count.max()) - 1).bit_length(), n)
    places = i, np.arange(len(i)) - (np.cumsum(count) - count)[i]
    weights = neighbours.weights()

    def lists(values: np.ndarray) -> Array:
        filled = np.zeros((n, width), values.dtype)
        filled[places] = values
        return jnp.asarray(filled)

    ties = np.bincount(neighbours.tied // n, minlength=n)
    left = np.rint(neighbours.share * ties)
    joint = np.where(ties > 1, ties * (left - 1) / np.maximum(left * (ties - 1), 1), 1.0)
    weight = weights[i, j]
    back = np.where(i == j, 1.0, weights[j, i])
    neighbourhood = Neighbourhood(
        lists(j), lists(k[i, j]), lists(weight), lists(weight < 1), lists(back), jnp.asarray(joint), jnp.zeros(())
    )
    return neighbourhood._replace(own=_own(neighbourhood, settings.unbiased))


@jax.jit(static_argnames="settings")
def _kernel(x: Float[Array, "N D"], settings: CknnaSettings) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
    """Inner products of items; their rounding is at most the sum of two entries of the vector."""
    x = x.astype(jnp.float64)
    if settings.clip_quantile is not None:
        x = clipped(x, settings.clip_quantile)
    if not settings.normalise and settings.offset == 0:
        x = x / power_of_two(jnp.max(jnp.abs(x)))
    k = cosine_similarity(x) if settings.normalise else symmetric_product(x)
    return k, jnp.diag(k) * (x.shape[1] + 2) * np.finfo(np.float64).eps / 4


@jax.jit(static_argnames="unbiased")
def _own(a: Neighbourhood, unbiased: bool) -> Float[Array, ""]:
    everywhere = jnp.ones_like(a.weight)
    all_certain = _At(a.kernel, everywhere, jnp.zeros_like(a.tied), everywhere, jnp.ones_like(a.joint))
    return _hsic(a, all_certain, unbiased)


class _At(NamedTuple):
    """One layer's kernel and weights at the neighbours that another has."""

    kernel: Float[Array, "N T"]
    weight: Float[Array, "N T"]
    tied: Bool[Array, "N T"]
    back: Float[Array, "N T"]
    joint: Float[Array, " N"]


def _hsic(a: Neighbourhood, b: _At, unbiased: bool) -> Float[Array, ""]:
    """HSIC of the two kernels, both masked by the common neighbours, on average over all orders of tied neighbours.

    It is quadratic in the mask M. Entries of different rows are independent, E M_ij M_kl = w_ij w_kl. In one row, with
    t tied items for r places, two tied items are both chosen in r (r - 1) / (t (t - 1)) of the orders, `joint` times
    the product of their weights; the masks of the two layers are independent.

    Where not all neighbours are mutual, masked kernels are not symmetric, and their product has another sum than that
    in the other order.
    """
    n = len(a.nearest)
    w, itself = a.weight * b.weight, (a.nearest == jnp.arange(n)[:, None]) & (a.weight > 0)
    k, other = w * a.kernel, w * b.kernel
    trace = jnp.sum(w * a.kernel * b.kernel * a.back * b.back)
    of_k, of_other = jnp.sum(k, axis=1), jnp.sum(other, axis=1)
    # Products of entries of one row: what they are on average beyond the product of the means.
    excess_a, excess_b = a.joint - 1, b.joint - 1
    groups = ((a.tied, excess_a), (b.tied, excess_b), (a.tied & b.tied, excess_a * excess_b))
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
    for own, of in ((a.kernel, b.kernel), (b.kernel, a.kernel)):
        on = jnp.where(itself, w * own, 0.0)
        extra = jnp.sum(jnp.where(itself, (w - w**2) * own * of, 0.0), axis=1)
        for tied, excess in groups:
            rest = jnp.sum(jnp.where(tied & ~itself, w * of, 0.0), axis=1)
            extra = extra + excess * jnp.sum(jnp.where(tied, on, 0.0), axis=1) * rest
        kl = kl + jnp.sum(extra)
    return trace - (kl + lk) / n + total / n**2


def compare(a: Neighbourhood, b: Neighbourhood, settings: CknnaSettings) -> Float[Array, ""]:
    """HSIC over the common neighbours, relative to that of each layer over its own, each of the three a mean over all
    orders of tied neighbours; NaN where one of the latter is not positive."""
    n, width = b.nearest.shape
    rows = jnp.arange(n)[:, None]
    # Where in the lists of b a pair of items stands, from 1. Entries of weight 0 stand nowhere.
    places = jnp.where(b.weight > 0, jnp.arange(1, width + 1), 0)
    place = jnp.zeros((n, n), jnp.int32).at[rows, b.nearest].max(places.astype(jnp.int32))[rows, a.nearest]

    def at(values: Array) -> Array:
        return jnp.where(place > 0, jnp.take_along_axis(values, jnp.maximum(place - 1, 0), axis=1), 0)

    other = _At(at(b.kernel), at(b.weight), at(b.tied).astype(bool), at(b.back), b.joint)
    defined = (a.own > 0) & (b.own > 0)
    size = jnp.sqrt(jnp.where(defined, a.own * b.own, jnp.nan)) + settings.offset
    return _hsic(a, other, settings.unbiased) / size


def permute(state: Neighbourhood, order: Int[Array, " N"]) -> Neighbourhood:
    """The neighbourhood of the reordered items, under their new numbers."""
    moved = jax.tree.map(lambda part: part[order], state._replace(own=order))
    return moved._replace(nearest=jnp.argsort(order)[moved.nearest], own=state.own)


CKNNA = Metric(
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
    all_pairs=functools.partial(states.all_pairs, prepare=prepare, compare=compare, permute=permute),
    settings=CknnaSettings,
)
