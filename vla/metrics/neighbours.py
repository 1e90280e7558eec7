"""The nearest neighbours of every item in one layer, tied ones in shares, and how many of them two layers share.

Items that are equally near to an item share the places that are left for them: of t items at the distance of the K-th
neighbour, for which r places are left, each is a neighbour in a share r / t of all orders of the ties. No score then
depends on the order of the items.

Two items are equally near where they differ by no more than the rounding error of the products from which nearness
follows, so that equal rows tie whatever the order in which a library sums. A dot product of D terms of two unit rows is
exact to (D + 2) eps / 2 with the rounding of the rows themselves (Higham 2002, section 3.1): cosines that differ by
less than 2 (D + 2) eps, which is 5e-13 for 1,024 units, tie.

No N x N array is made: tiles of items are compared with all items. The products of a tile are float32 where they can
tell who is among the nearest, else float64; those that float32 cannot tell apart are compared in float64.

N items, D units, K neighbours, T candidates of an item, R items of a tile.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vla import devices
from vla.checks import check_choice, check_number, check_whole_number
from vla.metrics.gram import TIE, centre_of_most, in_common_scale, power_of_two, symmetric_product
from vla.metrics.pairs import PairMetric

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
        check_whole_number("neighbours", self.neighbours)
        check_choice("nearness", self.nearness, NEARNESS)
        check_number("clip_quantile", self.clip_quantile, above=0, most=1, other=[None])


class Neighbours(NamedTuple):
    """The neighbours of every item in one layer.

    Attributes:
      items: First the items that are neighbours in every order of tied items, then those that are in some orders; what
        follows is no neighbour.
      certain: How many of the former there are.
      tied: How many of the latter.
      complete: Whether all of them are in `items`.
      alike: Whether no item is nearer to another than to any third: such a layer tells nothing about who is near.
    """

    items: Int[Array, "N T"]
    certain: Int[Array, " N"]
    tied: Int[Array, " N"]
    complete: Bool[Array, ""]
    alike: Bool[Array, ""]

    def weights(self, k: int) -> Float[Array, "N T"]:
        """In which share of the orders of tied items each is a neighbour; rows sum to K."""
        rank, certain = jnp.arange(self.items.shape[1]), self.certain[:, None]
        share = (k - certain) / jnp.maximum(self.tied, 1)[:, None]
        return jnp.where(rank < certain, 1.0, jnp.where(rank < certain + self.tied[:, None], share, 0.0))


class Points(NamedTuple):
    """One layer, of whose rows nearness follows.

    Attributes:
      rows: From numbers of items to their rows in float64.
      power: Their squared norms, which bound the rounding of products.
      distance: Whether near items have a small squared distance; otherwise they have a large product.
    """

    rows: Callable[[Any], Float[Array, "R D"]]
    power: Float[Array, " N"]
    distance: bool


_EPS = float(np.finfo(np.float64).eps)

# A layer is of equally near items if no nearness differs by more: float32 copies of one direction differ by less.
_ALIKE = 1e-13

# Cosines by float32 products are this close to exact ones: above ten times the largest error measured.
_SINGLE = 1e-5

# Candidates of an item beyond its neighbours: float32 tells all but a few of these apart from the rest.
SPARE = 22

# Of a tile of items with all items.
_TILE_BYTES = 1 << 22

# Items whose candidates are compared in float64 at a time.
_UNSURE = 8


def clipped(x: Float[Array, "N D"], quantile: float | None) -> Float[Array, "N D"]:
    """Activations limited to +- the mean over items of a quantile of their magnitudes, as platonic-rep removes
    outliers (Huh et al. 2024, its published code); the same in float64 without a quantile."""
    x = x.astype(jnp.float64)
    if quantile is None:
        return x
    limit = jnp.mean(jnp.quantile(jnp.abs(x), quantile, axis=1))
    return jnp.clip(x, -limit, limit)


def unit_points(x: Float[Array, "N D"]) -> Points:
    """Items of norm 1, near where their cosine is large. An item of zeros has cosine 0 with all others, as in
    scikit-learn."""
    largest = jnp.max(jnp.abs(x), axis=1, keepdims=True).astype(jnp.float64)
    power = power_of_two(largest)
    norm = jnp.sqrt(jnp.sum((x / power) ** 2, axis=1, keepdims=True))
    scale = power * jnp.where(norm > 0, norm, 1.0)
    return Points(lambda index: x[index] / scale[index], jnp.where(norm[:, 0] > 0, 1.0, 0.0), False)


def product_points(x: Float[Array, "N D"]) -> Points:
    """Items as they are, near where their product is large."""
    return Points(lambda index: x[index].astype(jnp.float64), jnp.sum(x.astype(jnp.float64) ** 2, axis=1), False)


def distance_points(x: Float[Array, "N D"]) -> Points:
    """Centred items, near where their distance is small."""
    x = centre_of_most(in_common_scale(x))
    return Points(lambda index: x[index], jnp.sum(x**2, axis=1), True)


def points(x: Float[Array, "N D"], settings: NeighbourSettings) -> Points:
    """The layer as the settings measure nearness in it."""
    x = x if settings.clip_quantile is None else clipped(x, settings.clip_quantile)
    return unit_points(x) if settings.nearness == "cosine" else distance_points(x)


def nearest(layer: Points, n: int, d: int, k: int, width: int, itself: bool = False) -> Neighbours:
    """The neighbours of every item of a layer of n items and d units.

    Args:
      layer: See `Points`.
      n: The number of items.
      d: The number of units.
      k: How many neighbours.
      width: Candidates that are looked at, at least k; enough where `complete` is true.
      itself: Whether an item may be its own neighbour.
    """
    power, everything, tolerance = layer.power, slice(None), (d + 2) * _EPS
    single = layer.rows(everything).astype(jnp.float32)
    size = max(1, min(n, _TILE_BYTES // (4 * n)))
    tiles = -(-n // size)

    def products(rows: Array, others: Array, index: Array) -> Float[Array, "R N"]:
        """How near the items of a tile are to all items; -inf to themselves."""
        # Where the tile has all items, half of the products are those of the other half.
        near = symmetric_product(others) if tiles == 1 else rows @ others.T
        if layer.distance:
            near = 2 * near - power[index, None].astype(near.dtype) - power.astype(near.dtype)
        return near if itself else jnp.where(index[:, None] == jnp.arange(n), -jnp.inf, near)

    def look(index: Int[Array, " R"], double: Bool[Array, ""]) -> "_Looked":
        half = ((1.0 if layer.distance else 0.5) * power).astype(jnp.float32)
        size_of = half[index, None] + half

        def in_single() -> tuple[Array, ...]:
            near, bound = products(single[index], single, index), jnp.float32(_SINGLE) * size_of
            # Somebody is nearer than somebody else, as far as this tells.
            return near, bound, jnp.asarray(-jnp.inf), jnp.asarray(jnp.inf)

        def in_double() -> tuple[Array, ...]:
            near = products(layer.rows(index), layer.rows(everything), index)
            finite = jnp.isfinite(near)
            low, high = jnp.min(near, where=finite, initial=jnp.inf), jnp.max(near, where=finite, initial=-jnp.inf)
            # How much less near than the nearest: of that, float32 keeps the digits.
            near = (near - jnp.max(near, axis=1, keepdims=True)).astype(jnp.float32)
            rounding = jnp.where(finite, jnp.float32(2.0**-22) * jnp.abs(near), 0.0)
            return near, (rounding + 4 * tolerance * size_of).astype(jnp.float32), low, high

        near, bound, low, high = jax.lax.cond(double, in_double, in_single)
        # Fused with what follows, it would be a sort of all items on CPUs, which takes ten times as long.
        most, chosen = map(jax.lax.optimization_barrier, jax.lax.top_k(near + bound, width))
        kth = jax.lax.top_k(most - 2 * jnp.take_along_axis(bound, chosen, axis=1), k)[0][:, -1]
        # Nobody beyond the candidates may be nearer; and exactly k may be the nearest.
        complete, sure = (most[:, -1] < kth) | (width >= n), jnp.sum(most >= kth[:, None], axis=1) == k
        return _Looked(chosen, complete, sure & ~double, low, high)

    def tile(index: Int[Array, " R"]) -> tuple[Array, ...]:
        # Where all items are candidates, float32 may not show that they are not all equally near.
        first = 1 if width >= n - 1 else 0

        def again(state: tuple[Array, _Looked]) -> tuple[Array, _Looked]:
            return state[0] + 1, look(index, state[0] > 0)

        def unfinished(state: tuple[Array, _Looked]) -> Bool[Array, ""]:
            return (state[0] == first) | ((state[0] == 1) & ~jnp.all(state[1].complete))

        nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(look, index, jnp.asarray(False)))
        _, looked = jax.lax.while_loop(unfinished, again, (jnp.asarray(first), nothing))
        ordered, certain, tied = _told_apart(layer, index, looked.chosen, looked.sure, k, tolerance, itself)
        # If the last candidate ties, further items may.
        complete = looked.complete | (certain + tied < width)
        return ordered, certain, tied, complete, looked.low, looked.high

    numbers = jnp.minimum(jnp.arange(tiles * size), n - 1).reshape(tiles, size)
    index, certain, tied, complete, low, high = jax.lax.map(tile, numbers)
    index, certain, tied = (part.reshape(tiles * size, *part.shape[2:])[:n] for part in (index, certain, tied))
    alike = jnp.max(high) - jnp.min(low) <= jnp.maximum(2 * tolerance * jnp.max(power), _ALIKE)
    return Neighbours(index.astype(jnp.int32), certain, tied, jnp.all(complete), alike)


class _Looked(NamedTuple):
    """The candidates of the items of a tile.

    Attributes:
      chosen: Their numbers, those that may be nearest first.
      complete: Whether nobody else may be among the nearest.
      sure: Whether the first are the neighbours.
      low: The least nearness of two items; -inf where it was not looked for.
      high: The largest.
    """

    chosen: Int[Array, "R T"]
    complete: Bool[Array, " R"]
    sure: Bool[Array, " R"]
    low: Float[Array, ""]
    high: Float[Array, ""]


def _told_apart(
    layer: Points, index: Int[Array, " R"], chosen: Int[Array, "R T"], sure: Bool[Array, " R"], k: int,
    tolerance: float, itself: bool,
) -> tuple[Int[Array, "R T"], Int[Array, " R"], Int[Array, " R"]]:  # fmt: skip
    """The candidates of a tile in the order of `Neighbours.items`, and how many are certain and tied; those of items
    that are not sure are compared in float64."""
    at_a_time = min(_UNSURE, len(index))
    turns = -(-jnp.sum(~sure) // at_a_time)
    (queue,) = jnp.nonzero(~sure, size=-(-len(index) // at_a_time) * at_a_time, fill_value=0)

    def turn(state: tuple[Array, ...]) -> tuple[Array, ...]:
        number, chosen, certain, tied = state
        unsure = jax.lax.dynamic_slice(queue, (number * at_a_time,), (at_a_time,))
        items, others = index[unsure], chosen[unsure]
        row, rows = layer.rows(items)[:, None], layer.rows(others)
        near = -jnp.sum((rows - row) ** 2, axis=2) if layer.distance else jnp.sum(rows * row, axis=2)
        bound = tolerance * (layer.power[items, None] + layer.power[others])
        if layer.distance:  # by the difference, they are exact to a share of themselves
            bound = jnp.minimum(bound, TIE * jnp.abs(near))
        if not itself:
            near = jnp.where(others == items[:, None], -jnp.inf, near)
        ordered, above, level = order_of(near, bound, k)
        return (
            number + 1,
            chosen.at[unsure].set(jnp.take_along_axis(others, ordered, axis=1)),
            certain.at[unsure].set(above),
            tied.at[unsure].set(level),
        )

    start = jnp.zeros((), turns.dtype), chosen, jnp.full(len(index), k), jnp.zeros(len(index), jnp.asarray(k).dtype)
    _, ordered, certain, tied = jax.lax.while_loop(lambda state: state[0] < turns, turn, start)
    return ordered, certain, tied


def order_of(near: Float[Array, "R T"], bound: Float[Array, "R T"], k: int) -> tuple[Array, Array, Array]:
    """The order of candidates that `Neighbours.items` has, how many are certain and how many tied, of each item.

    Args:
      near: How near they are.
      bound: By how much those may differ that are equally near.
      k: How many neighbours.
    """
    last = jax.lax.top_k(near, k)[0][:, -1:]
    above, level = near > last + bound, jnp.abs(near - last) <= bound
    certain, tied = jnp.sum(above, axis=1), jnp.sum(level, axis=1)
    # As many as there are places: all of them are neighbours.
    decided = certain + tied == k
    rest = ~(above | level)
    place = jnp.where(above, jnp.cumsum(above, axis=1), certain[:, None] + jnp.cumsum(level, axis=1))
    place = jnp.where(rest, (certain + tied)[:, None] + jnp.cumsum(rest, axis=1), place) - 1
    rows, numbers = jnp.arange(len(near))[:, None], jnp.broadcast_to(jnp.arange(near.shape[1]), near.shape)
    order = jnp.zeros_like(place).at[rows, place].set(numbers)
    return order, jnp.where(decided, k, certain), jnp.where(decided, 0, tied)


def of_distances(d: Float[Array, "N N"], settings: NeighbourSettings) -> Neighbours:
    """The neighbours by a matrix of distances between items."""
    n, k = len(d), settings.neighbours
    check_count(n, k)
    near = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, -d)
    order, certain, tied = order_of(near, TIE * jnp.abs(d), k)
    others = ~jnp.eye(n, dtype=bool)
    low, high = jnp.min(d, where=others, initial=jnp.inf), jnp.max(d, where=others, initial=-jnp.inf)
    return Neighbours(order.astype(jnp.int32), certain, tied, jnp.asarray(True), high - low <= TIE * jnp.abs(high))


def check_count(n: int, k: int) -> None:
    """Refuse more neighbours than other items.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    if k >= n:
        raise ValueError(f"neighbours={k}, but an item has only {n - 1} others: use at most {n - 1}.")


