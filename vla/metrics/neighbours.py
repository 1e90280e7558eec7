"""The nearest neighbours of every item in one layer, tied ones in shares.

Items that are equally near to an item share the places that are left for them: of t items at the distance of the K-th
neighbour, for which r places are left, each is a neighbour in a share r / t of all orders of the ties. No score then
depends on the order of the items.

Two items are equally near where they differ by no more than the rounding error of the products from which nearness
follows, so that equal rows tie whatever the order in which a library sums. A dot product of D terms of two unit rows is
exact to (D + 2) eps / 2 with the rounding of the rows themselves (Higham 2002, section 3.1): cosines that differ by
less than 2 (D + 2) eps, which is 5e-13 for 1,024 units, tie.

N items, D units, K neighbours.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from vla import devices
from vla.checks import check_choice, check_number, check_whole_number
from vla.devices import AnyArray
from vla.metrics.gram import TIE, cosine_similarity, distances_and_power, symmetric_product
from vla.metrics.metric import Metric, Pairwise

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
    """Who is a neighbour of whom in one layer: pairs (i, j) as i N + j.

    Attributes:
      certain: Pairs in which j is a neighbour of i in every order of tied items.
      tied: Pairs in which j is a neighbour of i in some orders.
      share: The share of orders, for every item i; 0 for items without ties.
    """

    certain: Int[np.ndarray, " C"]
    tied: Int[np.ndarray, " T"]
    share: Float[np.ndarray, " N"]

    def weights(self) -> Float[np.ndarray, "N N"]:
        """1 for certain neighbours, the share of orders for tied ones, else 0; rows sum to K."""
        n = len(self.share)
        weights = np.zeros(n * n)
        weights[self.certain] = 1.0
        weights[self.tied] = self.share[self.tied // n]
        return weights.reshape(n, n)


_EPS = float(np.finfo(np.float64).eps)

# A layer is of equally near items if no nearness differs by more: float32 copies of one direction differ by less.
_ALIKE = 1e-13

# Cosines by float32 products are this close to exact ones: above ten times the largest error measured.
_SINGLE = 1e-5

# Candidates per item, on average, above which one float64 product of all items takes less time than theirs.
_CANDIDATES = 8

# Of how near items are, looked through at a time.
_ROWS_BYTES = 1 << 22


def nearness(x: Float[Array, "N D"], settings: NeighbourSettings) -> Float[Array, "N N"]:
    """How near items are: higher is nearer. An item of zeros has cosine 0 with all others, as in scikit-learn.

    On the diagonal is what bounds the rounding: an entry is off by at most the sum of those of its row and column.
    """
    if settings.clip_quantile is not None:
        x = clipped(x, settings.clip_quantile)
    half = (x.shape[1] + 2) * _EPS / 2
    if settings.nearness == "cosine":
        return jnp.fill_diagonal(cosine_similarity(x), half / 2, inplace=False)
    distances, power = distances_and_power(x)
    return jnp.where(jnp.eye(len(x), dtype=bool), half * power, -distances)


def clipped(x: Float[Array, "N D"], quantile: float) -> Float[Array, "N D"]:
    """Activations limited to +- the mean over items of a quantile of their magnitudes, as platonic-rep removes
    outliers (Huh et al. 2024, its published code)."""
    x = x.astype(jnp.float64)
    limit = jnp.mean(jnp.quantile(jnp.abs(x), quantile, axis=1))
    return jnp.clip(x, -limit, limit)


@devices.in_float64
def nearest(x: Float[np.ndarray, "N D"], settings: NeighbourSettings) -> Neighbours | None:
    """The K nearest other items of every item; None where no item is nearer to another than to any third.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    _check_count(len(x), settings)
    if settings.nearness == "cosine" and settings.clip_quantile is None and x.dtype == np.float32:
        neighbours = _by_single_products(x, settings.neighbours)
        if neighbours is not None:
            return neighbours
    return nearest_of(np.asarray(nearness(jnp.asarray(x), settings)), settings)


