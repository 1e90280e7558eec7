"""What a permutation null says of every score: p-values, also for the best of all layer pairs, and calibration.

P permutations, X and Y layers.

Sources: Phipson & Smyth (2010) for p-values that are never zero; Westfall & Young (1993) for the maximum statistic;
Benjamini & Hochberg (1995).
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

CELL = ("x_layer", "y_layer")


def significance(result: xr.Dataset, perfect: float = 1.0, lowest: float = -1.0) -> xr.Dataset:
    """What `score` says beside `null_score`, per pair of layers.

    The same permutation of items serves all pairs, so that the maximum over pairs has a null distribution of its
    own: `p_max` controls the chance of any false finding in the table, `q_value` the share of false findings.

    Args:
      result: With `score` (x_layer, y_layer) and `null_score` (permutation, x_layer, y_layer).
      perfect: The score of a layer with itself; where it is the lowest score there is, as of a distance, low
        scores count as extreme.
      lowest: The lowest score there is.

    Returns:
      Dataset with, each NaN where there is no score:
        `p_value`: (1 + permutations that score at least as well) / (1 + P), in (0, 1].
        `p_max`: the same against the best of all pairs under each permutation.
        `q_value`: `p_value` after Benjamini-Hochberg over all pairs, in (0, 1].
        `null_mean`: mean over permutations.
        `calibrated`: (score - null_mean) / (perfect - null_mean): 0 at chance, 1 for a layer with itself.
    """
    score, null = result["score"].values, result["null_score"].values
    sign = -1.0 if perfect == lowest else 1.0
    defined = np.isfinite(score)
    against = sign * np.where(np.isfinite(null), null, -sign * np.inf)
    mean = np.where(np.isfinite(null).all(axis=0), null.mean(axis=0), np.nan)
    best = against.max(axis=(1, 2), initial=-np.inf)
    p_value = np.where(defined, _share(sign * score, against), np.nan)
    p_max = np.where(defined, _share(sign * score, best[:, None, None]), np.nan)
    q_value = np.full(score.shape, np.nan)
    if defined.any():
        q_value[defined] = stats.false_discovery_control(p_value[defined])
    room = perfect - mean
    calibrated = np.where(room != 0, (score - mean) / np.where(room != 0, room, 1.0), np.nan)
    found = {"p_value": p_value, "p_max": p_max, "q_value": q_value, "null_mean": mean, "calibrated": calibrated}
    return xr.Dataset({name: (CELL, values) for name, values in found.items()})


def _share(score: Float[np.ndarray, "X Y"], null: Float[np.ndarray, "P #X #Y"]) -> Float[np.ndarray, "X Y"]:
    """Of all orders, the one that was measured included, the share that scores at least as well."""
    # Orders that give the same score up to rounding are ties, and ties count against the finding.
    margin = 1e-9 * np.maximum(1.0, np.abs(np.where(np.isfinite(score), score, 0.0)))
    return (1 + (null >= score - margin).sum(axis=0)) / (1 + len(null))
