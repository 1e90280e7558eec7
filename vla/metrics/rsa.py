"""Representational similarity analysis: how alike the distances between items are in two layers.

N items, D and E units, X and Y layers, P pairings of items, R rows of the result.

Sources: Kriegeskorte, Mur & Bandettini (2008); Schütt et al. (2023) for rho-a; Diedrichsen et al. (2021) for the
whitened comparison.
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import stats

from vla import devices
from vla.checks import check_choice
from vla.metrics import signatures
from vla.metrics.gram import TIE, correlation, squared_euclidean
from vla.metrics.metric import Metric, Pairwise

TAUS = ("tau_a", "tau_b")


@devices.spread_layers
def kendall_pairs(
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


DISSIMILARITIES = ("correlation", "euclidean", "squared_euclidean")
COMPARISONS = ("cosine", "pearson", "rho_a", "spearman", *TAUS, "whitened")


@dataclasses.dataclass(frozen=True)
class RsaSettings:
    """Which distances, and how they are compared.

    Attributes:
      dissimilarity: Between items: "correlation" (1 - Pearson r over units), "euclidean" or "squared_euclidean".
      comparison: Of the distances of all pairs of items: "pearson"; "spearman" (tied distances share their mean
        rank); "rho_a" (what Spearman's rho is on average if ties are broken at random); "tau_a" and "tau_b" (Kendall's,
        which counts pairs of distances anew for every pair of layers and takes some hundred times as long as the
        others); "cosine"; "whitened" (cosine after whitening by the covariance that estimation noise gives distances
        which share items).
    """

    dissimilarity: str = "correlation"
    comparison: str = "spearman"

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        for name, known in (("dissimilarity", DISSIMILARITIES), ("comparison", COMPARISONS)):
            check_choice(name, getattr(self, name), known)


def all_pairs(
    x: Float[np.ndarray, "X N D"],
    y: Float[np.ndarray, "Y N E"],
    settings: RsaSettings,
    pairings: Int[np.ndarray, "P N"] | None = None,
    advance: Callable[[int], None] = lambda cells: None,
    **more: Any,
) -> Float[np.ndarray, "R X Y"]:
    """As `vla.metrics.signatures.all_pairs`, which does the work of every comparison but Kendall's.

    Raises:
      ValueError: Fewer than 3 items; one unit, over which there is no correlation.
    """
    if settings.comparison not in TAUS:
        return signatures.all_pairs(x, y, settings, pairings, advance, prepare=prepare, **more)

    @devices.in_float64
    def ranked(layer: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N N"]:
        distances = dissimilarities(jnp.asarray(layer), settings)
        _check(len(distances))
        below = np.tril_indices(len(distances), -1)
        ranks = np.zeros(distances.shape)
        ranks[below] = ranks[below[::-1]] = _ranks(np.asarray(distances)[below])
        return ranks

    pairings = np.arange(x.shape[1])[None] if pairings is None else pairings
    return kendall_pairs(x, y, pairings, advance, ranked=ranked, tau=settings.comparison, **more)


def prepare(x: Float[Array, "N D"], settings: RsaSettings) -> Float[Array, "N N"]:
    """Signature whose inner product is the comparison of distances.

    Raises:
      ValueError: Fewer than 3 items, which have fewer than three distances.
    """
    return signature(dissimilarities(x, settings), settings)


def dissimilarities(x: Float[Array, "N D"], settings: RsaSettings) -> Float[Array, "N N"]:
    """Distances between items; those of a subset of items are a part of them, up to scale.

    Raises:
      ValueError: One unit, over which there is no correlation.
    """
    if settings.dissimilarity == "correlation":
        if x.shape[1] < 2:
            raise ValueError(
                "rsa with correlation dissimilarity needs at least 2 units; use dissimilarity='euclidean'."
            )
        distances = correlation(x)
    else:
        distances = squared_euclidean(x)
        if settings.dissimilarity == "euclidean":
            distances = jnp.sqrt(distances)
    return distances


def signature(distances: Float[Array, "N N"], settings: RsaSettings) -> Float[Array, "N N"]:
    """What `prepare` gives, from the distances.

    Raises:
      ValueError: Fewer than 3 items, which have fewer than three distances.
    """
    n = len(distances)
    _check(n)
    if settings.comparison == "whitened":
        return _whitened(distances)
    below = np.tril_indices(n, -1)
    values = np.asarray(distances)[below]
    if settings.comparison in ("rho_a", "spearman"):
        values = _ranks(values)
    if settings.comparison != "cosine":
        alike = np.ptp(values) <= TIE * np.max(values)
        values = np.zeros(len(values)) if alike else values - np.mean(values)
    size = np.linalg.norm(values)
    if size > 0 and settings.comparison == "rho_a":
        m = len(values)
        size = np.sqrt((m**3 - m) / 12)  # the norm of centred ranks 1..m without ties
    whole = np.zeros((n, n))
    # Each pair of items stands twice in the matrix.
    whole[below] = whole[below[::-1]] = values / size / np.sqrt(2) if size > 0 else np.nan
    return jnp.asarray(whole)


def _check(n: int) -> None:
    if n < 3:
        raise ValueError(f"rsa needs at least 3 items; {n} given.")


def _ranks(values: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """Ranks from 1, ties sharing their mean; neighbours in the order that are within rounding of each other tie.

    Equivalent to `scipy.stats.rankdata` of exact distances.
    """
    if not np.isfinite(values).all():
        return np.full(len(values), np.nan)
    order = np.argsort(values)
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > TIE * ordered[1:]]))
    edges = np.append(first, len(values))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((edges[:-1] + edges[1:] + 1) / 2, np.diff(edges))
    return ranks


@jax.jit
def _whitened(distances: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """The whitened cosine of squared distances is the cosine of their double-centred matrices -HDH/2, which for
    squared Euclidean distances is linear CKA (Diedrichsen et al. 2021, section 3.4)."""
    centred = distances - jnp.mean(distances, axis=0)
    centred = centred - jnp.mean(centred, axis=1, keepdims=True)
    size = jnp.linalg.norm(centred)
    return jnp.where(size > 0, -centred / jnp.where(size > 0, size, 1.0), jnp.nan)


RSA = Metric(
    name="rsa",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "unit_permutation"}),
    formula="correlation over pairs of items i < j of d(x_i, x_j) and d(y_i, y_j)",
    source="Kriegeskorte, Mur & Bandettini 2008; Schütt et al. 2023; Diedrichsen et al. 2021",
    all_pairs=all_pairs,
    pairwise=Pairwise(dissimilarities, signature, lambda settings: settings.comparison not in TAUS),
    settings=RsaSettings,
)
