"""Mutual nearest neighbours: how many neighbours an item keeps from one layer to the other.

N items, D and E units, K neighbours, X and Y layers, P pairings of items, R rows of the result.

Source: Huh, Cheung, Wang & Isola, The Platonic Representation Hypothesis (2024), equation 11 of appendix A.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from vla import devices
from vla.metrics.metric import Metric, Pairwise
from vla.metrics.neighbours import Neighbours, NeighbourSettings, nearest, nearest_of, nearness


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
