"""Representational similarity analysis: how alike the distances between items are in two layers.

N items, D units, M = N (N - 1) / 2 pairs of items.

Sources: Kriegeskorte, Mur & Bandettini (2008); Schütt et al. (2023) for rho-a; Diedrichsen et al. (2021) for the
whitened comparison.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import stats

from vla.checks import check_choice
from vla.metrics.cka import normalised
from vla.metrics.gram import TIE, correlation, squared_euclidean
from vla.metrics.pairs import PairMetric

TAUS = ("tau_a", "tau_b")
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


def dissimilarities(x: Float[Array, "N D"], settings: RsaSettings) -> Float[Array, "N N"]:
    """Distances between items; those of a subset of items are a part of them, up to scale.

    Raises:
      ValueError: One unit, over which there is no correlation.
    """
    if settings.dissimilarity != "correlation":
        distances = squared_euclidean(x)
        return jnp.sqrt(distances) if settings.dissimilarity == "euclidean" else distances
    if x.shape[1] < 2:
        raise ValueError("rsa with correlation dissimilarity needs at least 2 units; use dissimilarity='euclidean'.")
    return correlation(x)


def unchanged(distances: Float[Array, "N N"], settings: RsaSettings) -> Float[Array, "N N"]:
    """The distances of an RDM as they are, whatever `dissimilarity`."""
    return distances


def prepare(distances: Float[Array, "N N"], settings: RsaSettings) -> Float[Array, "N N"]:
    """The symmetric matrix whose inner products are scores; for Kendall's tau the ranks of the distances.

    Raises:
      ValueError: Fewer than 3 items, which have fewer than three distances.
    """
    n = len(distances)
    if n < 3:
        raise ValueError(f"rsa needs at least 3 items; {n} given.")
    if settings.comparison == "whitened":
        return _whitened(distances)
    below = np.tril_indices(n, -1)
    values = distances[below]
    if settings.comparison in ("rho_a", "spearman", *TAUS):
        values = _ranks(values)
    if settings.comparison not in TAUS:
        if settings.comparison != "cosine":
            alike = jnp.ptp(values) <= TIE * jnp.max(values)
            values = jnp.where(alike, 0.0, values - jnp.mean(values))
        size = jnp.linalg.norm(values)
        # rho-a: the norm of centred ranks 1..m without ties.
        scale = jnp.sqrt((len(values) ** 3 - len(values)) / 12.0) if settings.comparison == "rho_a" else size
        # Each pair of items stands twice in the matrix.
        values = jnp.where(size > 0, values / jnp.where(size > 0, scale, 1.0) / jnp.sqrt(2.0), jnp.nan)
    lower = jnp.zeros((n, n)).at[below].set(values)
    return lower + lower.T


def _ranks(values: Float[Array, " M"]) -> Float[Array, " M"]:
    """Ranks from 1, ties sharing their mean; neighbours in the order that are within rounding of each other tie.

    NaN where a value is not finite. Equivalent to `scipy.stats.rankdata` of exact distances.
    """
    # Numbers that are not negative are in the order of their bits, and whole numbers are sorted much faster.
    bits = jnp.sort(jax.lax.bitcast_convert_type(jnp.abs(values), jnp.int64))
    ordered, index = jax.lax.bitcast_convert_type(bits, jnp.float64), jnp.arange(len(values))
    first = jnp.concatenate([jnp.ones(1, bool), jnp.diff(ordered) > TIE * ordered[1:]])
    last = jnp.concatenate([first[1:], jnp.ones(1, bool)])
    start = jax.lax.cummax(jnp.where(first, index, 0))
    stop = jax.lax.cummin(jnp.where(last, index, len(values)), reverse=True)
    ranks = ((start + stop) / 2 + 1)[jnp.searchsorted(ordered, jnp.abs(values))]
    return jnp.where(jnp.all(jnp.isfinite(values)), ranks, jnp.nan)


def _whitened(distances: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """The whitened cosine of squared distances is the cosine of their double-centred matrices -HDH/2, which for
    squared Euclidean distances is linear CKA (Diedrichsen et al. 2021, section 3.4)."""
    centred = distances - jnp.mean(distances, axis=0)
    return normalised(-(centred - jnp.mean(centred, axis=1, keepdims=True)))


def _pair_of_ranks(a: Float[Array, "N N"], b: Float[Array, "N N"], settings: RsaSettings) -> Float[Array, "2 M"]:
    below = np.tril_indices(len(a), -1)
    return jnp.stack([a[below], b[below]])


def kendall(ranks: Float[np.ndarray, "2 M"], settings: RsaSettings) -> float:
    """Tau of two lists of ranks; NaN where one side is NaN or all tied.

    "tau_b" is of the pairs that are not tied; "tau_a", concordant less discordant pairs, of all pairs.
    """
    tau = float(stats.kendalltau(*ranks).statistic)
    if settings.comparison == "tau_b":
        return tau
    pairs = ranks.shape[1] * (ranks.shape[1] - 1) / 2
    free = [1 - _tied(side) / pairs for side in ranks]
    return tau * float(np.sqrt(free[0] * free[1]))


def _tied(ranks: Float[np.ndarray, " M"]) -> int:
    """How many pairs are tied."""
    counts = np.unique(ranks, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def reordered(matrix: Float[Array, "N N"], order: Int[Array, " N"]) -> Float[Array, "N N"]:
    """The matrix of reordered items."""
    return matrix[order[:, None], order[None]]


class RsaMetric(PairMetric):
    """RSA: under Kendall's tau the score is no inner product, and SciPy counts the pairs of distances."""

    def under(self, settings: RsaSettings) -> PairMetric:
        """See `PairMetric.under`."""
        return _KENDALL if settings.comparison in TAUS else self


RSA = RsaMetric(
    name="rsa",
    directed=False,
    lowest=-1.0,
    highest=1.0,
    chance=0.0,
    invariances=frozenset({"item_permutation", "isotropic_scaling", "unit_permutation"}),
    formula="correlation over pairs of items i < j of d(x_i, x_j) and d(y_i, y_j)",
    source="Kriegeskorte, Mur & Bandettini 2008; Schütt et al. 2023; Diedrichsen et al. 2021",
    settings=RsaSettings,
    matrix=dissimilarities,
    distances=unchanged,
    prepare=prepare,
)

# One object for all calls: programs are compiled once for a metric.
_KENDALL = dataclasses.replace(RSA, compare=_pair_of_ranks, permute=reordered, finish=kendall)