def nearest_of(near: Float[np.ndarray, "N N"], settings: NeighbourSettings) -> Neighbours | None:
    """`nearest` from the matrix of `nearness`, or from its rows and columns of some items.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    _check_count(len(near), settings)
    near, rounding = np.array(near), np.diagonal(near).copy()
    np.fill_diagonal(near, -np.inf)
    if _equally_near(near, max(8 * rounding.max(), _ALIKE)):
        return None
    # Distances are exact to a share of themselves; cosines are not, since they may be near 0.
    return largest(near, settings.neighbours, rounding, np.inf if settings.nearness == "cosine" else TIE)


def largest(
    near: Float[np.ndarray, "N N"], k: int, rounding: Float[np.ndarray, " N"], relative: float = np.inf
) -> Neighbours:
    """The items of the k largest entries of every row.

    Args:
      near: -inf for items that may not be chosen.
      k: At most as many as may be chosen.
      rounding: An entry is off by at most the sum of those of its row and its column,
      relative: or by this share of itself, if that is less.
    """

    def exact(i: int, candidates: Int[np.ndarray, " R"]) -> Exact:
        values = near[i, candidates]
        # Each of two entries may be off by its rounding.
        bound = 2 * (rounding[i] + rounding[candidates])
        return values, bound if relative == np.inf else np.minimum(bound, relative * np.abs(values))

    def margin(least: Float[np.ndarray, "R 1"]) -> Float[np.ndarray, "#R #1"]:
        bound = np.full((1, 1), 4 * rounding.max())
        return bound if relative == np.inf else np.minimum(bound, 2 * relative * np.abs(least))

    neighbours = _chosen(near, k, margin, exact)
    assert neighbours is not None
    return neighbours


def _check_count(n: int, settings: NeighbourSettings) -> None:
    k = settings.neighbours
    if k >= n:
        raise ValueError(f"neighbours={k}, but an item has only {n - 1} others: use at most {n - 1}.")


def _equally_near(near: Float[np.ndarray, "N N"], tie: float) -> bool:
    """Whether no item is nearer to another than to any third: such a layer tells nothing about who is near."""
    least, most = np.inf, -np.inf
    for i, row in enumerate(near):
        others = np.delete(row, i)
        least, most = min(least, others.min(initial=np.inf)), max(most, others.max(initial=-np.inf))
        if most - least > tie:
            return False
    return True


def _by_single_products(x: Float[np.ndarray, "N D"], k: int) -> Neighbours | None:
    """Neighbours by cosine from float32 products; where these cannot tell the last neighbour from the next, the items
    that may be either are compared in float64. None where they are so many that all items are better so compared."""
    near = np.require(_single_products(x if devices.on_cpu() else jnp.asarray(x)), requirements="W")
    zeros = np.isnan(np.diagonal(near))
    near[zeros] = near[:, zeros] = 0.0
    np.fill_diagonal(near, -np.inf)
    tie = 2 * (x.shape[1] + 2) * _EPS

    def exact(i: int, candidates: Int[np.ndarray, " R"]) -> Exact:
        return _double_cosines(x[candidates], x[i]), np.full(len(candidates), tie)

    # If all others are neighbours, nothing has shown yet that they are not all equally near.
    most = 0 if k == len(x) - 1 else _CANDIDATES * len(x)
    return _chosen(near, k, lambda least: np.full((1, 1), 2 * _SINGLE, np.float32), exact, most)


@devices.compiled
def _single_products(x: Float[AnyArray, "N D"]) -> Float[AnyArray, "N N"]:
    xp = x.__array_namespace__()
    # Divided by the largest first, so that squares neither over- nor underflow.
    unit = _unit(x / xp.maximum(xp.max(xp.abs(x), axis=1, keepdims=True), np.finfo(np.float32).tiny))
    return symmetric_product(unit)


def _double_cosines(x: Float[np.ndarray, "R D"], item: Float[np.ndarray, " D"]) -> Float[np.ndarray, " R"]:
    """Cosines with one item; 0 for items of zeros."""
    sides = x.astype(np.float64), item.astype(np.float64)[None]
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.sum(_unit(sides[0]) * _unit(sides[1]), axis=1))


def _unit(x: Float[AnyArray, "N D"]) -> Float[AnyArray, "N D"]:
    xp = x.__array_namespace__()
    return x / xp.linalg.norm(x, axis=1, keepdims=True)


Exact = tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]
"""How near some items are to one, and by how much equally near ones may differ from them."""


def _chosen(
    near: Float[np.ndarray, "N N"],
    k: int,
    margin: Callable[[Float[np.ndarray, "R 1"]], Float[np.ndarray, "#R #1"]],
    exact: Callable[[int, Int[np.ndarray, " R"]], Exact],
    most_candidates: int | None = None,
) -> Neighbours | None:
    """The items of the k largest entries of every row.

    Args:
      near: As for `largest`.
      k: As for `largest`.
      margin: From the k-th largest entries to how far below them an entry may be that could be one of the k.
      exact: From an item and its candidates to what decides among them.
      most_candidates: None is returned if more entries than these are to be decided by `exact`.
    """
    n = len(near)
    certain, tied, share = [], [np.empty(0, np.int64)], np.zeros(n)
    step = max(1, _ROWS_BYTES // near[0].nbytes)  # a few rows at a time, which stay in the cache
    candidates_left = np.inf if most_candidates is None else most_candidates
    for start in range(0, n, step):
        part = near[start : start + step]
        least = np.partition(part, n - k, axis=1)[:, n - k, None]
        wanted = part >= least - margin(least)
        count = np.count_nonzero(wanted, axis=1)
        candidates_left -= count[count > k].sum()
        if candidates_left < 0:
            return None
        for row in np.flatnonzero(count > k):
            i, candidates = start + row, np.flatnonzero(wanted[row])
            values, tie = exact(int(i), candidates)
            last = np.partition(values, len(values) - k)[len(values) - k]
            above, level = values > last + tie, np.abs(values - last) <= tie
            places = k - np.count_nonzero(above)
            wanted[row] = False
            if np.count_nonzero(level) == places:
                wanted[row, candidates[above | level]] = True
            else:
                wanted[row, candidates[above]] = True
                tied.append(i * n + candidates[level])
                share[i] = places / np.count_nonzero(level)
        certain.append(np.flatnonzero(wanted) + start * n)
    return Neighbours(np.concatenate(certain), np.concatenate(tied), share)


@devices.spread_layers
@devices.in_float64
def all_pairs(
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    settings: NeighbourSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    *,
    expected: bool = False,
) -> Float[np.ndarray, "R X Y"]:
    """Shared neighbours of every item over K, averaged over items.

    Tied neighbours count in the share of the orders of ties in which they are neighbours (`neighbours.Neighbours`), and
    ties of the two sides are in independent orders: the score is the mean over all these orders,
    sum_ij w_x(i, j) w_y(i, j) / (N K). Under it a layer with ties scores below 1 with itself.

    Neighbours are sought once per layer. Of the layers of `y` is kept, for every pair of items, in which of them the
    second is a neighbour of the first: a byte per layer and pair of items, and a second byte for layers with ties. Each
    layer of `x` then counts only its own pairs, N K without ties, whatever the pairing.

    Args:
      x: Activations of one model.
      y: Activations of the other model on the same items.
      settings: See `NeighbourSettings`.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i.
      advance: Called with the number of cells just finished.
      expected: Whether one more row follows: the exact mean over all pairings that there are, K / (N - 1).

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    N, K = x.shape[1], settings.neighbours
    pairings = np.arange(N)[None] if pairings is None else pairings

    table = np.full((len(pairings) + expected, len(x), len(y)), K / max(N - 1, 1))

    @devices.in_float64
    def neighbours_of(layer: np.ndarray) -> Neighbours | None:
        return None if np.isnan(layer).any() else nearest(layer, settings)

    with ThreadPoolExecutor(devices.workers()) as pool:
        left, right = list(pool.map(neighbours_of, x)), list(pool.map(neighbours_of, y))
        members = _members(right, N)

        def shared(p: int) -> None:
            for i, neighbours in enumerate(left):
                if neighbours is not None:
                    table[p, i] = _shared(neighbours, members, pairings[p]) / (N * K)

        for _ in pool.map(shared, range(len(pairings))):
            advance(len(x) * len(y))
    table[:, [neighbours is None for neighbours in left]] = np.nan
    table[:, :, [neighbours is None for neighbours in right]] = np.nan
    return table