def prepare(x: Float[Array, "N D"], settings: NeighbourSettings, width: int | None = None) -> Neighbours:
    """The neighbours of every item.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    (n, d), k = x.shape, settings.neighbours
    check_count(n, k)
    return nearest(points(x, settings), n, d, k, min(n, width or k + SPARE))


class Lists(NamedTuple):
    """The neighbours of every item of one layer, as they are compared.

    Attributes:
      items: As `Neighbours.items`, of as many as there are at most.
      weight: In which share of the orders of tied items each is a neighbour; None where no layer has ties.
      alike: As `Neighbours.alike`.
    """

    items: Int[Array, "T N"]
    weight: Float[Array, "T N"] | None
    alike: Bool[Array, ""]


# Of the candidates of all items of a layer.
_MOST_BYTES = 1 << 31


def settle(states: Neighbours, settings: NeighbourSettings, shape: tuple[int, int]) -> Lists | int:
    """The neighbours without the candidates that are none; or of how many candidates `prepare` must look at.

    Raises:
      ValueError: So many items are equally near that their list does not fit into memory.
    """
    wanted = more_candidates(states, shape[0])
    return wanted or _lists(states, settings.neighbours, *most_neighbours(states, settings.neighbours))


def more_candidates(states: Neighbours, n: int) -> int:
    """How many candidates are to be looked at where some neighbours are not among those that were; else 0.

    Raises:
      ValueError: So many items are equally near that their list does not fit into memory.
    """
    complete, alike = devices.fetched((states.complete, states.alike))
    if np.all(complete | alike):
        return 0
    width = min(n, 4 * states.items.shape[2])
    if 4 * n * width > _MOST_BYTES:
        raise ValueError(
            f"more than {states.items.shape[2]} of {n} items are equally near to an item: their ties do not fit into "
            "memory. Leave out items that have the same activations, or score fewer items."
        )
    return width


def most_neighbours(states: Neighbours, k: int) -> tuple[int, bool]:
    """How many neighbours an item has at most, tied ones included, and whether there are ties."""
    count, alike = devices.fetched((states.certain + states.tied, states.alike))
    most = int(np.max(count[~alike], initial=k))
    # Few different shapes to compile.
    return (k, False) if most == k else (min(1 << (most - 1).bit_length(), states.items.shape[2]), True)


@functools.partial(jax.jit, static_argnames=("k", "width", "ties"))
def _lists(states: Neighbours, k: int, width: int, ties: bool) -> Lists:
    # Items last: as many as there are compare at once.
    weight = jnp.swapaxes(jax.vmap(lambda layer: layer.weights(k))(states)[:, :, :width], 1, 2) if ties else None
    return Lists(jnp.swapaxes(states.items[:, :, :width], 1, 2), weight, states.alike)


def shared(a: Lists, b: Lists, settings: NeighbourSettings) -> Float[Array, ""]:
    """Neighbours that an item has in both layers over K, as a mean over items and all orders of tied neighbours.

    Ties of the two sides are in independent orders: sum_ij w_a(i, j) w_b(i, j) / (N K). Under it a layer with ties
    scores below 1 with itself.
    """
    n = a.items.shape[1]

    def add(total: Array, of_b: tuple[Array, Array | None]) -> tuple[Array, None]:
        index, weight = of_b
        same = a.items == index
        in_a = jnp.sum(same, axis=0) if a.weight is None else jnp.sum(jnp.where(same, a.weight, 0.0), axis=0)
        return total + (in_a if weight is None else in_a * weight), None

    dtype = jnp.int64 if a.weight is None and b.weight is None else jnp.float64
    total, _ = jax.lax.scan(add, jnp.zeros(n, dtype), (b.items, b.weight))
    return jnp.where(a.alike | b.alike, jnp.nan, jnp.sum(total) / (n * settings.neighbours))


def permute(state: Lists, order: Int[Array, " N"]) -> Lists:
    """The neighbours of the reordered items, under their new numbers."""
    weight = None if state.weight is None else state.weight[:, order]
    return Lists(renumbered(state.items[:, order], order), weight, state.alike)


def renumbered(items: Int[Array, "*shape"], order: Int[Array, " N"]) -> Int[Array, "*shape"]:
    """The numbers that items have in another order of all items."""
    number = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    return number.astype(items.dtype)[items]


class MutualKnn(PairMetric):
    """Mutual nearest neighbours, whose chance level follows from the number of items."""

    def chance_of(self, settings: NeighbourSettings, n_items: int) -> float:
        """K / (N - 1), the exact mean over all pairings of the items."""
        return settings.neighbours / max(n_items - 1, 1)


MUTUAL_KNN = MutualKnn(
    name="mutual_knn",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "orthogonal", "unit_permutation"}),
    formula="mean over items, and over all orders of tied neighbours, of |N_K(x_i) & N_K(y_i)| / K; "
    "by chance K / (N - 1)",
    source="Huh, Cheung, Wang & Isola 2024",
    settings=NeighbourSettings,
    prepare=prepare,
    settle=settle,
    compare=shared,
    permute=permute,
    distances=of_distances,
)
