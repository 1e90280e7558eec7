"""Score every layer of one set of activations against every layer of another."""

from typing import Any

from vla import progress
from vla.activations.labels import as_activations, join
from vla.alignment.conclude import conclude
from vla.alignment.measure import measure, same_precision, steps
from vla.alignment.task import make_tasks


def score(
    x: Any,
    y: Any,
    metric: Any = "linear_predictivity",
    protocol: str = "paper",
    seed: Any = 42,
    null: Any = 0,
    show_progress: bool = False,
    **overrides: Any,
) -> Any:
    """Alignment of all layer pairs; a directed metric predicts `y` from `x`.

    Args:
      x: Activations [layer, item, unit] or [item, unit], as a DataArray or an array.
      y: Activations of the same items. Item names, where both have them, must agree; `y` is brought to the
        order of `x`.
      metric: A name from `vla.metrics()`, or a list of names.
      protocol: "paper", or "khosla_lab" (raw targets, test-fold statistics): named defaults of the settings.
      seed: Seed of the outer folds and of the null's permutations, in 0..2**32 - 1.
      null: Number of scores with the correspondence of items shuffled; one permutation serves all layer pairs.
      show_progress: Show a bar with the time left.
      **overrides: For linear_predictivity, fields of `vla.metrics.RidgeSettings`: alphas, outer_folds, inner_cv,
        alpha_per_target, standardize_targets, test_statistics, groups. For other metrics, the fields of their
        `vla.metrics()[name].settings`. Of a list of metrics, each is given those that it knows.

    Returns:
      A Dataset; of a list of metrics, a dict of Datasets by name. It has `score` (x_layer, y_layer); with a null
      also `null_score` (permutation, x_layer, y_layer) and what `vla.alignment.inference.significance` makes of it:
      `p_value`, `p_max` (against the best of all pairs), `q_value`, `null_mean` and `calibrated`.
      A directed metric adds, per fold, `fold_score`, `alpha` and `undefined`, the number of target units that
      were left out because they or their prediction are constant; and `edge_share`, the share of fits that chose the
      smallest or largest penalty there is, which may mean that a wider range is needed. A score is NaN where nothing
      is defined, as for a layer that is the same for every item. The attributes say how it was computed.

    Raises:
      ValueError: Unknown metric, protocol or setting; activations that are not finite; items that do not match
        or are too few.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metric={metric!r}: expected the name of a metric, or a list of different names.")
    tasks = make_tasks(names, protocol, seed, null, overrides)
    x, y = join(as_activations(x, "x"), as_activations(y, "y"))
    values = same_precision(x, y)
    results = {}
    for task in tasks:
        cells = steps(task, x.sizes["layer"], y.sizes["layer"])
        with progress.bar(f"scoring {task.metric.name}", cells, show_progress) as advance:
            results[task.metric.name] = conclude(task, measure(task, *values, advance), x, y)
    return results[metric] if isinstance(metric, str) else results