class _Members(NamedTuple):
    """The neighbours of all layers of one side, by pairs of items.

    Attributes:
      certain: 1 where a pair is of certain neighbours.
      layers: Layers with ties, the Z columns of the following.
      tied: 1 where a pair is of tied neighbours.
      share: The share of each of the tied neighbours of an item.
    """

    certain: UInt8[np.ndarray, "NN Y"]
    layers: Int[np.ndarray, " Z"]
    tied: UInt8[np.ndarray, "NN Z"]
    share: Float[np.ndarray, "N Z"]


def _members(layers: Sequence[Neighbours | None], n: int) -> _Members:
    with_ties = [j for j, layer in enumerate(layers) if layer is not None and len(layer.tied)]
    certain, tied = (np.zeros((n * n, count), np.uint8) for count in (len(layers), len(with_ties)))
    share = np.zeros((n, len(with_ties)))
    for j, layer in enumerate(layers):
        if layer is not None:
            certain[layer.certain, j] = 1
    for z, j in enumerate(with_ties):
        layer = layers[j]
        assert layer is not None
        tied[layer.tied, z], share[:, z] = 1, layer.share
    return _Members(certain, np.array(with_ties, np.int64), tied, share)


# Pairs of items looked up at a time where they are weighted.
_CHUNK = 1 << 14


