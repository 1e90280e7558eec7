"""What a permutation null says of every score: p-values, also for the best of all layer pairs, and calibration.

P permutations, X and Y layers.

Sources: Phipson & Smyth (2010) for p-values that are never zero; Westfall & Young (1993) for the maximum statistic;
Benjamini & Hochberg (1995).
"""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy import stats

from vla.metrics.registry import METRICS

CELL = ("x_layer", "y_layer")


# The share of the permutations that must have a score for a p-value to be defined.
LEAST_DEFINED = 0.5


def significance(
    result: xr.Dataset, perfect: float | None = None, higher_is_better: bool | None = None, null: int | None = None
) -> xr.Dataset:
    """What `score` says beside `null_score`, per pair of layers.

    The same permutation of items serves all pairs, so that the maximum over pairs has a null distribution of its
    own: `p_max` controls the chance of any false finding in the table, `q_value` the share of false findings.

    A permutation without a score, such as one that leaves the targets of every training fold constant, is no evidence
    either way: p-values are those among the permutations that have a score. Among these the true correspondence is as
    likely to stand at any rank as any other under the null, so that the p-value stays exact.

    Args:
      result: With `score` (x_layer, y_layer) and `null_score` (permutation, x_layer, y_layer), NaN where a permutation
        has no score, or was drawn for other pairs only: these come last.
      perfect: The score of a layer with itself; None takes that of the metric that the attributes name, or 1.
      higher_is_better: Whether high scores count as extreme; low ones of a distance. None asks the metric that the
        attributes name; without one, high scores do.
      null: Number of permutations that were drawn for all pairs; None takes the attribute `null` of the result, or
        all.

    Returns:
      Dataset with, each NaN where there is no score, or where fewer than half of the permutations have one:
        `p_value`: (1 + permutations that score at least as well) / (1 + permutations that have a score), in (0, 1].
        `p_max`: the same against the best of all pairs under each permutation; never below `p_value`.
        `q_value`: `p_value` after Benjamini-Hochberg over all pairs, in (0, 1].
        `null_mean`: mean over permutations that have a score.
        `calibrated`: (score - null_mean) / (perfect - null_mean): 0 at chance, 1 for a layer with itself.
    """
    score, permuted = result["score"].values, result["null_score"].values
    for_all = min(result.attrs.get("null", len(permuted)) if null is None else null, len(permuted))
    metric = METRICS.get(result.attrs.get("metric", ""))
    if perfect is None:
        perfect = metric.perfect if metric else 1.0
    if higher_is_better is None:
        higher_is_better = metric.higher_is_better if metric else True
    sign = 1.0 if higher_is_better else -1.0
    known = np.isfinite(permuted)
    count = known.sum(axis=0)
    # Permutations that only some pairs needed are no more than 1 / LEAST_DEFINED times as many as each pair needs.
    defined = np.isfinite(score) & (count >= LEAST_DEFINED * len(permuted)) & (count > 0)
    mean = np.where(defined, np.where(known, permuted, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    against = np.where(known, sign * permuted, -np.inf)
    best = against[:for_all].max(axis=(1, 2), initial=-np.inf)
    p_value = np.where(defined, _share(sign * score, against, count), np.nan)
    p_max = _share(sign * score, best[:, None, None], np.isfinite(best).sum(keepdims=True)[None])
    p_max = np.where(defined, np.maximum(p_max, p_value), np.nan)
    q_value = np.full(score.shape, np.nan)
    if defined.any():
        q_value[defined] = stats.false_discovery_control(p_value[defined])
    room = perfect - mean
    calibrated = np.where(room != 0, (score - mean) / np.where(room != 0, room, 1.0), np.nan)
    values = {"p_value": p_value, "p_max": p_max, "q_value": q_value, "null_mean": mean, "calibrated": calibrated}
    return xr.Dataset({name: (CELL, table) for name, table in values.items()})


def _share(
    score: Float[np.ndarray, "X Y"], null: Float[np.ndarray, "P #X #Y"], count: Int[np.ndarray, "#X #Y"]
) -> Float[np.ndarray, "X Y"]:
    """Of the orders that have a score, the one that was measured included, the share that scores at least as well."""
    # Orders that give the same score up to rounding are ties, and ties count against the finding.
    margin = 1e-9 * np.maximum(1.0, np.abs(np.where(np.isfinite(score), score, 0.0)))
    return (1 + (null >= score - margin).sum(axis=0)) / (1 + count)
