"""Significance of scores from a permutation null: p-values, also for the best of all layer pairs, and calibration.

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
    """The statistics that `vla.score` derives from `null_score`, per layer pair.

    All pairs share the permutations, so the maximum over pairs has a null distribution too: `p_max` controls the chance
    of any false positive in the table, `q_value` the share of false positives.

    A permutation may have no score, for example if it leaves the targets of every training fold constant. p-values are
    taken over the permutations that have a score: under the null the true correspondence has every rank among these
    with the same probability, so the p-value stays exact.

    Args:
      result: Has `score` (x_layer, y_layer) and `null_score` (permutation, x_layer, y_layer). NaN marks a permutation
        that has no score, or that was drawn for other pairs only; the latter come last.
      perfect: Score of a layer with itself; None takes it from the metric named in the attributes, or 1.
      higher_is_better: Whether high scores are extreme; for a distance low ones are. None takes it from the metric
        named in the attributes, or True.
      null: Number of permutations drawn for all pairs; None takes the attribute `null`, or all.

    Returns:
      Dataset with the variables below, NaN without a score or if fewer than half of the permutations have a score.
        `p_value`: (1 + permutations that score at least as well) / (1 + permutations with a score), in (0, 1].
        `p_max`: the same against the best of all pairs under each permutation; at least `p_value`.
        `q_value`: `p_value` after Benjamini-Hochberg over all pairs, in (0, 1].
        `null_mean`: mean over the permutations with a score.
        `calibrated`: (score - null_mean) / (perfect - null_mean): 0 at chance, 1 for a layer with itself.
    """
    score, permuted = result["score"].values, result["null_score"].values
    n_shared = min(result.attrs.get("null", len(permuted)) if null is None else null, len(permuted))
    metric = METRICS.get(result.attrs.get("metric", ""))
    if perfect is None:
        perfect = metric.perfect if metric else 1.0
    if higher_is_better is None:
        higher_is_better = metric.higher_is_better if metric else True
    sign = 1.0 if higher_is_better else -1.0
    known = np.isfinite(permuted)
    count = known.sum(axis=0)
    # At most 1 / LEAST_DEFINED times as many permutations are drawn as a pair needs, so those that were drawn for other
    # pairs alone do not make this pair undefined.
    defined = np.isfinite(score) & (count >= LEAST_DEFINED * len(permuted)) & (count > 0)
    mean = np.where(defined, np.where(known, permuted, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    null_scores = np.where(known, sign * permuted, -np.inf)
    best = null_scores[:n_shared].max(axis=(1, 2), initial=-np.inf)
    p_value = np.where(defined, _p_value(sign * score, null_scores, count), np.nan)
    p_max = _p_value(sign * score, best[:, None, None], np.isfinite(best).sum(keepdims=True)[None])
    p_max = np.where(defined, np.maximum(p_max, p_value), np.nan)
    q_value = np.full(score.shape, np.nan)
    if defined.any():
        q_value[defined] = stats.false_discovery_control(p_value[defined])
    span = perfect - mean
    calibrated = np.where(span != 0, (score - mean) / np.where(span != 0, span, 1.0), np.nan)
    tables = {"p_value": p_value, "p_max": p_max, "q_value": q_value, "null_mean": mean, "calibrated": calibrated}
    return xr.Dataset({name: (CELL, table) for name, table in tables.items()})


def _p_value(
    score: Float[np.ndarray, "X Y"], null: Float[np.ndarray, "P #X #Y"], count: Int[np.ndarray, "#X #Y"]
) -> Float[np.ndarray, "X Y"]:
    """Share of the `count` permutations and the true order that score at least as well as the true order."""
    # Scores that are equal up to rounding are ties, and ties count against significance.
    margin = 1e-9 * np.maximum(1.0, np.abs(np.where(np.isfinite(score), score, 0.0)))
    return (1 + (null >= score - margin).sum(axis=0)) / (1 + count)