def _shared(own: Neighbours, members: _Members, order: Int[np.ndarray, " N"]) -> Float[np.ndarray, " Y"]:
    """sum_ij w(i, j) v(order[i], order[j]) of the weights w of one layer and v of every layer of the other side."""
    N = len(order)

    def there(pairs: Int[np.ndarray, " M"]) -> Int[np.ndarray, " M"]:
        i, j = np.divmod(pairs, N)
        return order[i] * N + order[j]

    certain, tied = there(own.certain), there(own.tied)
    total = np.take(members.certain, certain, axis=0).sum(axis=0, dtype=np.uint32).astype(np.float64)
    weights = own.share[own.tied // N]
    for start in range(0, len(tied), _CHUNK):
        some = slice(start, start + _CHUNK)
        total += weights[some] @ np.take(members.certain, tied[some], axis=0)
    if len(members.layers):
        # Only items that have ties in some layer of the other side.
        has_ties = np.asarray(members.share.any(axis=1))
        for pairs, weight in ((certain, np.ones(len(certain))), (tied, weights)):
            ties = np.flatnonzero(has_ties[pairs // N])
            for start in range(0, len(ties), _CHUNK):
                some = ties[start : start + _CHUNK]
                product = weight[some][:, None] * members.share[pairs[some] // N]
                total[members.layers] += np.einsum("mz,mz->z", product, np.take(members.tied, pairs[some], axis=0))
    return total


def signature(near: Float[Array, "N N"], settings: NeighbourSettings) -> Float[Array, "N N"]:
    """The weights of neighbours over sqrt(N K): inner products are shares of neighbours; NaN where all items are
    equally near.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    neighbours, N = nearest_of(np.asarray(near), settings), len(near)
    if neighbours is None:
        return jnp.full((N, N), jnp.nan)
    return jnp.asarray(neighbours.weights() / np.sqrt(N * settings.neighbours))


MUTUAL_KNN = Metric(
    name="mutual_knn",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "orthogonal", "unit_permutation"}),
    formula="mean over items, and over all orders of tied neighbours, of |N_K(x_i) & N_K(y_i)| / K; "
    "by chance K / (N - 1)",
    source="Huh, Cheung, Wang & Isola 2024",
    all_pairs=all_pairs,
    settings=NeighbourSettings,
    # What values are clipped to depends on all items.
    pairwise=Pairwise(
        nearness,
        signature,
        lambda settings: settings.clip_quantile is None,
    ),
)
