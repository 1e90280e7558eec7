"""Mutual nearest neighbours: how many neighbours an item keeps from one layer to the other.

N items, D and E units, K neighbours, X and Y layers, P pairings of items, R rows of the result.

Source: Huh, Cheung, Wang & Isola, The Platonic Representation Hypothesis (2024), equation 11 of appendix A.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vla import devices
from vla.metrics.metric import Metric, Pairwise
from vla.metrics.neighbours import NeighbourSettings, equally_near, first, nearest, nearness


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

    Neighbours are sought once per layer. Of the layers of `y` is kept, for every pair of items, in which of them the
    second is a neighbour of the first: a byte per layer and pair of items. Each layer of `x` then counts only its own
    N K pairs, whatever the pairing.

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
    member = np.zeros((N * N, len(y)), np.uint8)

    @devices.in_float64
    def neighbours_of(layer: np.ndarray) -> Int[np.ndarray, "N K"] | None:
        return None if np.isnan(layer).any() else nearest(layer, settings)

    def shared(p: int) -> None:
        order = pairings[p]
        for i, neighbours in enumerate(left):
            if neighbours is not None:
                places = order[:, None] * N + order[neighbours]
                table[p, i] = np.take(member, places.ravel(), axis=0).sum(axis=0, dtype=np.uint32) / (N * K)

    with ThreadPoolExecutor(devices.workers()) as pool:
        left, right = list(pool.map(neighbours_of, x)), list(pool.map(neighbours_of, y))
        for j, neighbours in enumerate(right):
            if neighbours is not None:
                member[(np.arange(N)[:, None] * N + neighbours).ravel(), j] = 1
        for _ in pool.map(shared, range(len(pairings))):
            advance(len(x) * len(y))
    table[:, [neighbours is None for neighbours in left]] = np.nan
    table[:, :, [neighbours is None for neighbours in right]] = np.nan
    return table


def signature(near: Float[Array, "N N"], settings: NeighbourSettings) -> Float[Array, "N N"]:
    """Which items are neighbours of which, 1 / sqrt(N K) where they are: inner products are shares of neighbours; NaN
    where all are `equally_near`.

    Raises:
      ValueError: As many neighbours as items, or more.
    """
    N, K = len(near), settings.neighbours
    neighbours = first(near, settings)
    if equally_near(np.asarray(near)):
        return jnp.full((N, N), jnp.nan)
    member = jnp.zeros((N, N)).at[np.arange(N)[:, None], neighbours].set(1.0)
    return member / np.sqrt(N * K)


MUTUAL_KNN = Metric(
    name="mutual_knn",
    directed=False,
    lowest=0.0,
    highest=1.0,
    chance=None,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "orthogonal", "unit_permutation"}),
    formula="mean over items of |N_K(x_i) & N_K(y_i)| / K; by chance K / (N - 1)",
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
