"""One metric on all pairs of some layers: what has to be computed, before anything is concluded from it.

N items, X and Y layers, P pairings of items.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Int

from vla.alignment.task import Task
from vla.metrics.linear_predictivity import Table

PAIR = ("x_layer", "y_layer")


def same_precision(x: xr.DataArray, y: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """The values of both, in the wider of their types."""
    dtype = np.result_type(x.dtype, y.dtype)
    return np.ascontiguousarray(x.values, dtype), np.ascontiguousarray(y.values, dtype)


def pairings(task: Task, n_items: int) -> Int[np.ndarray, "P N"]:
    """The true correspondence of items, then the shuffled ones: the same for every layer, metric and block."""
    rng = np.random.default_rng(task.seed)
    return np.stack([np.arange(n_items), *(rng.permutation(n_items) for _ in range(task.null))])


def steps(task: Task, x_layers: int, y_layers: int) -> int:
    """How often `measure` will report that a cell is done."""
    return (1 + task.null) * x_layers * y_layers * task.folds


def measure(
    task: Task, x: np.ndarray, y: np.ndarray, advance: Callable[[int], None] = lambda cells: None
) -> xr.Dataset:
    """Scores of every layer of `x` with every layer of `y`; each pair on its own, whatever other layers there are.

    Args:
      task: What is asked.
      x: Activations [X, N, D].
      y: Activations [Y, N, E] of the same items in the same order and precision.
      advance: Called with the number of cells just finished.

    Returns:
      `score` (x_layer, y_layer); with a null `null_score` (permutation, x_layer, y_layer); of metrics with held-out
      predictions `fold_score`, `alpha` and `undefined`. Without coordinates.

    Raises:
      ValueError: What the metric refuses.
    """
    found = task.metric.all_pairs(x, y, settings=task.settings, pairings=pairings(task, x.shape[1]), advance=advance)
    result = xr.Dataset()
    if isinstance(found, Table):
        result, scores = _of_folds(found), _mean_over_folds(found)
    else:
        scores = found
    result["score"] = (PAIR, scores[0])
    if task.null:
        result["null_score"] = (("permutation", *PAIR), scores[1:])
    return result


def _of_folds(table: Table) -> xr.Dataset:
    """What is known of each fold under the true correspondence."""
    dims = (*PAIR, "fold")
    return xr.Dataset(
        {
            "fold_score": (dims, table.fold_score[0]),
            "alpha": (dims if table.alpha.ndim == 4 else (*dims, "y_unit"), table.alpha[0]),
            "undefined": (dims, table.undefined[0]),
        }
    )


def _mean_over_folds(table: Table) -> np.ndarray:
    defined = ~np.isnan(table.fold_score)
    count = defined.sum(axis=-1)
    mean = np.where(defined, table.fold_score, 0).sum(axis=-1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)
