"""Kendall's tau between vectors of two sides, such as the distances of all pairs of items in two layers.

It is no inner product of what is known of each side alone: every pair of layers counts its own discordant pairs, by
SciPy's merge sort in M log M steps.

N items, X and Y layers, P pairings of items, R rows of the result, M = N (N - 1) / 2 pairs of items.

Source: Kendall (1938, 1945); tau-a for comparing dissimilarities by Nili et al. (2014).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from vla import devices

TAUS = ("tau_a", "tau_b")


@devices.spread_layers
def all_pairs(
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    pairings: Int[np.ndarray, "P N"],
    advance: Callable[[int], None],
    *,
    ranked: Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, "N N"]],
    tau: str,
    expected: bool = False,
) -> Float[np.ndarray, "R X Y"]:
    """Tau between the entries below the diagonal, of every pair of layers under every pairing.

    Args:
      x: Activations of one model.
      y: Activations of the other model on the same items.
      pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`.
      advance: Called with the number of cells just finished.
      ranked: From a layer to the ranks of a symmetric matrix over pairs of items; NaN where there are none.
      tau: "tau_a", concordant less discordant pairs over all pairs, or "tau_b", over those that are not tied.
      expected: Whether one more row follows: the exact mean over all pairings, which is 0. Sorted by how many items
        they share, pairs of distances come in both orders, so that a pairing is as often concordant as discordant.
    """
    below = np.tril_indices(x.shape[1], -1)
    of_x = [ranked(layer)[below] for layer in x]
    of_y = [ranked(layer) for layer in y]
    table = np.zeros((len(pairings) + expected, len(x), len(y)))

    def cell(place: tuple[int, int, int]) -> None:
        p, i, j = place
        table[place] = _tau(of_x[i], of_y[j][pairings[p][:, None], pairings[p]][below], tau)
        advance(1)

    with ThreadPoolExecutor(devices.workers()) as pool:
        list(pool.map(cell, np.ndindex(len(pairings), len(x), len(y))))
    return table


def _tau(a: Float[np.ndarray, " M"], b: Float[np.ndarray, " M"], tau: str) -> float:
    """NaN where one side is NaN or all tied."""
    found = float(stats.kendalltau(a, b).statistic)
    if tau == "tau_b":
        return found
    pairs = len(a) * (len(a) - 1) / 2
    return found * float(np.sqrt((1 - _tied(a) / pairs) * (1 - _tied(b) / pairs)))


def _tied(ranks: Float[np.ndarray, " M"]) -> int:
    """How many pairs are tied."""
    counts = np.unique(ranks, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())
