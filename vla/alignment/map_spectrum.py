"""Which dimensions carry the alignment: the directions of the cross-validated ridge map.

N items, n training items, m test items, e target units, K directions.

A ridge map's fitted targets have a singular value decomposition; its right singular vectors are directions of the
target in the order of how much the map moves along them (the canonical directions of reduced-rank regression, Izenman
1975). What a direction is worth shows on items that the map has not seen: the covariance of prediction and target along
it estimates the variance they share, which noise of the training items does not raise (the idea of cross-validated PCA,
Stringer et al. 2019).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vla.alignment.held_out import FoldMap, HeldOut, fit
from vla.metrics.ridge_settings import RidgeSettings

COLUMNS = ("target_share", "predicted_share", "shared_share", "explained_share", "r")


class Extremes(NamedTuple):
    """Items along the leading directions of the map that is fitted on all items.

    Attributes:
      directions: In the target's units, orthonormal columns; the largest entry of each is positive.
      predicted: Coordinates of the held-out predictions: no item helped to predict itself.
      actual: Coordinates of the targets.
    """

    directions: Float[np.ndarray, "e K"]
    predicted: Float[np.ndarray, "N K"]
    actual: Float[np.ndarray, "N K"]


def map_spectrum(maps: Sequence[FoldMap]) -> pd.DataFrame:
    """What every direction of the map carries on held-out items, the mean over folds; directions are matched by rank.

    Args:
      maps: From `vla.alignment.held_out.fold_maps`.

    Returns:
      Rows by `rank` of the direction, from 1. All shares are of the target's total held-out variance and can be summed:
      `target_share`, the target's variance along the direction; `predicted_share`, the prediction's; `shared_share`,
      their covariance, which may be below 0 where nothing is shared; `explained_share`, 2 shared - predicted, whose sum
      is the target's explained variance; `r`, the correlation, NaN where either is constant; `r_sd` over folds; and
      `cumulative_explained`.

    Raises:
      ValueError: A target that is the same for all items of a fold.
    """
    tables = [_of_fold(one) for one in maps]
    count = min(len(table) for table in tables)
    values = np.stack([table[:count] for table in tables])
    spectrum = pd.DataFrame(values.mean(axis=0), columns=pd.Index(COLUMNS))
    spectrum.insert(0, "rank", np.arange(1, count + 1))
    spectrum["r_sd"] = values[:, :, COLUMNS.index("r")].std(axis=0, ddof=1) if len(maps) > 1 else np.nan
    spectrum["cumulative_explained"] = spectrum["explained_share"].cumsum()
    return spectrum


def effective_dimension(shared: Float[np.ndarray, " K"]) -> float:
    """(sum v)^2 / sum v^2 of the variances shared along directions, the negative ones counted as 0: the participation
    ratio, K where all are equal, 1 where one has everything; NaN where nothing is shared."""
    kept = np.maximum(np.asarray(shared, np.float64), 0)
    return float(kept.sum() ** 2 / (kept**2).sum()) if kept.any() else float("nan")


def extremes(
    x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N e"], out: HeldOut, settings: RidgeSettings, count: int = 5
) -> Extremes:
    """Where items lie along the first `count` directions.

    The directions are those of the map fitted on all items, one set for all; coordinates are of held-out predictions.

    Args:
      x: The predictor layer.
      y: The target layer.
      out: Their held-out predictions.
      settings: Of the map.
      count: How many directions.

    Raises:
      ValueError: No direction is asked for.
    """
    if count < 1:
        raise ValueError(f"count={count} directions: expected at least 1.")
    rows = np.arange(len(x))
    everything = fit(np.asarray(x, np.float64), np.asarray(y, np.float64), (rows, rows), settings)
    directions = _directions(everything.image)[:, :count]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.where(directions[largest, np.arange(directions.shape[1])] < 0, -1.0, 1.0)
    return Extremes(directions, out.predicted @ directions, out.actual @ directions)


def _directions(image: Float[np.ndarray, "r e"]) -> Float[np.ndarray, "e K"]:
    """Right singular vectors along which the map moves at all, the strongest first."""
    _, strength, rows = np.linalg.svd(image, full_matrices=False)
    floor = max(image.shape) * np.finfo(np.float64).eps * (strength[0] if strength.size else 0.0)
    return rows[strength > floor].T


def _of_fold(one: FoldMap) -> Float[np.ndarray, "K 5"]:
    """The columns for one fold's directions."""
    directions = _directions(one.image)
    actual = one.actual - one.actual.mean(axis=0)
    predicted = one.predicted - one.predicted.mean(axis=0)
    total = (actual**2).sum()
    if total == 0:
        raise ValueError("The target layer is the same for all items of a fold: it has no dimensions to explain.")
    a, p = actual @ directions, predicted @ directions
    of_a, of_p, shared = (a**2).sum(axis=0), (p**2).sum(axis=0), (a * p).sum(axis=0)
    size = np.sqrt(of_a * of_p)
    r = np.where(size > 0, shared / np.where(size > 0, size, 1.0), np.nan)
    return np.stack([of_a / total, of_p / total, shared / total, (2 * shared - of_p) / total, r], axis=1)
